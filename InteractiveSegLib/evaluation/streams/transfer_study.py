"""A simulated person works through a study in batches, from an igniter's starting masks, and a network learns along.

All of it goes through the casebook, the igniter and the learner that people use.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch

from InteractiveSegLib.casebook.acceptance import AcceptedMask, accept
from InteractiveSegLib.casebook.batches import BATCHES, next_batch
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.entries import CaseEntry
from InteractiveSegLib.casebook.left_work import left_work
from InteractiveSegLib.casebook.provenance import traced
from InteractiveSegLib.casebook.review import Review, SliceState, review_axis
from InteractiveSegLib.casebook.splits import TEST, TRAIN, VALIDATION
from InteractiveSegLib.casebook.states import State
from InteractiveSegLib.evaluation.data.cases import Case
from InteractiveSegLib.evaluation.streams.transfer_task import (
    TransferParts,
    TransferTask,
    new_study,
    write_source,
)
from InteractiveSegLib.evaluation.users.correcting_person import EffortModel, by_hand_s, corrected
from InteractiveSegLib.image.metrics import dice
from InteractiveSegLib.learning.automatic_network import AutomaticNetwork
from InteractiveSegLib.learning.igniter import Igniter, IgniteSettings
from InteractiveSegLib.learning.learner import StreamLearner
from InteractiveSegLib.learning.organ_layout import OrganLayout
from InteractiveSegLib.learning.settings import LearnSettings
from InteractiveSegLib.learning.sustainer import (
    SOURCE_SHARE,
    SUSTAINER,
    SUSTAINER_SETTINGS,
    SustainerTeacher,
    study_layout,
    sustain_start_steps,
)
from InteractiveSegLib.learning.uncertainty import UncertaintySettings
from InteractiveSegLib.learning.versions import in_use
from InteractiveSegLib.progress import Progress, Steps
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.system.files import replacing

LENIENT_MM = 3.0
"""Errors of this thickness are often let stand: for comparison, as the tolerance decides much of the time."""
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class TransferSettings:
    """How much is learnt and annotated.

    ignite : its seed is replaced by that of a run, and so is that of ``learn``
    learn : ``updates`` and ``updates_per_case`` of one batch
    batches : cases a batch
    tested : cases of the test split that are looked at, at most, evenly spread
    """

    ignite: IgniteSettings = field(default_factory=IgniteSettings)
    learn: LearnSettings = field(default=SUSTAINER_SETTINGS)
    batches: tuple[int, ...] = BATCHES
    effort: EffortModel = field(default_factory=EffortModel)
    tested: int = 40

    @property
    def name(self) -> str:
        """Of a folder: results of other settings lie elsewhere."""
        batches = "-".join(map(str, self.batches))
        updates = f"{self.learn.updates}-{self.learn.updates_per_case}"
        return f"{self.ignite.steps}-{updates}-{batches}-of-{self.tested}"

    def sustained_updates(self, batches: int | None = None) -> int:
        """Updates of the sustainer in the first batches, or in all."""
        done = accumulate(self.batches[:batches])
        return sum(self.learn.at(0, min(cases, self.learn.buffer + self.learn.together)).updates for cases in done)


@dataclass(frozen=True)
class Way:
    """How a study is worked through.

    order : of ``next_batch``
    source_share : of ``SustainerTeacher``
    augmented : the igniter learns from strongly augmented patches
    sustained_so : and so does the sustainer
    every : so many slices of which one is verified; the others are left as they are
    """

    name: str
    order: str = "random"
    source_share: float = SOURCE_SHARE
    augmented: bool = True
    sustained_so: bool = False
    every: int = 1


MAIN = Way("random")
FLEXIBLE = Way("flexible", every=3)
WAYS = {
    way.name: way
    for way in (
        MAIN,
        Way("uncertain", order="uncertain"),
        Way("diverse", order="diverse"),
        Way("no replay", source_share=0.0),
        Way("no augmentation", augmented=False),
        Way("strong augmentation", sustained_so=True),
        FLEXIBLE,
    )
}


@dataclass(frozen=True)
class CaseCost:
    """What a case cost, by the effort model.

    batch : from 0
    lenient_s : if all errors up to ``LENIENT_MM`` were let stand in the same starting mask
    hand_s : to draw it all by hand, in all slices
    changed : voxels that were put right. organs : voxels of all organs in the truth
    start : mean Dice of the starting mask
    """

    case: str
    batch: int
    split: str
    seconds: float
    lenient_s: float
    hand_s: float
    clicks: int
    drawn_mm: float
    changed: int
    organs: int
    start: float


Tested = Mapping[str, Mapping[int, float]]
"""Test case -> label -> Dice."""


@dataclass(frozen=True)
class Studied:
    """What came of working through a study.

    costs : in the order of work
    tested : of the igniter, and after each batch; what the version in use then answers
    cases : annotated for training at each test
    """

    seed: int
    way: str
    costs: Sequence[CaseCost]
    tested: Sequence[Tested]
    cases: Sequence[int]


def study_steps(
    task: TransferTask, data: Path, output: Path, settings: TransferSettings, way: Way, seed: int
) -> Steps[Studied]:
    """Ignite, and annotate and learn batch by batch. A stopped run is resumed.

    Raises
    ------
    InputError : too few cases.
    """
    parts = task.parts(data, sum(settings.batches))
    folder = output / way.name.replace(" ", "-")
    if not (folder / "study").is_dir():
        ignited = yield from ignited_steps(task, parts, data, output, settings, way.augmented, seed)
        shutil.rmtree(folder / "copy", ignore_errors=True)
        shutil.copytree(ignited, folder / "copy")
        (folder / "copy").replace(folder / "study")
    costs = [CaseCost(**cost) for cost in _read(folder / "costs.json", [])]
    tested, cases = [], []
    with Casebook(folder / "study") as casebook:
        augmentation = settings.ignite.augmentation if way.sustained_so else None
        igniter = SustainerTeacher.of(casebook).igniter
        teacher = SustainerTeacher(igniter, settings.ignite.patches, way.source_share, augmentation)
        learn = replace(settings.learn, seed=seed)
        learner = StreamLearner(casebook, teacher, learn, device=_CPU, uncertainty=UncertaintySettings(0))
        for number in range(len(settings.batches) + 1):
            yield from learner.steps()
            tested.append((yield from _tested_steps(casebook, teacher, parts, data, folder, settings, number)))
            cases.append(sum(cost.split == TRAIN and cost.batch < number for cost in costs))
            if number == len(settings.batches):
                break
            names = yield from _batch_steps(casebook, teacher, folder, settings, way, number)
            yield from sustain_start_steps(casebook, teacher, None, names)
            for place, name in enumerate(names):
                yield Progress(place, len(names), f"{way.name}, batch {number + 1}: {name}")
                entry = casebook.case(name)
                if entry.state is not State.ACCEPTED:
                    case = parts.place(name).load(data)
                    cost, mask = _annotated(casebook, entry, case, settings.effort, way, number)
                    costs = [*(each for each in costs if each.case != name), cost]
                    _write(folder / "costs.json", [asdict(each) for each in costs])
                    accept(casebook, casebook.begin(entry), mask)
    return Studied(seed, way.name, costs, tested, cases)


def ignited_steps(
    task: TransferTask,
    parts: TransferParts,
    data: Path,
    output: Path,
    settings: TransferSettings,
    augmented: bool,
    seed: int,
) -> Steps[Path]:
    """The folder of a casebook whose cases have starting masks of an igniter."""
    source, folder = output / "source", output / ("ignited" if augmented else "ignited-plainly")
    write_source(parts, data, source)
    new_study(task, parts, data, folder, seed)
    ignite = replace(settings.ignite, seed=seed, augmented=augmented)
    with Casebook(folder) as casebook:
        yield from Igniter(casebook, source, source, task.labels, ignite, _CPU).steps()
    return folder


def dice_steps(
    network: AutomaticNetwork, layout: OrganLayout, cases: Sequence[Case], text: str
) -> Steps[dict[str, dict[int, float]]]:
    """Case -> label -> Dice of what is kept of a network's answer, as for starting masks."""
    found = {}
    for number, case in enumerate(cases):
        yield Progress(number, len(cases), f"{text}: {case.name}")
        labels = layout.likely(network.probabilities(case.volume), case.volume.geometry, network)
        found[case.name] = {label: dice(labels == label, case.truth == label) for label in case.objects}
    return found


def tested_cases(parts: TransferParts, data: Path, most: int) -> list[Case]:
    """Of the test split, evenly spread."""
    places = parts.targets[TEST]
    chosen = np.unique(np.linspace(0, len(places) - 1, min(most, len(places))).round().astype(int))
    return [places[number].load(data) for number in chosen.tolist()]


def read_dice(path: Path) -> dict[str, dict[int, float]] | None:
    """As ``write_dice`` wrote them; None where there are none."""
    found = _read(path, None)
    return (
        None
        if found is None
        else {name: {int(label): value for label, value in dices.items()} for name, dices in found.items()}
    )


def write_dice(path: Path, found: Tested) -> None:
    _write(path, found)


def _tested_steps(
    casebook: Casebook,
    teacher: SustainerTeacher,
    parts: TransferParts,
    data: Path,
    folder: Path,
    settings: TransferSettings,
    number: int,
) -> Steps[Tested]:
    path = folder / f"tested-{number}.json"
    if (kept := read_dice(path)) is not None:
        return kept
    version = in_use(casebook, SUSTAINER)
    network = teacher.load(version.folder if version else None)
    layout = study_layout(casebook, teacher, network)
    cases = tested_cases(parts, data, settings.tested)
    found = yield from dice_steps(network, layout, cases, f"testing after {number} batches")
    write_dice(path, found)
    return found


def _batch_steps(
    casebook: Casebook, teacher: SustainerTeacher, folder: Path, settings: TransferSettings, way: Way, number: int
) -> Steps[list[str]]:
    """Names of the cases of a batch; the first holds those for validation as well."""
    path = folder / f"batch-{number}.json"
    names = _read(path, None)
    if names is None:
        if way.order == "uncertain":  # of all, as the version in use sees them
            yield from sustain_start_steps(casebook, teacher, None)
        names = [entry.name for entry in casebook.cases() if entry.split == VALIDATION] if number == 0 else []
        names += [entry.name for entry in next_batch(casebook, way.order, settings.batches[number], {TRAIN}).cases]
        _write(path, names)
    return names


def _annotated(
    casebook: Casebook, entry: CaseEntry, case: Case, effort: EffortModel, way: Way, batch: int
) -> tuple[CaseCost, AcceptedMask]:
    """The starting mask as a person puts it right, wholly or in some slices, and what that costs."""
    left = left_work(casebook, entry)
    start = np.zeros(case.truth.shape, np.uint8) if left is None else left.labels
    geometry = case.volume.geometry
    count = case.truth.shape[review_axis(geometry)]
    whole = way.every == 1 or entry.split == VALIDATION
    slices = range(count) if whole else range((entry.id % way.every), count, way.every)
    mended = corrected(start, case.truth, geometry, effort, slices)
    lenient = corrected(start, case.truth, geometry, replace(effort, tolerance_mm=LENIENT_MM), slices)
    labels = mended.labels.astype(np.uint8)
    review = Review.of_all(geometry, casebook.labels())
    for label in casebook.labels():
        shown = (labels == label).any()
        state = SliceState.VERIFIED if shown or not whole else SliceState.ABSENT
        review = review.marked(label, state, slices)
    origins = traced(labels, labels != start, model=start)
    scores = [dice(start == label, case.truth == label) for label in case.objects]
    mask = AcceptedMask(labels, origins, Prompts(), review=review)
    cost = CaseCost(
        case.name,
        batch,
        entry.split,
        *(effort.seconds(each.slices, each.clicks, each.drawn_mm) for each in (mended, lenient)),
        by_hand_s(case.truth, geometry, effort),
        mended.clicks,
        mended.drawn_mm,
        mended.changed,
        int(np.count_nonzero(case.truth)),
        float(np.nanmean(scores)),
    )
    return cost, mask


def _read(path: Path, otherwise: object) -> object:
    return json.loads(path.read_text("utf-8")) if path.is_file() else otherwise


def _write(path: Path, kept: object) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(kept), "utf-8")
