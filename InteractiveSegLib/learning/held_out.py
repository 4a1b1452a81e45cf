"""Cases by which a checkpoint is chosen: full masks where there are any, else what is marked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.image.metrics import dice
from InteractiveSegLib.learning.automatic_network import AutomaticNetwork

_NEIGHBOURS = np.ones((3, 3, 3), bool)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """An image and what is known of it.

    truth : label -> (K, J, I) bool; 0 is the background
    known : (K, J, I) bool, where it says anything
    """

    volume: Volume
    truth: Mapping[int, NDArray[np.bool_]]
    known: NDArray[np.bool_]

    @classmethod
    def of_marks(cls, volume: Volume, marks: Mapping[int, NDArray[np.bool_]]) -> HeldOut:
        """Nothing is known beside the marks."""
        known = np.zeros(volume.geometry.shape_kji, bool)
        for where in marks.values():
            known |= where
        return cls(volume, marks, known)

    @classmethod
    def of_mask(cls, volume: Volume, labels: NDArray[np.integer], of: Collection[int]) -> HeldOut:
        """Everything is known."""
        truth = {label: labels == label for label in of}
        return cls(volume, {label: where for label, where in truth.items() if where.any()}, np.ones(labels.shape, bool))

    def scores(self, found: NDArray[np.integer]) -> dict[int, float]:
        """Label -> Dice of a labelmap (K, J, I) where anything is known; of the labels that occur."""
        return {label: dice((found == label) & self.known, where) for label, where in self.truth.items() if label > 0}


def mean_score(network: AutomaticNetwork, cases: Sequence[HeldOut]) -> float:
    """Mean over the labels of the mean over the cases in which they occur."""
    return _mean([case.scores(network.labelmap(network.probabilities(case.volume))) for case in cases])


def helpful_parts(network: AutomaticNetwork, cases: Sequence[HeldOut]) -> tuple[int, ...]:
    """Labels of which the largest part alone scores at least as well as all that is found."""
    found = [network.labelmap(network.probabilities(case.volume)) for case in cases]
    plain = [case.scores(labels) for case, labels in zip(cases, found, strict=True)]
    alone = [case.scores(largest_parts(labels, network.labels)) for case, labels in zip(cases, found, strict=True)]

    def mean_of(scores: Sequence[Mapping[int, float]], label: int) -> float:
        return float(np.mean([each[label] for each in scores if label in each] or [np.nan]))

    return tuple(label for label in network.labels if mean_of(alone, label) >= mean_of(plain, label))


def largest_parts(labels: NDArray[np.integer], of: Collection[int]) -> NDArray[np.integer]:
    """A labelmap (K, J, I) in which only the largest connected part of some labels is left."""
    kept = labels.copy()
    for label in of:
        parts, count = ndimage.label(labels == label, _NEIGHBOURS)
        if count > 1:
            largest = 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
            kept[(parts > 0) & (parts != largest)] = 0
    return kept


def _mean(scores: Sequence[Mapping[int, float]]) -> float:
    by_label: dict[int, list[float]] = {}
    for each in scores:
        for label, value in each.items():
            by_label.setdefault(label, []).append(value)
    return float(np.mean([np.mean(values) for values in by_label.values()])) if by_label else float("nan")
