"""What a learner that was killed leaves in its folder."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from InteractiveSegLib.casebook.casebook import Casebook


def training_folder(folder: Path, number: int) -> Path:
    """Where the checkpoints of a training lie; ``folder`` is the learner's."""
    return folder / f"training-{number}"


def candidate_folder(folder: Path, number: int) -> Path:
    """Where the weights lie that a training ends with."""
    return folder / f"version-{number}"


def sweep(casebook: Casebook, learner: str, folder: Path, running: Collection[int]) -> None:
    """Delete the checkpoints of all trainings but those that are running, and weights that are no version's.

    Such weights are those of candidates that became no version, and of versions that were being deleted.
    """
    kept = {training_folder(folder, number) for number in running}
    rows = casebook.database.rows("SELECT file FROM version WHERE learner = ?", [learner])
    named = {casebook.folder / str(row["file"]) for row in rows if row["file"] is not None}
    found = list(folder.glob("training-*"))
    if all(each.is_dir() for each in named):  # otherwise a row may be damaged, and the weights its own
        kept |= named | {candidate_folder(folder, number) for number in running}
        found += folder.glob("version-*")
    for each in found:
        if each not in kept:
            shutil.rmtree(each, ignore_errors=True)
