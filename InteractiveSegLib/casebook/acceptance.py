"""Accepting a mask, and the stream of accepted masks. Files are written first and the database row last."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.casebook.casebook import Casebook, set_state
from InteractiveSegLib.casebook.effort import CHANGED
from InteractiveSegLib.casebook.entries import (
    Acceptance,
    CaseEntry,
    acceptance,
    time_of_day,
    undamaged,
    whole_review,
)
from InteractiveSegLib.casebook.new_files import new_files, require_intact
from InteractiveSegLib.casebook.prompt_file import load_prompts, save_prompts
from InteractiveSegLib.casebook.review import Review
from InteractiveSegLib.casebook.soft_masks import load_soft_masks, save_soft_masks
from InteractiveSegLib.casebook.starting_masks import starting_mask
from InteractiveSegLib.casebook.states import State, require_step
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.image_io import read_labelmap, write_labelmap
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import BACKGROUND

_FILES = {
    "mask": "mask-{}.nrrd",
    "origins": "origins-{}.nrrd",
    "prompts": "prompts-{}.npz",
    "probability": "probability-{}.npz",
}
_CALLED = {
    "mask": "accepted mask",
    "origins": "record of who drew what",
    "prompts": "record of prompts",
    "probability": "first answer",
}


@dataclass(frozen=True, eq=False)
class AcceptedMask:
    """A mask that a person has verified, as a whole or in part.

    labels : (K, J, I) integers from 0 to 254, on the grid of the image
    origins : (K, J, I) of ``Origin``, for every labelled voxel and for the background that a person decided on
    prompts : that were drawn
    first : label -> (K, J, I) probability predicted before the person's first mark, if there was a prediction
    absent : the image shows none of the study's objects; without it an empty mask is refused
    review : which organs were reviewed in which slices; None if the person has verified all of the mask. Unreviewed
        parts are kept, but not learnt from, and exported only on request
    """

    labels: NDArray[np.integer]
    origins: NDArray[np.integer]
    prompts: Prompts = field(default_factory=Prompts)
    first: Mapping[int, NDArray[np.floating]] = field(default_factory=dict)
    absent: bool = False
    review: Review | None = None


def accept(casebook: Casebook, entry: CaseEntry, accepted: AcceptedMask) -> Acceptance:
    """Accept a mask for a case in work or a reopened one.

    If the case has a starting mask, verified slices of organs that differ from it are recorded as edited.

    Raises
    ------
    InputError : a review that contradicts the mask; a mask on another grid than its image or with other values; an
        empty mask without ``absent``; a labelled voxel without origin; a case that is not in work; or an image that
        was moved or has changed on disk.
    ConflictError : another program accepted, skipped or reopened the case since ``entry`` was read; nothing is changed.
    OutputError : the folder cannot be written, or the disk is full; nothing is changed.
    """
    occurring = _checked(entry, accepted, casebook.labels())
    start = _start_of(casebook, entry)
    require_step(entry.name, entry.state, State.ACCEPTED)
    entry.image.require_unchanged(entry.name)
    shape = entry.image.geometry.shape_kji
    names = dict(_FILES) if accepted.first else {name: file for name, file in _FILES.items() if name != "probability"}
    with new_files(casebook.folder, casebook.database, entry.id, names) as new:
        write_labelmap(new.paths["mask"], accepted.labels, entry.image.geometry)
        write_labelmap(new.paths["origins"], accepted.origins, entry.image.geometry)
        save_prompts(accepted.prompts, shape, new.paths["prompts"])
        if accepted.first:
            save_soft_masks(accepted.first, new.paths["probability"])
        checksums = new.checksums()
        with casebook.database.writing() as rows:
            casebook.require_current(rows, entry)
            for value in sorted({*occurring, *(accepted.review.states if accepted.review else ())}):
                rows.execute("INSERT OR IGNORE INTO label VALUES (?, ?)", [value, f"label {value}"])
            known = [row["value"] for row in rows.execute("SELECT value FROM label ORDER BY value")]
            review = accepted.review or whole_review(entry.image.geometry, known, occurring)
            review = review.naming(known)
            if start is not None:
                review = review.with_edits(start, accepted.labels)
            cursor = rows.execute(
                "INSERT INTO acceptance (case_id, at, mask, origins, prompts, probability, labels, known_labels,"
                " checksums, review) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    entry.id,
                    time_of_day(),
                    *(new.stored(name) for name in _FILES),
                    json.dumps([int(value) for value in np.unique(review.verified_part(accepted.labels)) if value]),
                    json.dumps(review.known_labels()),
                    checksums,
                    review.to_text(),
                ],
            )
            set_state(rows, entry, State.ACCEPTED, State.ACCEPTED.value)
            if start is not None:
                told = json.dumps(_changed(review, start, accepted.labels))
                values = [entry.id, CHANGED, time.time(), told]
                rows.execute("INSERT INTO event (case_id, kind, at, data) VALUES (?, ?, ?, ?)", values)
    casebook.work.give_back(entry.id)
    [row] = casebook.database.rows("SELECT * FROM acceptance WHERE id = ?", [cursor.lastrowid])
    return acceptance(row, casebook.folder)


def stream(casebook: Casebook) -> list[Acceptance]:
    """Accepted masks in the order of acceptance, the latest one of every case that is accepted at present.

    Damaged rows are left out with a note.
    """
    rows = casebook.database.rows(
        "SELECT * FROM acceptance WHERE id IN (SELECT max(acceptance.id) FROM acceptance JOIN case_ ON"
        " case_.id = case_id WHERE state = ? GROUP BY case_id) ORDER BY id",
        [State.ACCEPTED.value],
    )
    return list(undamaged(rows, lambda row: acceptance(row, casebook.folder), casebook.note))


def latest(casebook: Casebook, entry: CaseEntry) -> Acceptance | None:
    """The mask that a case was last accepted with, even if it was reopened; None if it was never accepted."""
    rows = casebook.database.rows("SELECT * FROM acceptance WHERE case_id = ? ORDER BY id DESC LIMIT 1", [entry.id])
    return acceptance(rows[0], casebook.folder) if rows else None


def load_accepted(entry: CaseEntry, found: Acceptance) -> AcceptedMask:
    """The files of an acceptance. InputError if one is missing, damaged or on another grid than the image."""
    labels = load_labels(entry, found)
    _require_intact(entry, found, "origins", "prompts", "probability")
    origins = read_labelmap(found.origins, entry.image.geometry)
    first = {} if found.probability is None else load_soft_masks(found.probability)
    prompts = load_prompts(found.prompts, entry.image.geometry.shape_kji)
    review = found.reviewed(entry)
    return AcceptedMask(labels, origins, prompts, first, not labels.any(), review)


def load_labels(entry: CaseEntry, found: Acceptance) -> NDArray[np.integer]:
    """The mask alone (K, J, I). InputError as ``load_accepted``."""
    _require_intact(entry, found, "mask")
    return read_labelmap(found.mask, entry.image.geometry)


def _require_intact(entry: CaseEntry, found: Acceptance, *names: str) -> None:
    for name in names:
        path: Path | None = getattr(found, name)
        if path is not None:
            checksum = None if found.checksums is None else found.checksums.get(name, "")
            require_intact(path, checksum, f"the {_CALLED[name]} of case {entry.name!r}")


def _start_of(casebook: Casebook, entry: CaseEntry) -> NDArray[np.integer] | None:
    """The starting mask; None if there is none, or if it is damaged, with a note."""
    try:
        found = starting_mask(casebook, entry)
        return None if found is None else found.load(entry)
    except InputError as error:
        casebook.note(f"{error}; edited slices cannot be told from confirmed ones")
        return None


def _changed(review: Review, start: NDArray[np.integer], labels: NDArray[np.integer]) -> dict[str, int]:
    """Numbers of changed voxels of the starting mask, and of voxels of all organs, in what was verified."""
    before, after = review.verified_part(start), review.verified_part(labels)
    return {"changed": int(np.count_nonzero(before != after)), "organs": int(np.count_nonzero(after))}


def _checked(entry: CaseEntry, accepted: AcceptedMask, names: Mapping[int, str]) -> list[int]:
    """The labels that occur, ascending."""
    arrays = {"mask": accepted.labels, "array of origins": accepted.origins}
    arrays |= {f"first answer for label {label}": values for label, values in accepted.first.items()}
    for name, array in arrays.items():
        if np.shape(array) != entry.image.geometry.shape_kji:
            raise InputError(
                f"the {name} of case {entry.name!r} has the shape {np.shape(array)}, but its image "
                f"has {entry.image.geometry.shape_kji} (k, j, i)"
            )
    labels, origins = accepted.labels, accepted.origins
    if labels.dtype.kind not in "ui" or labels.min() < 0 or labels.max() >= BACKGROUND:
        raise InputError(f"the mask of case {entry.name!r} must contain integers from 0 to 254")
    occurring = [int(value) for value in np.unique(labels) if value]
    if accepted.review is not None:
        accepted.review.require_grid(entry.image.geometry.shape_kji, f"case {entry.name!r}")
        accepted.review.require_fits(labels, f"case {entry.name!r}", names)
    elif not occurring and not accepted.absent:
        raise InputError(
            f"the mask of case {entry.name!r} is empty: say that the image shows no object, or skip the case"
        )
    if occurring and accepted.absent and accepted.review is None:
        raise InputError(f"case {entry.name!r} is marked as showing no object, but its mask contains {occurring}")
    nobodys = int(np.count_nonzero((labels > 0) & (origins == 0)))
    if nobodys or origins.dtype.kind not in "ui" or origins.min() < 0 or origins.max() > 3:
        raise InputError(f"{nobodys} labelled voxels of case {entry.name!r} have no origin (1, 2 or 3)")
    return occurring
