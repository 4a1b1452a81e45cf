"""Cases on which a checkpoint is chosen: by full masks where there are any, otherwise by marks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.image.metrics import dice
from InteractiveSegLib.learning.automatic_network import AutomaticNetwork
from InteractiveSegLib.learning.organ_layout import ALL
from InteractiveSegLib.wording.counting import counted

_NEIGHBOURS = np.ones((3, 3, 3), bool)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """An image and what is known of its labels.

    truth : label -> (K, J, I) bool; 0 is the background
    known : (K, J, I) bool, where the truth is known
    """

    volume: Volume
    truth: Mapping[int, NDArray[np.bool_]]
    known: NDArray[np.bool_]

    @classmethod
    def of_marks(cls, volume: Volume, marks: Mapping[int, NDArray[np.bool_]]) -> HeldOut:
        """Marks, outside which nothing is known."""
        known = np.zeros(volume.geometry.shape_kji, bool)
        for where in marks.values():
            known |= where
        return cls(volume, marks, known)

    @classmethod
    def of_mask(
        cls,
        volume: Volume,
        labels: NDArray[np.integer],
        of: Collection[int],
        known: NDArray[np.bool_] | None = None,
    ) -> HeldOut:
        """A mask that is known everywhere, or where ``known`` (K, J, I) is set."""
        known = np.ones(labels.shape, bool) if known is None else known
        truth = {label: (labels == label) & known for label in of}
        return cls(volume, {label: where for label, where in truth.items() if where.any()}, known)

    def scores(self, found: NDArray[np.integer]) -> dict[int, float]:
        """Label -> Dice of a labelmap (K, J, I) where the truth is known, for the labels of the truth."""
        return {label: dice((found == label) & self.known, where) for label, where in self.truth.items() if label > 0}


def that_show_objects(cases: Sequence[HeldOut], notes: list[str]) -> list[HeldOut]:
    """The cases that can be scored; a note says how many others are left out, in which nothing but background is known,
    and that there is no validation if none is left.
    """
    shown = [case for case in cases if any(label > 0 for label in case.truth)]
    if len(shown) < len(cases):
        count = counted(len(cases) - len(shown), "validation case is", "validation cases are")
        notes.append(f"{count} left out, since nothing but background is known there")
        if not shown:
            notes.append("no validation case shows an object: the last checkpoint is used")
    return shown


def mean_score(network: AutomaticNetwork, cases: Sequence[HeldOut]) -> float:
    """Mean over the labels of the mean over the cases in which they occur."""
    return _mean([case.scores(network.labelmap(network.probabilities(case.volume))) for case in cases])


def helpful_parts(network: AutomaticNetwork, cases: Sequence[HeldOut]) -> tuple[int, ...]:
    """Labels of which only the largest part should be kept, as for ``largest_parts``: the best-scoring choice of
    ``ALL`` with the labels that do not lose by it then, of none, and of the labels that do not lose by it. Of equally
    good ones the first: where few cases do not tell, organs that touch in them are taken for parts of one structure.
    """
    found = [network.labelmap(network.probabilities(case.volume)) for case in cases]

    def scores(of: Collection[int]) -> list[Mapping[int, float]]:
        return [case.scores(largest_parts(labels, of)) for case, labels in zip(cases, found, strict=True)]

    def helped(before: Collection[int]) -> tuple[int, ...]:
        without, alone = scores(before), scores((*before, *network.labels))
        each = [label for label in network.labels if _mean_of(alone, label) >= _mean_of(without, label)]
        return (*before, *each)

    return max((helped((ALL,)), (), helped(())), key=lambda of: _mean(scores(of)))


def largest_parts(labels: NDArray[np.integer], of: Collection[int]) -> NDArray[np.integer]:
    """A labelmap (K, J, I) with only the largest connected part of some labels.

    of : labels; with ``ALL``, first only one connected part of all labels taken together is kept: the one with the
        largest geometric mean of the voxels of each label
    """
    kept = labels.copy()
    if ALL in of:
        parts, count = ndimage.label(labels > 0, _NEIGHBOURS)
        occurring = [label for label in np.unique(labels) if label]
        if count > 1:
            held = [np.bincount(parts[labels == label], minlength=count + 1)[1:] for label in occurring]
            best = 1 + int(np.argmax(np.log1p(held).mean(axis=0)))
            kept[parts != best] = 0
    for label in of:
        parts, count = ndimage.label(kept == label, _NEIGHBOURS) if label != ALL else (None, 0)
        if count > 1:
            largest = 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
            kept[(parts > 0) & (parts != largest)] = 0
    return kept


def _mean_of(scores: Sequence[Mapping[int, float]], label: int) -> float:
    return float(np.mean([each[label] for each in scores if label in each] or [np.nan]))


def _mean(scores: Sequence[Mapping[int, float]]) -> float:
    by_label: dict[int, list[float]] = {}
    for each in scores:
        for label, value in each.items():
            by_label.setdefault(label, []).append(value)
    return float(np.mean([np.mean(values) for values in by_label.values()])) if by_label else float("nan")
