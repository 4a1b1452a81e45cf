"""Long work is a generator that yields ``Progress`` and returns its result; closing the generator cancels it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeVar

Result = TypeVar("Result")


class Stage(Enum):
    """What a round spends its time on."""

    READING = "reading the crop"
    DISTANCES = "measuring distances"
    NETWORK = "looking at the image"
    FINE_TUNING = "fine-tuning to this image"
    BORDER = "fitting the border"


@dataclass(frozen=True)
class Progress:
    """How far a long step has come.

    done, total : steps finished and steps in all, in the unit of the step that reports
    text : what is being done, for a status line
    stage : of a round, for those who time them; None of other work
    """

    done: int
    total: int
    text: str
    stage: Stage | None = None

    @classmethod
    def of(cls, stage: Stage, done: int, total: int, more: str = "") -> Progress:
        """The report of a stage, with more to be said of it after a comma."""
        return cls(done, total, f"{stage.value}, {more}" if more else stage.value, stage)


Steps = Generator[Progress, None, Result]


def finish(steps: Steps[Result], on_progress: Callable[[Progress], None] | None = None) -> Result:
    """Run a long step to its end and return its result; ``on_progress`` sees every report.

    >>> def counting() -> Steps[int]:
    ...     yield Progress(0, 1, "counting")
    ...     return 7
    >>> finish(counting(), lambda progress: print(progress.text))
    counting
    7
    """
    while True:
        try:
            progress = next(steps)
        except StopIteration as end:
            return end.value
        if on_progress is not None:
            on_progress(progress)


def titled(title: str, steps: Steps[Result]) -> Steps[Result]:
    """Run a step whose reports begin with a title."""
    while True:
        try:
            progress = next(steps)
        except StopIteration as end:
            return end.value
        yield replace(progress, text=f"{title}{progress.text}")


def part(steps: Steps[Result], done: int, total: int, text: str) -> Steps[Result]:
    """Run a step as number ``done`` of ``total`` larger ones, reporting those."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
        yield Progress(done, total, text)
