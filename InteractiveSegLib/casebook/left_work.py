"""What a case is opened with: the latest of the accepted mask, the last round and the starting mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.casebook.acceptance import latest, load_accepted
from InteractiveSegLib.casebook.case_rounds import last_round
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.entries import CaseEntry
from InteractiveSegLib.casebook.provenance import Origin, traced
from InteractiveSegLib.casebook.review import Review
from InteractiveSegLib.casebook.splits import TEST
from InteractiveSegLib.casebook.starting_masks import starting_mask
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.prompts.prompts import Prompts


@dataclass(frozen=True, eq=False)
class LeftWork:
    """The saved work on a case.

    labels, origins : (K, J, I), origins of ``Origin``
    accepted : (K, J, I) labels that were accepted last, and their review; None if the case was never accepted
    is_start : it is a starting mask that nobody has reviewed
    review : of ``labels``; None if the mask counts as a whole: it began without a starting mask, and nobody reviewed a
        part of it
    """

    prompts: Prompts
    labels: NDArray[np.integer]
    origins: NDArray[np.integer]
    accepted: tuple[NDArray[np.integer], Review] | None = None
    is_start: bool = False
    review: Review | None = None


def left_work(casebook: Casebook, entry: CaseEntry) -> LeftWork | None:
    """The latest saved work; None if there is none. Damaged work is left out with a note."""
    accepted = None
    kept, start = last_round(casebook, entry), _started(casebook, entry)
    try:
        row = latest(casebook, entry)
        if row is not None:
            found, review = load_accepted(entry, row), row.reviewed(entry)
            accepted = (found.labels, review)
            if kept is None or kept.accepted < row.id:
                in_parts = review if start is not None or not review.is_whole else None
                return LeftWork(found.prompts, found.labels, found.origins, accepted, review=in_parts)
    except InputError as error:
        casebook.note(str(error))
    if kept is not None:
        nowhere = np.zeros(kept.labels.shape, bool)
        origins = traced(kept.labels, nowhere, model=start)
        review = kept.review
        if review is None and (start is not None or (accepted is not None and not accepted[1].is_whole)):
            review = _carried(casebook, entry, accepted, kept.labels)
        return LeftWork(kept.prompts, kept.labels, origins, accepted, review=review)
    if start is None:
        return None
    origins = np.where(start > 0, Origin.MODEL, Origin.NOBODY).astype(np.uint8)
    return LeftWork(
        Prompts(), start, origins, accepted, is_start=True, review=_carried(casebook, entry, accepted, start)
    )


def _carried(
    casebook: Casebook,
    entry: CaseEntry,
    accepted: tuple[NDArray[np.integer], Review] | None,
    labels: NDArray[np.integer],
) -> Review:
    """The review of the mask that was accepted last, where these labels (K, J, I) agree with it."""
    review = Review.of_all(entry.image.geometry, casebook.labels())
    return review if accepted is None else review.carried_from(accepted[1], accepted[0], labels)


def _started(casebook: Casebook, entry: CaseEntry) -> NDArray[np.integer] | None:
    """The starting mask; None if there is none, if it is damaged, or if the case is to be annotated without help."""
    if entry.split == TEST:
        return None
    try:
        found = starting_mask(casebook, entry)
        return None if found is None else found.load(entry)
    except InputError as error:
        casebook.note(str(error))
        return None
