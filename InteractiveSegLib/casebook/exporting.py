"""Accepted masks out of a casebook, as files that other programs read."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from InteractiveSegLib.casebook.acceptance import AcceptedMask, load_accepted, stream
from InteractiveSegLib.casebook.case_files import CASES
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.dicom_seg import write_dicom_seg
from InteractiveSegLib.casebook.entries import CaseEntry
from InteractiveSegLib.casebook.image_reference import files_of
from InteractiveSegLib.casebook.seg_nrrd import write_seg_nrrd
from InteractiveSegLib.casebook.states import State
from InteractiveSegLib.casebook.work_locks import LOCKS
from InteractiveSegLib.errors import InputError, OutputError
from InteractiveSegLib.image.image_io import write_labelmap
from InteractiveSegLib.image.itk_volume import nifti_forms_of
from InteractiveSegLib.image.nifti_header import NiftiForms
from InteractiveSegLib.image.output_files import what_is_there
from InteractiveSegLib.progress import Progress, Steps

_Writer = Callable[[Path, CaseEntry, AcceptedMask, dict[int, str], NiftiForms | None], None]
_MOST_BYTES = 200  # of a name, of the 255 that file systems allow


@dataclass(frozen=True)
class Exported:
    """What came of an export.

    files : in the order of acceptance
    notes : sentences on names that were changed, on files that were replaced, and on images that are not what they were
    left_out : sentences on accepted cases that are damaged
    """

    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def export_steps(casebook: Casebook, folder: Path, form: str, overwrite: bool = False) -> Steps[Exported]:
    """Write the mask of every accepted case, as ``<case>_mask``. What is damaged is left out, and the rest goes on.

    Parameters
    ----------
    form : "nifti", "seg.nrrd" (a segmentation of 3D Slicer) or "dicom" (DICOM SEG; the images must be DICOM)
    overwrite : replace files that are there already; images of the study are never replaced

    Raises
    ------
    InputError : another form, no accepted case, a file that is there already, or for DICOM an image that is none or has
        changed. Nothing is written then.
    OutputError : the folder cannot be written.
    MissingPackageError : highdicom is not installed, for DICOM.
    """
    if form not in _WRITERS:
        raise InputError(f"the form must be one of {', '.join(_WRITERS)}, not {form!r}")
    suffix, write = _WRITERS[form]
    accepted = stream(casebook)
    if not accepted:
        raise InputError(f"the casebook {casebook.folder} has no accepted case to export")
    cases = {case.id: case for case in casebook.cases()}
    names = export_names(cases.values())
    paths = {number: folder / f"{name}_mask{suffix}" for number, name in names.items()}
    wanted = [found for found in accepted if found.case_id in cases]
    notes = require_exportable(casebook, [paths[found.case_id] for found in wanted], overwrite)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror or error}") from error
    labels, files, left_out = casebook.labels(), [], _unreadable(casebook, {found.case_id for found in wanted})
    for number, found in enumerate(wanted):
        entry, path = cases[found.case_id], paths[found.case_id]
        yield Progress(number, len(wanted), f"writing {entry.name}")
        try:
            mask = load_accepted(entry, found)
        except InputError as error:
            left_out.append(f"case {entry.name!r} is not exported: {error}")
            continue
        forms = None
        try:
            entry.image.require_unchanged(entry.name)
            forms = nifti_forms_of(entry.image.path) if entry.image.path.is_file() else None
        except InputError as error:
            if form == "dicom":
                raise
            notes.append(f"{error}; its mask is of the image as it was")
        write(path, entry, mask, labels, forms)
        if names[entry.id] != entry.name:
            notes.append(f"the mask of case {entry.name!r} is called {path.name}")
        files.append(path)
    return Exported(tuple(files), tuple(notes), tuple(left_out))


def _unreadable(casebook: Casebook, known: set[int]) -> list[str]:
    """Sentences on accepted cases that cannot be read from the database."""
    rows = casebook.database.rows("SELECT id, name FROM case_ WHERE state = ?", [State.ACCEPTED.value])
    return [
        f"case {row['name']!r} (number {row['id']}) is not exported: what the database has of it is damaged"
        for row in rows
        if row["id"] not in known
    ]


def export_names(cases: Iterable[CaseEntry]) -> dict[int, str]:
    """Number of a case -> a name for its files, each another one, also where capitals and small letters are one.

    Names depend on the cases that came before alone: they stay the same when a study grows.
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
    """Whether files may be written; sentences on those that are replaced.

    Raises
    ------
    InputError : one is an image of the study, lies among the casebook's own files, or is there already.
    """
    kept = [casebook.folder / name for name in (CASES, LOCKS, "learning")]
    for path in paths:
        if any(folder in path.resolve().parents for folder in kept):
            raise InputError(f"{path} lies among the casebook's own files: export into another folder")
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
        more = f", and {len(there) - 1} more of the files are there, too" if len(there) > 1 else ""
        raise InputError(
            f"{there[0]} exists already ({what_is_there(there[0])}){more}: say --overwrite to replace what is there, "
            "or name another folder"
        )
    return [f"{path} is replaced ({what_is_there(path)})" for path in there]


def _inputs(case: CaseEntry, folder: Path) -> list[Path]:
    """Files of an image; of a DICOM series only where files are to be written beside its slices."""
    path = case.image.path
    if path.is_dir() and path.resolve() != folder.resolve():
        return []
    return files_of(path, case.image.series_uid)


def _nifti(
    path: Path, entry: CaseEntry, accepted: AcceptedMask, names: dict[int, str], forms: NiftiForms | None
) -> None:
    write_labelmap(path, accepted.labels, entry.image.geometry, forms=forms)


def _seg_nrrd(
    path: Path, entry: CaseEntry, accepted: AcceptedMask, names: dict[int, str], forms: NiftiForms | None
) -> None:
    write_seg_nrrd(path, accepted.labels, entry.image.geometry, names)


def _dicom(
    path: Path, entry: CaseEntry, accepted: AcceptedMask, names: dict[int, str], forms: NiftiForms | None
) -> None:
    write_dicom_seg(path, accepted.labels, entry, names)


_WRITERS: dict[str, tuple[str, _Writer]] = {
    "nifti": (".nii.gz", _nifti),
    "seg.nrrd": (".seg.nrrd", _seg_nrrd),
    "dicom": (".dcm", _dicom),
}
FORMS = tuple(_WRITERS)
