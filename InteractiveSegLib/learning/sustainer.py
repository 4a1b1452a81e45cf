"""The sustainer: the igniter's network, trained further on the verified part of the study.

Ma et al., arXiv 2204.06243. Labelled images of the igniter's source are mixed in, so that they are not forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from InteractiveSegLib.casebook.acceptance import load_labels, stream
from InteractiveSegLib.casebook.batches import BATCHES
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
SUSTAINER_SETTINGS = LearnSettings(updates=200, updates_per_case=40, together=max(BATCHES), buffer=80)
"""One training for all cases accepted since the last one, up to the size of the largest batch."""
SOURCE_SHARE = 0.25
"""Share of the patches that come from the source."""
_LAYOUT, _SOURCE = "layout.json", "source-{}.npz"


def keep_source(folder: Path, lessons: Sequence[ImageLesson], layout: OrganLayout) -> None:
    """Write the part of the source that a sustainer needs beside an igniter's weights: evenly spaced images.

    Raises
    ------
    OutputError : the folder cannot be written.
    """
    chosen = np.unique(np.linspace(0, len(lessons) - 1, min(len(lessons), KEPT_SOURCES)).round().astype(int))
    for number in chosen.tolist():
        with replacing(folder / _SOURCE.format(number)) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **lessons[number].arrays())
    layout.save(folder / _LAYOUT)


def kept_layout(folder: Path) -> OrganLayout:
    """Layout of organs in an igniter's source. InputError if the file is missing or damaged."""
    return OrganLayout.load(folder / _LAYOUT)


@dataclass(frozen=True)
class SourceMixture:
    """Cases of the study as they would be drawn by themselves, and with them images of the source.

    cases : of the study; they come first
    share : part of the batches that come from the source, where it has any images
    """

    of_study: Mixture
    cases: int
    share: float

    def draw(self, images: int, rng: np.random.Generator) -> int:
        """Index of a case, or of an image of the source."""
        if images > self.cases and rng.random() < self.share:
            return int(rng.integers(self.cases, images))
        return self.of_study.draw(self.cases, rng)


class SustainerTeacher(AutomaticTeacher):
    """Teacher of the automatic network that starts from the igniter's network and mixes in its source.

    Parameters
    ----------
    igniter : folder of the igniter's version
    source_share : share of the patches that come from the igniter's source; 0 turns the replay of the source off
    augmentation : of the patches, in addition to ``PatchSettings``; it helps on images that look different from those
        learnt from, as for the igniter, and slows learning if they look alike
    """

    name = SUSTAINER

    def __init__(
        self,
        igniter: Path,
        patches: PatchSettings | None = None,
        source_share: float = SOURCE_SHARE,
        augmentation: AugmentationSettings | None = None,
    ) -> None:
        super().__init__(patches=patches or PATCHES)
        self.igniter, self.source_share, self.augmentation = igniter, source_share, augmentation

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
        replayed = self.source(network) if self.source_share and settings.replay != NONE else []
        of_study = Mixture(settings.latest, settings.together)
        mixture = SourceMixture(of_study, len(lessons), self.source_share)
        plain = ImageBatches([*lessons, *replayed], network.labels, axis, mixture, settings.updates, seed, self.patches)
        if settings.replay == DARK or self.augmentation is None:  # earlier predictions hold for unchanged images alone
            return plain
        changes = self.augmentation
        if network.slices_first:
            changes = replace(changes, turned_degrees=ANY_ANGLE)
        return AugmentedBatches(plain, axis, changes, seed)

    def source(self, network: AutomaticNetwork) -> list[ImageLesson]:
        """Images of the igniter's source that have this network's voxel size and labels."""
        found = []
        for path in sorted(self.igniter.glob(_SOURCE.format("*"))):
            lesson = ImageLesson.from_arrays(read_arrays(path, "a labelled image of the igniter's source"))
            if lesson.spacing_mm == network.spacing_mm and set(lesson.labels) <= set(network.labels):
                found.append(lesson)
        return found


def study_layout(casebook: Casebook, teacher: SustainerTeacher, network: AutomaticNetwork) -> OrganLayout:
    """Layout of organs in the igniter's source and in the cases whose mask was accepted as a whole.

    Masks that cannot be read are left out with a note.
    """
    found = [kept_layout(teacher.igniter)]
    for acceptance in stream(casebook):
        entry = casebook.case_of_id(acceptance.case_id)
        try:
            labels = load_labels(entry, acceptance)
            if labels.any() and acceptance.reviewed(entry).is_whole:
                found.append(OrganLayout.of(labels, entry.image.geometry, network))
        except InputError as error:
            casebook.note(f"the layout of organs leaves out a case: {error}")
    return OrganLayout.of_all(found)


def sustain_start_steps(
    casebook: Casebook, teacher: SustainerTeacher, most: int | None, names: Sequence[str] | None = None
) -> Steps[Started | None]:
    """Give up to ``most`` new cases starting masks of the version in use; None if there is none.

    names : of the cases, in the order of prediction; all, as they were added, if None
    """
    version = in_use(casebook, SUSTAINER)
    if version is None or version.folder is None:
        return None
    network = teacher.load(version.folder)
    layout = study_layout(casebook, teacher, network)
    return (yield from start_steps(casebook, network, version.id, layout, most, names))
