"""What a transferred network is compared with: the same network, trained from nothing at once."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from InteractiveSegLib.casebook.acceptance import load_accepted, stream
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.splits import TRAIN
from InteractiveSegLib.evaluation.streams.transfer_study import (
    MAIN,
    Tested,
    TransferSettings,
    dice_steps,
    ignited_steps,
    read_dice,
    tested_cases,
    write_dice,
)
from InteractiveSegLib.evaluation.streams.transfer_task import TransferTask, truth_on
from InteractiveSegLib.learning.automatic_network import AutomaticNetwork
from InteractiveSegLib.learning.case_targets import CaseTargets, case_targets
from InteractiveSegLib.learning.image_lesson import ImageLesson
from InteractiveSegLib.learning.organ_layout import OrganLayout
from InteractiveSegLib.learning.sustainer import SustainerTeacher, study_layout
from InteractiveSegLib.learning.teacher import teach_steps
from InteractiveSegLib.progress import Progress, Steps
from InteractiveSegLib.prompts.prompts import Prompts

_CPU = torch.device("cpu")
_AVERAGING = 0.99


def from_nothing_steps(
    task: TransferTask, data: Path, output: Path, settings: TransferSettings, seed: int, batches: int | None
) -> Steps[Tested]:
    """Test Dice of the network that starts from nothing and takes as many steps as the igniter and its sustainer took.

    A stopped run is resumed.

    Parameters
    ----------
    batches : it learns from the masks that were accepted in so many batches of the main way, whose study is there; None
        for the full truth of all cases for training

    Raises
    ------
    InputError : too few cases.
    """
    parts = task.parts(data, sum(settings.batches))
    folder = output / ("full-truth" if batches is None else f"nothing-{batches}")
    if (kept := read_dice(folder / "tested.json")) is not None:
        return kept
    ignited = yield from ignited_steps(task, parts, data, output, settings, True, seed)
    study = ignited if batches is None else output / MAIN.name / "study"
    with Casebook(study) as casebook:
        teacher = _FromNothing(SustainerTeacher.of(casebook).igniter, settings, seed)
        network = teacher.load(None)
        layout = study_layout(casebook, teacher, network)
        lessons: list[ImageLesson] = []
        if batches is None:
            places = parts.targets[TRAIN]
            layouts = [layout]
            for number, place in enumerate(places):
                yield Progress(number, len(places), f"reading {place.name}")
                case = place.load(data)
                weight = np.ones(case.truth.shape, np.float32)
                taught = CaseTargets(case.volume, truth_on(case, task.labels), weight, Prompts())
                lessons += _lesson(teacher, taught, network)
                layouts.append(OrganLayout.of(case.truth, case.volume.geometry, network))
            layout = OrganLayout.of_all(layouts)
        else:
            splits = {entry.id: entry.split for entry in casebook.cases()}
            accepted = [found for found in stream(casebook) if splits[found.case_id] == TRAIN]
            for found in accepted[: sum(settings.batches[:batches])]:
                entry = casebook.case_of_id(found.case_id)
                mask, volume = load_accepted(entry, found), casebook.volume(entry)
                taught = case_targets(volume, mask, found.known_labels, 1.0, settings.learn.person_weight)
                lessons += _lesson(teacher, taught, network)
    steps = settings.ignite.steps + settings.sustained_updates(batches)
    learn = replace(settings.learn, updates=steps, seed=seed, together=len(lessons), averaging=_AVERAGING)
    learn = replace(learn, learning_rate=settings.ignite.learning_rate)
    network = yield from teach_steps(teacher, network, lessons, learn, seed, folder / "training", _CPU)
    cases = tested_cases(parts, data, settings.tested)
    found = yield from dice_steps(network, layout, cases, "testing what was trained from nothing")
    write_dice(folder / "tested.json", found)
    shutil.rmtree(folder / "training", ignore_errors=True)
    return found


class _FromNothing(SustainerTeacher):
    """The network of an igniter with fresh weights, and no source."""

    def __init__(self, igniter: Path, settings: TransferSettings, seed: int) -> None:
        super().__init__(igniter, settings.ignite.patches, 0.0)
        self.seed = seed

    def load(self, folder: Path | None) -> AutomaticNetwork:
        network = super().load(folder)
        if folder is None:
            torch.manual_seed(self.seed)
            network = AutomaticNetwork(**network.config)
        return network


def _lesson(teacher: SustainerTeacher, taught: CaseTargets, network: AutomaticNetwork) -> Sequence[ImageLesson]:
    lesson = teacher.lesson(taught, network)
    return [] if lesson is None else [lesson]
