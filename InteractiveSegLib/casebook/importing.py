"""Finding images in folders, and adding them to a casebook."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.entries import CaseEntry
from InteractiveSegLib.casebook.image_reference import ImageReference, files_of
from InteractiveSegLib.casebook.pseudonyms import patient_pseudonym, public_hash, uses_pseudonyms
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.dicom_series import dicom_tag, series_in
from InteractiveSegLib.progress import Progress, Steps
from InteractiveSegLib.wording.plain_text import printable

IMAGE_SUFFIX = re.compile(r"\.(nii\.gz|nii|nrrd|nhdr|mha|mhd)$", re.IGNORECASE)
_LABELS = re.compile(r"[-_. ](labels?|labelmap|seg|segmentation|mask|gt|truth|scribbles?)$", re.IGNORECASE)
_LISTED = 5
_PATIENT_ID, _SERIES_DESCRIPTION = "0010|0020", "0008|103e"


@dataclass(frozen=True)
class ImportSettings:
    """How images in folders become cases.

    pattern : of file names, such as ``*_image.nii.gz``; files named labels, masks or segmentations are left out
    patient : regular expression; files in whose names it matches the same text belong to one patient. Without it every
        file is a patient, and DICOM series are grouped by patient ID, of which a keyed hash is stored
    split : for all images, instead of the one given by the patients' hashes
    """

    pattern: str = "*"
    patient: str | None = None
    split: str | None = None

    def __post_init__(self) -> None:
        try:
            re.compile(self.patient or "")
        except re.error as error:
            raise InputError(f"patient is not a regular expression: {self.patient!r} ({error})") from error


@dataclass(frozen=True, eq=False)
class Imported:
    """The result: new cases, and sentences on images that were known already, had moved or cannot be read."""

    added: tuple[CaseEntry, ...]
    notes: tuple[str, ...]


def import_steps(casebook: Casebook, place: Path, settings: ImportSettings | None = None) -> Steps[Imported]:
    """Add an image, or all images in a folder and its subfolders. Images that cannot be read are noted and left out.

    If the image of an existing case is no longer at its recorded path, the new path is recorded instead.

    Raises
    ------
    InputError : the place does not exist or contains no image; for a single image also any fault in it.
    """
    settings = settings or ImportSettings()
    found = list(find_images(place, settings.pattern))
    if not found:
        raise InputError(
            f"{place} contains no image (NIfTI, NRRD, MHA or a DICOM series) with the pattern {settings.pattern!r}"
        )
    numbered = uses_pseudonyms(casebook)
    added: list[CaseEntry] = []
    notes = split_notes(found)
    for number, (path, series_uid) in enumerate(found):
        yield Progress(number, len(found), f"reading {path.name}")
        try:
            image = ImageReference.of(path, series_uid)
            same = casebook.case_with(image.sha256)
            if same and not same.image.path.exists():
                casebook.moved(same, image)
                notes.append(f"case {same.name!r} has moved to {image.path}")
                continue
            name = _name(path, series_uid)
            patient, drawn_by = _patient(path, series_uid, name, casebook, settings)
            name = f"case-{_next_number(casebook):04d}" if numbered else name
            unused = name if same else _unused_name(casebook, name)
            entry = casebook.add(image, unused, patient, settings.split, drawn_by)
        except InputError as error:
            if len(found) == 1:
                raise
            notes.append(str(error))
            continue
        if entry.name != name:
            notes.append(f"{path} became case {entry.name!r}, since there already is a case {name!r}")
        added.append(entry)
    return Imported(tuple(added), tuple(notes))


def find_images(place: Path, pattern: str = "*") -> Iterator[tuple[Path, str | None]]:
    """Files, and folders with the UID of each of their DICOM series. InputError if there is no such place."""
    if place.is_file():
        yield place, None
        return
    if not place.is_dir():
        raise InputError(f"{place} does not exist")
    for folder in (place, *sorted(path for path in place.rglob("*") if path.is_dir())):
        files = sorted(path for path in folder.glob(pattern) if path.is_file() and not path.name.startswith("."))
        yield from ((path, None) for path in files if IMAGE_SUFFIX.search(path.name) and not _is_labelmap(path))
        if any(not IMAGE_SUFFIX.search(path.name) for path in files):
            yield from ((folder, uid) for uid in series_in(folder) if _is_image(folder, uid))


def split_notes(images: Iterable[tuple[Path, str | None]]) -> list[str]:
    """A sentence for each DICOM series that is in several of the folders of ``find_images``."""
    folders: dict[str, list[Path]] = defaultdict(list)
    for path, series_uid in images:
        if series_uid is not None:
            folders[series_uid].append(path)
    return [
        f"the DICOM series {series_uid} is in {len(places)} folders, each of which is used as a separate image: "
        f"{', '.join(map(str, places[:_LISTED]))}{', ...' if len(places) > _LISTED else ''}; if they are parts of "
        "one image, put all of its files into one folder"
        for series_uid, places in folders.items()
        if len(places) > 1
    ]


def _is_labelmap(path: Path) -> bool:
    return bool(_LABELS.search(IMAGE_SUFFIX.sub("", path.name)))


def _is_image(folder: Path, series_uid: str) -> bool:
    """Whether a series is an image, not a segmentation object, presentation state or report."""
    modality = dicom_tag(files_of(folder, series_uid)[0], "0008|0060")
    return modality not in ("", "SEG", "PR", "SR", "RTSTRUCT", "KO")


def _name(path: Path, series_uid: str | None) -> str:
    if series_uid is None:
        return printable(IMAGE_SUFFIX.sub("", path.name)).replace("\\", "-")
    described = dicom_tag(files_of(path, series_uid)[0], _SERIES_DESCRIPTION)
    return re.sub(r"[/\\\s]+", " ", printable(f"{path.name} {described}")).strip()


def _next_number(casebook: Casebook) -> int:
    """Number of the next case, from 1."""
    return casebook.database.rows("SELECT coalesce(max(id), 0) + 1 AS number FROM case_")[0]["number"]


def _unused_name(casebook: Casebook, name: str) -> str:
    """This name, with a number from 2 on if there already is such a case."""

    def is_taken(number: int) -> bool:
        wanted = name if number == 1 else f"{name}-{number}"
        return bool(casebook.database.rows("SELECT 1 FROM case_ WHERE name = ?", [wanted]))

    low, high = 0, 1
    while is_taken(high):  # by doubling and bisection, since thousands of files may have the same name
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if is_taken(middle) else (low, middle)
    return name if high == 1 else f"{name}-{high}"


def _patient(
    path: Path, series_uid: str | None, name: str, casebook: Casebook, settings: ImportSettings
) -> tuple[str, str]:
    """The patient as stored in the casebook, and the text that is hashed for the split."""
    identity = dicom_tag(files_of(path, series_uid)[0], _PATIENT_ID) if series_uid is not None else ""
    if settings.patient is not None:
        match = re.search(settings.patient, name)
        known = match.group() if match else name
    elif identity:
        return patient_pseudonym(casebook, identity), public_hash(casebook, identity)
    else:
        known = name
    return (patient_pseudonym(casebook, known) if uses_pseudonyms(casebook) else known), known
