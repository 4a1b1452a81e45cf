"""How much a network forgets about one kind of image while it learns another, with and without replay."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.data.cases import Case
from InteractiveSegLib.evaluation.data.datasets import Dataset
from InteractiveSegLib.evaluation.streams.automatic_stream import mean_dice, truth_taught
from InteractiveSegLib.evaluation.streams.stream_state import StreamState
from InteractiveSegLib.learning.automatic_network import AutomaticNetwork
from InteractiveSegLib.learning.automatic_teacher import AutomaticTeacher
from InteractiveSegLib.learning.image_lesson import ImageLesson
from InteractiveSegLib.learning.settings import REPLAYS, LearnSettings
from InteractiveSegLib.learning.teacher import teach_steps
from InteractiveSegLib.progress import Progress, Steps

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class ForgettingSettings:
    """How many cases.

    first, second, again : from the first dataset, the second, and the first again
    tested : from the first; from the second, all that are left
    """

    first: int = 16
    second: int = 6
    again: int = 4
    tested: int = 20
    widths: tuple[int, ...] = (16, 32, 64)
    learn: LearnSettings = field(
        default_factory=lambda: LearnSettings(updates=60, averaging=0.95, smoothing=False, buffer=16)
    )

    def __post_init__(self) -> None:
        if min(self.first, self.second, self.again, self.tested) < 1:
            raise InputError(
                f"cases {self.first}, {self.second}, {self.again} and tested {self.tested} must be at least 1"
            )


@dataclass(frozen=True)
class Memory:
    """Mean Dice on test cases of the first dataset (of the second: ``other``), after each of the three stages."""

    replay: str
    first: tuple[float, float, float]
    other: float

    @property
    def lost(self) -> float:
        """Decrease of the Dice on the first dataset due to the second."""
        return self.first[0] - self.first[1]


def forgetting_steps(
    first: Dataset,
    second: Dataset,
    data: Path,
    output: Path,
    settings: ForgettingSettings,
    replays: Sequence[str] = REPLAYS,
) -> Steps[list[Memory]]:
    """Learn the first dataset, the second, and the first again, once for every kind of replay.

    The labels of the second dataset follow those of the first. A stopped run is resumed.

    Raises
    ------
    InputError : too few cases.
    """
    one, two = first.cases(data, "all"), second.cases(data, "all")
    held = max(1, len(two) - settings.second)
    if len(one) < settings.first + settings.again + settings.tested or len(two) <= settings.second:
        raise InputError(f"{first.name} has {len(one)} cases and {second.name} {len(two)}: too few")
    places = np.linspace(0, len(one) - 1, settings.tested).round().astype(int).tolist()
    rest = [name for place, name in enumerate(one) if place not in places]
    names = [(first, name) for name in rest[: settings.first]]
    names += [(second, name) for name in two[: settings.second]]
    names += [(first, name) for name in rest[settings.first : settings.first + settings.again]]
    tests = [first.load(data, one[place]) for place in places]
    shift = len(first.objects)
    others = [_shifted(second.load(data, name), shift) for name in two[-held:]]
    labels = tuple(range(1, 1 + shift + len(second.objects)))
    found = []
    for replay in replays:
        learn = replace(settings.learn, replay=replay)
        state = StreamState(output / replay, AutomaticTeacher(settings.widths, seed=learn.seed), learn)
        while state.done < len(names):
            dataset, name = names[state.done]
            yield Progress(state.done, len(names), f"replay {replay}: {name}")
            case = dataset.load(data, name)
            known = labels if state.done >= settings.first else labels[:shift]
            numbered = case if dataset is first else _shifted(case, shift)
            network, lesson = yield from _taught_steps(state, numbered, known)
            record: dict[str, Any] = {"case": name}
            if state.done + 1 in (settings.first, settings.first + settings.second, len(names)):
                record |= {"first": mean_dice(network, tests), "other": mean_dice(network, others)}
            state.keep(network, lesson, record)
        scored = [record for record in state.records if "first" in record]
        found.append(Memory(replay, tuple(record["first"] for record in scored), scored[1]["other"]))
    return found


def _taught_steps(state: StreamState, case: Case, known: Sequence[int]) -> Steps[tuple[AutomaticNetwork, ImageLesson]]:
    """Train on the full truth of a case."""
    teacher, learn, folder = state.teacher, state.learn, state.training_folder()
    network = teacher.started(state.network, case.volume, known)
    lesson = teacher.lesson(truth_taught(case, known), network)
    lessons = [lesson, *state.replayed()]
    network = yield from teach_steps(teacher, network, lessons, learn.at(state.done, 1), state.done, folder, _CPU)
    shutil.rmtree(folder, ignore_errors=True)
    return network, lesson


def _shifted(case: Case, by: int) -> Case:
    """The same case with higher numbers for its objects."""
    truth = np.where(case.truth > 0, case.truth + by, 0).astype(np.uint8)
    return replace(case, truth=truth, objects={number + by: name for number, name in case.objects.items()})
