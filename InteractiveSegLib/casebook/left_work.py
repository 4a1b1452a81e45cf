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
from InteractiveSegLib.casebook.starting_masks import starting_mask
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.prompts.prompts import Prompts


@dataclass(frozen=True, eq=False)
class LeftWork:
    """The saved work on a case.

    labels, origins : (K, J, I), origins of ``Origin``
    accepted : (K, J, I) labels that were accepted last, and their review; None if the case was never accepted
    is_start : it is a starting mask that nobody has reviewed
    """

    prompts: Prompts
    labels: NDArray[np.integer]
    origins: NDArray[np.integer]
    accepted: tuple[NDArray[np.integer], Review] | None = None
    is_start: bool = False


def left_work(casebook: Casebook, entry: CaseEntry) -> LeftWork | None:
    """The latest saved work; None if there is none. Damaged work is left out with a note."""
    accepted = None
    kept = last_round(casebook, entry)
    try:
        row = latest(casebook, entry)
        if row is not None:
            found = load_accepted(entry, row)
            accepted = (found.labels, row.reviewed(entry))
            if kept is None or kept.accepted < row.id:
                return LeftWork(found.prompts, found.labels, found.origins, accepted)
    except InputError as error:
        casebook.note(str(error))
    start = _started(casebook, entry)
    if kept is not None:
        nowhere = np.zeros(kept.labels.shape, bool)
        return LeftWork(kept.prompts, kept.labels, traced(kept.labels, nowhere, model=start), accepted)
    if start is None:
        return None
    origins = np.where(start > 0, Origin.MODEL, Origin.NOBODY).astype(np.uint8)
    return LeftWork(Prompts(), start, origins, accepted, is_start=True)


def _started(casebook: Casebook, entry: CaseEntry) -> NDArray[np.integer] | None:
    try:
        found = starting_mask(casebook, entry)
        return None if found is None else found.load(entry)
    except InputError as error:
        casebook.note(str(error))
        return None
