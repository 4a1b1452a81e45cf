"""How many pieces organs are in: a network that has seen little finds some where there are none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_WORTH = 0.1  # of the organ's volume, from which a piece counts
_NEIGHBOURS = np.ones((3, 3, 3), bool)
ALL = 0
"""The key of all organs taken together."""


def part_counts(labels: NDArray[np.integer]) -> dict[int, int]:
    """Label -> pieces of a tenth of the organ or more in a labelmap (K, J, I); under ``ALL`` those of all together."""
    found = {ALL: labels > 0} | {int(value): labels == value for value in np.unique(labels) if value}
    counts = {}
    for label, mask in found.items():
        pieces, count = ndimage.label(mask, _NEIGHBOURS)
        sizes = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
        counts[label] = int((sizes >= _WORTH * sizes.sum()).sum()) if count else 0
    return counts


def most_parts(counts: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """The largest number of pieces of every organ in several labelmaps."""
    most: dict[int, int] = {}
    for each in counts:
        most |= {label: max(count, most.get(label, 0)) for label, count in each.items()}
    return most


def likely_parts(
    labels: NDArray[np.integer], sure: NDArray[np.floating], most: Mapping[int, int]
) -> NDArray[np.integer]:
    """A labelmap (K, J, I) with no more pieces than organs have: those that the network believes in most.

    Parameters
    ----------
    sure : (K, J, I) probability of the label of each voxel; a piece weighs as much as it holds of it
    most : as of ``most_parts``; all organs together are looked at first. Where these are one piece, as the chambers of
        a heart are, a piece weighs the geometric mean of what it holds of every organ: each should be there.
    """
    kept = labels.copy()
    organs = [label for label in most if label != ALL]
    for label, count in sorted(most.items()):
        mask = kept > 0 if label == ALL else kept == label
        pieces, found = ndimage.label(mask, _NEIGHBOURS)
        if found > count:
            numbers = np.arange(1, found + 1)
            if label == ALL and count == 1 and organs:
                held = [ndimage.sum_labels(sure * (kept == organ), pieces, numbers) for organ in organs]
                weights = np.exp(np.mean(np.log(np.array(held) + 1), axis=0))
            else:
                weights = ndimage.sum_labels(sure, pieces, numbers)
            best = 1 + np.argsort(-weights, kind="stable")[:count]
            kept[mask & ~np.isin(pieces, best)] = 0
    return kept
