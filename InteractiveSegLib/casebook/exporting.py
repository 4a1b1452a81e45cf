"""Exports accepted masks as files for other programs. Unverified masks are written only on request."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.casebook.acceptance import load_labels, stream
from InteractiveSegLib.casebook.case_files import CASES
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.dicom_seg import write_dicom_seg
from InteractiveSegLib.casebook.entries import Acceptance, CaseEntry
from InteractiveSegLib.casebook.image_reference import files_of
from InteractiveSegLib.casebook.review import Review
from InteractiveSegLib.casebook.review_table import REVIEW_FILE, write_review_table
from InteractiveSegLib.casebook.seg_nrrd import write_seg_nrrd
from InteractiveSegLib.casebook.starting_masks import StartingMask, starting_masks
from InteractiveSegLib.casebook.states import OPEN, State
from InteractiveSegLib.casebook.work_locks import LOCKS
from InteractiveSegLib.errors import InputError, OutputError
from InteractiveSegLib.image.image_io import write_labelmap
from InteractiveSegLib.image.itk_volume import nifti_forms_of
from InteractiveSegLib.image.nifti_header import NiftiForms
from InteractiveSegLib.image.output_files import what_is_there
from InteractiveSegLib.progress import Progress, Steps

_MOST_BYTES = 200  # maximum length of a name; file systems allow 255


@dataclass(frozen=True, eq=False)
class _Mask:
    """What is written for one case.

    names : label -> name; unverified : labels that were not reviewed in all of their slices
    """

    path: Path
    entry: CaseEntry
    labels: NDArray[np.integer]
    names: dict[int, str]
    unverified: frozenset[int]
    forms: NiftiForms | None


@dataclass(frozen=True)
class Exported:
    """The result of an export.

    files : of the masks, in the order of acceptance, then the unverified ones
    notes : sentences on changed names, replaced files, unverified parts, and images that have changed
    left_out : sentences on accepted cases that are damaged or that the form cannot store
    """

    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def export_steps(
    casebook: Casebook, folder: Path, form: str, overwrite: bool = False, with_unverified: bool = False
) -> Steps[Exported]:
    """Write the mask of every accepted case, as ``<case>_mask``. Damaged cases are left out; the others are exported.

    If organs were not reviewed in all slices, ``review.csv`` beside the masks lists the slices.

    Parameters
    ----------
    form : "nifti", "seg.nrrd" (a segmentation of 3D Slicer) or "dicom" (DICOM SEG; the images must be DICOM)
    overwrite : replace files that are there already; images of the study are never replaced
    with_unverified : write unverified parts, too: those of accepted masks, in segments whose names say so, and the
        starting masks of cases that were never accepted, as ``<case>_starting_mask``

    Raises
    ------
    InputError : another form, no accepted case, a file that exists already, or for DICOM an image that is not DICOM or
        has changed. Nothing is written then.
    OutputError : the folder cannot be written.
    MissingPackageError : highdicom is not installed, for DICOM.
    """
    if form not in _WRITERS:
        raise InputError(f"the form must be one of {', '.join(_WRITERS)}, not {form!r}")
    suffix, write = _WRITERS[form]
    cases = {case.id: case for case in casebook.cases()}
    wanted: list[Acceptance | StartingMask] = [found for found in stream(casebook) if found.case_id in cases]
    if with_unverified:
        wanted += _never_accepted(casebook, cases)
    if not wanted:
        what = "accepted case and no starting mask" if with_unverified else "accepted case"
        raise InputError(f"the casebook {casebook.folder} has no {what} to export")
    names = export_names(cases.values())
    paths = {found.case_id: folder / f"{names[found.case_id]}{_ending(found)}{suffix}" for found in wanted}
    table = [] if all(_is_whole(found) for found in wanted) else [folder / REVIEW_FILE]
    notes = require_exportable(casebook, [*paths.values(), *table], overwrite)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot create the folder {folder}: {error.strerror or error}") from error
    study, files, left_out = casebook.labels(), [], _unreadable(casebook, {found.case_id for found in wanted})
    reviewed: list[tuple[str, str, Review]] = []
    for number, found in enumerate(wanted):
        entry, path = cases[found.case_id], paths[found.case_id]
        yield Progress(number, len(wanted), f"writing {entry.name}")
        try:
            labels, review = _read(entry, found, study)
        except InputError as error:
            left_out.append(f"case {entry.name!r} is not exported: {error}")
            continue
        verified = review.verified_part(labels)
        unverified = frozenset(int(value) for value in np.unique(labels[labels != verified]))
        if not with_unverified:
            labels, unverified = verified, frozenset()
        if form == "dicom" and not labels.any():
            left_out.append(f"case {entry.name!r} is not exported: its mask is empty, which DICOM SEG cannot store")
            continue
        forms = None
        try:
            entry.image.require_unchanged(entry.name)
            forms = nifti_forms_of(entry.image.path) if entry.image.path.is_file() else None
        except InputError as error:
            if form == "dicom":
                raise
            notes.append(f"{error}; its mask belongs to the image as it was")
        called = {label: f"{study.get(label, f'label {label}')} (not verified)" for label in unverified}
        write(_Mask(path, entry, labels, {**study, **called}, unverified, forms))
        reviewed.append((entry.name, path.name, review))
        if not review.is_whole:
            notes.append(_partial(entry, review, study, with_unverified))
        if names[entry.id] != entry.name:
            notes.append(f"the mask of case {entry.name!r} is saved as {path.name}")
        files.append(path)
    if table:
        write_review_table(table[0], reviewed, study)
    return Exported(tuple(files), tuple(notes), tuple(left_out))


def _never_accepted(casebook: Casebook, cases: dict[int, CaseEntry]) -> list[StartingMask]:
    """Starting masks of cases that were never finished."""
    accepted = {row["case_id"] for row in casebook.database.rows("SELECT case_id FROM acceptance")}
    return [
        found
        for number, found in starting_masks(casebook).items()
        if number in cases and number not in accepted and cases[number].state in OPEN
    ]


def _ending(found: Acceptance | StartingMask) -> str:
    return "_mask" if isinstance(found, Acceptance) else "_starting_mask"


def _is_whole(found: Acceptance | StartingMask) -> bool:
    return isinstance(found, Acceptance) and (found.review is None or found.review.is_whole)


def _read(
    entry: CaseEntry, found: Acceptance | StartingMask, study: dict[int, str]
) -> tuple[NDArray[np.integer], Review]:
    """The mask of a case and its review. InputError if it is damaged."""
    if isinstance(found, Acceptance):
        return load_labels(entry, found), found.reviewed(entry)
    return found.load(entry), Review.of_all(entry.image.geometry, study)


def _partial(entry: CaseEntry, review: Review, study: dict[int, str], with_unverified: bool) -> str:
    """A sentence on unreviewed slices."""
    organs = [
        f"{study.get(label, f'label {label}')} in {int((~review.known(label)).sum())} of {review.slices} slices"
        for label in review.states
        if not review.known(label).all()
    ]
    what = "is exported nevertheless" if with_unverified else "is left out"
    return f"nobody verified {', '.join(organs)} of case {entry.name!r}: it {what}, and {REVIEW_FILE} names the slices"


def _unreadable(casebook: Casebook, known: set[int]) -> list[str]:
    """Sentences on accepted cases that cannot be read from the database."""
    rows = casebook.database.rows("SELECT id, name FROM case_ WHERE state = ?", [State.ACCEPTED.value])
    return [
        f"case {row['name']!r} (number {row['id']}) is not exported: its entry in the database is damaged"
        for row in rows
        if row["id"] not in known
    ]


def export_names(cases: Iterable[CaseEntry]) -> dict[int, str]:
    """Number of a case -> a unique name for its files, also on file systems that ignore case.

    Names depend only on the cases before it, so they do not change when a study grows.
    """
    names: dict[int, str] = {}
    taken: set[str] = set()
    for case in sorted(cases, key=lambda case: case.id):
        name = re.sub(r"[^A-Za-z0-9._ -]+", "-", case.name)[:_MOST_BYTES]
        different = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
        names[case.id] = next(each for each in different if each.casefold() not in taken)
        taken.add(names[case.id].casefold())
    return names


def require_exportable(casebook: Casebook, paths: Sequence[Path], overwrite: bool) -> list[str]:
    """Check that files may be written; return sentences on those that are replaced.

    Raises
    ------
    InputError : one is an image of the study, is among the casebook's own files, or exists already.
    """
    kept = [casebook.folder / name for name in (CASES, LOCKS, "learning")]
    for path in paths:
        if any(folder in path.resolve().parents for folder in kept):
            raise InputError(f"{path} is among the casebook's own files: export into another folder")
    there = [path for path in paths if path.exists()]
    taken = {path.resolve(): path for path in paths}
    identities = {(path.stat().st_dev, path.stat().st_ino): path for path in there}
    for case in casebook.cases():
        for file in _inputs(case, paths[0].parent):
            with suppress(OSError):
                found = taken.get(file.resolve()) or identities.get((file.stat().st_dev, file.stat().st_ino))
                if found is not None:
                    raise InputError(f"{found} is the image of case {case.name!r}: export into another folder")
    if there and not overwrite:
        more = f", and so do {len(there) - 1} more of the files" if len(there) > 1 else ""
        raise InputError(
            f"{there[0]} exists already ({what_is_there(there[0])}){more}: use --overwrite to replace existing files, "
            "or choose another folder"
        )
    return [f"{path} is replaced ({what_is_there(path)})" for path in there]


def _inputs(case: CaseEntry, folder: Path) -> list[Path]:
    """Files of an image; of a DICOM series only if files are to be written into its folder."""
    path = case.image.path
    if path.is_dir() and path.resolve() != folder.resolve():
        return []
    return files_of(path, case.image.series_uid)


def _nifti(mask: _Mask) -> None:
    write_labelmap(mask.path, mask.labels, mask.entry.image.geometry, forms=mask.forms)


def _seg_nrrd(mask: _Mask) -> None:
    write_seg_nrrd(mask.path, mask.labels, mask.entry.image.geometry, mask.names)


def _dicom(mask: _Mask) -> None:
    write_dicom_seg(mask.path, mask.labels, mask.entry, mask.names, mask.unverified)


_WRITERS: dict[str, tuple[str, Callable[[_Mask], None]]] = {
    "nifti": (".nii.gz", _nifti),
    "seg.nrrd": (".seg.nrrd", _seg_nrrd),
    "dicom": (".dcm", _dicom),
}
