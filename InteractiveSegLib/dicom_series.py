"""DICOM series: which there are in a folder, and whether their slices are a regular stack."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.itk_reading import execute, read_header, tag


def read_series(folder: Path, series_uid: str | None) -> tuple[sitk.Image, str]:
    """The image of one DICOM series in a folder, and its description.

    Raises
    ------
    InputError : no series, several and none chosen, or slices that are no regular stack.
    """
    found = series_in(folder)
    if not found:
        raise InputError(f"the folder {folder} holds no DICOM images")
    if series_uid is None and len(found) == 1:
        series_uid = next(iter(found))
    if series_uid not in found:
        described = "; ".join(
            f"{uid} ({_description(files[0]) or 'no description'}, {len(files)} files)" for uid, files in found.items()
        )
        wanted = "choose one of its series" if series_uid is None else f"it has no series {series_uid}, but"
        raise InputError(f"the folder {folder}: {wanted}: {described}")
    files = found[series_uid]
    _require_regular(folder, [read_header(file) for file in files])
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(file) for file in files])
    return execute(reader, folder), _description(files[0]) or folder.name


def series_in(folder: Path) -> dict[str, list[Path]]:
    """UID -> files in the order of their slices, of every series in a folder (not below it)."""
    return {
        uid: [Path(file) for file in sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid)]
        for uid in sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    }


def dicom_tag(file: Path, key: str) -> str:
    """A tag such as ``0010|0020`` of a DICOM file, "" where there is none or the file is no image."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    try:
        reader.ReadImageInformation()
    except RuntimeError:  # listed among the series, but not an image
        return ""
    return tag(reader, key)


def _description(file: Path) -> str:
    return dicom_tag(file, "0008|103e")


def _require_regular(folder: Path, headers: list[sitk.ImageFileReader]) -> None:
    """InputError where slices are not evenly stacked along their normal: ITK would place them as if they were."""
    if len(headers) == 1:
        return
    tags = [(tag(header, "0020|0032"), tag(header, "0020|0037")) for header in headers]
    try:
        positions_lps = np.array([[float(number) for number in position.split("\\")] for position, _ in tags])
        rows_columns = np.array([[float(number) for number in axes.split("\\")] for _, axes in tags]).reshape(-1, 2, 3)
    except ValueError:
        raise InputError(f"the DICOM series in {folder} has slices without position or orientation") from None
    if np.abs(rows_columns - rows_columns[0]).max() > 1e-3:
        raise InputError(f"the DICOM series in {folder} has slices in different orientations")
    offsets = positions_lps - positions_lps[0]
    normal = np.cross(*rows_columns[0])
    along_mm = offsets @ normal
    gaps_mm = np.diff(along_mm)
    usual_mm = float(np.median(gaps_mm))
    uneven = np.flatnonzero(np.abs(gaps_mm - usual_mm) > 0.01 * abs(usual_mm))
    if usual_mm == 0 or uneven.size:
        first = int(uneven[0]) if uneven.size else 0
        raise InputError(
            f"the DICOM series in {folder} misses, repeats or shifts slices: slices {first + 1} and {first + 2} of "
            f"{len(headers)} are {gaps_mm[first]:.4g} mm apart, the others {usual_mm:.4g} mm"
        )
    sideways_mm = np.linalg.norm(offsets - np.outer(along_mm, normal), axis=1).max()
    if sideways_mm > 0.1 * min(headers[0].GetSpacing()[:2]):
        raise InputError(
            f"the DICOM series in {folder} is sheared (tilted gantry): its slices shift sideways by up to "
            f"{sideways_mm:.3g} mm, which no regular grid can hold"
        )
