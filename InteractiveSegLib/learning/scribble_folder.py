"""Training a model on a folder of scribbled images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.file_pairs import file_pairs
from InteractiveSegLib.image.image_io import read_labelmap
from InteractiveSegLib.learning.automatic_card import AutomaticCard
from InteractiveSegLib.learning.automatic_model import export_model
from InteractiveSegLib.learning.automatic_network import THICK
from InteractiveSegLib.learning.held_out import HeldOut, that_show_objects
from InteractiveSegLib.learning.scribble_lesson import scribble_lesson
from InteractiveSegLib.learning.scribble_set import (
    ScribbledImage,
    ScribbleSet,
    ScribbleValues,
    scribbled_images,
    spacing_of,
    split_patients,
)
from InteractiveSegLib.learning.scribble_training import (
    ScribbleSettings,
    TrainingResult,
    fingerprint,
    require_same,
    training_steps,
)
from InteractiveSegLib.progress import Steps
from InteractiveSegLib.system.process_lock import locked_folder
from InteractiveSegLib.wording.counting import counted

_SHARE = 5  # one patient in so many is for validation, but at least one
_FEW = 3  # patients below which none is set aside


@dataclass(frozen=True)
class ScribbleSource:
    """Scribbled images in folders, and how they are read.

    images, scribbles : folders, as for ``scribble_pairs``
    masks : folder of full masks, by which the checkpoint is chosen for validation cases that have one; or None
    values : of the scribbles
    patient : regular expression, as for ``scribbled_images``
    validation : number of patients on whom the checkpoint is chosen, drawn at random; None for a fifth, but at least
        one, and none if there are fewer than three
    names : value -> name of the labels
    """

    images: Path
    scribbles: Path
    masks: Path | None = None
    values: ScribbleValues = field(default_factory=ScribbleValues)
    patient: str | None = None
    validation: int | None = None
    names: Mapping[int, str] | None = None


@dataclass(frozen=True, eq=False)
class FolderResult:
    """The result. model : the file that was written; notes : sentences"""

    model: Path
    training: TrainingResult
    notes: tuple[str, ...]


def folder_steps(
    source: ScribbleSource, output: Path, settings: ScribbleSettings, device: torch.device
) -> Steps[FolderResult]:
    """Train on a folder, and write ``model.ts`` with its card; a training in ``output / "training"`` is resumed.

    Raises
    ------
    InputError : faults of the images and scribbles, as for ``scribbled_images``; no patient is left to learn from; the
        folder contains another training; or another process is training in it.
    OutputError : the folder cannot be written, or the disk is full.
    TrainingDivergedError : the loss is not finite.
    """
    notes: list[str] = []
    lock = locked_folder(output, f"another process is already training in {output}")
    try:
        read = yield from scribbled_images(source.images, source.scribbles, source.values, source.patient, notes)
        learnt, held = _divided(read, source, settings, notes)
        marked = [(each.volume, each.marks) for each in learnt]
        spacing, slices_first = spacing_of(marked, THICK, settings.patches.sides[1])
        network = settings.network(read.labels, spacing, slices_first)
        lessons = [scribble_lesson(each.volume, each.marks, network, read.known(each)) for each in learnt]
        cases = _held_out(held, source, read, notes)
        require_same(output / "training", fingerprint(settings, marked, cases))
        trained = yield from training_steps(network, lessons, cases, settings, output / "training", device)
        facts = {
            "images": len(learnt),
            "patients": len({each.patient for each in learnt}),
            "validation_images": len(cases),
            "validation_dice": round(trained.score, 4) if cases else None,
            "step": trained.step,
            "settings": asdict(settings),
        }
        card = AutomaticCard.of(trained.network, source.names or {}, trained.largest_part, facts)
        model = export_model(trained.network, card, output)
    finally:
        lock.release()
    return FolderResult(model, trained, (*notes, *trained.notes))


def _divided(
    read: ScribbleSet, source: ScribbleSource, settings: ScribbleSettings, notes: list[str]
) -> tuple[list[ScribbledImage], list[ScribbledImage]]:
    patients = read.patients
    count = source.validation
    if count is None:
        count = max(1, len(patients) // _SHARE) if len(patients) >= _FEW else 0
    train, validation = split_patients(patients, count, settings.seed)
    if not validation:
        few = counted(len(patients), "patient is", "patients are")
        reason = "none was requested" if source.validation == 0 else f"{few} too few to set any aside"
        notes.append(f"there is no validation, since {reason}: the last checkpoint is used")
    if source.patient is None and len(read.images) > 1:
        notes.append("every image counts as a patient of its own: use --patient if some patients have several images")
    learnt = [each for each in read.images if each.patient in train]
    lacking = [label for label in read.labels if not any(label in each.marks for each in learnt)]
    if lacking:
        found = ", ".join(each.name for each in read.images if lacking[0] in each.marks)
        raise InputError(
            f"label {lacking[0]} is marked only in {found}, which the seed {settings.seed} selected for validation: "
            "use another --seed, or --validation 0"
        )
    images = counted(len(learnt), "image", "images")
    notes.append(f"the network learns from {images} of {counted(len(train), 'patient', 'patients')}")
    return learnt, [each for each in read.images if each.patient in validation]


def _held_out(held: list[ScribbledImage], source: ScribbleSource, read: ScribbleSet, notes: list[str]) -> list[HeldOut]:
    masks = dict(file_pairs(source.images, source.masks).pairs.values()) if source.masks is not None else {}
    cases = []
    for each in held:
        if each.file in masks:
            labels = read_labelmap(masks[each.file], each.volume.geometry, notes)
            cases.append(HeldOut.of_mask(each.volume, labels, (0, *read.labels)))
        else:
            cases.append(HeldOut.of_marks(each.volume, each.marks))
    shown = that_show_objects(cases, notes)
    if shown:
        images = counted(len(shown), "validation image", "validation images")
        by_mask = sum(bool(case.known.all()) for case in shown)
        notes.append(f"the checkpoint is chosen on {images}: {by_mask} by the full mask, the others by their marks")
    return shown
