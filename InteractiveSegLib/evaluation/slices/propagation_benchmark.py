"""Slices propagated through annotated images: accuracy and amount of drawing, compared with existing methods."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib import __version__
from InteractiveSegLib.errors import InputError, InteractiveSegError, OutputError
from InteractiveSegLib.evaluation.data.cases import Case
from InteractiveSegLib.evaluation.data.datasets import Dataset, FolderDataset
from InteractiveSegLib.evaluation.prompted.benchmark import evenly_spread
from InteractiveSegLib.evaluation.slices.propagation_methods import METHODS, SliceMethods
from InteractiveSegLib.evaluation.users.slice_annotator import STRATEGIES, stages
from InteractiveSegLib.image.metrics import dice, surface_dice
from InteractiveSegLib.networks import DEFAULT_NETWORK
from InteractiveSegLib.progress import Progress, Steps
from InteractiveSegLib.propagate.slice_pool import SlicePool
from InteractiveSegLib.system.files import replacing

GOALS = (0.90, 0.95)
_FACTS = ("every", "methods", "model", "draws", "seed")


@dataclass(frozen=True)
class PropagationSettings:
    """What to run.

    every : annotate every n-th slice, and the last one of the object
    cases, split : as in ``BenchmarkSettings``
    jobs : processes that register
    draws : of the random strategy, averaged
    methods : from ``METHODS``; the first one is compared with the others
    model : network of the methods that have one

    Raises
    ------
    InputError : an unknown method.
    """

    every: tuple[int, ...] = (3, 5, 8, 12)
    methods: tuple[str, ...] = METHODS
    model: str = DEFAULT_NETWORK
    cases: int | None = None
    split: str = "report"
    jobs: int | None = None
    draws: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        wrong = [method for method in self.methods if method not in METHODS]
        if wrong or not self.methods:
            raise InputError(f"methods of propagation are {', '.join(METHODS)}, not {', '.join(wrong) or 'none'}")


@dataclass(frozen=True)
class Between:
    """Agreement on the slices between the annotated ones, as the mean over the slices, for each object."""

    dataset: str
    case: str
    object: str
    method: str
    every: int
    dice: float
    surface_dice: float
    seconds: float


@dataclass(frozen=True)
class Effort:
    """Effort to reach a Dice over the whole volume; the full effort if nothing less was enough."""

    dataset: str
    case: str
    strategy: str
    goal: float
    effort: float
    slices: float


@dataclass(frozen=True)
class PropagationOutcome:
    between: tuple[Between, ...]
    efforts: tuple[Effort, ...]
    notes: tuple[str, ...]


def propagation_steps(
    datasets: Sequence[Dataset | FolderDataset], data: Path, output: Path, settings: PropagationSettings
) -> Steps[PropagationOutcome]:
    """Score propagation on the cases found under ``data``, along k.

    Images with values down to -500 count as CT. Every finished case is stored in ``output/propagation`` and is not
    repeated by a later run.

    Raises
    ------
    InputError : no case is found, or ``output`` holds a run with other settings.
    OutputError : ``output`` cannot be written to.
    """
    plan = [
        (dataset, case)
        for dataset in datasets
        for case in evenly_spread(dataset.cases(data, settings.split), settings.cases)
    ]
    if not plan:
        folders = ", ".join(str(dataset.folder) for dataset in datasets)
        raise InputError(f"no case to run under {data}: looked for {folders}")
    folder = output / "propagation"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write into {output}: {error.strerror or error}") from error
    facts = {"version": __version__, "strategies": STRATEGIES, **{name: getattr(settings, name) for name in _FACTS}}
    between: list[Between] = []
    efforts: list[Effort] = []
    notes: list[str] = []
    with SlicePool(settings.jobs) as pool:
        for number, (dataset, name) in enumerate(plan):
            text = f"{dataset.name}: {name}"
            yield Progress(number, len(plan), text)
            digest = hashlib.sha256(json.dumps([dataset.name, name, facts]).encode()).hexdigest()[:12]
            path = folder / f"{digest}.json"
            if not path.is_file():
                try:
                    case = dataset.load(data, name)
                    record = yield from _case_steps(case, pool, settings, Progress(number, len(plan), text))
                except InteractiveSegError as error:
                    notes.append(f"{text}: {error}")
                    continue
                with replacing(path) as temporary:
                    temporary.write_text(json.dumps(record))
            try:
                record = json.loads(path.read_text())
                between += [Between(**each) for each in record["between"]]
                efforts += [Effort(**each) for each in record["efforts"]]
                notes += record["notes"]
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"{path} is damaged ({error}); delete it and run again") from error
    return PropagationOutcome(tuple(between), tuple(efforts), tuple(dict.fromkeys(notes)))


def _case_steps(case: Case, pool: SlicePool, settings: PropagationSettings, here: Progress) -> Steps[dict]:
    """All scores of one case, as JSON values."""
    held = np.flatnonzero(case.truth.any(axis=(1, 2)))
    if len(held) < 3:
        reason = f"{case.dataset}: {case.name}: left out, its objects lie on {len(held)} slices only"
        return {"between": [], "efforts": [], "notes": [reason]}
    ways = SliceMethods(case, pool, settings.model, settings.seed)
    between: list[Between] = []
    notes: list[str] = []
    for every in settings.every:
        indices = _annotated(held, every)
        for method in settings.methods:
            yield here
            started = time.perf_counter()
            labels, said = ways.labels(method, indices)
            seconds = time.perf_counter() - started
            between += _scored(case, method, every, indices, labels, seconds)
            notes += [f"{case.dataset}: {case.name}: every {every}: {note}" for note in said]
    efforts: list[Effort] = []
    for strategy in STRATEGIES:
        yield here
        runs = [
            _efforts_of(list(stages(case, strategy, ways.proxy, max(GOALS), settings.seed + draw)))
            for draw in range(settings.draws if strategy == "random" else 1)
        ]
        for goal in GOALS:
            effort, slices = np.mean([run[goal] for run in runs], axis=0)
            efforts.append(Effort(case.dataset, case.name, strategy, goal, float(effort), float(slices)))
    return {
        "between": [asdict(each) for each in between],
        "efforts": [asdict(each) for each in efforts],
        "notes": notes,
    }


def _annotated(held: NDArray[np.integer], every: int) -> list[int]:
    indices = list(range(int(held[0]), int(held[-1]) + 1, every))
    return indices if indices[-1] == held[-1] else [*indices, int(held[-1])]


def _scored(
    case: Case, method: str, every: int, indices: Sequence[int], labels: NDArray, seconds: float
) -> Iterator[Between]:
    rest = [index for index in range(indices[0], indices[-1]) if index not in indices]
    spacing = case.volume.geometry.spacing_kji_mm
    for number, name in case.objects.items():
        found, wanted = labels[rest] == number, case.truth[rest] == number
        surfaces = [surface_dice(a[None], b[None], spacing) for a, b in zip(found, wanted, strict=True)]
        surfaces = [value for value in surfaces if not math.isnan(value)]
        mean = float(np.mean(surfaces)) if surfaces else math.nan
        yield Between(case.dataset, case.name, name, method, every, dice(found, wanted), mean, seconds)


def _efforts_of(found: Sequence) -> dict[float, tuple[float, int]]:
    """Goal -> effort and slices of the first stage that reached it."""
    result = {}
    for goal in GOALS:
        reached = [stage for stage in found if stage.dice >= goal]
        result[goal] = (reached[0].effort, reached[0].slices) if reached else (1.0, found[-1].slices)
    return result
