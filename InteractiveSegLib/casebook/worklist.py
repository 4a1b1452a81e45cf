"""Which case comes next, and why."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.entries import CaseEntry
from InteractiveSegLib.casebook.states import State
from InteractiveSegLib.counting import counted
from InteractiveSegLib.errors import InputError

ORDERS = ("fixed", "random", "uncertain")


@dataclass(frozen=True, eq=False)
class NextCase:
    """The case to open, and a sentence that says why this one."""

    entry: CaseEntry
    reason: str


def next_case(casebook: Casebook, order: str = "fixed", doubts: Mapping[str, float] | None = None) -> NextCase | None:
    """The next case to work on; None where nothing is left to do.

    Reopened cases come first, since a person asked for them. Those in work are somebody's and are left out.

    Parameters
    ----------
    order : "fixed", as they were added; "random", always the same one; "uncertain", the one of the largest doubt
    doubts : name -> how unsure the version in use is of a case, 0 to 1, of the new cases that it has looked at

    Raises
    ------
    InputError : another order.
    """
    if order not in ORDERS:
        raise InputError(f"the order must be one of {', '.join(ORDERS)}, not {order!r}")
    cases = casebook.cases()
    reopened = [case for case in cases if case.state is State.REOPENED]
    if reopened:
        return NextCase(reopened[0], "it was reopened to be corrected")
    new = [case for case in cases if case.state is State.NEW]
    if not new:
        return None
    place = f"{len(new)} of {counted(len(cases), 'case', 'cases')} {'is' if len(new) == 1 else 'are'} left"
    if order == "random":
        seed = casebook.splits.seed
        chosen = min(new, key=lambda case: hashlib.sha256(f"{seed}/{case.name}".encode()).digest())
        return NextCase(chosen, f"drawn at random; {place}")
    known = {case.name: doubts[case.name] for case in new if doubts and case.name in doubts}
    if order == "uncertain" and known:
        name = max(known, key=lambda each: (known[each], each))
        chosen = next(case for case in new if case.name == name)
        doubt = f"doubt {known[name]:.2f}, looked at {counted(len(known), 'case', 'cases')}"
        return NextCase(chosen, f"the network is least sure of it ({doubt}); {place}")
    unknown = "no network has looked at the cases, so " if order == "uncertain" else ""
    return NextCase(new[0], f"{unknown}it was added first; {place}")
