"""Labels brought onto the grid of the image they belong to, without resampling."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.image.geometry import Geometry, kji_to_ras, ras_to_kji

_ROUNDING_VOXELS = 0.1
_EXACT_MM = 1e-3


def on_grid(
    array_kji: NDArray, own: Geometry, grid: Geometry, what: str, notes: list[str], *, part: bool = False
) -> NDArray:
    """An array of ``own`` grid on ``grid``, with the axes in that order, if both describe the same voxels.

    Grids count as the same up to a tenth of the smallest voxel side, which is more than headers are rounded by.

    Parameters
    ----------
    what : for messages, e.g. "the labelmap a.nrrd"
    notes : sentences on what was done are added
    part : the array may cover a part of the grid, or reach beyond it; voxels outside are cut off, missing voxels are 0

    Raises
    ------
    InputError : the grids differ by more.
    """
    reordered, geometry = _reordered(array_kji, own, grid)
    allowed_mm = _ROUNDING_VOXELS * min(grid.spacing_kji_mm)
    placed, away_mm = reordered, geometry.difference_mm(grid)
    if part and away_mm > allowed_mm:
        placed, away_mm = _pasted(reordered, geometry, grid, what, notes)
    if away_mm > allowed_mm:
        grid.require_same(own, what, allowed_mm)
    if reordered is not array_kji:
        notes.append(f"{what} has its axes in another order or direction than the image; they were reordered")
    if away_mm > _EXACT_MM:
        notes.append(f"{what} lies up to {away_mm:.2g} mm off the image's grid, less than a tenth of a voxel")
    return placed


def _reordered(array: NDArray, own: Geometry, grid: Geometry) -> tuple[NDArray, Geometry]:
    """The array with its axes in the order and direction of the grid; the same objects if they already are."""
    turn = np.linalg.solve(grid.ijk_to_ras[:3, :3], own.ijk_to_ras[:3, :3])
    turn = turn / np.linalg.norm(turn, axis=0)
    sources = np.abs(turn).argmax(axis=1)  # own axis (i, j, k) along each axis of the grid
    signs = turn[np.arange(3), sources]
    if sorted(sources) != [0, 1, 2] or (np.array_equal(sources, (0, 1, 2)) and (signs > 0).all()):
        return array, own
    counts = np.array(own.shape_kji[::-1])
    matrix = np.eye(4)
    matrix[:3, :3] = own.ijk_to_ras[:3, sources] * np.sign(signs)
    first_ijk = np.zeros(3)
    first_ijk[sources[signs < 0]] = counts[sources[signs < 0]] - 1
    matrix[:3, 3] = kji_to_ras(first_ijk[None, ::-1], own)[0]
    flips = tuple(slice(None, None, -1 if sign < 0 else 1) for sign in signs)
    reordered = array.T.transpose(sources)[flips].T
    return np.ascontiguousarray(reordered), Geometry(reordered.shape, matrix)


def _pasted(array: NDArray, own: Geometry, grid: Geometry, what: str, notes: list[str]) -> tuple[NDArray, float]:
    """The array placed in an empty one of the grid, and how far its voxels are off those of the grid."""
    start = np.rint(ras_to_kji(kji_to_ras(np.zeros((1, 3)), own), grid)[0]).astype(int)
    matrix = grid.ijk_to_ras.copy()
    matrix[:3, 3] = kji_to_ras(start[None], grid)[0]
    away_mm = own.difference_mm(Geometry(own.shape_kji, matrix))
    stop = start + own.shape_kji
    low, high = np.maximum(start, 0), np.minimum(stop, grid.shape_kji)
    whole = np.zeros(grid.shape_kji, array.dtype)
    inside = np.zeros(array.shape, bool)
    if (low < high).all():
        within = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
        whole[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = array[within]
        inside[within] = True
    cut = np.count_nonzero(array[~inside])
    if cut and away_mm < np.inf:
        notes.append(f"{cut} voxels of {what} lie outside the image and are left out")
    return whole, away_mm
