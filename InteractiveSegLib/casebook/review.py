"""What a person has reviewed: the state of every organ in every slice of a mask."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from itertools import groupby
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import Index
from InteractiveSegLib.image.geometry import Geometry

_RUN = re.compile(r"(\d+)([uvea])")


class SliceState(IntEnum):
    """What is known of one organ in one slice."""

    UNVERIFIED = 0
    """Not reviewed: neither learnt from nor used as ground truth."""
    VERIFIED = 1
    """Reviewed, and correct as it was."""
    EDITED = 2
    """Corrected by a person."""
    ABSENT = 3
    """The organ is not in this slice."""


_LETTERS = {state: state.name[0].lower() for state in SliceState}
_STATES = {letter: state for state, letter in _LETTERS.items()}


def review_axis(geometry: Geometry) -> int:
    """The axis (0 k, 1 j, 2 i) along which slices are reviewed: the first one with the largest spacing."""
    spacing = np.array(geometry.spacing_kji_mm)
    return int(np.argmax(spacing > 0.999 * spacing.max()))  # headers of float32 make equal voxels differ


@dataclass(frozen=True)
class Review:
    """States of organs by slice, along one axis of an image. Organs without states are unverified.

    axis : 0 k, 1 j, 2 i
    slices : number of slices along the axis
    states : label -> state of every slice

    Raises
    ------
    InputError : an invalid axis, a number of states other than that of slices, or a label outside 1 to 254.
    """

    axis: int
    slices: int
    states: Mapping[int, tuple[SliceState, ...]]

    def __post_init__(self) -> None:
        if self.axis not in (0, 1, 2):
            raise InputError(f"the axis of a review must be 0, 1 or 2, not {self.axis!r}")
        for label, states in self.states.items():
            if not 1 <= label <= 254:
                raise InputError(f"label {label} of a review must be between 1 and 254")
            if len(states) != self.slices:
                raise InputError(f"label {label} has {len(states)} states, but the image has {self.slices} slices")
        object.__setattr__(self, "states", MappingProxyType(dict(sorted(self.states.items()))))

    @classmethod
    def of_all(cls, geometry: Geometry, labels: Iterable[int], state: SliceState = SliceState.UNVERIFIED) -> Review:
        """A review with all organs in one state in every slice."""
        axis = review_axis(geometry)
        count = geometry.shape_kji[axis]
        return cls(axis, count, dict.fromkeys(labels, (state,) * count))

    def marked(self, label: int, state: SliceState, slices: Iterable[int] | None = None) -> Review:
        """This review with another state of an organ, in these slices or in all of them.

        Raises
        ------
        InputError : a slice that the image does not have.
        """
        chosen = set(range(self.slices) if slices is None else slices)
        if beyond := sorted(chosen - set(range(self.slices))):
            raise InputError(
                f"the image has no slice {beyond[0]}: its {self.slices} slices along {'kji'[self.axis]} count from 0 "
                f"to {self.slices - 1}"
            )
        before = self.of(label)
        after = tuple(state if number in chosen else old for number, old in enumerate(before))
        return Review(self.axis, self.slices, {**self.states, label: after})

    def naming(self, labels: Iterable[int]) -> Review:
        """This review with states for these organs, too."""
        return Review(self.axis, self.slices, {**{label: self.of(label) for label in labels}, **self.states})

    def equals(self, other: Review) -> bool:
        """The same states of the same slices."""
        return self == other

    def of(self, label: int) -> tuple[SliceState, ...]:
        """The states of one organ."""
        return self.states.get(label, (SliceState.UNVERIFIED,) * self.slices)

    def known(self, label: int) -> NDArray[np.bool_]:
        """(slices,) where an organ was reviewed."""
        return np.array(self.of(label)) != SliceState.UNVERIFIED

    def known_kji(self, label: int) -> NDArray[np.bool_]:
        """As ``known``, but with three axes, two of them of length 1, to broadcast with the image (K, J, I)."""
        shape = [1, 1, 1]
        shape[self.axis] = self.slices
        return self.known(label).reshape(shape)

    def known_labels(self) -> tuple[int, ...]:
        """Organs that were reviewed in any slice."""
        return tuple(label for label in self.states if self.known(label).any())

    @property
    def is_whole(self) -> bool:
        """Whether each of its organs was reviewed in every slice."""
        return all(self.known(label).all() for label in self.states)

    def counts(self) -> dict[SliceState, int]:
        """Number of slices of organs in each state."""
        counted = Counter(state for states in self.states.values() for state in states)
        return {state: counted[state] for state in SliceState}

    def verified_part(self, labels: NDArray[np.integer]) -> NDArray[np.integer]:
        """The labelmap (K, J, I) without unreviewed parts."""
        kept = labels.copy()
        for label in (int(value) for value in np.unique(labels) if value):
            kept[(labels == label) & ~self.known_kji(label)] = 0
        return kept

    def with_edits(self, before: NDArray[np.integer], after: NDArray[np.integer]) -> Review:
        """This review, with verified slices marked as edited where an organ differs from an earlier mask (K, J, I)."""
        review = self
        for label in self.states:
            changed = changed_slices(before == label, after == label, self.axis)
            verified = np.array(self.of(label)) == SliceState.VERIFIED
            review = review.marked(label, SliceState.EDITED, np.flatnonzero(changed & verified).tolist())
        return review

    def carried_from(self, earlier: Review, before: NDArray[np.integer], after: NDArray[np.integer]) -> Review:
        """This review, completed by the review of an earlier mask (K, J, I) wherever the organ has not changed in a
        slice.
        """
        review = self
        for label in earlier.states:
            changed = changed_slices(before == label, after == label, self.axis)
            open_slices = ~review.known(label) & ~changed & earlier.known(label)
            for number in np.flatnonzero(open_slices).tolist():
                review = review.marked(label, earlier.of(label)[number], [number])
        return review

    def require_grid(self, shape_kji: Index, what: str) -> None:
        """InputError if an image of this shape has another number of slices."""
        if self.slices != shape_kji[self.axis]:
            raise InputError(
                f"the review of {what} has {self.slices} slices along {'kji'[self.axis]}, but the image has the "
                f"shape {shape_kji} (k, j, i)"
            )

    def require_fits(self, labels: NDArray[np.integer], what: str, names: Mapping[int, str] | None = None) -> None:
        """Check that it does not contradict a labelmap (K, J, I).

        names : label -> name, for messages

        Raises
        ------
        InputError : nothing was reviewed; the labelmap shows an organ in a slice where it is marked as absent; or an
            organ marked as verified everywhere does not occur in it.
        """
        if not self.known_labels():
            raise InputError(f"nothing of the mask of {what} is verified: there is nothing to accept")
        along = "kji"[self.axis]
        for label, states in self.states.items():
            name = (names or {}).get(label, f"label {label}")
            shown = changed_slices(labels == label, np.zeros((1, 1, 1), bool), self.axis)
            absent = np.array(states) == SliceState.ABSENT
            if (wrong := np.flatnonzero(shown & absent)).size:
                raise InputError(
                    f"{name} is marked as absent from slice {wrong[0]} along {along} of {what}, but the mask "
                    "shows it there"
                )
            if self.known(label).all() and not shown.any() and not absent.any():
                raise InputError(
                    f"{name} is marked as verified in all slices of {what}, but the mask does not show it: mark "
                    "it as absent"
                )

    def to_text(self) -> str:
        """Text for the database: runs of slices of one state, such as ``3u4v``; inverse of ``from_text``."""
        runs = {
            str(label): "".join(f"{len(list(run))}{_LETTERS[state]}" for state, run in groupby(states))
            for label, states in self.states.items()
        }
        return json.dumps({"axis": self.axis, "slices": self.slices, "states": runs})

    @classmethod
    def from_text(cls, text: str) -> Review:
        """Inverse of ``to_text``. InputError if the text is not a review."""
        try:
            fields = json.loads(text)
            states = {int(label): _unpacked(runs) for label, runs in fields["states"].items()}
            return cls(fields["axis"], fields["slices"], states)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise InputError(f"{text!r} is not a review: {error}") from error


def changed_slices(before: NDArray[np.bool_], after: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    """(slices,) where two masks (K, J, I) differ, along an axis."""
    return (before != after).any(axis=tuple(other for other in range(3) if other != axis))


def _unpacked(runs: str) -> tuple[SliceState, ...]:
    found = _RUN.findall(runs)
    if (
        "".join(f"{count}{letter}" for count, letter in found) != runs
        or sum(int(count) for count, _ in found) > 1 << 20
    ):
        raise ValueError(f"{runs!r} are not runs of states")
    return tuple(_STATES[letter] for count, letter in found for _ in range(int(count)))
