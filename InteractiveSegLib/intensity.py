"""Intensities as the networks see them. Training and inference call the same function."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError

_LOW_PERCENT, _HIGH_PERCENT = 0.5, 99.5
_SAMPLE = 20_000  # voxels from which the percentiles are read


def normalised(crop: NDArray[np.floating]) -> NDArray[np.float32]:
    """Crop scaled to [0, 1] between its 0.5 and 99.5 percentiles and clipped there.

    The percentiles of a large crop are read from an evenly spread, fixed subset of about 20,000 voxels.

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
        low, high = float(crop.min()), float(crop.max())  # nearly constant: let the rare values speak
    if high - low <= 1e-6 * max(abs(low), abs(high)):
        return np.zeros(crop.shape, np.float32)
    scaled = (crop - np.float32(low)) * np.float32(1 / (high - low))
    return np.clip(scaled, 0, 1, out=scaled)
