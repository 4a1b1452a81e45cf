"""What an accepted mask teaches: how far it is believed and how much each voxel counts (Tian et al., 2312.06072)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.casebook.provenance import Origin


def trust(place: int, expected_cases: int) -> float:
    """Alpha, how far the mask of case number ``place`` (from 0) is believed against the network's first answer.

    ``sigmoid(4 (n / N - 0.5))``: 0.12 at the start of the stream, 0.88 at its end. The first case, of which the network
    knew nothing, is believed altogether.
    """
    if place == 0:
        return 1.0
    return 1 / (1 + math.exp(-4 * (min(place / expected_cases, 1.0) - 0.5)))


def soft_target(
    mask: NDArray, first: NDArray[np.floating] | None, alpha: float, origins: NDArray[np.integer]
) -> NDArray[np.float32]:
    """``alpha M + (1 - alpha) P0``, never thresholded; ``M`` where a person decided, or where there was no answer.

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
    """Labels that were propagated, made surer without another decision at any voxel.

    The log-odds of any object against none are multiplied, and the logarithms of the labels' shares of it.

    Parameters
    ----------
    probabilities : (L, ...), those of one voxel sum to at most 1
    sharpness : factor; 1 leaves them as they are

    Returns
    -------
    (L, ...) float32, soft as before; where any object was as probable as none, it still is
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
