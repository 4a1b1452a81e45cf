"""The rounds of method B over a stream of cases, against offline training on the full truth with as many updates."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.data.cases import Case
from InteractiveSegLib.evaluation.data.datasets import Dataset
from InteractiveSegLib.evaluation.streams.annotation_rounds import AnnotationRounds, StreamPlace
from InteractiveSegLib.evaluation.streams.stream_state import StreamState
from InteractiveSegLib.evaluation.users.simulated_annotator import AnnotatorSettings, SimulatedAnnotator
from InteractiveSegLib.image.metrics import dice
from InteractiveSegLib.learning.automatic_network import AutomaticNetwork
from InteractiveSegLib.learning.automatic_teacher import AutomaticTeacher
from InteractiveSegLib.learning.case_targets import CaseTargets
from InteractiveSegLib.learning.settings import FALLING, ROUND_SETTINGS, LearnSettings
from InteractiveSegLib.learning.teacher import teach_steps
from InteractiveSegLib.progress import Progress, Steps
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.propagate.proxy_mask import PropagateSettings
from InteractiveSegLib.propagate.slice_pool import SlicePool
from InteractiveSegLib.system.files import replacing

_CPU = torch.device("cpu")
_PROPOSED = 12


@dataclass(frozen=True)
class AutomaticStreamSettings:
    """streamed, tested : numbers of cases. after : numbers of cases after which the network is tested.

    learn : its ``updates`` are those of one round
    """

    streamed: int = 80
    tested: int = 40
    after: tuple[int, ...] = (1, 2, 5, 10, 20, 40, 80)
    learn: LearnSettings = field(default_factory=lambda: replace(ROUND_SETTINGS, expected_cases=80))
    annotator: AnnotatorSettings = field(default_factory=AnnotatorSettings)
    propagate: PropagateSettings = field(default_factory=PropagateSettings)
    widths: tuple[int, ...] = (16, 32, 64)
    jobs: int = 1

    def with_seed(self, seed: int) -> AutomaticStreamSettings:
        """The same stream in another order, with other initial weights."""
        return replace(self, learn=replace(self.learn, seed=seed))

    def shortened(self, cases: int) -> AutomaticStreamSettings:
        """A stream of at most so many cases; the last of them is followed by a test."""
        streamed = min(cases, self.streamed)
        after = (*(number for number in self.after if number < streamed), streamed)
        return replace(self, streamed=streamed, after=after, learn=replace(self.learn, expected_cases=streamed))


@dataclass(frozen=True)
class StreamResult:
    """records : one per streamed case. curve : cases -> mean Dice on the test cases. offline : the same for offline
    training.

    seed : for the order and the initial weights
    """

    records: Sequence[dict[str, Any]]
    curve: dict[int, float]
    offline: float
    seed: int = 0


def automatic_stream_steps(
    dataset: Dataset, data: Path, output: Path, settings: AutomaticStreamSettings
) -> Steps[StreamResult]:
    """Stream, and then train offline with the truth of the same cases and the same number of updates.

    A stopped run is resumed.

    Raises
    ------
    InputError : too few cases.
    """
    streamed, tested = split_cases(dataset, data, settings)
    teacher = AutomaticTeacher(settings.widths, seed=settings.learn.seed)
    state = StreamState(output / "online", teacher, settings.learn)
    with SlicePool(settings.jobs) as pool:
        while state.done < len(streamed):
            case = dataset.load(data, streamed[state.done])
            yield Progress(state.done, len(streamed), f"case {case.name}")
            rounds, record = yield from _case_steps(state, case, settings, pool)
            network = rounds.network
            if state.done + 1 in settings.after:
                record["test"] = mean_dice(network, (dataset.load(data, name) for name in tested))
            lesson = teacher.lesson(rounds.taught(network.labels), network)
            state.keep(network, lesson, record)
    curve = {number: record["test"] for number, record in enumerate(state.records, 1) if "test" in record}
    updates = sum(record["updates"] for record in state.records)
    offline = yield from _offline_steps(dataset, data, streamed, tested, output / "offline", settings, updates)
    return StreamResult(state.records, curve, offline, settings.learn.seed)


def split_cases(dataset: Dataset, data: Path, settings: AutomaticStreamSettings) -> tuple[list[str], list[str]]:
    """Names of the streamed cases in their order, which the seed draws, and of the tested ones, evenly spread.

    Raises
    ------
    InputError : too few cases.
    """
    names = dataset.cases(data, "all")
    needed = settings.streamed + settings.tested
    if len(names) < needed:
        raise InputError(f"{dataset.name} under {data} has {len(names)} cases, but {needed} are needed")
    places = set(np.linspace(0, len(names) - 1, settings.tested).round().astype(int).tolist())
    rest = [name for place, name in enumerate(names) if place not in places]
    order = np.random.default_rng([settings.learn.seed, 84]).permutation(len(rest))[: settings.streamed]
    return [rest[place] for place in order], [names[place] for place in sorted(places)]


def mean_dice(network: AutomaticNetwork, cases: Iterable[Case]) -> float:
    """Mean over cases and their objects."""
    return float(np.mean([np.mean(_dice_of(network, case)) for case in cases]))


def truth_taught(case: Case, known_labels: Sequence[int]) -> CaseTargets:
    """The full truth, with equal weight for every voxel, as a mask of these labels."""
    targets = {value: (case.truth == value).astype(np.float32) for value in known_labels}
    return CaseTargets(case.volume, targets, np.ones(case.truth.shape, np.float32), Prompts())


def _dice_of(network: AutomaticNetwork, case: Case) -> list[float]:
    found = network.labelmap(network.probabilities(case.volume))
    return [dice(found == value, case.truth == value) for value in case.objects]


def _case_steps(
    state: StreamState, case: Case, settings: AutomaticStreamSettings, pool: SlicePool
) -> Steps[tuple[AnnotationRounds, dict[str, Any]]]:
    """All rounds of one case, and their cost."""
    started = time.perf_counter()
    annotator = SimulatedAnnotator(case.truth, settings.annotator)
    record: dict[str, Any] = {"case": case.name, "before": None}
    if state.network is not None:
        record["before"] = float(np.mean(_dice_of(state.network, case)))
    place = StreamPlace(state.done, state.replayed())
    folder = state.training_folder()
    rounds = AnnotationRounds(
        case.volume,
        state.network,
        state.teacher,
        settings.learn,
        place,
        folder,
        pool=pool,
        propagate=settings.propagate,
    )
    for number in range(settings.annotator.rounds):
        count = settings.annotator.later if number else settings.annotator.first
        slices = annotator.annotate(rounds.proposals(_PROPOSED), count)
        if slices:
            yield from rounds.annotate_steps(slices)
        yield from rounds.teach_steps()
    found = rounds.accepted().labels
    record |= {
        "effort": annotator.effort,
        "slices": len(annotator.indices),
        "mask": float(np.mean([dice(found == value, case.truth == value) for value in case.objects])),
        "updates": settings.annotator.rounds * settings.learn.updates,
        "seconds": time.perf_counter() - started,
    }
    shutil.rmtree(folder, ignore_errors=True)
    return rounds, record


def _offline_steps(
    dataset: Dataset,
    data: Path,
    streamed: Sequence[str],
    tested: Sequence[str],
    folder: Path,
    settings: AutomaticStreamSettings,
    updates: int,
) -> Steps[float]:
    kept = folder / "dice.json"
    if kept.is_file():
        return float(json.loads(kept.read_text()))
    teacher = AutomaticTeacher(settings.widths, seed=settings.learn.seed)
    cases = [dataset.load(data, name) for name in streamed]
    labels = sorted({value for case in cases for value in case.objects})
    network = teacher.started(None, cases[0].volume, labels)
    lessons = [teacher.lesson(truth_taught(case, labels), network) for case in cases]
    learn = replace(settings.learn, updates=updates, latest=1 / len(lessons), averaging=0.99, rate=FALLING)
    taught = yield from teach_steps(teacher, network, lessons, learn, settings.learn.seed, folder, _CPU)
    found = mean_dice(taught, (dataset.load(data, name) for name in tested))
    with replacing(kept) as temporary:
        temporary.write_text(json.dumps(found))
    return found
