"""An annotator for the rounds of a case: annotates suggested slices with the truth, within its patience."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.users.slice_annotator import boundary_pixels
from InteractiveSegLib.propagate.annotated_slice import AnnotatedSlice
from InteractiveSegLib.propagate.guidance import Suggestion


@dataclass(frozen=True)
class AnnotatorSettings:
    """rounds : of a case. first, later : slices in the first round and in each later one.

    patience : maximum number of boundary pixels drawn, as a fraction of those on all slices of the object
    """

    rounds: int = 4
    first: int = 3
    later: int = 3
    patience: float = 0.38

    def __post_init__(self) -> None:
        if min(self.rounds, self.first, self.later) < 1 or not 0 < self.patience <= 1:
            raise InputError(
                f"rounds {self.rounds}, first {self.first}, later {self.later} must be at least 1 and patience "
                f"{self.patience} within 0 and 1"
            )


@dataclass(eq=False)
class SimulatedAnnotator:
    """Annotates k slices of one case.

    truth : (K, J, I)
    """

    truth: NDArray[np.integer]
    settings: AnnotatorSettings = field(default_factory=AnnotatorSettings)
    indices: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._outline = boundary_pixels(self.truth)
        if not self._outline.any():
            raise InputError("the truth is empty: there is nothing to annotate")
        self._held = np.flatnonzero(self.truth.any(axis=(1, 2))).tolist()

    @property
    def effort(self) -> float:
        """Boundary pixels on the annotated slices, as a fraction of those on all slices."""
        return float(self._outline[self.indices].sum() / self._outline.sum())

    def annotate(self, proposals: Sequence[Suggestion], count: int) -> list[AnnotatedSlice]:
        """At most ``count`` of the suggested slices that show the object, best first, within the patience.

        A suggested slice that shows nothing costs nothing: it is annotated as empty, which says that the object has
        ended there. If too few suggestions show the object, slices are taken from the middle of the widest gaps.
        """
        wanted = [each.index for each in proposals if each.axis == 0]
        given: list[AnnotatedSlice] = []
        drawn = 0
        for index in wanted:
            if drawn < count and index not in self.indices and self._within_patience(index):
                self.indices.append(index)
                given.append(AnnotatedSlice(0, index, self.truth[index]))
                drawn += index in self._held
        while drawn < count and (index := self._middle_of_widest_gap()) is not None and self._within_patience(index):
            self.indices.append(index)
            given.append(AnnotatedSlice(0, index, self.truth[index]))
            drawn += 1
        return given

    def _within_patience(self, index: int) -> bool:
        anything = any(each in self._held for each in self.indices)
        return not anything or self.effort + self._outline[index] / self._outline.sum() <= self.settings.patience

    def _middle_of_widest_gap(self) -> int | None:
        """The object's slice that is farthest from an annotated slice and from the object's ends."""
        left = [index for index in self._held if index not in self.indices]
        walls = [self._held[0] - 1, self._held[-1] + 1, *self.indices]
        return max(left, key=lambda index: min(abs(index - wall) for wall in walls), default=None)
