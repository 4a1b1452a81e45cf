"""Displacement fields of a plane: warping images, composing and inverting fields.

A field is a (2, H, W) array of pixels along rows and columns: what lies at x in one slice lies at ``x + field[x]`` in
the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_INVERSION_ROUNDS = 10
_CONTROL_VOXELS = 2  # B-spline control points lie this many spacings beyond what they move


def carried(image: NDArray[np.floating], field: NDArray[np.floating]) -> NDArray[np.float32]:
    """Image (..., H, W) of the other slice, seen from this one; beyond its border the nearest value is used."""
    rows, columns = _positions(field)
    planes = np.asarray(image, np.float32).reshape(-1, *image.shape[-2:])
    seen = [ndimage.map_coordinates(plane, (rows, columns), order=1, mode="nearest") for plane in planes]
    return np.stack(seen).reshape(image.shape)


def composed(first: NDArray[np.floating], then: NDArray[np.floating]) -> NDArray[np.float32]:
    """Composition: ``first``, and from there ``then``."""
    return first + carried(then, first)


def inverse(field: NDArray[np.floating]) -> NDArray[np.float32]:
    """Field from the other slice back to this one, by fixed-point iteration (Chen et al., Medical Physics 2008).

    It converges where the field does not fold.
    """
    back = -np.asarray(field, np.float32)
    for _ in range(_INVERSION_ROUNDS):
        back = -carried(field, back)
    return back


def jacobian(field: NDArray[np.floating]) -> NDArray[np.float64]:
    """Determinant (H, W) of the map's derivative: 1 where nothing is stretched, 0 or less where the map folds."""
    (row_down, row_across), (column_down, column_across) = (_slopes(component) for component in field)
    return (1 + row_down) * (1 + column_across) - row_across * column_down


def bspline_field(
    coefficients_mm: NDArray[np.float64],
    grid_origin_mm: Sequence[float],
    grid_spacing_mm: Sequence[float],
    shape: tuple[int, int],
    spacing_mm: Sequence[float],
) -> NDArray[np.float32]:
    """Field of a cubic B-spline transform with its control points on a regular grid.

    Parameters
    ----------
    coefficients_mm : (2, rows, columns) shifts along rows and columns of each control point
    grid_origin_mm, grid_spacing_mm : (2,) along rows and columns; the plane's first pixel lies at 0, 0
    shape, spacing_mm : of the plane
    """
    down, across = (
        _basis(length, mm, origin, step, count)
        for length, mm, origin, step, count in zip(
            shape, spacing_mm, grid_origin_mm, grid_spacing_mm, coefficients_mm.shape[1:], strict=True
        )
    )
    shifts_mm = down @ coefficients_mm @ across.T
    return (shifts_mm / np.reshape(spacing_mm, (2, 1, 1))).astype(np.float32)


def _basis(length: int, mm: float, origin: float, step: float, count: int) -> NDArray[np.float64]:
    """Weights (pixels, control points) of the cubic B-spline."""
    away = np.abs((np.arange(length)[:, None] * mm - origin) / step - np.arange(count))
    near = (4 - 6 * away**2 + 3 * away**3) / 6
    far = (_CONTROL_VOXELS - away) ** 3 / 6
    return np.where(away < 1, near, np.where(away < _CONTROL_VOXELS, far, 0))


def _positions(field: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    height, width = field.shape[1:]
    rows = np.arange(height, dtype=np.float32)[:, None] + field[0]
    return rows, np.arange(width, dtype=np.float32) + field[1]


def _slopes(component: NDArray[np.floating]) -> tuple[NDArray, NDArray]:
    """Derivatives along rows and columns; 0 along an axis with one pixel."""
    down = np.gradient(component, axis=0) if component.shape[0] > 1 else np.zeros_like(component)
    across = np.gradient(component, axis=1) if component.shape[1] > 1 else np.zeros_like(component)
    return down, across
