"""Interface of the teachers of different kinds of networks, and one training."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import Dataset

from InteractiveSegLib.casebook.acceptance import AcceptedMask
from InteractiveSegLib.device import bfloat16_is_fast
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.learning.case_targets import CaseTargets
from InteractiveSegLib.learning.settings import FALLING, LearnSettings
from InteractiveSegLib.progress import Steps
from InteractiveSegLib.training.trainer import Loss, TrainSettings, steady, train, warm_cosine

CHECKPOINT_EVERY = 25  # updates

Lesson = TypeVar("Lesson")
Net = TypeVar("Net", bound=nn.Module)


class Teacher(Protocol, Generic[Net, Lesson]):
    """Turns cases into lessons, and lessons into batches, for one kind of network.

    mixed_precision : it may be trained with products in bfloat16
    """

    name: str
    mixed_precision: bool

    def start(self, weights: Path | None, volume: Volume, labels: Sequence[int]) -> Net:
        """The network to train: from the weights, or a new one if None, with an output for each label."""
        ...

    def save(self, network: Net, folder: Path, facts: Mapping[str, str | int | float]) -> None:
        """Write the weights into their own folder."""
        ...

    def load(self, folder: Path | None) -> Net | None:
        """The network saved by ``save``, in eval mode; None if there is no network before the first lesson."""
        ...

    def lesson(self, case: CaseTargets, network: Net) -> Lesson | None:
        """A case as a lesson for this network; None if there is nothing to learn from it."""
        ...

    def fits(self, lesson: Lesson, network: Net, known: Collection[int]) -> bool:
        """Whether a stored lesson is still what ``lesson`` makes of a case of which these labels are known."""
        ...

    def batches(self, lessons: Sequence[Lesson], network: Net, settings: LearnSettings, seed: int) -> Dataset[Any]:
        """Numbered batches; the first ``settings.together`` lessons are those of the latest cases."""
        ...

    def loss(self, settings: LearnSettings) -> Loss: ...

    def remembered(self, lesson: Lesson, network: Net) -> Lesson:
        """The lesson with the network's present prediction, for dark replay."""
        ...

    def pack(self, lesson: Lesson) -> dict[str, NDArray]: ...

    def unpack(self, arrays: Mapping[str, NDArray]) -> Lesson: ...

    def answer(self, network: Net, volume: Volume, accepted: AcceptedMask, seed: int) -> NDArray[np.integer]:
        """Labelmap that the network predicts for an accepted case, for validation."""
        ...

    def foregrounds(
        self, network: Net, volume: Volume, boxes: Mapping[int, BoundingBox]
    ) -> dict[int, NDArray[np.floating]]:
        """Label -> probability (K, J, I) in a new image.

        boxes : expected position of each label, for networks that need a box
        """
        ...


def teach_steps(
    teacher: Teacher[Net, Lesson],
    network: Net,
    lessons: Sequence[Lesson],
    settings: LearnSettings,
    seed: int,
    folder: Path,
    device: torch.device,
) -> Steps[Net]:
    """One training: ``settings.updates`` steps on the latest cases' lessons and replayed ones.

    Parameters
    ----------
    network : trained in place
    lessons : the first ``settings.together`` are those of the latest cases
    seed : for the batches
    folder : of the checkpoint; a training found there is resumed

    Returns
    -------
    the averaged network, in eval mode, on the CPU

    Raises
    ------
    TrainingDivergedError : the loss is not finite.
    """
    steps = TrainSettings(
        settings.updates,
        settings.learning_rate,
        averaging=settings.averaging,
        checkpoint_every=CHECKPOINT_EVERY,
        mixed_precision=teacher.mixed_precision and bfloat16_is_fast(device),
    )
    batches = teacher.batches(lessons, network, settings, seed)
    schedule = warm_cosine if settings.rate == FALLING else steady
    taught = yield from train(network, batches, teacher.loss(settings), steps, folder, device, schedule)
    return taught.cpu()
