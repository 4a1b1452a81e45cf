"""Rows of a casebook as plain values."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeVar

from InteractiveSegLib.casebook.case_files import case_file
from InteractiveSegLib.casebook.effort import Event
from InteractiveSegLib.casebook.image_reference import ImageReference
from InteractiveSegLib.casebook.new_files import checksums_of
from InteractiveSegLib.casebook.review import Review, SliceState
from InteractiveSegLib.casebook.splits import SPLITS
from InteractiveSegLib.casebook.states import State
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geometry import Geometry

_Value = TypeVar("_Value")


class ConflictError(InputError):
    """Another program changed the case since it was read."""


@dataclass(frozen=True, eq=False)
class CaseEntry:
    """A case at the time it was read.

    patient : cases of one patient share a split
    revision : increases with every change of state; changes based on an older revision are refused
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
    """A mask that a person has verified. The latest one of a case counts; their order is that of the stream.

    mask, origins : NRRD labelmaps; prompts : of ``prompt_file``
    probability : the network's first prediction, of ``soft_masks``; None if there was none
    labels : that occur in the verified part of the mask
    known_labels : labels that the mask decides on: those that the study had by then, or that were reviewed
    checksums : SHA-256 of the files by the names above; None if the row is older than checksums
    review : what was reviewed; None if the row is older than reviews, so that all of the mask is verified
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
    checksums: Mapping[str, str] | None = None
    review: Review | None = None

    def reviewed(self, entry: CaseEntry) -> Review:
        """The review for its case's image. InputError if it has another number of slices."""
        if self.review is None:
            return whole_review(entry.image.geometry, self.known_labels, self.labels)
        self.review.require_grid(entry.image.geometry.shape_kji, f"case {entry.name!r}")
        return self.review


def whole_review(geometry: Geometry, known_labels: Iterable[int], labels: Iterable[int]) -> Review:
    """Review of a mask that was verified as a whole: known labels that do not occur in it are absent."""
    review = Review.of_all(geometry, labels, SliceState.VERIFIED)
    for label in sorted(set(known_labels) - set(review.states)):
        review = review.marked(label, SliceState.ABSENT)
    return review


def case_entry(row: sqlite3.Row, folder: Path) -> CaseEntry:
    """A row of ``case_``; the image is looked up relative to the casebook first, then where it was when it was added.

    InputError if the row is damaged.
    """
    try:
        path = Path(row["path"])
        if row["relative_path"] is not None:
            beside = Path(folder, row["relative_path"])
            path = beside.resolve() if beside.exists() else path
        geometry = Geometry(tuple(json.loads(row["shape_kji"])), json.loads(row["ijk_to_ras"]))
        image = ImageReference(path, row["series_uid"], row["sha256"], row["bytes"], geometry)
        state = State(row["state"])
        if not isinstance(row["name"], str) or row["split"] not in SPLITS:
            raise ValueError(f"name {row['name']!r}, split {row['split']!r}")
    except (TypeError, ValueError, OSError) as error:
        raise InputError(f"case {row['name']!r} (number {row['id']}) is damaged in the database: {error}") from error
    return CaseEntry(row["id"], row["name"], row["patient"], image, row["split"], state, row["revision"], row["added"])


def acceptance(row: sqlite3.Row, folder: Path) -> Acceptance:
    """A row of ``acceptance``. InputError if it is damaged or names files outside its case."""
    try:
        files = {
            name: case_file(folder, row["case_id"], row[name])
            for name in ("mask", "origins", "prompts", "probability")
            if name != "probability" or row[name] is not None
        }
        labels, known = (tuple(int(each) for each in json.loads(row[name])) for name in ("labels", "known_labels"))
        checksums = checksums_of(row)
        review = None if row["review"] is None else Review.from_text(row["review"])
    except (TypeError, ValueError) as error:
        raise InputError(
            f"acceptance {row['id']}, of case number {row['case_id']}, is damaged in the database: {error}"
        ) from error
    return Acceptance(
        row["id"],
        row["case_id"],
        row["at"],
        files["mask"],
        files["origins"],
        files["prompts"],
        files.get("probability"),
        labels,
        known,
        checksums,
        review,
    )


def event(row: sqlite3.Row) -> Event:
    """A row of ``event``. InputError if it is damaged."""
    try:
        data = json.loads(row["data"])
        numbers = [row["at"], data.get("length_mm", 0.0), data.get("voxels", 0)]
        if not all(isinstance(each, (int, float)) and math.isfinite(each) for each in numbers):
            raise ValueError(f"{numbers} are not numbers")
        for axis, index in data.get("slices", ()):
            int(axis), int(index)
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"entry {row['id']} of a case's log is damaged in the database: {error}") from error
    return Event(row["kind"], row["at"], data)


def undamaged(
    rows: Iterable[sqlite3.Row], made: Callable[[sqlite3.Row], _Value], note: Callable[[str], None]
) -> Iterator[_Value]:
    """The values of rows; damaged ones are left out with a note."""
    for row in rows:
        try:
            yield made(row)
        except InputError as error:
            note(f"{error}; 'casebook check' lists all faults")


def time_of_day() -> str:
    """The current time, ISO 8601, UTC, to the millisecond."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
