"""Methods, users and datasets in one run that can be stopped at any time and resumed."""

from __future__ import annotations

import csv
import hashlib
import json
import multiprocessing
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import islice
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread

import numpy as np

from InteractiveSegLib import __version__
from InteractiveSegLib.errors import InputError, InteractiveSegError, OutputError
from InteractiveSegLib.evaluation.data.datasets import Dataset, FolderDataset
from InteractiveSegLib.evaluation.prompted.methods import BASELINES, NEED_A_BOX, model_of
from InteractiveSegLib.evaluation.prompted.trial import (
    BOX,
    HUMAN,
    MASK,
    NONE,
    PROMPTS,
    ROBOTS,
    USERS,
    Score,
    TrialSettings,
    trial,
)
from InteractiveSegLib.networks.checkpoint import weights_paths
from InteractiveSegLib.progress import Progress, Steps
from InteractiveSegLib.system.files import replacing
from InteractiveSegLib.system.python_process import spawning_safely
from InteractiveSegLib.wording.plain_text import spreadsheet_row


@dataclass(frozen=True)
class BenchmarkSettings:
    """What to run.

    methods : as in ``methods.segmenter``; the others are compared with the first network
    users : robot, sloppy, clicks, strokes, short, human
    prompts : what every robot draws before its first round: box, none, slice-box, loose-box, mask, as ``trial``
        explains
    cases : of each dataset, evenly spread over it; None takes all
    split : as in ``Dataset.cases``
    jobs : number of parallel processes
    """

    methods: tuple[str, ...]
    users: tuple[str, ...]
    cases: int | None = None
    split: str = "report"
    jobs: int = 1
    trial: TrialSettings = field(default_factory=TrialSettings)
    prompts: tuple[str, ...] = (BOX,)

    def __post_init__(self) -> None:
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise InputError(f"methods {', '.join(self.methods) or '(none)'}: name each of them once")
        wrong = [user for user in self.users if user not in USERS]
        if wrong or not self.users:
            raise InputError(f"users {', '.join(wrong) or '(none)'}: there are {', '.join(USERS)}")
        if len(set(self.users)) < len(self.users):
            raise InputError(f"users {', '.join(self.users)}: name each of them once")
        wrong = [prompted for prompted in self.prompts if prompted not in PROMPTS]
        if wrong or not self.prompts:
            raise InputError(f"prompts {', '.join(wrong) or '(none named)'}: there are {', '.join(PROMPTS)}")
        if len(set(self.prompts)) < len(self.prompts):
            raise InputError(f"prompts {', '.join(self.prompts)}: name each of them once")
        if NONE in self.prompts and set(self.users) != {HUMAN}:
            if not self.trial.rounds:
                raise InputError("prompts none with 0 rounds: without a box nothing is drawn before the first round")
            if set(self.methods) <= set(NEED_A_BOX):
                raise InputError(f"prompts none: {', '.join(self.methods)} cannot run without a box")
        if MASK in self.prompts and set(self.methods) <= set(BASELINES):
            raise InputError(f"prompts mask: {', '.join(self.methods)} cannot start from a mask, only networks can")
        if self.cases is not None and self.cases < 1:
            raise InputError(f"cases {self.cases} must be at least 1")
        if self.jobs < 1:
            raise InputError(f"jobs {self.jobs} must be at least 1")

    @property
    def sessions(self) -> tuple[tuple[str, str], ...]:
        """Every combination (user, prompted) of a user and a first prompt; people's scribbles come without a box."""
        return tuple(
            (user, prompted) for user in self.users for prompted in ((NONE,) if user == HUMAN else self.prompts)
        )

    def methods_of(self, user: str, prompted: str) -> tuple[str, ...]:
        """All methods that can use what is drawn; with a person's scribbles, methods that need a box are given one."""
        left_out = {NONE: NEED_A_BOX, MASK: BASELINES}.get(prompted, ()) if user != HUMAN else ()
        return tuple(method for method in self.methods if method not in left_out)


@dataclass(frozen=True)
class Unit:
    """One unit of work of a process."""

    dataset: Dataset | FolderDataset
    case: str
    user: str
    method: str
    prompted: str = BOX

    @property
    def name(self) -> str:
        """A file name, the same in every run."""
        words = (self.dataset.name, self.case, self.user, self.method)
        if self.prompted != BOX and self.user != HUMAN:
            words = (*words, self.prompted)
        readable = "_".join(self.slug(word) for word in words)
        return f"{readable[:120]}_{hashlib.sha256(repr(words).encode()).hexdigest()[:8]}"

    @staticmethod
    def slug(word: str) -> str:
        """A word without characters that file systems do not allow."""
        return re.sub(r"[^A-Za-z0-9.-]+", "-", word)


@dataclass(frozen=True)
class Outcome:
    """Scores of all trials of a run, in the order of the plan.

    notes : on cases that failed, and on anything unusual in others
    """

    scores: tuple[Score, ...]
    notes: tuple[str, ...]


def benchmark_steps(
    datasets: Sequence[Dataset | FolderDataset], data: Path, output: Path, settings: BenchmarkSettings
) -> Steps[Outcome]:
    """Run every method with every user on the cases found under ``data``.

    Every finished unit is stored in ``output/trials`` and is not repeated by a later run. A case that cannot be read is
    reported, and the rest continue.

    Raises
    ------
    InputError : no case is found, no such model, or ``output`` holds a run with other settings or images.
    OutputError : ``output`` cannot be written to.
    InteractiveSegError : a process died.
    """
    plan = [
        Unit(dataset, case, user, method, prompted)
        for dataset in datasets
        for case in evenly_spread(dataset.cases(data, settings.split), settings.cases)
        for user, prompted in settings.sessions
        for method in settings.methods_of(user, prompted)
        if user != HUMAN or dataset.has_scribbles
    ]
    if not plan:
        folders = ", ".join(str(dataset.folder) for dataset in datasets)
        raise InputError(f"no case to run under {data}: looked for {folders}, users {', '.join(settings.users)}")
    _remember(output, datasets, settings)
    trials = output / "trials"
    missing = [unit for unit in plan if not (trials / f"{unit.name}.json").is_file()]
    done = len(plan) - len(missing)
    yield Progress(done, len(plan), "starting")
    # every process starts fresh and uses one thread, so that results depend neither on the jobs nor on their order
    failures: list[str] = []
    running: dict[Future[str | None], Unit] = {}
    spawn = multiprocessing.get_context("spawn")
    with spawning_safely():  # a separate process tracks its locks
        pool = ProcessPoolExecutor(settings.jobs, spawn, _prepare_process, (Path.cwd(),))
    try:
        with spawning_safely():
            for unit in missing:
                running[pool.submit(_run, unit, data, trials, settings.trial)] = unit
        for future in as_completed(running):
            unit, failure = running[future], future.result()
            failures += [failure] if failure else []
            done += 1
            yield Progress(done, len(plan), f"{unit.dataset.name}: {unit.case}, {unit.method}")
    except BrokenProcessPool as error:
        undone = (unit for future, unit in running.items() if not future.done() or future.exception())
        which = ", ".join(f"{unit.dataset.name}: {unit.case}, {unit.method}" for unit in islice(undone, settings.jobs))
        raise InteractiveSegError(
            f"a process died, perhaps at {which}: there may not have been enough memory (use fewer --jobs); run the "
            "command again to resume"
        ) from error
    finally:
        for future in running:  # a pool that is collected before its own thread wakes up does not cancel them
            future.cancel()
        pool.shutdown(wait=False, cancel_futures=True)
    return _outcome(plan, trials, failures)


def write_csv(scores: Sequence[Score], path: Path) -> None:
    """One row per case, object and round."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [entry.name for entry in fields(Score)])
        writer.writeheader()
        writer.writerows(spreadsheet_row(asdict(score)) for score in scores)


def load_mask(output: Path, unit: Unit) -> np.ndarray | None:
    """The final labelmap (K, J, I) of a unit; None if none was stored."""
    path = output / "trials" / f"{unit.name}.npz"
    return np.load(path)["labelmap"] if path.is_file() else None


def _run(unit: Unit, data: Path, trials: Path, settings: TrialSettings) -> str | None:
    """Run one unit in a process of its own and write its result to a file. Returns why it failed."""
    try:
        case = unit.dataset.load(data, unit.case)
        scores: list[Score] = []
        for person in range(len(case.scribbles)) if unit.user == HUMAN else (0,):
            found, labelmap = trial(case, unit.method, unit.user, person, settings, unit.prompted)
            scores += found
    except (InteractiveSegError, MemoryError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        return f"{unit.dataset.name}: {unit.case}: {unit.method}: {reason}"
    if unit.method not in BASELINES and scores:
        with replacing(trials / f"{unit.name}.npz") as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, labelmap=labelmap)
    general = getattr(unit.dataset, "note", "")
    notes = [f"{unit.dataset.name}: {note if note == general else f'{unit.case}: {note}'}" for note in case.notes]
    record = {"scores": [asdict(score) for score in scores], "notes": notes}
    with replacing(trials / f"{unit.name}.json") as temporary:
        temporary.write_text(json.dumps(record))
    return None


def _outcome(plan: Sequence[Unit], trials: Path, failures: Sequence[str]) -> Outcome:
    scores: list[Score] = []
    notes: list[str] = []
    for path in (trials / f"{unit.name}.json" for unit in plan):
        if not path.is_file():
            continue
        try:
            record = json.loads(path.read_text())
            scores += [Score(**score) for score in record["scores"]]
            notes += record["notes"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is damaged ({error}); delete it and run again") from error
    return Outcome(tuple(scores), (*sorted(failures), *dict.fromkeys(notes)))


def _remember(output: Path, datasets: Sequence[Dataset | FolderDataset], settings: BenchmarkSettings) -> None:
    """Write down what the results depend on, or compare with what is written there."""
    weights = {}
    for method in settings.methods:
        if method not in BASELINES:
            read = b"".join(path.read_bytes() for path in weights_paths(model_of(method)[0]))
            weights[method] = hashlib.sha256(read).hexdigest()
    images = {dataset.name: _origin(dataset) for dataset in datasets}
    robots = {user: repr(ROBOTS[user]) for user in settings.users if user != HUMAN}
    named = {"weights": weights, "images": images, "robots": robots}
    facts = {"version": __version__, "trial": asdict(settings.trial), **named}
    path = output / "settings.json"
    try:
        (output / "trials").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write into {output}: {error.strerror or error}") from error
    if path.is_file():
        try:
            before = json.loads(path.read_text())
            same = before["version"] == __version__ and before["trial"] == facts["trial"]
            earlier = {key: dict(before.get(key, {})) for key in named}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is damaged ({error}); use another folder") from error
        for key, what in (("images", "images or labels"), ("weights", "weights"), ("robots", "ways to draw")):
            if changed := [name for name, fact in named[key].items() if earlier[key].get(name, fact) != fact]:
                raise InputError(f"{output} holds a run with other {what} of {', '.join(changed)}; use another folder")
        if not same:
            raise InputError(f"{output} holds a run with other settings; use another folder")
        facts |= {key: {**earlier[key], **named[key]} for key in named}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(facts, indent=1))


def _origin(dataset: Dataset | FolderDataset) -> str:
    """What a name stands for: folders with the same name may contain different images, and a listed dataset may be
    redefined.
    """
    if isinstance(dataset, FolderDataset):
        folders = {str(path.parent.resolve()): None for pair in dataset.pairs.values() for path in pair}
        return ", ".join(folders)
    return hashlib.sha256(repr(replace(dataset, terms="", note="")).encode()).hexdigest()


def evenly_spread(cases: Sequence[str], count: int | None) -> Iterator[str]:
    """At most ``count`` cases, evenly spread over the list."""
    if count is None or len(cases) <= count:
        yield from cases
    else:
        yield from (cases[index] for index in np.linspace(0, len(cases) - 1, count).round().astype(int))


def _prepare_process(folder: Path) -> None:
    """folder : to which relative paths are relative"""
    import torch

    os.chdir(folder)
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    """A run that is killed leaves no process behind."""
    parent.join()
    os._exit(1)
