"""How much slower a round of scribbles is while the learner trains in its own process on the same cores."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.splits import SplitSettings
from InteractiveSegLib.errors import InputError, InteractiveSegError
from InteractiveSegLib.evaluation.data.datasets import Dataset
from InteractiveSegLib.evaluation.streams.interactive_stream import accepted_steps, drawn
from InteractiveSegLib.evaluation.tables import markdown_table
from InteractiveSegLib.learning.background import start_learner
from InteractiveSegLib.networks.checkpoint import load_network
from InteractiveSegLib.progress import Progress, Steps, finish
from InteractiveSegLib.segmenting.session import ImageSession

_START_S = 600.0  # within which the learner, at low priority, must have started training
_POLL_S = 0.2
_UPDATES = 100_000  # more than can finish in the time: the learner is stopped


@dataclass(frozen=True)
class SlowdownSettings:
    """What is timed.

    blocks : of rounds without the learner, alternating with as many with it
    rounds : per block, after one that is not counted
    learnt : number of cases accepted for the learner
    model : shipped network, or folder with one, whose rounds are timed
    """

    blocks: int = 4
    rounds: int = 5
    learnt: int = 4
    model: str = "prompted"

    def __post_init__(self) -> None:
        if min(self.blocks, self.rounds, self.learnt) < 1:
            raise InputError(f"blocks {self.blocks}, rounds {self.rounds} and learnt {self.learnt} must be at least 1")


@dataclass(frozen=True)
class RoundTimes:
    """alone, loaded : seconds of every round."""

    case: str
    alone: tuple[float, ...]
    loaded: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Ratio of the median round beside the learner to the median round alone."""
        return median(self.loaded) / median(self.alone)


def slowdown_steps(dataset: Dataset, data: Path, output: Path, settings: SlowdownSettings) -> Steps[RoundTimes]:
    """Time rounds of people's scribbles on one image, with fine-tuning, alone and beside a learner at low priority.

    The learner is the process that ``start_learner`` starts, on a casebook of other images. A block is timed once it
    has started to train, and it is stopped after each block.

    Raises
    ------
    InputError : too few images.
    InteractiveSegError : the learner does not start, or ends before a block does.
    """
    names = dataset.cases(data, "all")
    if len(names) <= settings.learnt:
        raise InputError(f"{dataset.name} under {data} has {len(names)} cases, but {settings.learnt + 1} are needed")
    place = output / "casebook"
    with Casebook(place) if place.is_dir() else Casebook.created(place, SplitSettings(0, 0)) as casebook:
        yield from accepted_steps(casebook, dataset, data, names[1 : 1 + settings.learnt])
    case = dataset.load(data, names[0])
    network = load_network(settings.model)
    session = ImageSession(case.volume, network)
    session.prompts = drawn(case)
    alone: list[float] = []
    loaded: list[float] = []
    for block in range(settings.blocks):
        yield Progress(2 * block, 2 * settings.blocks, f"{case.name}: rounds alone")
        alone += _timed(session, settings.rounds)
        yield Progress(2 * block + 1, 2 * settings.blocks, f"{case.name}: rounds while the learner trains")
        with _learner(place) as process:
            loaded += _timed(session, settings.rounds)
            if process.poll() is not None:
                raise InteractiveSegError(f"the learner ended while rounds were timed: {_said(process)}")
    return RoundTimes(case.name, tuple(alone), tuple(loaded))


def slowdown_table(times: RoundTimes) -> str:
    rows = [
        (name, str(len(values)), f"{median(values):.2f}", f"{min(values):.2f}-{max(values):.2f}")
        for name, values in (("alone", times.alone), ("while the learner trains", times.loaded))
    ]
    table = markdown_table(("scribble round", "rounds", "median s", "range s"), rows)
    return f"{table}\n\n{times.ratio:.2f} times as long ({times.case}, {torch.get_num_threads()} threads)"


def _timed(session: ImageSession, rounds: int) -> list[float]:
    """Seconds of rounds with fine-tuning; one before them, which is not counted, fills caches."""
    seconds = []
    for _ in range(1 + rounds):
        started = time.perf_counter()
        finish(session.fine_tune())
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


@contextmanager
def _learner(casebook: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A learner that has started to train."""
    before = _checkpoints(casebook)
    process = start_learner(casebook, "prompted", ("--updates", str(_UPDATES)))
    try:
        ends = time.monotonic() + _START_S
        while _checkpoints(casebook) == before:
            if process.poll() is not None:
                raise InteractiveSegError(f"the learner ended before it trained: {_said(process)}")
            if time.monotonic() > ends:
                raise InteractiveSegError(f"the learner does not train within {_START_S:.0f} s")
            time.sleep(_POLL_S)
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _checkpoints(casebook: Path) -> set[tuple[Path, int]]:
    """Files of running trainings, and when they were written."""
    return {(path, path.stat().st_mtime_ns) for path in casebook.glob("learning/prompted/training-*/checkpoint.pt")}


def _said(process: subprocess.Popen[bytes]) -> str:
    """The end of the output of a process that has ended."""
    if process.stdout is None:
        return f"exit code {process.returncode}"
    return process.stdout.read().decode(errors="replace").strip()[-500:] or f"exit code {process.returncode}"
