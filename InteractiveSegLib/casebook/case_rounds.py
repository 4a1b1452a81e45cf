"""The work on a case so far: prompts and masks by round, so that work can be resumed."""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.casebook.case_files import case_file
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.effort import ROUND, Event
from InteractiveSegLib.casebook.entries import CaseEntry, time_of_day, undamaged
from InteractiveSegLib.casebook.new_files import checksums_of, new_files, require_intact
from InteractiveSegLib.casebook.prompt_file import load_prompts, save_prompts
from InteractiveSegLib.casebook.review import Review
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.image_io import read_labelmap, write_labelmap
from InteractiveSegLib.prompts.prompts import Prompts

ROUNDS_KEPT = 20
_PREFIX = "round-"
_FILES = {"mask": f"{_PREFIX}{{}}.nrrd", "prompts": f"{_PREFIX}{{}}.npz"}


@dataclass(frozen=True, eq=False)
class KeptRound:
    """Prompts and mask of a round.

    accepted : number of the latest acceptance of the case when the round was kept; 0 if there was none
    labels : (K, J, I)
    review : of the mask by then; None if no part of it was reviewed
    """

    accepted: int
    prompts: Prompts
    labels: NDArray[np.integer]
    review: Review | None = None


def keep_round(
    casebook: Casebook,
    entry: CaseEntry,
    prompts: Prompts,
    labels: NDArray[np.integer],
    review: Review | None = None,
) -> None:
    """Save a round of a case, as ``KeptRound``; the latest 20 of each case are kept.

    Raises
    ------
    InputError : a mask of another shape than the image, or a review of another number of slices.
    OutputError : the folder cannot be written, or the disk is full.
    """
    if review is not None:
        review.require_grid(entry.image.geometry.shape_kji, f"case {entry.name!r}")
    with new_files(casebook.folder, casebook.database, entry.id, _FILES) as new:
        write_labelmap(new.paths["mask"], labels, entry.image.geometry)
        save_prompts(prompts, entry.image.geometry.shape_kji, new.paths["prompts"])
        checksums = new.checksums()
        with casebook.database.writing() as rows:
            accepted = rows.execute("SELECT max(id) FROM acceptance WHERE case_id = ?", [entry.id]).fetchone()[0] or 0
            rows.execute(
                "INSERT INTO round (case_id, at, prompts, mask, accepted, checksums, review)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    entry.id,
                    time_of_day(),
                    new.stored("prompts"),
                    new.stored("mask"),
                    accepted,
                    checksums,
                    None if review is None else review.to_text(),
                ],
            )
            old = rows.execute(
                "SELECT id, case_id, prompts, mask FROM round WHERE case_id = ? ORDER BY id DESC LIMIT -1 OFFSET ?",
                [entry.id, ROUNDS_KEPT],
            ).fetchall()
            rows.executemany("DELETE FROM round WHERE id = ?", [(row["id"],) for row in old])
        for row in old:
            _delete(casebook, row)
    casebook.record(entry, [Event(ROUND, time.time())])


def _delete(casebook: Casebook, row: sqlite3.Row) -> None:
    """The files of a round that is no longer kept."""
    for name in ("prompts", "mask"):
        with suppress(OSError, InputError):  # 'casebook check' finds files left behind
            path = case_file(casebook.folder, row["case_id"], row[name])
            if path.name.startswith(_PREFIX):  # a damaged row may name an accepted mask
                path.unlink()


def last_round(casebook: Casebook, entry: CaseEntry) -> KeptRound | None:
    """The round from which work on a case is resumed; None if there is none.

    If files of a round are missing or damaged, the previous round is used, with a note.
    """
    rows = casebook.database.rows("SELECT * FROM round WHERE case_id = ? ORDER BY id DESC", [entry.id])
    return next(undamaged(rows, lambda row: load_round(casebook, entry, row), casebook.note), None)


def load_round(casebook: Casebook, entry: CaseEntry, row: sqlite3.Row) -> KeptRound:
    """A row of ``round`` with its files. InputError if it or one of them is damaged."""
    what = f"round {row['id']} of case {entry.name!r}"
    try:
        mask, prompts = (case_file(casebook.folder, entry.id, row[name]) for name in ("mask", "prompts"))
        checksums, accepted = checksums_of(row), int(row["accepted"])
        review = None if row["review"] is None else Review.from_text(row["review"])
        if review is not None:
            review.require_grid(entry.image.geometry.shape_kji, f"case {entry.name!r}")
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} is damaged in the database: {error}") from error
    for name, path in (("mask", mask), ("prompts", prompts)):
        require_intact(path, None if checksums is None else checksums.get(name, ""), f"the {name} of {what}")
    labels = read_labelmap(mask, entry.image.geometry)
    return KeptRound(accepted, load_prompts(prompts, entry.image.geometry.shape_kji), labels, review)
