"""Rows of a casebook as plain values."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from InteractiveSegLib.casebook.image_reference import ImageReference
from InteractiveSegLib.casebook.states import State
from InteractiveSegLib.contained_path import contained_path
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.geometry import Geometry


class ConflictError(InputError):
    """Another program changed the case since it was read."""


@dataclass(frozen=True, eq=False)
class CaseEntry:
    """A case as it stood when it was read.

    patient : cases of one patient share a split
    revision : grows with every change of state; a change that was made from an older one is refused
    added : ISO 8601, UTC
    """

    id: int
    name: str
    patient: str
    image: ImageReference
    split: str
    state: State
    revision: int
    added: str


@dataclass(frozen=True)
class Acceptance:
    """A mask that a person stands for. Of one case the latest counts; the order of all is the stream's.

    mask, origins : NRRD labelmaps; prompts : of ``prompt_file``
    probability : the network's first answer, of ``soft_masks``; None where there was none
    labels : that occur in the mask
    known_labels : that the study had by then; on others the mask says nothing
    """

    id: int
    case_id: int
    at: str
    mask: Path
    origins: Path
    prompts: Path
    probability: Path | None
    labels: tuple[int, ...]
    known_labels: tuple[int, ...]


def case_entry(row: sqlite3.Row, folder: Path) -> CaseEntry:
    """A row of ``case_``; the image is looked for beside the casebook first, then where it was when it was added."""
    path = Path(row["path"])
    if row["relative_path"] is not None:
        beside = Path(folder, row["relative_path"])
        path = beside.resolve() if beside.exists() else path
    geometry = Geometry(tuple(json.loads(row["shape_kji"])), json.loads(row["ijk_to_ras"]))
    image = ImageReference(path, row["series_uid"], row["sha256"], row["bytes"], geometry)
    state = State(row["state"])
    return CaseEntry(row["id"], row["name"], row["patient"], image, row["split"], state, row["revision"], row["added"])


def acceptance(row: sqlite3.Row, folder: Path) -> Acceptance:
    """A row of ``acceptance``. InputError where it names files that are none of its case."""
    mask, origins, prompts = (case_file(folder, row["case_id"], row[name]) for name in ("mask", "origins", "prompts"))
    probability = None if row["probability"] is None else case_file(folder, row["case_id"], row["probability"])
    labels, known = (tuple(json.loads(row[name])) for name in ("labels", "known_labels"))
    return Acceptance(row["id"], row["case_id"], row["at"], mask, origins, prompts, probability, labels, known)


def case_folder(folder: Path, case_id: int) -> Path:
    """Where the files of a case lie. InputError where a link leads out of the casebook."""
    return contained_path(folder, f"cases/{case_id}", f"case {case_id}")


def case_file(folder: Path, case_id: int, stored: object) -> Path:
    """A file of a case by the path that a row names, from the casebook's folder.

    Raises
    ------
    InputError : it is no file in the folder of this case.
    """
    path = contained_path(folder, stored, f"the database of the casebook, for case {case_id},")
    if path.parent != case_folder(folder, case_id):
        raise InputError(f"the database of the casebook {folder} names {stored!r}, which is no file of case {case_id}")
    return path


def time_of_day() -> str:
    """Now, ISO 8601, UTC, to the millisecond."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
