"""Undo and redo: named steps, each with what it changed before and after."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any

_STEPS_KEPT = 50

State = Mapping[tuple[str, ...], Any]
"""What can be undone, by key: ``("segment", id)``, ``("mask", id)``, ``("box", id)``, ``("marks",)``, ``("slices",)``,
``("review",)``; values are immutable."""


class StepKind(Enum):
    """What the user did. Code depends on this, not on the name of the step."""

    BOX = auto()
    SCRIBBLE = auto()
    EDIT = auto()
    ROUND = auto()
    SLICES = auto()
    REVIEW = auto()
    SEGMENT = auto()


class Way(Enum):
    """What happened to a step; ``ANSWERED``: an automatic round computed a mask, which became part of the step."""

    DONE = auto()
    ANSWERED = auto()
    UNDONE = auto()
    REDONE = auto()


@dataclass(frozen=True, eq=False)
class Step:
    """One action of the user.

    name : for the tool tip of Undo
    before, after : the values of the keys it changed
    notes : sentences on parts of it that were cut off or left out
    """

    kind: StepKind
    name: str
    before: State
    after: State
    notes: tuple[str, ...] = ()


class History:
    """The steps of a session; ``restore`` puts the values of keys back into the scene.

    last : what happened last, and to which step; None at the start
    """

    def __init__(self, restore: Callable[[State], None]) -> None:
        self._restore = restore
        self._steps: list[Step] = []
        self._position = 0
        self.last: tuple[Way, Step] | None = None

    @property
    def undo_name(self) -> str:
        """The step that Undo reverts; empty if there is none."""
        return self._steps[self._position - 1].name if self._position else ""

    @property
    def redo_name(self) -> str:
        return self._steps[self._position].name if self._position < len(self._steps) else ""

    @property
    def is_begun(self) -> bool:
        """Whether there are any steps."""
        return bool(self._steps)

    @property
    def done(self) -> tuple[Step, ...]:
        """The steps that Undo can revert, in order."""
        return tuple(self._steps[: self._position])

    def values(self, key: tuple[str, ...]) -> Iterator[Any]:
        """All values of a key before or after any step, including steps that were undone."""
        for step in self._steps:
            if key in step.after:
                yield step.before[key]
                yield step.after[key]

    def record(self, step: Step) -> None:
        """Add a step; steps that had been undone are dropped."""
        self._steps[self._position :] = [step]
        del self._steps[: max(0, len(self._steps) - _STEPS_KEPT)]
        self._position = len(self._steps)
        self.last = Way.DONE, step

    def answer(self, step: Step, before: State, after: State) -> None:
        """Extend the last step by its consequences, which are then undone and redone with it.

        before, after : the values of the keys that changed as a consequence
        """
        if not self._position or self._steps[self._position - 1] is not step:
            raise ValueError(f"{step.name} is not the last step")
        whole = replace(step, before={**before, **step.before}, after={**step.after, **after})
        self._steps[self._position - 1] = whole
        self.last = Way.ANSWERED, whole

    def undo(self) -> State:
        """Revert the last step and return the restored values; empty if there is nothing to undo."""
        if not self._position:
            return {}
        step = self._steps[self._position - 1]
        self._restore(step.before)
        self._position -= 1
        self.last = Way.UNDONE, step
        return step.before

    def redo(self) -> State:
        """Repeat the last undone step and return the restored values; empty if there is nothing to redo."""
        if self._position == len(self._steps):
            return {}
        step = self._steps[self._position]
        self._restore(step.after)
        self._position += 1
        self.last = Way.REDONE, step
        return step.after

    def clear(self) -> None:
        self._steps.clear()
        self._position, self.last = 0, None
