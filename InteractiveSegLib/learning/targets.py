"""Targets from an accepted mask: trust in the mask and weights of voxels (Tian et al., arXiv 2312.06072)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.casebook.provenance import Origin


def trust(place: int, expected_cases: int) -> float:
    """Alpha, the trust in the mask of case number ``place`` (from 0) relative to the network's first prediction.

    ``sigmoid(4 (n / N - 0.5))``: 0.12 at the start of the stream, 0.88 at its end; 1 for the first case, since the
    network has not learnt from the study before it.
    """
    if place == 0:
        return 1.0
    return 1 / (1 + math.exp(-4 * (min(place / expected_cases, 1.0) - 0.5)))


def soft_target(
    mask: NDArray, first: NDArray[np.floating] | None, alpha: float, origins: NDArray[np.integer]
) -> NDArray[np.float32]:
    """``alpha M + (1 - alpha) P0``, not thresholded; ``M`` where a person decided, or if there was no prediction.

    Parameters
    ----------
    mask : (K, J, I) bool, or soft from 0 to 1, M; first : (K, J, I), P0
    origins : (K, J, I) of ``Origin``
    """
    target = mask.astype(np.float32)
    if first is None:
        return target
    blended = alpha * target + (1 - alpha) * first.astype(np.float32)
    return np.where(origins == Origin.PERSON, target, blended)


def sharpened(probabilities: NDArray[np.floating], sharpness: float) -> NDArray[np.float32]:
    """Propagated probabilities made more certain without changing the decision at any voxel.

    The log-odds of any object against none are multiplied, and so are the logarithms of the labels' shares of it.

    Parameters
    ----------
    probabilities : (L, ...), those of one voxel sum to at most 1
    sharpness : factor; 1 changes nothing

    Returns
    -------
    (L, ...) float32, still soft; where any object was as probable as none, it still is
    """
    given = probabilities.astype(np.float32)
    if sharpness == 1:
        return given
    some = np.clip(given.sum(axis=0), 0, 1)
    for_some, for_none = some**sharpness, (1 - some) ** sharpness
    largest = given.max(axis=0)
    shares = np.divide(given, largest, out=np.zeros_like(given), where=largest > 0) ** sharpness
    return for_some / (for_some + for_none) * shares / np.maximum(shares.sum(axis=0), 1)


def voxel_weights(origins: NDArray[np.integer], person_weight: float) -> NDArray[np.float32]:
    """``1 + lambda`` where a person decided, 1 elsewhere."""
    return np.where(origins == Origin.PERSON, np.float32(1 + person_weight), np.float32(1))
