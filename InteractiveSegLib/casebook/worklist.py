"""Which case comes next, and why."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.entries import CaseEntry
from InteractiveSegLib.casebook.states import OPEN, State
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.wording.counting import counted

ORDERS = ("fixed", "random", "uncertain")
_SHOWN = 3


@dataclass(frozen=True, eq=False)
class NextCase:
    """The case to open, and a sentence with the reason.

    notes : sentences on cases that were passed over because their image was moved or has changed
    """

    entry: CaseEntry
    reason: str
    notes: tuple[str, ...] = ()


def next_case(
    casebook: Casebook, order: str = "fixed", uncertainties: Mapping[str, float] | None = None
) -> NextCase | None:
    """The next case to work on; None if nothing is left to do.

    Reopened cases come first, since a person asked for them; then those in work whose program ended, since there is
    work on them. Cases that a running program has in work are left out. Cases whose image was moved or has changed are
    passed over.

    Parameters
    ----------
    order : "fixed", as they were added; "random", reproducibly; "uncertain", by decreasing uncertainty
    uncertainties : name -> uncertainty of the version in use, 0 to 1, for the new cases that it has predicted

    Raises
    ------
    InputError : another order, or none of the remaining cases has its image.
    """
    if order not in ORDERS:
        raise InputError(f"the order must be one of {', '.join(ORDERS)}, not {order!r}")
    passed_over: list[str] = []
    count = 0
    for entry, reason in _in_order(casebook, order, uncertainties or {}):
        count += 1
        try:
            entry.image.require_unchanged(entry.name)
        except InputError as error:
            passed_over.append(str(error))
            continue
        return NextCase(entry, reason, _few(passed_over))
    if passed_over:
        more = f"; likewise for all {count} cases that are left" if count > 1 else ""
        raise InputError(f"{passed_over[0]}{more}")
    return None


def _few(sentences: list[str]) -> tuple[str, ...]:
    """The first of them, and the number of further ones."""
    shown = [f"passed over: {sentence}" for sentence in sentences[:_SHOWN]]
    more = len(sentences) - len(shown)
    return (*shown, *([f"{more} further cases were passed over, too"] if more else []))


def _in_order(casebook: Casebook, order: str, uncertainties: Mapping[str, float]) -> Iterator[tuple[CaseEntry, str]]:
    """Cases that are left, with the reason for each."""
    cases = casebook.cases()
    free = [case for case in cases if case.state in OPEN and not casebook.work.someone_has(case.id)]
    for case in free:
        if case.state is State.REOPENED:
            yield case, "it was reopened to be corrected"
    for case in free:
        if case.state is State.IN_WORK:
            yield case, "it was in work when its program ended; the saved work is there"
    new = [case for case in free if case.state is State.NEW]
    place = f"{len(new)} of {counted(len(cases), 'case', 'cases')} {'is' if len(new) == 1 else 'are'} left"
    if order == "random":
        seed = casebook.splits.seed
        for case in sorted(new, key=lambda case: hashlib.sha256(f"{seed}/{case.name}".encode()).digest()):
            yield case, f"drawn at random; {place}"
        return
    known = {case.name: case for case in new if order == "uncertain" and case.name in uncertainties}
    for case in sorted(known.values(), key=lambda case: (uncertainties[case.name], case.name), reverse=True):
        uncertainty = f"uncertainty {uncertainties[case.name]:.2f}, of {counted(len(known), 'case', 'cases')}"
        yield case, f"the network is most uncertain about it ({uncertainty}); {place}"
    unknown = "no network has predicted the cases, so " if order == "uncertain" and not known else ""
    for case in new:
        if case.name not in known:
            yield case, f"{unknown}it was added first; {place}"
