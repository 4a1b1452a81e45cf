"""Teaching the prompted network."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from InteractiveSegLib.casebook.acceptance import AcceptedMask
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.learning.case_targets import CaseTargets
from InteractiveSegLib.learning.object_batches import ObjectBatches, SessionSettings, object_batch_loss
from InteractiveSegLib.learning.object_lesson import ObjectLesson, object_lesson
from InteractiveSegLib.learning.replay import Mixture
from InteractiveSegLib.learning.settings import LearnSettings
from InteractiveSegLib.networks.checkpoint import load_network, save_network, weights_paths
from InteractiveSegLib.networks.network import Member
from InteractiveSegLib.progress import finish
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import BACKGROUND, Scribbles
from InteractiveSegLib.segmenting.session import ImageSession
from InteractiveSegLib.training.simulated_prompts import draw_scribbles
from InteractiveSegLib.training.trainer import Loss

Objects = Sequence[ObjectLesson]
_LEAST_VOXELS = 8.0  # smaller objects are not learnt


class PromptedTeacher:
    """Lessons are objects with the prompts of the accepted case, mixed with simulated prompts.

    initial : name of shipped weights, or a folder with weights, to start from
    """

    name = "prompted"
    mixed_precision = False

    def __init__(self, initial: str | Path = "prompted", sessions: SessionSettings | None = None) -> None:
        self.initial = initial
        self.sessions = sessions or SessionSettings()

    def start(self, weights: Path | None, volume: Volume, labels: Sequence[int]) -> Member:
        return self.load(weights)

    def save(self, network: Member, folder: Path, facts: Mapping[str, str | int | float]) -> None:
        save_network(network, folder / f"{self.name}.safetensors", facts)

    def load(self, folder: Path | None) -> Member:
        """InputError if the weights belong to a network that does not take prompts, or to several networks."""
        place = self.initial if folder is None else folder
        if any(path.suffix != ".safetensors" for path in weights_paths(place)):
            raise InputError(f"{place} contains a program: only weights of a network that takes prompts can be trained")
        network = load_network(place)
        if not network.takes_prompts or len(network.members) > 1:
            raise InputError(f"{place} is {type(network).__name__}: only a network that takes prompts can be trained")
        return network

    def lesson(self, case: CaseTargets, network: Member) -> Objects | None:
        present = [label for label, target in case.targets.items() if target.sum() >= _LEAST_VOXELS]
        objects = [
            object_lesson(
                case.volume,
                case.targets[label],
                case.weight * case.known.get(label, True),
                case.prompts,
                label,
                network,
            )
            for label in present
            if (case.targets[label] > 0.5).any() or label in case.prompts.labels
        ]
        return objects or None

    def fits(self, lesson: Objects, network: Member, known: Collection[int]) -> bool:
        return True

    def batches(self, lessons: Sequence[Objects], network: Member, settings: LearnSettings, seed: int) -> Dataset[Any]:
        return ObjectBatches(
            lessons, Mixture(settings.latest, settings.together), settings.updates, seed, self.sessions
        )

    def loss(self, settings: LearnSettings) -> Loss:
        return object_batch_loss

    def remembered(self, lesson: Objects, network: Member) -> Objects:
        return lesson

    def pack(self, lesson: Objects) -> dict[str, NDArray]:
        return {f"{number}/{name}": a for number, taught in enumerate(lesson) for name, a in taught.arrays().items()}

    def unpack(self, arrays: Mapping[str, NDArray]) -> Objects:
        numbers = sorted({int(name.split("/")[0]) for name in arrays})
        return [
            ObjectLesson.from_arrays(
                {name.split("/")[1]: array for name, array in arrays.items() if name.startswith(f"{number}/")}
            )
            for number in numbers
        ]

    def answer(self, network: Member, volume: Volume, accepted: AcceptedMask, seed: int) -> NDArray[np.integer]:
        """The labelmap from the case's prompts, or from simulated ones if there are none; without fine-tuning."""
        session = ImageSession(volume, network, seed=seed)
        session.prompts = accepted.prompts if accepted.prompts.labels else simulated_prompts(accepted.labels, seed)
        if not session.prompts.labels:
            return np.zeros(volume.geometry.shape_kji, np.uint8)
        finish(session.segment(adapt=False))
        return session.labelmap()

    def foregrounds(
        self, network: Member, volume: Volume, boxes: Mapping[int, BoundingBox]
    ) -> dict[int, NDArray[np.floating]]:
        """Probabilities from the boxes alone."""
        if not boxes:
            return {}
        session = ImageSession(volume, network)
        session.prompts = Prompts(dict(boxes))
        finish(session.segment(adapt=False))
        return {label: session.probability(label) for label in session.current.objects}


def simulated_prompts(labels: NDArray[np.integer], seed: int) -> Prompts:
    """Scribbles on every object of a labelmap (K, J, I) and on the background round them, determined by the seed."""
    rng = np.random.default_rng([seed, 81])
    marks = np.zeros(labels.shape, np.uint8)
    present = [int(value) for value in np.unique(labels) if value]
    if not present:
        return Prompts()
    box = BoundingBox.of_mask(labels > 0)
    margin = tuple(math.ceil(0.2 * length) for length in box.shape_kji)
    around = box.expanded(margin).intersected(labels.shape).slices
    marks[around][draw_scribbles(labels[around] == 0, rng)] = BACKGROUND
    for value in present:
        marks[draw_scribbles(labels == value, rng)] = value
    return Prompts(scribbles=Scribbles.from_labelmap(marks))
