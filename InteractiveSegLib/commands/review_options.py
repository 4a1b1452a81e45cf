"""What a person says of a mask on the command line: which organs are right, and which are not there."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from InteractiveSegLib.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from InteractiveSegLib.casebook.casebook import Casebook
    from InteractiveSegLib.casebook.entries import CaseEntry
    from InteractiveSegLib.casebook.left_work import LeftWork
    from InteractiveSegLib.casebook.review import Review


def add_review(action: argparse.ArgumentParser) -> None:
    """Options that accept a part of a mask."""
    for name, text in (
        ("--verified", "this organ, by name or number, is correct in all slices or in these (0-4,7; from 0)"),
        ("--not-there", "this organ is not in the image, or not in these slices"),
    ):
        action.add_argument(name, action="append", default=[], metavar="ORGAN[:SLICES]", help=text)


def review_of(
    casebook: Casebook,
    entry: CaseEntry,
    labels: NDArray[np.integer],
    left: LeftWork | None,
    options: argparse.Namespace,
) -> Review | None:
    """The review of a mask (K, J, I); None if no option names an organ, so that all of the mask is verified.

    The review of the mask that was accepted before, or of the work since, is kept where the organ has not changed.

    Raises
    ------
    InputError : an organ that the study does not have, invalid slices, or slices that the image does not have.
    """
    from InteractiveSegLib.casebook.review import Review, SliceState

    said = [(word, SliceState.VERIFIED) for word in options.verified]
    said += [(word, SliceState.ABSENT) for word in options.not_there]
    if not said:
        return None
    study = casebook.labels()
    review = Review.of_all(entry.image.geometry, study)
    for word, state in said:
        label, slices = _organ_and_slices(word, study)
        review = review.marked(label, state, slices)
    if left is not None and left.review is not None:
        review = review.carried_from(left.review, left.labels, labels)
    if left is not None and left.accepted is not None:
        before, earlier = left.accepted
        review = review.carried_from(earlier, before, labels)
    return review


def _organ_and_slices(word: str, study: dict[int, str]) -> tuple[int, list[int] | None]:
    """A name may hold a colon itself."""
    for organ, numbers in ((word, None), word.rpartition(":")[::2]):
        found = [value for value, name in study.items() if organ.strip() in (str(value), name)]
        if organ and len(found) == 1:
            return found[0], None if numbers is None else _slices(numbers, word)
    known = ", ".join(f"{value} ({name})" for value, name in study.items()) or "none"
    raise InputError(f"{word!r} names no organ of the study; it has {known}")


def _slices(numbers: str, word: str) -> list[int]:
    found: list[int] = []
    for part in numbers.split(","):
        first, dash, last = (piece.strip() for piece in part.partition("-"))
        last = last if dash else first
        if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last) < 1 << 20):
            raise InputError(f"{word!r}: {part!r} is no slice and no range of slices, such as 0-4,7")
        found += range(int(first), int(last) + 1)
    return found
