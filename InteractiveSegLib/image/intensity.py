"""Intensities as the networks see them. Training and inference call the same function."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Volume

_LOW_PERCENT, _HIGH_PERCENT = 0.5, 99.5
_SAMPLE = 20_000  # voxels from which the percentiles are computed


def normalised(crop: NDArray[np.floating]) -> NDArray[np.float32]:
    """Crop scaled to [0, 1] between its 0.5 and 99.5 percentiles and clipped there.

    The percentiles of a large crop are computed from an evenly spread, fixed subset of about 20,000 voxels.

    Parameters
    ----------
    crop : any shape, finite

    Returns
    -------
    The shape of ``crop``, float32. A constant crop gives zeros.

    Raises
    ------
    InputError : ``crop`` is empty or holds values that are not finite.
    """
    crop = np.asarray(crop, dtype=np.float32)
    if crop.size == 0:
        raise InputError(f"a crop of shape {crop.shape} has no voxels to normalise")
    if not np.isfinite(crop).all():
        raise InputError(f"{int((~np.isfinite(crop)).sum())} voxels of the crop are not finite")
    step = max(1, crop.size // _SAMPLE)
    while math.gcd(step, crop.shape[-1]) > 1:  # or the subset would hold whole columns and miss others
        step += 1
    low, high = np.percentile(crop.reshape(-1)[::step], (_LOW_PERCENT, _HIGH_PERCENT))
    if high - low <= 1e-6 * max(abs(low), abs(high)):
        low, high = float(crop.min()), float(crop.max())  # nearly constant: use the rare values
    if high - low <= 1e-6 * max(abs(low), abs(high)):
        return np.zeros(crop.shape, np.float32)
    scaled = (crop - np.float32(low)) * np.float32(1 / (high - low))
    return np.clip(scaled, 0, 1, out=scaled)


def crop_intensities(volume: Volume, crop: BoundingBox) -> tuple[NDArray[np.float32], int]:
    """The crop (K, J, I) in [0, 1], and how many of its voxels are not finite (they are treated as the darkest finite
    value).

    Raises
    ------
    InputError : no voxel of the crop is finite.
    """
    values = volume.array_kji[crop.slices]
    wide = values.dtype.itemsize >= 4  # float32 would lose the low bits of large values
    if values.dtype.kind in "iu" and values.dtype.itemsize == 8:  # and so would float64
        values = values.astype(np.uint64) - values.min().astype(np.uint64)
    values = values.astype(np.float64 if wide else np.float32)
    finite = np.isfinite(values)
    missing = int(values.size - np.count_nonzero(finite))
    if missing == values.size:
        raise InputError(f"all {values.size} voxels of the image in the box are NaN or infinite")
    if missing:
        values[~finite] = values[finite].min()
    if wide:
        _bring_to_float32_range(values)
    return normalised(values), missing


def _bring_to_float32_range(values: NDArray[np.float64]) -> None:
    """Shift and scale so that float32 keeps the low bits of all but far outliers, such as a padding of -1e30."""
    low, middle, high = np.percentile(values.reshape(-1)[:: max(1, values.size // 20_000)], (0.5, 50, 99.5))
    if high <= low:  # nearly constant: the outliers may be all there is to see
        low, high = values.min(), values.max()
    with np.errstate(over="ignore"):
        values -= middle
        values /= max(high - low, np.finfo(np.float64).tiny)
    np.clip(values, -1e6, 1e6, out=values)
