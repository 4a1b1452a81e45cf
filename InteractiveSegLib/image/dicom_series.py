"""DICOM series: those in a folder and below it, and the image of one of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.dicom_headers import DicomHeader, number, read_dicom_header
from InteractiveSegLib.image.dicom_planes import planes_of
from InteractiveSegLib.image.dicom_stack import along_normal, read_stack
from InteractiveSegLib.image.itk_volume import ItkImage

_INDEX_OF_A_DISC = "DICOMDIR"


@dataclass(eq=False)
class Found:
    """DICOM files of a folder.

    series : UID -> headers of its images, by series number and UID
    damaged : files that begin like DICOM but cannot be parsed, with the reason
    others : files that are not DICOM
    """

    series: dict[str, list[DicomHeader]] = field(default_factory=dict)
    damaged: dict[Path, str] = field(default_factory=dict)
    others: list[Path] = field(default_factory=list)


def read_series(folder: Path, series: str | None, time: int | None = None) -> tuple[ItkImage, str]:
    """The image of one DICOM series in a folder, or below it if the folder itself contains none; and its description.

    Parameters
    ----------
    series : its UID, or its number in the list that the error prints, from 1; needed where there are several
    time : which of several images of the series, from 0

    Raises
    ------
    InputError : no series, several and none chosen, damaged files, or slices that do not form a regular stack.
    """
    found = _look(folder.iterdir())
    if not found.series or (series is not None and "." in series and series not in found.series):
        found = _look(folder.rglob("*"))
    if not found.series:
        if found.damaged:
            raise InputError(next(iter(found.damaged.values())))
        raise InputError(f"the folder {folder} holds no DICOM images")
    headers = found.series[_chosen(folder, found.series, series)]
    where = f"the DICOM series in {folder}"
    if found.damaged and len(found.series) == 1:
        raise InputError(f"{where} may be incomplete: {next(iter(found.damaged.values()))}")
    image = read_stack([plane for header in headers for plane in planes_of(header)], where, time)
    notes = (*image.notes, *_left_out(found, headers))
    return ItkImage(image.array, image.geometry, {}, notes), headers[0].text("SeriesDescription") or folder.name


def read_dicom_file(path: Path, time: int | None = None) -> ItkImage:
    """A single DICOM file: one slice, or the frames of a multi-frame one. InputError as ``read_series``."""
    header = read_dicom_header(path)
    if header is None or not header.is_image:
        raise InputError(f"{path} is a DICOM file without an image")
    return read_stack(planes_of(header), str(path), time)


def series_in(folder: Path) -> dict[str, list[Path]]:
    """UID -> files in the order of their slices, of every series of images in a folder (not below it)."""
    return {uid: _in_order(headers) for uid, headers in _look(folder.iterdir()).series.items()}


def dicom_tag(file: Path, key: str) -> str:
    """A tag such as ``0010|0020`` of a DICOM file, "" if there is none or the file is not an image."""
    from pydicom.datadict import keyword_for_tag

    try:
        header = read_dicom_header(file)
    except InputError:
        return ""
    return header.text(keyword_for_tag(key.replace("|", ""))) if header is not None and header.is_image else ""


def _look(paths: Iterable[Path]) -> Found:
    """Read the headers of files."""
    found, unfinished = Found(), []
    for path in sorted(path for path in paths if path.is_file() and not path.name.startswith(".")):
        try:
            header = read_dicom_header(path)
        except InputError as error:
            found.damaged[path] = str(error)
            continue
        if header is None:
            found.others.append(path)
        elif header.is_image:
            found.series.setdefault(header.series_uid, []).append(header)
        elif header.lacks:
            unfinished.append(header)
    for header in unfinished:  # reports and the like, which have no pixels; or the beginning of an image
        if header.series_uid in found.series:
            found.series[header.series_uid].append(header)
        elif not header.series_uid and header.path.name != _INDEX_OF_A_DISC:
            found.damaged[header.path] = f"{header.path} is cut short: its header ends before the image"
    ordered = sorted(found.series.items(), key=lambda item: (_series_number(item[1][0]), item[0]))
    found.series = dict(ordered)
    return found


def _in_order(headers: list[DicomHeader]) -> list[Path]:
    """Files of a series; if some have no position, or are damaged, in the order of their names."""
    try:
        planes = [plane for header in headers for plane in planes_of(header)]
    except InputError:
        planes = []
    if len(planes) > 1 and all(plane.position_lps is not None and plane.axes_lps is not None for plane in planes):
        return list(dict.fromkeys(plane.path for plane in along_normal(planes)[1]))
    return [header.path for header in headers]


def _series_number(header: DicomHeader) -> float:
    try:
        return number(header.fields, "SeriesNumber", 0, header.path)
    except InputError:
        return 0


def _chosen(folder: Path, found: dict[str, list[DicomHeader]], series: str | None) -> str:
    if series is None and len(found) == 1:
        return next(iter(found))
    if series in found:
        return series
    if series is not None and series.isdecimal() and 1 <= int(series) <= len(found):
        return list(found)[int(series) - 1]
    described = "; ".join(
        f"{at}: {uid} ({headers[0].text('SeriesDescription') or 'no description'}, {len(headers)} files)"
        for at, (uid, headers) in enumerate(found.items(), 1)
    )
    wanted = "choose one of its series with --series" if series is None else f"it has no series {series}, but"
    raise InputError(f"the folder {folder}: {wanted}: {described}")


def _left_out(found: Found, headers: list[DicomHeader]) -> list[str]:
    """Notes on files that may be slices of the series but cannot be read."""
    suffixes = {header.path.suffix.lower() for header in headers}
    folders = {header.path.parent for header in headers}
    unread = [path.name for path in found.others if path.suffix.lower() in suffixes and path.parent in folders]
    unread += [path.name for path in found.damaged if path.parent in folders]
    if not unread:
        return []
    named = ", ".join(unread[:5]) + (f" and {len(unread) - 5} more" if len(unread) > 5 else "")
    return [f"{named} beside the series cannot be read as DICOM and are left out: check whether a slice is missing"]
