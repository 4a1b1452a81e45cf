"""The igniter: a network trained on a small labelled set, which gives the cases of a study their starting masks.

Ma et al., arXiv 2204.06243. The masks are starting points for a person; they never count as verified.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.entries import CaseEntry
from InteractiveSegLib.casebook.new_files import sha256_of
from InteractiveSegLib.casebook.splits import TEST
from InteractiveSegLib.casebook.version_files import weights_checksums
from InteractiveSegLib.device import bfloat16_is_fast
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.learning.automatic_network import AutomaticNetwork
from InteractiveSegLib.learning.automatic_teacher import AutomaticTeacher
from InteractiveSegLib.learning.case_targets import CaseTargets
from InteractiveSegLib.learning.ignite_plan import IgnitePlan
from InteractiveSegLib.learning.image_batches import ImageBatches, PatchSettings, patch_loss
from InteractiveSegLib.learning.image_lesson import ImageLesson
from InteractiveSegLib.learning.leftovers import candidate_folder, sweep, training_folder
from InteractiveSegLib.learning.organ_layout import OrganLayout
from InteractiveSegLib.learning.replay import Mixture
from InteractiveSegLib.learning.source_look import look_steps
from InteractiveSegLib.learning.source_set import LabelTable, SourcePair, label_table, source_pairs
from InteractiveSegLib.learning.starting import Started, start_steps
from InteractiveSegLib.learning.strong_augmentation import AugmentationSettings, AugmentedBatches, mirrored_axes
from InteractiveSegLib.learning.sustainer import IGNITER, PATCHES, keep_source, kept_layout
from InteractiveSegLib.learning.versions import (
    IN_USE,
    Version,
    add_version,
    learner_folder,
    prune,
    put_in_use,
    versions,
)
from InteractiveSegLib.progress import Progress, Steps
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.system.files import make_folder
from InteractiveSegLib.system.process_lock import locked_folder
from InteractiveSegLib.training.trainer import TrainSettings, train
from InteractiveSegLib.wording.counting import counted

_PLAN = "plan.json"
_CPU = torch.device("cpu")
_CHECKPOINT_EVERY = 25


@dataclass(frozen=True)
class IgniteSettings:
    """How the igniter learns.

    steps : of the optimiser
    learning_rate : initial value; it decays to 0 along half a cosine
    widths : feature channels per level
    patches : contents of a batch
    augmentation : of the patches; the axes along which they are mirrored follow from the organs' names
    augmented : False trains on unchanged patches, for comparison
    seed : for all random choices
    """

    steps: int = 1200
    learning_rate: float = 3e-3
    widths: tuple[int, ...] = (16, 32, 64, 128, 128)
    patches: PatchSettings = PATCHES
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    augmented: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.learning_rate > 0:
            raise InputError(f"steps {self.steps} must be at least 1, and learning_rate {self.learning_rate} above 0")


@dataclass(frozen=True, eq=False)
class Ignited:
    """The result.

    version : of the network, in the casebook
    started : the cases; its notes include those on the source
    """

    version: int
    started: Started


class Igniter:
    """Trains a network of a casebook on a labelled set, and gives the cases starting masks.

    Parameters
    ----------
    images, labels : folders, as for ``source_pairs``
    named : value -> name of the source's labels; None if they are not given
    device : for training
    """

    def __init__(
        self,
        casebook: Casebook,
        images: Path,
        labels: Path,
        named: Mapping[int, str] | None = None,
        settings: IgniteSettings | None = None,
        device: torch.device = _CPU,
    ) -> None:
        self.casebook, self.images, self.labels, self.named = casebook, images, labels, named
        self.settings, self.device = settings or IgniteSettings(), device
        self.notes: list[str] = []
        self.folder = learner_folder(casebook, IGNITER)
        self._teacher = AutomaticTeacher(self.settings.widths)

    def steps(self) -> Steps[Ignited]:
        """Train, unless the same training is done already, and predict every case that may have a starting mask.

        It may be killed at any time; another run with the same source resumes the training and the remaining cases.
        Cases of the test split are neither predicted nor learnt from.

        Raises
        ------
        InputError : faults of the source, as for ``source_pairs``, ``SourcePair.read`` and ``label_table``; a source
            image that is a case of the test split; a study without cases; or another process is running the igniter.
        OutputError : the casebook cannot be written, or the disk is full.
        TrainingDivergedError : the loss is not finite.
        """
        pairs = source_pairs(self.images, self.labels, self.notes)
        if not self._targets():
            raise InputError(
                f"the casebook {self.casebook.folder} has no case outside the test split that could be started from "
                "labelled images: add images first"
            )
        if len(pairs) == 1:
            self.notes.append("there is only one labelled image to learn from: expect rough starting masks")
        lock = locked_folder(self.folder, "the igniter of this casebook is already running in another process")
        try:
            table, geometries = yield from self._inspected(pairs)
            key = self._key(pairs, table)
            version = self._done(key)
            if version is None:
                sweep(self.casebook, IGNITER, self.folder, [key])
                version = yield from self._trained(pairs, table, geometries, key)
            sweep(self.casebook, IGNITER, self.folder, [])
            network = self._teacher.load(version.folder)
            layout = kept_layout(version.folder)
            started = yield from start_steps(self.casebook, network.to(self.device), version.id, layout)
        finally:
            lock.release()
        return Ignited(version.id, replace(started, notes=(*self.notes, *started.notes)))

    def _targets(self) -> list[CaseEntry]:
        return [entry for entry in self.casebook.cases() if entry.split != TEST]

    def _inspected(self, pairs: Sequence[SourcePair]) -> Steps[tuple[LabelTable, list[Geometry]]]:
        """Read the whole source once before training, so that its faults are reported first."""
        look = yield from look_steps(self.casebook, pairs, self.notes)
        table = label_table(look.images_with, self.named, self.casebook.labels(), self.notes)
        for value, name in table.names.items():
            sources = {source for source, own in table.labels.items() if own == value}
            lacking = sum(not found & sources for found in look.occurring)
            if lacking:
                images = counted(len(pairs), "labelled image", "labelled images")
                self.notes.append(
                    f"{name} is in {len(pairs) - lacking} of {images}; in the others it counts as not labelled"
                )
        return table, list(look.geometries)

    def _key(self, pairs: Sequence[SourcePair], table: LabelTable) -> int:
        """A number that depends on source, labels and settings, but not on the location of the files."""
        files = [(sha256_of(pair.image), sha256_of(pair.labels)) for pair in pairs]
        parts = [files, sorted(table.labels.items()), mirrored_axes(table.names.values()), asdict(self.settings)]
        return int(hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12], 16)

    def _done(self, key: int) -> Version | None:
        """The version produced by this training, put in use; None if the training has not ended."""
        place = candidate_folder(self.folder, key)
        found = next((each for each in versions(self.casebook, IGNITER) if each.folder == place), None)
        if found is None or not place.is_dir():
            return None
        if found.state != IN_USE:
            with self.casebook.database.writing() as rows:
                put_in_use(rows, found)
        return found

    def _trained(
        self, pairs: Sequence[SourcePair], table: LabelTable, geometries: Sequence[Geometry], key: int
    ) -> Steps[Version]:
        settings = self.settings
        folder = training_folder(self.folder, key)
        plan = self._plan(folder, geometries)
        torch.manual_seed(settings.seed)
        flat = AutomaticNetwork.dimensions_of(plan.spacing_mm) == 2
        window = settings.patches.sides[flat]
        network = AutomaticNetwork(sorted(table.names), plan.spacing_mm, settings.widths, plan.slices_first, window)
        lessons, layout = yield from self._lessons(pairs, table, network)
        mirrored = mirrored_axes(table.names.values()) if not plan.slices_first else ()
        changes = replace(settings.augmentation, turned_degrees=plan.turned_degrees, mirrored=mirrored)
        axis = network.axis if network.dimensions == 2 else None
        plain = ImageBatches(
            lessons, network.labels, axis, Mixture(1 / len(lessons)), settings.steps, settings.seed, settings.patches
        )
        batches = AugmentedBatches(plain, axis, changes, settings.seed) if settings.augmented else plain
        training = TrainSettings(
            settings.steps,
            settings.learning_rate,
            checkpoint_every=_CHECKPOINT_EVERY,
            mixed_precision=bfloat16_is_fast(self.device),
        )
        taught = yield from train(network, batches, patch_loss(0.0), training, folder, self.device)
        place = candidate_folder(self.folder, key)
        make_folder(place)
        self._teacher.save(taught.cpu(), place, {"images": len(pairs), "steps": settings.steps, "seed": settings.seed})
        keep_source(place, lessons, layout)
        reason = (
            f"learnt {', '.join(table.names.values())} from {counted(len(pairs), 'labelled image', 'labelled images')}"
        )
        file = place.relative_to(self.casebook.folder).as_posix()
        with self.casebook.database.writing() as rows:
            for value, name in table.names.items():
                rows.execute("INSERT OR IGNORE INTO label VALUES (?, ?)", [value, name])
            number = add_version(rows, IGNITER, None, True, file, [], {}, reason, weights_checksums(place))
        prune(self.casebook, IGNITER)
        return next(each for each in versions(self.casebook, IGNITER) if each.id == number)

    def _plan(self, folder: Path, geometries: Sequence[Geometry]) -> IgnitePlan:
        """The plan chosen when this training began."""
        if (folder / _PLAN).is_file():
            with suppress(InputError):
                return IgnitePlan.load(folder / _PLAN)
        shutil.rmtree(folder, ignore_errors=True)
        targets = [entry.image.geometry for entry in self._targets()]
        plan = IgnitePlan.of(targets, geometries, self.settings.augmentation.turned_degrees)
        make_folder(folder)
        plan.save(folder / _PLAN)
        return plan

    def _lessons(
        self, pairs: Sequence[SourcePair], table: LabelTable, network: AutomaticNetwork
    ) -> Steps[tuple[list[ImageLesson], OrganLayout]]:
        lessons, layouts = [], []
        for number, pair in enumerate(pairs):
            yield Progress(number, len(pairs), f"reading {pair.name}")
            volume, source = pair.read([])
            labels = table.translated(source)
            if labels.any():
                weight = np.ones(labels.shape, np.float32)
                layouts.append(OrganLayout.of(labels, volume.geometry, network))
                lessons.append(self._teacher.lesson(CaseTargets(volume, _Targets(labels), weight, Prompts()), network))
        if not lessons:
            raise InputError("none of the labelled images shows an organ of the study: there is nothing to learn")
        return lessons, OrganLayout.of_all(layouts)


class _Targets(Mapping[int, NDArray[np.float32]]):
    """Label -> (K, J, I) float32 of the labels that occur, computed on demand to save memory on large images."""

    def __init__(self, labels: NDArray[np.uint8]) -> None:
        self._labels = labels
        self._values = [int(value) for value in np.unique(labels) if value]

    def __getitem__(self, label: int) -> NDArray[np.float32]:
        if label not in self._values:
            raise KeyError(label)
        return (self._labels == label).astype(np.float32)

    def __iter__(self) -> Iterator[int]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
