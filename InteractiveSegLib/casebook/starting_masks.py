"""Starting masks: a network's segmentation of a case before anybody worked on it. They are unverified."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.casebook.case_files import case_file
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.entries import CaseEntry, ConflictError, time_of_day, undamaged
from InteractiveSegLib.casebook.new_files import checksums_of, new_files, require_intact
from InteractiveSegLib.casebook.splits import TEST
from InteractiveSegLib.casebook.states import State
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.image_io import read_labelmap, write_labelmap

_PREFIX = "start-"
_FILES = {"mask": f"{_PREFIX}{{}}.nrrd"}


@dataclass(frozen=True)
class StartingMask:
    """A network's segmentation of an image, stored with its case.

    version : of the network, in the casebook
    mask : NRRD labelmap
    confidences : label -> mean probability of its voxels, 0 to 1; 0 if it was not found
    """

    case_id: int
    version: int
    at: str
    mask: Path
    confidences: Mapping[int, float]
    sha256: str

    def load(self, entry: CaseEntry) -> NDArray[np.integer]:
        """The labels (K, J, I). InputError if the file is missing, damaged or on another grid than the image."""
        require_intact(self.mask, self.sha256, f"the starting mask of case {entry.name!r}")
        return read_labelmap(self.mask, entry.image.geometry)


def keep_starting_mask(
    casebook: Casebook, entry: CaseEntry, labels: NDArray[np.integer], confidences: Mapping[int, float], version: int
) -> None:
    """Store a starting mask of a case, in place of an earlier one.

    Raises
    ------
    InputError : it must not have one, see ``obstacle``; a mask of another shape than the image.
    ConflictError : somebody opened the case meanwhile; nothing is changed.
    OutputError : the folder cannot be written, or the disk is full.
    """
    reason = obstacle(casebook, entry)
    if reason:
        raise InputError(f"case {entry.name!r} gets no starting mask: {reason}")
    with new_files(casebook.folder, casebook.database, entry.id, _FILES) as new:
        write_labelmap(new.paths["mask"], labels, entry.image.geometry)
        told = json.dumps({str(label): round(value, 4) for label, value in confidences.items()})
        values = [entry.id, version, time_of_day(), new.stored("mask"), told, new.checksums()]
        with casebook.database.writing() as rows:
            casebook.require_current(rows, entry)
            if rows.execute("SELECT 1 FROM round WHERE case_id = ?", [entry.id]).fetchone():
                raise ConflictError(f"case {entry.name!r} was worked on meanwhile and keeps its masks")
            old = rows.execute("SELECT case_id, mask FROM starting_mask WHERE case_id = ?", [entry.id]).fetchall()
            rows.execute("INSERT OR REPLACE INTO starting_mask VALUES (?, ?, ?, ?, ?, ?)", values)
        for row in old:
            with suppress(OSError, InputError):  # 'casebook check' finds files left behind
                path = case_file(casebook.folder, row["case_id"], row["mask"])
                if path.name.startswith(_PREFIX):  # a damaged row may name an accepted mask
                    path.unlink()


def obstacle(casebook: Casebook, entry: CaseEntry) -> str:
    """Why a case must not have a starting mask; "" if it may."""
    if entry.split == TEST:
        return "it is in the test split, whose cases are annotated without help"
    if entry.state is not State.NEW:
        return f"it is {entry.state.value}"
    if casebook.work.someone_has(entry.id):
        return "another program has it in work"
    if casebook.database.rows("SELECT 1 FROM round WHERE case_id = ? LIMIT 1", [entry.id]):
        return "somebody has worked on it"
    return ""


def starting_mask(casebook: Casebook, entry: CaseEntry) -> StartingMask | None:
    """The starting mask of a case; None if it has none. InputError if its row is damaged."""
    rows = casebook.database.rows("SELECT * FROM starting_mask WHERE case_id = ?", [entry.id])
    return _read(rows[0], casebook.folder) if rows else None


def starting_masks(casebook: Casebook) -> dict[int, StartingMask]:
    """Number of a case -> its starting mask. Damaged rows are left out with a note."""
    rows = casebook.database.rows("SELECT * FROM starting_mask ORDER BY case_id")
    found: Iterator[StartingMask] = undamaged(rows, lambda row: _read(row, casebook.folder), casebook.note)
    return {each.case_id: each for each in found}


def _read(row: sqlite3.Row, folder: Path) -> StartingMask:
    try:
        confidences = {int(label): float(value) for label, value in json.loads(row["confidences"]).items()}
        if not all(math.isfinite(value) for value in confidences.values()):
            raise ValueError(f"{confidences} are not numbers")
        mask = case_file(folder, row["case_id"], row["mask"])
        sha256 = (checksums_of(row) or {}).get("mask", "")
        return StartingMask(row["case_id"], int(row["version"]), row["at"], mask, confidences, sha256)
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"the starting mask of case number {row['case_id']} is damaged in the database: {error}"
        ) from error
