"""Versions of a casebook's networks: which one is in use, what it has learnt from, and rolling back."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.entries import time_of_day, undamaged
from InteractiveSegLib.casebook.version_files import weights_folder
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.system.contained_path import contained_path

IN_USE, REPLACED, REFUSED = "in use", "replaced", "refused"
KEPT = 4  # replaced versions whose weights are kept


@dataclass(frozen=True)
class Version:
    """A network trained on the casebook.

    parent : the version it started from; None for the shipped weights, or for a new network
    folder : of its weights; None if they were deleted to save space
    cases : ids of the cases it and its parents have learnt from
    scores : acceptance -> label -> Dice, on validation cases
    reason : why it is used or not
    """

    id: int
    learner: str
    parent: int | None
    at: str
    state: str
    folder: Path | None
    cases: tuple[int, ...]
    scores: Mapping[int, Mapping[int, float]]
    reason: str


def versions(casebook: Casebook, learner: str) -> list[Version]:
    """All versions of a learner, the oldest first.

    Rows that are damaged or do not name a folder of a version are left out with a note.
    """
    rows = casebook.database.rows("SELECT * FROM version WHERE learner = ? ORDER BY id", [learner])
    return list(undamaged(rows, lambda row: _read(row, casebook.folder), casebook.note))


def in_use(casebook: Casebook, learner: str) -> Version | None:
    """The version in use; None if it is the initial network."""
    return next((version for version in versions(casebook, learner) if version.state == IN_USE), None)


def add_version(
    rows: sqlite3.Connection,
    learner: str,
    parent: int | None,
    good: bool,
    file: str | None,
    cases: Sequence[int],
    scores: Mapping[int, Mapping[int, float]],
    reason: str,
    weights: str | None = None,
) -> int:
    """Add a version, and put it in use if it is good; within a transaction. Returns its number.

    weights : checksums of its files, as for ``weights_checksums``
    """
    if good:
        rows.execute("UPDATE version SET state = ? WHERE learner = ? AND state = ?", [REPLACED, learner, IN_USE])
    state = IN_USE if good else REFUSED
    cursor = rows.execute(
        "INSERT INTO version (learner, parent, at, state, file, cases, scores, reason, checksums)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [learner, parent, time_of_day(), state, file, json.dumps(list(cases)), json.dumps(scores), reason, weights],
    )
    return int(cursor.lastrowid or 0)


def put_in_use(rows: sqlite3.Connection, version: Version) -> None:
    """Use a version that was replaced; within a transaction."""
    rows.execute("UPDATE version SET state = ? WHERE learner = ? AND state = ?", [REPLACED, version.learner, IN_USE])
    rows.execute("UPDATE version SET state = ? WHERE id = ?", [IN_USE, version.id])


def keep_scores(casebook: Casebook, version: Version, scores: Mapping[int, Mapping[int, float]]) -> None:
    """Store the scores of a version on validation cases."""
    merged = {**version.scores, **scores}
    with casebook.database.writing() as rows:
        rows.execute("UPDATE version SET scores = ? WHERE id = ?", [json.dumps(merged), version.id])


def roll_back(casebook: Casebook, learner: str) -> Version | None:
    """Go back from the version in use to its parent; None if that is the initial network.

    The abandoned version remains listed. Learning continues from the one then in use.

    Raises
    ------
    InputError : no version is in use, or the weights of its parent were deleted.
    """
    current = in_use(casebook, learner)
    if current is None:
        raise InputError(f"no version of the {learner} network is in use: there is nothing to roll back")
    before = next((v for v in versions(casebook, learner) if v.id == current.parent), None)
    if before is not None and before.folder is None:
        raise InputError(f"the weights of version {before.id}, before version {current.id}, are no longer kept")
    with casebook.database.writing() as rows:
        reason = f"{current.reason}; rolled back by a person"
        rows.execute("UPDATE version SET state = ?, reason = ? WHERE id = ?", [REPLACED, reason, current.id])
        if before is not None:
            rows.execute("UPDATE version SET state = ? WHERE id = ?", [IN_USE, before.id])
    return in_use(casebook, learner)


def prune(casebook: Casebook, learner: str, kept: int = KEPT) -> None:
    """Delete the weights of refused versions, and of all but the latest replaced ones."""
    found = [version for version in versions(casebook, learner) if version.folder is not None]
    replaced = [version for version in found if version.state == REPLACED]
    old = [version for version in found if version.state == REFUSED] + replaced[: max(0, len(replaced) - kept)]
    for version in old:
        with casebook.database.writing() as rows:
            rows.execute("UPDATE version SET file = NULL WHERE id = ?", [version.id])
        shutil.rmtree(version.folder, ignore_errors=True)


def learner_folder(casebook: Casebook, learner: str) -> Path:
    """Folder of a learner's versions and trainings. InputError if a link leads out of the casebook."""
    return contained_path(casebook.folder, f"learning/{learner}", f"the {learner} network")


def _read(row: sqlite3.Row, folder: Path) -> Version:
    try:
        return _version(row, folder)
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"version {row['id']} is damaged in the database: {error}") from error


def _version(row: sqlite3.Row, folder: Path) -> Version:
    scores = {
        int(case): {int(label): dice for label, dice in of_case.items()}
        for case, of_case in json.loads(row["scores"]).items()
    }
    return Version(
        row["id"],
        row["learner"],
        row["parent"],
        row["at"],
        row["state"],
        None if row["file"] is None else weights_folder(row, folder),
        tuple(json.loads(row["cases"])),
        scores,
        row["reason"],
    )
