"""The status of a study: what is verified, the effort of each batch, and whether to stop annotating."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from InteractiveSegLib.casebook.acceptance import latest
from InteractiveSegLib.casebook.batches import BATCHES, batch_size, batch_sizes
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.effort import CHANGED, Event, effort_of
from InteractiveSegLib.casebook.splits import TEST
from InteractiveSegLib.casebook.states import State
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.wording.counting import counted


@dataclass(frozen=True)
class StopSettings:
    """When to suggest stopping.

    fall : relative decrease of the median time from one batch to the next, below which it has levelled off
    changed : median fraction of changed voxels in a batch, below which starting masks need no more correction
    """

    fall: float = 0.1
    changed: float = 0.02

    def __post_init__(self) -> None:
        if not (0 <= self.fall < 1 and 0 <= self.changed <= 1):
            raise InputError(f"fall {self.fall} and changed {self.changed} must be between 0 and 1")


@dataclass(frozen=True)
class BatchEffort:
    """Effort of one batch.

    planned : number of cases of the complete batch
    seconds : median active time of the cases whose time is known; None if none is
    changed : median over cases of the changed voxels of the starting mask relative to the accepted voxels of all
        organs; None if no case had a starting mask
    """

    cases: int
    planned: int
    seconds: float | None
    changed: float | None

    @property
    def is_complete(self) -> bool:
        return self.cases >= self.planned


def stop_reason(batches: Sequence[BatchEffort], settings: StopSettings | None = None) -> str:
    """Why to stop, as a sentence; "" if there is no reason. Only complete batches count."""
    settings = settings or StopSettings()
    complete = [batch for batch in batches if batch.is_complete]
    if not complete:
        return ""
    last = complete[-1]
    if last.changed is not None and last.changed < settings.changed:
        return (
            f"{100 * last.changed:.1f} % of the voxels were changed in the last batch, fewer than "
            f"{100 * settings.changed:g} %"
        )
    if len(complete) > 1 and last.seconds is not None and complete[-2].seconds is not None:
        before = complete[-2].seconds
        if last.seconds >= (1 - settings.fall) * before:
            return f"the median time of a case has levelled off: {last.seconds:.0f} s after {before:.0f} s"
    return ""


@dataclass(frozen=True)
class StudyStatus:
    """cases : state -> number of cases outside the test split

    organs, all_organs : of the accepted cases: organs verified in every slice, and all organs
    tested, tests : accepted and all cases of the test split
    batches : in the order of acceptance
    stop : as ``stop_reason``
    """

    cases: Mapping[State, int]
    organs: int
    all_organs: int
    tested: int
    tests: int
    batches: Sequence[BatchEffort]
    stop: str

    def lines(self) -> list[str]:
        """As sentences."""
        total = sum(self.cases.values())
        told = [f"{self.cases[State.ACCEPTED]} of {counted(total, 'case', 'cases')} accepted"]
        if self.all_organs:
            organs = counted(self.all_organs, "organ", "organs")
            told[0] += f"; {self.organs} of their {organs} verified in every slice"
        if self.tests:
            tests = counted(self.tests, "test case", "test cases")
            told.append(f"{self.tested} of {tests} accepted, annotated without help")
        for number, batch in enumerate(self.batches, 1):
            known = [f"median {batch.seconds:.0f} s per case"] if batch.seconds is not None else []
            known += [f"{100 * batch.changed:.1f} % of the voxels changed"] if batch.changed is not None else []
            of = f"{batch.cases} of {batch.planned} cases" if not batch.is_complete else f"{batch.cases} cases"
            told.append(", ".join([f"batch {number}: {of}", *known]))
        if self.stop:
            told.append(f"consider stopping: {self.stop}")
        elif self.cases[State.ACCEPTED]:
            told.append("continue: the effort still decreases, or is not known yet")
        return told


def study_status(
    casebook: Casebook, sizes: Sequence[int] = BATCHES, settings: StopSettings | None = None
) -> StudyStatus:
    """Status of a study, from the database alone, without opening an image.

    sizes : of the batches; the last size repeats
    """
    states: Counter[State] = Counter()
    organs = all_organs = tested = tests = 0
    done: list[tuple[int, float | None, float | None]] = []
    for entry in casebook.cases():
        if entry.split == TEST:
            tests += 1
            tested += entry.state is State.ACCEPTED
            continue
        states[entry.state] += 1
        if entry.state is not State.ACCEPTED:
            continue
        try:
            found = latest(casebook, entry)
            review = None if found is None else found.reviewed(entry)
        except InputError as error:
            casebook.note(f"{error}; 'casebook check' lists all faults")
            continue
        if found is None or review is None:
            continue
        all_organs += len(review.states)
        organs += sum(bool(review.known(label).all()) for label in review.states)
        events = casebook.events(entry)
        done.append((found.id, effort_of(events).active_s or None, changed_part(events)))
    done.sort()
    batches = _batches([cost[1:] for cost in done], sizes)
    return StudyStatus(
        {state: states[state] for state in State},
        organs,
        all_organs,
        tested,
        tests,
        batches,
        stop_reason(batches, settings),
    )


def changed_part(events: Sequence[Event]) -> float | None:
    """Changed voxels of the starting mask relative to the voxels of all organs; None if there was no starting mask.

    Counts what was verified at the last acceptance.
    """
    found = [event.data for event in events if event.kind == CHANGED]
    try:
        return int(found[-1]["changed"]) / max(int(found[-1]["organs"]), 1) if found else None
    except (KeyError, TypeError, ValueError):
        return None


def _batches(costs: Sequence[tuple[float | None, float | None]], sizes: Sequence[int]) -> list[BatchEffort]:
    found = []
    counts = batch_sizes(len(costs), sizes)
    for count, end in zip(counts, accumulate(counts), strict=True):
        part = costs[end - count : end]
        seconds, changed = ([cost[place] for cost in part if cost[place] is not None] for place in (0, 1))
        median_s = float(np.median(seconds)) if seconds else None
        median_changed = float(np.median(changed)) if changed else None
        found.append(BatchEffort(count, batch_size(end - count, sizes), median_s, median_changed))
    return found
