"""What was done on a case so far: prompts and masks by round, so that work goes on where it was left."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.effort import ROUND, Event
from InteractiveSegLib.casebook.entries import CaseEntry, case_file, case_folder, time_of_day
from InteractiveSegLib.casebook.prompt_file import load_prompts, save_prompts
from InteractiveSegLib.files import make_folder
from InteractiveSegLib.image_io import read_labelmap, write_labelmap
from InteractiveSegLib.prompts import Prompts

ROUNDS_KEPT = 20
_PREFIX = "round-"


@dataclass(frozen=True, eq=False)
class KeptRound:
    """at : ISO 8601, UTC. labels : (K, J, I)"""

    at: str
    prompts: Prompts
    labels: NDArray[np.integer]


def keep_round(casebook: Casebook, entry: CaseEntry, prompts: Prompts, labels: NDArray[np.integer]) -> None:
    """Keep a round of a case; of each case the latest 20 are kept.

    Raises
    ------
    InputError : a mask of another shape than the image.
    OutputError : the folder cannot be written, or the disk is full.
    """
    folder = case_folder(casebook.folder, entry.id)
    make_folder(folder)
    unique = uuid.uuid4().hex[:12]
    mask, drawn = folder / f"{_PREFIX}{unique}.nrrd", folder / f"{_PREFIX}{unique}.npz"
    try:
        write_labelmap(mask, labels, entry.image.geometry)
        save_prompts(prompts, entry.image.geometry.shape_kji, drawn)
        stored = [path.relative_to(casebook.folder).as_posix() for path in (drawn, mask)]
        with casebook.database.writing() as rows:
            rows.execute(
                "INSERT INTO round (case_id, at, prompts, mask) VALUES (?, ?, ?, ?)", [entry.id, time_of_day(), *stored]
            )
            old = rows.execute(
                "SELECT id, prompts, mask FROM round WHERE case_id = ? ORDER BY id DESC LIMIT -1 OFFSET ?",
                [entry.id, ROUNDS_KEPT],
            ).fetchall()
            rows.executemany("DELETE FROM round WHERE id = ?", [(row["id"],) for row in old])
    except BaseException:
        for path in (mask, drawn):
            path.unlink(missing_ok=True)
        raise
    for row in old:
        for name in ("prompts", "mask"):
            path = case_file(casebook.folder, entry.id, row[name])
            if path.name.startswith(_PREFIX):
                path.unlink(missing_ok=True)
    casebook.record(entry, [Event(ROUND, time.time())])


def last_round(casebook: Casebook, entry: CaseEntry) -> KeptRound | None:
    """Where work on a case was left; None where there was none. InputError where its files are missing or damaged."""
    rows = casebook.database.rows("SELECT * FROM round WHERE case_id = ? ORDER BY id DESC LIMIT 1", [entry.id])
    if not rows:
        return None
    mask, drawn = (case_file(casebook.folder, entry.id, rows[0][name]) for name in ("mask", "prompts"))
    labels = read_labelmap(mask, entry.image.geometry)
    prompts = load_prompts(drawn, entry.image.geometry.shape_kji)
    return KeptRound(rows[0]["at"], prompts, labels)
