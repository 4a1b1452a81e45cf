"""The states of a case and the transitions between them."""

from __future__ import annotations

from enum import Enum

from InteractiveSegLib.errors import InputError


class State(str, Enum):
    """State of a case."""

    NEW = "new"
    IN_WORK = "in work"
    ACCEPTED = "accepted"
    SKIPPED = "skipped"
    REOPENED = "reopened"


OPEN = (State.NEW, State.REOPENED, State.IN_WORK)
"""States of cases that are still to be done."""

_NEXT = {
    State.NEW: {State.IN_WORK, State.SKIPPED},
    State.IN_WORK: {State.NEW, State.ACCEPTED, State.SKIPPED},
    State.ACCEPTED: {State.REOPENED},
    State.SKIPPED: {State.REOPENED},
    State.REOPENED: {State.ACCEPTED, State.SKIPPED},
}


def require_step(name: str, state: State, wanted: State) -> None:
    """InputError if a case of this name cannot go from one state to the other."""
    if wanted not in _NEXT[state]:
        possible = ", ".join(sorted(step.value for step in _NEXT[state]))
        raise InputError(f"case {name!r} is {state.value} and cannot become {wanted.value}, only {possible}")
