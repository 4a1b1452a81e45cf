"""Patients accepted one by one: accuracy of the interactive network on patients it never sees.

The network gets people's own scribbles, in learning and in testing. Everything goes through a casebook and its learner.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from InteractiveSegLib.casebook.acceptance import AcceptedMask, accept
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.image_reference import ImageReference
from InteractiveSegLib.casebook.provenance import traced
from InteractiveSegLib.casebook.splits import TRAIN, SplitSettings
from InteractiveSegLib.casebook.states import State
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.data.cases import Case
from InteractiveSegLib.evaluation.data.datasets import Dataset
from InteractiveSegLib.evaluation.prompted.methods import segmenter
from InteractiveSegLib.image.metrics import dice
from InteractiveSegLib.learning.learner import StreamLearner
from InteractiveSegLib.learning.prompted_teacher import PromptedTeacher
from InteractiveSegLib.learning.settings import LearnSettings
from InteractiveSegLib.learning.versions import in_use
from InteractiveSegLib.progress import Progress, Steps
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import Scribbles
from InteractiveSegLib.system.files import replacing

CLASSICAL = "mixtures"
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class InteractiveStreamSettings:
    """What is streamed.

    after : numbers of accepted patients after which the network is tested
    tested : patients set aside for testing
    fine_tuned : test also with fine-tuning to each image
    start : shipped network, or folder with one
    """

    after: tuple[int, ...] = (0, 2, 8, 20)
    tested: int = 20
    fine_tuned: bool = True
    start: str = "prompted"
    learn: LearnSettings = field(default_factory=LearnSettings)

    def __post_init__(self) -> None:
        if not self.after or sorted(set(self.after)) != list(self.after) or self.after[0] < 0 or self.tested < 1:
            raise InputError(
                f"after {self.after} must be ascending numbers from 0, and tested {self.tested} at least 1"
            )


@dataclass(frozen=True)
class StreamScore:
    """Dice of one object of a test case. after : patients that were accepted before; method : of ``segmenter``."""

    case: str
    object: str
    method: str
    after: int
    dice: float
    seconds: float


def interactive_stream_steps(
    dataset: Dataset, data: Path, output: Path, settings: InteractiveStreamSettings
) -> Steps[list[StreamScore]]:
    """Scores of the classical method, and of the network with and without fine-tuning after these numbers of patients.

    Every fourth patient, on which settings are tuned, is streamed and never tested. A stopped run is resumed.

    Raises
    ------
    InputError : the dataset has no scribbles of people, or too few patients.
    """
    if not dataset.has_scribbles:
        raise InputError(f"{dataset.name} has no scribbles of people to learn with")
    streamed, tested = _patients(dataset, data, settings)
    place = output / "casebook"
    with Casebook(place) if place.is_dir() else Casebook.created(place, SplitSettings(0, 0)) as casebook:
        learner = StreamLearner(casebook, PromptedTeacher(settings.start), settings.learn)
        scores: list[StreamScore] = []
        done = 0
        for after in settings.after:
            for cases in streamed[done:after]:
                yield from accepted_steps(casebook, dataset, data, cases)
                yield from _learnt_steps(learner, output)
            done = max(done, after)
            version = in_use(casebook, "prompted")
            model = str(version.folder) if version else settings.start
            methods = {f"{model}:fixed": "network", **({model: "network, fine-tuned"} if settings.fine_tuned else {})}
            if after == settings.after[0]:
                methods[CLASSICAL] = CLASSICAL
            for method, name in methods.items():
                scores += yield from _tested_steps(dataset, data, tested, method, name, after, output)
    return scores


def _patients(dataset: Dataset, data: Path, settings: InteractiveStreamSettings) -> tuple[list[list[str]], list[str]]:
    """Cases of every streamed patient, and all tested cases."""
    groups: dict[str, list[str]] = {}
    for name in dataset.cases(data, "all"):
        match = re.search(dataset.group, name) if dataset.group else None
        groups.setdefault(match.group() if match else name, []).append(name)
    tuning = set(dataset.cases(data, "tuning"))
    untuned = [patient for patient in sorted(groups) if not tuning & set(groups[patient])]
    needed = settings.after[-1] + settings.tested
    if len(groups) < needed or len(untuned) < settings.tested:
        raise InputError(f"{dataset.name} under {data} has {len(groups)} patients, but {needed} are needed")
    spread = np.linspace(0, len(untuned) - 1, settings.tested).round().astype(int)
    tested = {untuned[place] for place in spread}
    order = np.random.default_rng([settings.learn.seed, 83]).permutation(sorted(set(groups) - tested))
    return [groups[patient] for patient in order], [name for patient in sorted(tested) for name in groups[patient]]


def accepted_steps(casebook: Casebook, dataset: Dataset, data: Path, cases: Sequence[str]) -> Steps[None]:
    """Add a patient's cases and accept them with the truth and the scribbles."""
    for number, name in enumerate(cases):
        yield Progress(number, len(cases), f"accepting {name}")
        known = {case.name: case for case in casebook.cases()}
        image = data / dataset.folder / f"{name}{dataset.image}"
        entry = known.get(name) or casebook.add(ImageReference.of(image), name, split=TRAIN)
        if entry.state is State.ACCEPTED:
            continue
        case = dataset.load(data, name)
        prompts = drawn(case)
        marks = prompts.scribbles.to_labelmap(case.truth.shape)
        mask = AcceptedMask(case.truth, traced(case.truth, marks > 0, model=case.truth), prompts)
        accept(casebook, casebook.begin(entry), mask)


def _learnt_steps(learner: StreamLearner, output: Path) -> Steps[None]:
    started, waiting = time.perf_counter(), len(learner.waiting())
    learnt = yield from learner.steps()
    if learnt:
        with (output / "trainings.csv").open("a") as file:
            file.write(f"{waiting},{len(learnt)},{time.perf_counter() - started:.1f}\n")


def _tested_steps(
    dataset: Dataset, data: Path, cases: Sequence[str], method: str, name: str, after: int, output: Path
) -> Steps[list[StreamScore]]:
    """Scores of all test cases, each written to a file of its own as soon as it is computed."""
    folder = output / "scores" / f"{name.replace(', ', '-')}-{after}"
    folder.mkdir(parents=True, exist_ok=True)
    scores: list[StreamScore] = []
    for number, case_name in enumerate(cases):
        path = folder / f"{case_name}.json"
        if not path.is_file():
            yield Progress(number, len(cases), f"{name} after {after} patients: {case_name}")
            found = list(_scored(dataset.load(data, case_name), method, name, after))
            with replacing(path) as temporary:
                temporary.write_text(json.dumps([asdict(score) for score in found]))
        scores += [StreamScore(**score) for score in json.loads(path.read_text())]
    return scores


def _scored(case: Case, method: str, name: str, after: int) -> Iterator[StreamScore]:
    found = segmenter(method, case.volume, 0, _CPU).segment(drawn(case))
    seconds = sum(found.stages.values())
    for value, title in case.objects.items():
        yield StreamScore(case.name, title, name, after, dice(found.labelmap == value, case.truth == value), seconds)


def drawn(case: Case) -> Prompts:
    return Prompts(scribbles=Scribbles.from_labelmap(case.scribbles[0]))
