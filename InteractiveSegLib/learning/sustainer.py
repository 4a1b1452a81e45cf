"""The sustainer: the igniter's network, trained further on the verified part of the study.

Ma et al., arXiv 2204.06243. Labelled images of the igniter's source are mixed in, so that they are not forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.learning.automatic_network import AutomaticNetwork
from InteractiveSegLib.learning.automatic_teacher import AutomaticTeacher
from InteractiveSegLib.learning.image_batches import ImageBatches, PatchSettings
from InteractiveSegLib.learning.image_lesson import ImageLesson
from InteractiveSegLib.learning.organ_layout import OrganLayout
from InteractiveSegLib.learning.replay import Mixture
from InteractiveSegLib.learning.settings import DARK, NONE, LearnSettings
from InteractiveSegLib.learning.starting import Started, start_steps
from InteractiveSegLib.learning.strong_augmentation import ANY_ANGLE, AugmentationSettings, AugmentedBatches
from InteractiveSegLib.learning.versions import in_use
from InteractiveSegLib.progress import Steps
from InteractiveSegLib.records.array_file import read_arrays
from InteractiveSegLib.system.files import replacing

IGNITER, SUSTAINER = "igniter", "sustainer"
PATCHES = PatchSettings((48, 96), (2, 8), 0.5, 0.3, 0.15)
KEPT_SOURCES = 12
"""Maximum number of labelled images of the source kept for replay."""
_LAYOUT, _SOURCE = "layout.json", "source-{}.npz"


def keep_source(folder: Path, lessons: Sequence[ImageLesson], network: AutomaticNetwork, layout: OrganLayout) -> None:
    """Write the part of the source that a sustainer needs beside an igniter's weights: evenly spaced images.

    Raises
    ------
    OutputError : the folder cannot be written.
    """
    chosen = np.unique(np.linspace(0, len(lessons) - 1, min(len(lessons), KEPT_SOURCES)).round().astype(int))
    for number in chosen.tolist():
        arrays = lessons[number].arrays()
        with replacing(folder / _SOURCE.format(number)) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays, spacing_mm=np.array(network.spacing_mm))
    layout.save(folder / _LAYOUT)


def kept_layout(folder: Path) -> OrganLayout:
    """Layout of organs in an igniter's source. InputError if the file is missing or damaged."""
    return OrganLayout.load(folder / _LAYOUT)


class SustainerTeacher(AutomaticTeacher):
    """Teacher of the automatic network that starts from the igniter's network and mixes in its source.

    igniter : folder of the igniter's version
    """

    name = SUSTAINER

    def __init__(self, igniter: Path, patches: PatchSettings | None = None) -> None:
        super().__init__(patches=patches or PATCHES)
        self.igniter = igniter

    @classmethod
    def of(cls, casebook: Casebook) -> SustainerTeacher:
        """The sustainer's teacher of a casebook. InputError if it has no igniter to start from."""
        version = in_use(casebook, IGNITER)
        if version is None or version.folder is None:
            raise InputError(
                f"the casebook {casebook.folder} has no igniter for the sustainer to start from: run 'casebook "
                "ignite' first"
            )
        return cls(version.folder)

    def load(self, folder: Path | None) -> AutomaticNetwork:
        network = super().load(self.igniter if folder is None else folder)
        assert network is not None
        return network

    def start(self, weights: Path | None, volume: Volume, labels: Sequence[int]) -> AutomaticNetwork:
        return self.load(weights).grown(labels)

    def batches(
        self, lessons: Sequence[ImageLesson], network: AutomaticNetwork, settings: LearnSettings, seed: int
    ) -> Dataset[Any]:
        axis = network.axis if network.dimensions == 2 else None
        replayed = [] if settings.replay == NONE else self.source(network)
        mixture = Mixture(settings.latest)
        plain = ImageBatches([*lessons, *replayed], network.labels, axis, mixture, settings.updates, seed, self.patches)
        if settings.replay == DARK:  # earlier predictions apply only to unchanged images
            return plain
        changes = AugmentationSettings(turned_degrees=ANY_ANGLE) if network.slices_first else AugmentationSettings()
        return AugmentedBatches(plain, axis, changes, seed)

    def source(self, network: AutomaticNetwork) -> list[ImageLesson]:
        """Images of the igniter's source that have this network's voxel size and labels."""
        found = []
        for path in sorted(self.igniter.glob(_SOURCE.format("*"))):
            arrays = read_arrays(path, "a labelled image of the igniter's source")
            lesson = ImageLesson.from_arrays(arrays)
            same = np.array_equal(arrays.get("spacing_mm", ()), network.spacing_mm)
            if same and set(lesson.labels) <= set(network.labels):
                found.append(lesson)
        return found


def sustain_start_steps(casebook: Casebook, teacher: SustainerTeacher, most: int) -> Steps[Started | None]:
    """Give up to ``most`` new cases starting masks of the version in use; None if there is none."""
    version = in_use(casebook, SUSTAINER)
    if version is None or version.folder is None:
        return None
    network = teacher.load(version.folder)
    return (yield from start_steps(casebook, network, version.id, kept_layout(teacher.igniter), most))
