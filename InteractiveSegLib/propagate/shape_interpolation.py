"""Shapes between slices from the shapes alone: signed distances, blended (Raya and Udupa, IEEE TMI 1990)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

NOWHERE_MM = 1e4


def signed_distance_mm(mask: NDArray[np.bool_], spacing_mm: Sequence[float]) -> NDArray[np.float32]:
    """Distance to the border between pixels in and out of a mask: positive inside, negative outside.

    Pixels at the border are half of the finer spacing away from it. The array's border does not count as a border of
    the mask. A mask without any pixel is ``-NOWHERE_MM`` everywhere, a full one ``NOWHERE_MM``.
    """
    if not mask.any() or mask.all():
        return np.full(mask.shape, NOWHERE_MM if mask.any() else -NOWHERE_MM, np.float32)
    inside = ndimage.distance_transform_edt(mask, sampling=spacing_mm)
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing_mm)
    half = min(spacing_mm) / 2
    return np.where(mask, inside - half, half - outside).astype(np.float32)


def with_ends(
    lower_mm: NDArray[np.float32], upper_mm: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Signed distances (C, H, W) of two slices, where an object that one of them lacks ends half-way.

    On the slice that lacks it, the distance outside is taken to be the depth of the object on the other slice.
    """
    lower, upper = lower_mm.copy(), upper_mm.copy()
    for one, other in zip(lower, upper, strict=True):
        if one.max() <= -NOWHERE_MM < other.max():
            one[...] = -min(other.max(), NOWHERE_MM)
        elif other.max() <= -NOWHERE_MM < one.max():
            other[...] = -min(one.max(), NOWHERE_MM)
    return lower, upper
