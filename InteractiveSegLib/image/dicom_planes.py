"""Slices of DICOM files, including multi-frame files, with position and scaling from their headers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.dicom_headers import DicomHeader, number, numbers, parts, raw

_NO_IMAGES = {"SEG": "segmentation", "RTDOSE": "dose distribution"}


@dataclass(frozen=True, eq=False)
class Plane:
    """One slice.

    frame : its number in the file
    position_lps : (3,) mm, of the centre of the first pixel; None if the header has none
    axes_lps : (2, 3), the directions along a row and along a column; None if the header has none
    pixel_mm : from row to row, from column to column; None if the header has none
    slope, intercept : of the stored values
    order : among several images at one position
    placed_by_group : a functional group gives its position, as in files of enhanced objects
    """

    file: DicomHeader
    frame: int
    rows: int
    columns: int
    position_lps: NDArray[np.float64] | None
    axes_lps: NDArray[np.float64] | None
    pixel_mm: tuple[float, ...] | None
    slope: float
    intercept: float
    order: tuple[float, ...]
    placed_by_group: bool

    @property
    def path(self) -> Path:
        return self.file.path


def planes_of(header: DicomHeader) -> list[Plane]:
    """The slices of a file.

    Raises
    ------
    InputError : it is cut short, contains colours or no image, or invalid numbers.
    """
    if header.lacks:
        raise InputError(f"{header.path} is cut short: its pixel data are incomplete; copy it again")
    try:
        return _planes(header)
    except InputError:
        raise
    except Exception as error:  # whatever a damaged element leads pydicom into
        raise InputError(f"{header.path} is a damaged DICOM file: {error}") from error


def _planes(header: DicomHeader) -> list[Plane]:
    path, fields = header.path, header.fields
    modality = raw(fields, "Modality")
    if modality in _NO_IMAGES:
        raise InputError(f"{path} is a DICOM {_NO_IMAGES[modality]} ({modality}), not an image")
    samples = int(number(fields, "SamplesPerPixel", 1, path))
    if samples != 1:
        raise InputError(f"{path} has {samples} values per voxel ({raw(fields, 'PhotometricInterpretation')}), not one")
    shared = _groups(next(parts(fields, "SharedFunctionalGroupsSequence"), None))
    each = list(parts(fields, "PerFrameFunctionalGroupsSequence"))
    if each and len(each) != header.frames:
        raise InputError(f"{path} is damaged: {header.frames} frames, but {len(each)} of them described")
    if not each and header.frames > 1:
        return _at_distances(header, _plane(header, 0, [*shared, fields]))
    return [
        _plane(header, frame, [*_groups(of_frame), *shared, fields]) for frame, of_frame in enumerate(each or [None])
    ]


def _at_distances(header: DicomHeader, first: Plane) -> list[Plane]:
    """Frames without positions of their own, placed by the spacing that the header gives for all."""
    fields, path = header.fields, header.path
    distance_mm = number(fields, "SpacingBetweenSlices", 0, path) or number(fields, "SliceThickness", 0, path)
    if distance_mm <= 0:
        raise InputError(
            f"{path} has {header.frames} frames, but neither their positions nor their spacing, so it is not a volume"
        )
    position = np.zeros(3) if first.position_lps is None else first.position_lps
    axes = np.eye(3)[:2] if first.axes_lps is None else first.axes_lps
    step = distance_mm * np.cross(*axes)
    return [
        replace(first, frame=frame, position_lps=position + frame * step, axes_lps=axes, placed_by_group=False)
        for frame in range(header.frames)
    ]


def _groups(of_frame: Any | None) -> list[Any]:
    """The functional groups of a frame, or of all frames."""
    if of_frame is None:
        return []
    return [item for element in of_frame if element.VR == "SQ" for item in element.value[:1]]


def _plane(header: DicomHeader, frame: int, holders: list[Any]) -> Plane:
    path, fields = header.path, header.fields

    def said(keyword: str, count: int) -> tuple[float, ...]:
        return next((values for holder in holders if (values := numbers(holder, keyword, count, path))), ())

    position, axes = said("ImagePositionPatient", 3), said("ImageOrientationPatient", 6)
    pixel_mm = said("PixelSpacing", 2)
    if pixel_mm and min(pixel_mm) <= 0:
        raise InputError(f"{path}: its PixelSpacing {raw(fields, 'PixelSpacing')!r} must be above 0")
    slope = (said("RescaleSlope", 1) or (1.0,))[0]
    if slope == 0:
        raise InputError(f"{path}: its RescaleSlope is 0, which leaves nothing of the image")
    time = said("TemporalPositionIndex", 1) or said("TemporalPositionIdentifier", 1) or (0.0,)
    return Plane(
        header,
        frame,
        int(number(fields, "Rows", 0, path)),
        int(number(fields, "Columns", 0, path)),
        np.array(position) if position else None,
        np.reshape(axes, (2, 3)) if axes else None,
        pixel_mm or None,
        slope,
        (said("RescaleIntercept", 1) or (0.0,))[0],
        (*time, number(fields, "InstanceNumber", 0, path), frame),
        len(holders) > 1,
    )
