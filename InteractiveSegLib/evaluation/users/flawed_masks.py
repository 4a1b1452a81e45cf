"""Masks with errors, such as another method or a hurried person leaves behind."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from InteractiveSegLib.errors import InputError

_MOVED = 0.2  # standard deviation of the surface's displacement, in radii of a ball of the object's volume
_WAVELENGTH = 0.3  # of these radii, over which the displacement is alike


def flawed_mask(
    truth: NDArray[np.bool_], spacing_kji_mm: Sequence[float], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """The object (K, J, I) with a surface that is displaced by a smooth random field, outwards here and inwards there.

    The displacement is in proportion to the size of the object, so that masks of large and of small objects are about
    equally good. Where nothing would be left, the mask is the object.

    Parameters
    ----------
    truth : (K, J, I) bool, of one object
    spacing_kji_mm : of the voxels
    rng : the same state gives the same mask

    Raises
    ------
    InputError : the object is empty.
    """
    if not truth.any():
        raise InputError("the object is empty: there is no mask to spoil")
    spacing = np.asarray(spacing_kji_mm, np.float64)
    radius = (0.75 * np.count_nonzero(truth) * spacing.prod() / np.pi) ** (1 / 3)
    depth = ndimage.distance_transform_edt(truth, spacing) - ndimage.distance_transform_edt(~truth, spacing)
    depth -= 0.5 * spacing.min() * np.sign(depth)  # from the surface, rather than from the nearest voxel beyond it
    field = ndimage.gaussian_filter(rng.standard_normal(truth.shape), _WAVELENGTH * radius / spacing, mode="wrap")
    flawed = depth + _MOVED * radius * field / max(field.std(), np.finfo(float).tiny) > 0
    return flawed if flawed.any() else truth.copy()
