"""Cost of each case along the stream: a robot scribbles until the mask is good, corrects the rest by hand, and accepts.

The accepted mask is the truth, since a person who accepts a mask vouches for it. Corrections by hand are counted.
"""

from __future__ import annotations

import json
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
from InteractiveSegLib.evaluation.users.robot import correct, jittered_box
from InteractiveSegLib.image.metrics import dice
from InteractiveSegLib.learning.learner import StreamLearner
from InteractiveSegLib.learning.prompted_teacher import PromptedTeacher
from InteractiveSegLib.learning.settings import LearnSettings
from InteractiveSegLib.learning.versions import in_use
from InteractiveSegLib.progress import Progress, Steps
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.system.files import replacing

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class EffortStreamSettings:
    """How long the robot works on a case.

    cases : of the stream
    goal : Dice of every object at which the robot stops scribbling
    cap : maximum number of rounds
    learning : False streams the same cases with the unchanged network, for comparison
    """

    cases: int = 30
    goal: float = 0.9
    cap: int = 8
    start: str = "prompted"
    learning: bool = True
    learn: LearnSettings = field(default_factory=LearnSettings)

    def __post_init__(self) -> None:
        if self.cases < 1 or self.cap < 1 or not 0 < self.goal < 1:
            raise InputError(
                f"cases {self.cases} and cap {self.cap} must be at least 1, goal {self.goal} within 0 and 1"
            )


@dataclass(frozen=True)
class CaseCost:
    """rounds : of scribbles. first, last : mean Dice before the first mark and after the last.

    edited : voxels that are corrected by hand after the last round
    """

    case: str
    rounds: int
    strokes: int
    length_mm: float
    first: float
    last: float
    edited: int


def effort_stream_steps(
    dataset: Dataset, data: Path, output: Path, settings: EffortStreamSettings
) -> Steps[list[CaseCost]]:
    """Cost of every case, in the order of the stream. A stopped run is resumed.

    Raises
    ------
    InputError : too few cases.
    """
    names = dataset.cases(data, "all")
    if len(names) < settings.cases:
        raise InputError(f"{dataset.name} under {data} has {len(names)} cases, but {settings.cases} are needed")
    order = np.random.default_rng([settings.learn.seed, 85]).permutation(len(names))[: settings.cases]
    kept, place = output / "costs.json", output / "casebook"
    output.mkdir(parents=True, exist_ok=True)
    costs = [CaseCost(**cost) for cost in json.loads(kept.read_text())] if kept.is_file() else []
    costs = costs[: settings.cases]
    with Casebook(place) if place.is_dir() else Casebook.created(place, SplitSettings(0, 0)) as casebook:
        learner = StreamLearner(casebook, PromptedTeacher(settings.start), settings.learn)
        for number in range(len(costs), settings.cases):
            name = names[order[number]]
            yield Progress(number, settings.cases, f"case {name}")
            if settings.learning:
                yield from learner.steps()
            version = in_use(casebook, "prompted")
            model = str(version.folder) if version else settings.start
            case = dataset.load(data, name)
            cost, labels, prompts = _worked_on(case, model, settings, number)
            _accepted(casebook, data / dataset.folder / f"{name}{dataset.image}", case, labels, prompts)
            costs.append(cost)
            with replacing(kept) as temporary:
                temporary.write_text(json.dumps([asdict(cost) for cost in costs]))
    return costs


def _worked_on(
    case: Case, model: str, settings: EffortStreamSettings, number: int
) -> tuple[CaseCost, np.ndarray, Prompts]:
    """A box, and strokes on the largest errors until every object is good enough."""
    rng = np.random.default_rng([settings.learn.seed, number, 86])
    attempt = segmenter(f"{model}:fixed", case.volume, 0, _CPU)
    prompts = Prompts({value: jittered_box(case.truth == value, rng) for value in case.objects})
    spacing = case.volume.geometry.spacing_kji_mm
    strokes, length_mm, rounds, first = 0, 0.0, 0, float("nan")
    while True:
        labels = attempt.segment(prompts).labelmap
        scores = [dice(labels == value, case.truth == value) for value in case.objects]
        first = float(np.mean(scores)) if rounds == 0 else first
        if min(scores) >= settings.goal or rounds == settings.cap:
            edited, last = int(np.count_nonzero(labels != case.truth)), float(np.mean(scores))
            return CaseCost(case.name, rounds, strokes, length_mm, first, last, edited), labels, prompts
        drawn = correct(labels, case.truth, spacing, rng, scribbled=prompts.scribbles)
        prompts = prompts.with_scribbles(drawn.scribbles)
        strokes, length_mm, rounds = strokes + drawn.strokes, length_mm + drawn.length_mm, rounds + 1


def _accepted(casebook: Casebook, image: Path, case: Case, labels: np.ndarray, prompts: Prompts) -> None:
    """Accept the truth; part of it comes from the network's labels."""
    known = {entry.name: entry for entry in casebook.cases()}
    entry = known.get(case.name) or casebook.add(ImageReference.of(image), case.name, split=TRAIN)
    if entry.state is not State.ACCEPTED:
        decided = (prompts.scribbles.to_labelmap(labels.shape) > 0) | (labels != case.truth)
        origins = traced(case.truth, decided, model=labels)
        accept(casebook, casebook.begin(entry), AcceptedMask(case.truth, origins, prompts))
