"""Which case comes next, and why."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from InteractiveSegLib.casebook.case_features import known_features
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.diversity import diverse
from InteractiveSegLib.casebook.entries import CaseEntry
from InteractiveSegLib.casebook.orders import require_order
from InteractiveSegLib.casebook.states import OPEN, State
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.wording.counting import counted

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
    casebook: Casebook, order: str = "fixed", uncertainties: Mapping[str, float] | None = None, after: str = ""
) -> NextCase | None:
    """The next case to work on; None if nothing is left to do.

    Reopened cases come first, since a person asked for them; then those in work whose program ended, since there is
    work on them. Cases that a running program has in work are left out. Cases whose image was moved or has changed are
    passed over.

    Parameters
    ----------
    order : "fixed", as they were added; "random", reproducibly; "uncertain", by decreasing uncertainty; "diverse", by
        the distance in features to all cases that were opened, accepted or chosen before
    uncertainties : name -> uncertainty of the version in use, 0 to 1, for the new cases that it has predicted
    after : name of a case that was left unfinished; those that follow it come first, and it comes last

    Raises
    ------
    InputError : another order, or none of the remaining cases has its image.
    """
    require_order(order)
    passed_over: list[str] = []
    count = 0
    for entry, reason in _in_order(casebook, order, uncertainties or {}, after):
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


def _in_order(
    casebook: Casebook, order: str, uncertainties: Mapping[str, float], after: str
) -> Iterator[tuple[CaseEntry, str]]:
    """Cases that are left, with the reason for each."""
    cases = casebook.cases()
    free = [case for case in cases if case.state in OPEN and not casebook.work.someone_has(case.id)]
    reopened = [(case, "it was reopened to be corrected") for case in free if case.state is State.REOPENED]
    yield from (each for each in reopened if each[0].name != after)
    for case in free:
        if case.state is State.IN_WORK:
            yield case, "it was in work when its program ended; the saved work is there"
    new = [case for case in free if case.state is State.NEW]
    place = f"{len(new)} of {counted(len(cases), 'case', 'cases')} {'is' if len(new) == 1 else 'are'} left"
    ordered, known = new_in_order(casebook, cases, new, order, uncertainties)
    among = f"of {counted(known, 'case', 'cases')}"
    left = next((number for number, case in enumerate(ordered, 1) if case.name == after), 0)
    for number, case in (*enumerate(ordered[left:], left), *enumerate(ordered[:left])):
        if order == "random":
            yield case, f"drawn at random; {place}"
        elif order == "uncertain" and number < known:
            uncertainty = f"uncertainty {uncertainties[case.name]:.2f}, {among}"
            yield case, f"the network is most uncertain about it ({uncertainty}); {place}"
        elif order == "diverse" and number < known:
            yield case, f"it differs most from the cases worked on so far ({among}); {place}"
        elif order == "fixed" and 0 < left <= number:
            yield case, f"it comes next; {place}"
        else:
            unknown = order in ("uncertain", "diverse") and not known
            yield case, f"{'no network has predicted the cases, so ' * unknown}it was added first; {place}"
    yield from (each for each in reopened if each[0].name == after)


def new_in_order(
    casebook: Casebook,
    cases: Sequence[CaseEntry],
    new: Sequence[CaseEntry],
    order: str,
    uncertainties: Mapping[str, float],
) -> tuple[list[CaseEntry], int]:
    """New cases in an order of ``ORDERS``, and the number of those with a prediction that the order needs.

    These come first, then the others as they were added.

    cases : all from which the new ones were chosen; those in work or accepted are the first centres of "diverse"
    """
    by_name = {case.name: case for case in new}
    first: list[str] = []
    if order == "random":
        seed = casebook.splits.seed
        drawn = sorted(by_name, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
        return [by_name[name] for name in drawn], 0
    if order == "uncertain":
        known = [name for name in by_name if name in uncertainties]
        first = sorted(known, key=lambda name: (uncertainties[name], name), reverse=True)
    elif order == "diverse":
        features = known_features(casebook)
        taken = [case.name for case in cases if case.name not in by_name and case.state is not State.SKIPPED]
        first = diverse(features, [name for name in taken if name in features], by_name, len(by_name))
    rest = [case for case in new if case.name not in first]
    return [*(by_name[name] for name in first), *rest], len(first)
