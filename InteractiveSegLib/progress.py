"""Long work is a generator that yields ``Progress`` and returns its result; closing the generator cancels it."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True)
class Progress:
    """How far a long step has come.

    done, total : steps finished and steps in all, in the unit of the step that reports
    text : what is being done, for a status line
    """

    done: int
    total: int
    text: str


Steps = Generator[Progress, None, Result]


def finish(steps: Steps[Result], on_progress: Callable[[Progress], None] | None = None) -> Result:
    """Run a long step to its end and return its result; ``on_progress`` sees every report."""
    while True:
        try:
            progress = next(steps)
        except StopIteration as end:
            return end.value
        if on_progress is not None:
            on_progress(progress)


def part(steps: Steps[Result], done: int, total: int, text: str) -> Steps[Result]:
    """Run a step as number ``done`` of ``total`` larger ones, reporting those."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
        yield Progress(done, total, text)
