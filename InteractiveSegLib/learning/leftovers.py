"""Files that a killed learner leaves in its folder."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.version_files import weights_folder
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.system.contained_path import contained_path


def training_folder(folder: Path, number: int) -> Path:
    """Folder of the checkpoints of a training; ``folder`` is the learner's."""
    return contained_path(folder, f"training-{number}", f"the {folder.name} network")


def candidate_folder(folder: Path, number: int) -> Path:
    """Folder of the weights that a training produces."""
    return contained_path(folder, f"version-{number}", f"the {folder.name} network")


def sweep(casebook: Casebook, learner: str, folder: Path, running: Collection[int]) -> None:
    """Delete the checkpoints of all trainings that are not running, and weights that belong to no version.

    Such weights are those of candidates that did not become a version, and of versions that were being deleted.
    """
    kept = {training_folder(folder, number) for number in running}
    found = list(folder.glob("training-*"))
    named = _named(casebook, learner)
    if named is not None:
        kept |= named | {candidate_folder(folder, number) for number in running}
        found += folder.glob("version-*")
    for each in found:
        if each not in kept:
            shutil.rmtree(each, ignore_errors=True)


def _named(casebook: Casebook, learner: str) -> set[Path] | None:
    """The folders of all versions; None if a row is damaged, since any of the weights may belong to it."""
    rows = casebook.database.rows(
        "SELECT id, learner, file FROM version WHERE learner = ? AND file IS NOT NULL", [learner]
    )
    try:
        named = {weights_folder(row, casebook.folder) for row in rows}
    except InputError:
        return None
    return named if all(each.is_dir() for each in named) else None
