"""The network of a casebook that learns from scribbles alone, in cases without an accepted mask."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from InteractiveSegLib.casebook.acceptance import latest, load_accepted
from InteractiveSegLib.casebook.case_rounds import last_round
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.entries import CaseEntry
from InteractiveSegLib.casebook.splits import TEST, TRAIN, VALIDATION
from InteractiveSegLib.casebook.states import State
from InteractiveSegLib.casebook.version_files import weights_checksums
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.learning.automatic_card import CARD, AutomaticCard
from InteractiveSegLib.learning.automatic_model import export_model
from InteractiveSegLib.learning.automatic_network import THICK, AutomaticNetwork
from InteractiveSegLib.learning.automatic_teacher import AutomaticTeacher
from InteractiveSegLib.learning.held_out import HeldOut, largest_parts, mean_score, that_show_objects
from InteractiveSegLib.learning.leftovers import candidate_folder, sweep, training_folder
from InteractiveSegLib.learning.scribble_lesson import scribble_lesson
from InteractiveSegLib.learning.scribble_set import ScribbledImage, ScribbleSet, checked_set, spacing_of
from InteractiveSegLib.learning.scribble_training import ScribbleSettings, TrainingResult, fingerprint, training_steps
from InteractiveSegLib.learning.starting import Started, start_steps
from InteractiveSegLib.learning.versions import (
    IN_USE,
    REFUSED,
    Version,
    add_version,
    in_use,
    learner_folder,
    prune,
    versions,
)
from InteractiveSegLib.progress import Steps
from InteractiveSegLib.prompts.scribbles import BACKGROUND
from InteractiveSegLib.system.files import make_folder, replacing
from InteractiveSegLib.system.process_lock import locked_folder
from InteractiveSegLib.wording.counting import counted

SCRIBBLES = "scribbles"
_REFUSED = "refused.json"


@dataclass(frozen=True, eq=False)
class ScribblesLearnt:
    """The result.

    version : of the network that was trained, in the casebook
    good : whether it is in use; ``reason`` says why, or why not
    started : cases that got starting masks from the version in use; None if no version is in use
    notes : sentences
    """

    version: int
    good: bool
    reason: str
    started: Started | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _LargestParts:
    """In place of a layout of organs, which scribbles do not show: the labels of which the largest part is kept."""

    of: tuple[int, ...]

    def likely(
        self, probabilities: NDArray[np.floating], geometry: Geometry, network: AutomaticNetwork
    ) -> NDArray[np.uint8]:
        return largest_parts(network.labelmap(probabilities), self.of)


class ScribbleLearner:
    """Trains a network on the scribbles of a casebook, and gives its new cases starting masks.

    It learns from training cases that have scribbles but were never accepted. The checkpoint is chosen on validation
    cases, by the accepted mask or else by the scribbles. Cases of the test split are not used.

    Parameters
    ----------
    device : where it trains
    """

    def __init__(
        self, casebook: Casebook, settings: ScribbleSettings | None = None, device: torch.device | None = None
    ) -> None:
        self.casebook, self.settings = casebook, settings or ScribbleSettings()
        self.device = device or torch.device("cpu")
        self.folder = learner_folder(casebook, SCRIBBLES)
        self.notes: list[str] = []

    def steps(self, most: int | None = None) -> Steps[ScribblesLearnt]:
        """Train, unless the same training is done already, and give cases starting masks.

        It may be killed at any time; another run resumes it.

        Parameters
        ----------
        most : maximum number of cases that get starting masks; all if None

        Raises
        ------
        InputError : there are no scribbles to learn from; faults of the scribbles, as for ``checked_set``; or another
            process is already learning from them.
        OutputError : the casebook cannot be written, or the disk is full.
        TrainingDivergedError : the loss is not finite.
        """
        lock = locked_folder(self.folder, "another process is already learning from the scribbles of this casebook")
        try:
            scribbled = checked_set(self._scribbled(TRAIN), self.notes)
            held_out = self._held_out(scribbled)
            marked = [(each.volume, each.marks) for each in scribbled.images]
            key = int(fingerprint(self.settings, marked, held_out)[:12], 16)
            place = candidate_folder(self.folder, key)
            version = next((each for each in versions(self.casebook, SCRIBBLES) if each.folder == place), None)
            version = version or self._refused(key)
            if version is None:
                sweep(self.casebook, SCRIBBLES, self.folder, [key])
                version = yield from self._trained(scribbled, held_out, key)
            sweep(self.casebook, SCRIBBLES, self.folder, [])
            started = yield from self._started(most)
        finally:
            lock.release()
        return ScribblesLearnt(version.id, version.state == IN_USE, version.reason, started, tuple(self.notes))

    def _refused(self, key: int) -> Version | None:
        """What became of this training if its network, whose weights are deleted, was worse than the one in use."""
        before, number = in_use(self.casebook, SCRIBBLES), self._refusals().get(str(key))
        for each in versions(self.casebook, SCRIBBLES):
            if each.id == number and each.state == REFUSED and before is not None and each.parent == before.id:
                return each
        return None

    def _refusals(self) -> dict[str, int]:
        """Key of a training -> number of the version that was refused."""
        with suppress(OSError, ValueError):
            known = json.loads((self.folder / _REFUSED).read_text("utf-8"))
            if isinstance(known, dict):
                return known
        return {}

    def _scribbled(self, split: str) -> list[ScribbledImage]:
        found, fault = [], None
        for entry in self.casebook.cases():
            left_out = entry.split != split or entry.state is State.SKIPPED
            if left_out or latest(self.casebook, entry) is not None:
                continue
            try:
                marks = self._marks(entry)
                if marks:
                    found.append(ScribbledImage(entry.name, entry.patient, self.casebook.volume(entry), marks))
            except InputError as error:
                fault = error
                self.notes.append(f"{entry.name} is left out: {error}")
        if not found and split == TRAIN:
            if fault is not None:
                raise fault
            raise InputError(
                f"the casebook {self.casebook.folder} has no training case with scribbles and without an accepted "
                "mask: there are no scribbles to learn from"
            )
        return found

    def _marks(self, entry: CaseEntry) -> dict[int, NDArray[np.bool_]]:
        kept = last_round(self.casebook, entry)
        if kept is None or not len(kept.prompts.scribbles):
            return {}
        drawn = kept.prompts.scribbles.to_labelmap(entry.image.geometry.shape_kji)
        return {0 if value == BACKGROUND else int(value): drawn == value for value in np.unique(drawn) if value}

    def _held_out(self, scribbled: ScribbleSet) -> list[HeldOut]:
        cases = [HeldOut.of_marks(each.volume, each.marks) for each in self._scribbled(VALIDATION)]
        for entry in self.casebook.cases():
            found = latest(self.casebook, entry) if entry.split == VALIDATION else None
            if found is None:
                continue
            try:
                accepted = load_accepted(entry, found)
                volume = self.casebook.volume(entry)
            except InputError as error:
                self.notes.append(f"a validation case is left out: {error}")
                continue
            known = np.ones(entry.image.geometry.shape_kji, bool)
            if accepted.review is not None:
                for label in scribbled.labels:
                    known = known & accepted.review.known_kji(label)
            if known.any():
                of = (0, *scribbled.labels)
                cases.append(HeldOut.of_mask(volume, accepted.labels, of, known))
        if not cases:
            self.notes.append("no validation case has scribbles or a mask: the last checkpoint is used")
        return that_show_objects(cases, self.notes)

    def _trained(self, scribbled: ScribbleSet, held_out: list[HeldOut], key: int) -> Steps[Version]:
        marked = [(each.volume, each.marks) for each in scribbled.images]
        spacing, slices_first = spacing_of(marked, THICK, self.settings.patches.sides[1])
        network = self.settings.network(scribbled.labels, spacing, slices_first)
        lessons = [
            scribble_lesson(each.volume, each.marks, network, scribbled.known(each)) for each in scribbled.images
        ]
        folder = training_folder(self.folder, key)
        trained = yield from training_steps(network, lessons, held_out, self.settings, folder, self.device)
        self.notes += trained.notes
        good, reason = self._judged(trained, held_out)
        place = candidate_folder(self.folder, key)
        make_folder(place)
        facts = {"images": len(lessons), "steps": self.settings.steps, "seed": self.settings.seed}
        AutomaticTeacher(self.settings.widths).save(trained.network, place, facts)
        card_facts = {**facts, "validation_images": len(held_out), "settings": asdict(self.settings)}
        card = AutomaticCard.of(trained.network, self.casebook.labels(), trained.largest_part, card_facts)
        export_model(trained.network, card, place)
        reason = f"learnt from the scribbles of {counted(len(lessons), 'case', 'cases')}; {reason}"
        file = place.relative_to(self.casebook.folder).as_posix()
        seen = [self.casebook.case(each.name).id for each in scribbled.images]
        before = in_use(self.casebook, SCRIBBLES)
        with self.casebook.database.writing() as rows:
            for label in scribbled.labels:
                rows.execute("INSERT OR IGNORE INTO label VALUES (?, ?)", [label, f"label {label}"])
            parent = None if before is None else before.id
            number = add_version(rows, SCRIBBLES, parent, good, file, seen, {}, reason, weights_checksums(place))
        if not good:
            with replacing(self.folder / _REFUSED) as temporary:
                temporary.write_text(json.dumps({**self._refusals(), str(key): number}), "utf-8")
        prune(self.casebook, SCRIBBLES)
        return next(each for each in versions(self.casebook, SCRIBBLES) if each.id == number)

    def _judged(self, trained: TrainingResult, held_out: list[HeldOut]) -> tuple[bool, str]:
        """Whether the network is to be used, and why."""
        if not held_out:
            return True, "not checked, since there are no validation cases"
        before = in_use(self.casebook, SCRIBBLES)
        network = None if before is None else AutomaticTeacher().load(before.folder)
        if network is None:
            return True, f"validation Dice {trained.score:.3f}"
        old = mean_score(network, held_out)
        reason = f"validation Dice {trained.score:.3f}, against {old:.3f} of the previous version"
        return trained.score >= old, reason

    def _started(self, most: int | None) -> Steps[Started | None]:
        used = in_use(self.casebook, SCRIBBLES)
        if used is None or used.folder is None:
            return None
        if not any(entry.split != TEST for entry in self.casebook.cases()):
            return None
        network = AutomaticTeacher().load(used.folder)
        assert network is not None
        layout = _LargestParts(AutomaticCard.read(used.folder / CARD).largest_part)
        return (yield from start_steps(self.casebook, network.to(self.device), used.id, layout, most))
