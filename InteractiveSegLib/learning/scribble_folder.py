"""From a folder of scribbled images to a model that marks others."""

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
from InteractiveSegLib.learning.held_out import HeldOut
from InteractiveSegLib.learning.scribble_lesson import scribble_lesson
from InteractiveSegLib.learning.scribble_set import (
    ScribbledImage,
    ScribbleSet,
    ScribbleValues,
    scribbled_images,
    spacing_of,
    split_patients,
)
from InteractiveSegLib.learning.scribble_training import ScribbleSettings, Taught, fingerprint, taught_steps
from InteractiveSegLib.progress import Steps
from InteractiveSegLib.system.files import make_folder, replacing
from InteractiveSegLib.system.process_lock import ProcessLock
from InteractiveSegLib.wording.counting import counted

_SHARE = 5  # one patient in so many is for validation, and one at least
_FEW = 3  # patients below which all are learnt from


@dataclass(frozen=True)
class ScribbleSource:
    """Where scribbled images lie.

    images, scribbles : folders, as for ``scribble_pairs``
    masks : folder of full masks, by which the checkpoint is chosen where validation cases have any; or None
    values : of the scribbles
    patient : regular expression, as for ``scribbled_images``
    validation : patients by whom the checkpoint is chosen; None for every fifth
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
class FolderTaught:
    """model : the file that was written; notes : sentences"""

    model: Path
    taught: Taught
    notes: tuple[str, ...]


def folder_steps(
    source: ScribbleSource, output: Path, settings: ScribbleSettings, device: torch.device
) -> Steps[FolderTaught]:
    """Train on a folder, and write ``model.ts`` with its card; ``output / "training"`` is what it goes on from.

    Raises
    ------
    InputError : what is wrong with the images and scribbles, as ``scribbled_images`` says; nobody is left to learn
        from; the folder holds another training; or another process trains in it.
    OutputError : the folder cannot be written, or the disk is full.
    TrainingDivergedError : the loss is not finite.
    """
    notes: list[str] = []
    make_folder(output)
    try:
        lock = ProcessLock(output / "lock")
    except BlockingIOError as error:
        raise InputError(f"another process is training in {output} already") from error
    try:
        read = yield from scribbled_images(source.images, source.scribbles, source.values, source.patient, notes)
        learnt, held = _divided(read, source, settings, notes)
        marked = [(each.volume, each.marks) for each in learnt]
        spacing, slices_first = spacing_of(marked, THICK, settings.patches.sides[1])
        network = settings.network(read.labels, spacing, slices_first)
        lessons = [scribble_lesson(each.volume, each.marks, network, read.known(each)) for each in learnt]
        cases = _held_out(held, source, read, notes)
        _require_same(output, fingerprint(settings, marked, cases))
        taught = yield from taught_steps(network, lessons, cases, settings, output / "training", device)
        facts = {
            "images": len(learnt),
            "patients": len({each.patient for each in learnt}),
            "validation_images": len(cases),
            "validation_dice": round(taught.score, 4) if cases else None,
            "step": taught.step,
            "settings": asdict(settings),
        }
        card = AutomaticCard.of(taught.network, source.names or {}, taught.largest_part, facts)
        model = export_model(taught.network, card, output)
    finally:
        lock.release()
    return FolderTaught(model, taught, (*notes, *taught.notes))


def _require_same(output: Path, key: str) -> None:
    """InputError where the folder has a training that was begun with other images, marks or settings."""
    path = output / "training" / "begun.txt"
    if path.is_file():
        if path.read_text("utf-8").strip() != key:
            raise InputError(
                f"{output / 'training'} holds a training with other images, scribbles or settings: choose another "
                "--output, or delete that folder"
            )
        return
    make_folder(path.parent)
    with replacing(path) as temporary:
        temporary.write_text(key, "utf-8")


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
        reason = "none was asked for" if source.validation == 0 else f"{few} too few to set any aside"
        notes.append(f"there is no validation, as {reason}: the last checkpoint is taken")
    if source.patient is None and len(read.images) > 1:
        notes.append("every image counts as a patient of its own: name patients with --patient if some have several")
    learnt = [each for each in read.images if each.patient in train]
    lacking = [label for label in read.labels if not any(label in each.marks for each in learnt)]
    if lacking:
        found = ", ".join(each.name for each in read.images if lacking[0] in each.marks)
        raise InputError(
            f"label {lacking[0]} is marked in {found} alone, which the seed {settings.seed} drew for validation: take "
            "another --seed, or --validation 0"
        )
    told = counted(len(learnt), "image", "images")
    notes.append(f"learns from {told} of {counted(len(train), 'patient', 'patients')}")
    return learnt, [each for each in read.images if each.patient in validation]


def _held_out(held: list[ScribbledImage], source: ScribbleSource, read: ScribbleSet, notes: list[str]) -> list[HeldOut]:
    masks = file_pairs(source.images, source.masks).pairs if source.masks is not None else {}
    cases, masked = [], 0
    for each in held:
        if each.name in masks:
            labels = read_labelmap(masks[each.name][1], each.volume.geometry, notes)
            cases.append(HeldOut.of_mask(each.volume, labels, (0, *read.labels)))
            masked += 1
        else:
            cases.append(HeldOut.of_marks(each.volume, each.marks))
    if cases:
        told = counted(len(cases), "validation image", "validation images")
        notes.append(f"the checkpoint is chosen on {told}: on {masked} by the full mask, else by what is marked")
    return cases
