"""Accepted masks out of a casebook, as files that other programs read."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from InteractiveSegLib.casebook.acceptance import AcceptedMask, load_accepted, stream
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.dicom_seg import write_dicom_seg
from InteractiveSegLib.casebook.entries import CaseEntry
from InteractiveSegLib.casebook.seg_nrrd import write_seg_nrrd
from InteractiveSegLib.errors import InputError, OutputError
from InteractiveSegLib.image.itk_volume import nifti_forms_of
from InteractiveSegLib.image_io import write_labelmap
from InteractiveSegLib.progress import Progress, Steps

_Writer = Callable[[Path, CaseEntry, AcceptedMask, dict[int, str]], None]


def export_steps(casebook: Casebook, folder: Path, form: str) -> Steps[list[Path]]:
    """Write the mask of every accepted case.

    Parameters
    ----------
    form : "nifti", "seg.nrrd" (a segmentation of 3D Slicer) or "dicom" (DICOM SEG; the images must be DICOM)

    Returns
    -------
    the files, in the order of acceptance

    Raises
    ------
    InputError : another form, no accepted case, or for DICOM an image that is none or has changed.
    OutputError : the folder cannot be written.
    MissingPackageError : highdicom is not installed, for DICOM.
    """
    if form not in _WRITERS:
        raise InputError(f"the form must be one of {', '.join(_WRITERS)}, not {form!r}")
    suffix, write = _WRITERS[form]
    accepted = stream(casebook)
    if not accepted:
        raise InputError(f"the casebook {casebook.folder} has no accepted case to export")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror or error}") from error
    names, written = casebook.labels(), []
    for number, found in enumerate(accepted):
        entry = casebook.case_of_id(found.case_id)
        yield Progress(number, len(accepted), f"writing {entry.name}")
        path = folder / f"{re.sub(r'[^A-Za-z0-9._ -]+', '-', entry.name)}{suffix}"
        write(path, entry, load_accepted(entry, found), names)
        written.append(path)
    return written


def _nifti(path: Path, entry: CaseEntry, accepted: AcceptedMask, names: dict[int, str]) -> None:
    image = entry.image.path
    forms = nifti_forms_of(image) if image.is_file() else None
    write_labelmap(path, accepted.labels, entry.image.geometry, forms)


def _seg_nrrd(path: Path, entry: CaseEntry, accepted: AcceptedMask, names: dict[int, str]) -> None:
    write_seg_nrrd(path, accepted.labels, entry.image.geometry, names)


def _dicom(path: Path, entry: CaseEntry, accepted: AcceptedMask, names: dict[int, str]) -> None:
    write_dicom_seg(path, accepted.labels, entry, names)


_WRITERS: dict[str, tuple[str, _Writer]] = {
    "nifti": (".nii.gz", _nifti),
    "seg.nrrd": (".seg.nrrd", _seg_nrrd),
    "dicom": (".dcm", _dicom),
}
FORMS = tuple(_WRITERS)
