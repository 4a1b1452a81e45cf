"""What a learner that was killed leaves in its folder."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.version_files import weights_folder
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.system.contained_path import contained_path


def training_folder(folder: Path, number: int) -> Path:
    """Where the checkpoints of a training lie; ``folder`` is the learner's."""
    return contained_path(folder, f"training-{number}", f"the {folder.name} network")


def candidate_folder(folder: Path, number: int) -> Path:
    """Where the weights lie that a training ends with."""
    return contained_path(folder, f"version-{number}", f"the {folder.name} network")


def sweep(casebook: Casebook, learner: str, folder: Path, running: Collection[int]) -> None:
    """Delete the checkpoints of all trainings but those that are running, and weights that are no version's.

    Such weights are those of candidates that became no version, and of versions that were being deleted.
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
    """The folders of all versions; None where a row is damaged, as any of the weights may be its own."""
    rows = casebook.database.rows(
        "SELECT id, learner, file FROM version WHERE learner = ? AND file IS NOT NULL", [learner]
    )
    try:
        named = {weights_folder(row, casebook.folder) for row in rows}
    except InputError:
        return None
    return named if all(each.is_dir() for each in named) else None
