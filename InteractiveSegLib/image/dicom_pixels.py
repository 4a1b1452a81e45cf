"""Pixels of DICOM slices, each with the slope and intercept of its own header."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.dicom_headers import DicomHeader
from InteractiveSegLib.image.dicom_planes import Plane
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.itk_reading import opened
from InteractiveSegLib.image.itk_volume import grid_of

_SAME_PLACE_MM = 1e-3


def read_pixels(planes: Sequence[Plane], spacing_mm: float | None) -> tuple[NDArray, Geometry]:
    """The slices in this order, and the grid of the first file as ITK reads it.

    spacing_mm : distance of the slices, for the grid; None for ITK's

    Returns
    -------
    array, grid : (N, rows, columns), of a type that holds the values of all slices

    Raises
    ------
    InputError : a file cannot be read, or ITK reads it differently from its header.
    """
    several: dict[DicomHeader, NDArray] = {}
    array, grid = None, None
    for at, plane in enumerate(planes):
        frames = several.get(plane.file)
        if frames is None:
            frames, of_file = _frames(plane, planes, spacing_mm)
            grid = grid or of_file
            if len(frames) > 1:
                several[plane.file] = frames
        pixels = frames[plane.frame]
        if array is None:
            array = np.empty((len(planes), *pixels.shape), pixels.dtype)
        array = array.astype(np.result_type(array, pixels), copy=False)
        array[at] = pixels
    return array, grid


def _frames(plane: Plane, planes: Sequence[Plane], spacing_mm: float | None) -> tuple[NDArray, Geometry]:
    """All frames (frames, rows, columns) of the plane's file, and ITK's grid."""
    of_file = [other for other in planes if other.file is plane.file] if plane.file.frames > 1 else [plane]
    with opened(plane.path, io="GDCMImageIO") as reader:
        size, grid = reader.GetSize(), grid_of(reader, spacing_mm)
        _require_as_header(plane, size, reader)
        one_scale = len({(other.slope, other.intercept) for other in of_file}) == 1
        if one_scale:
            return sitk.GetArrayFromImage(reader.Execute()).reshape(plane.file.frames, plane.rows, plane.columns), grid
    stored = _stored(plane.file)
    scaled = np.zeros(stored.shape, np.float64)
    for other in of_file:
        scaled[other.frame] = stored[other.frame] * other.slope + other.intercept
    return scaled, grid


def _stored(file: DicomHeader) -> NDArray:
    """Stored values (frames, rows, columns) of a file whose frames are scaled individually, which ITK cannot do."""
    import pydicom

    try:
        return pydicom.dcmread(file.path).pixel_array.reshape(file.frames, *_rows_columns(file))
    except Exception as error:  # each decoder raises its own
        raise InputError(
            f"{file.path} has frames of several RescaleSlopes whose pixels cannot be unpacked ({error}): save it "
            "uncompressed"
        ) from error


def _rows_columns(file: DicomHeader) -> tuple[int, int]:
    return int(file.fields.Rows), int(file.fields.Columns)


def _require_as_header(plane: Plane, size: Sequence[int], reader: sitk.ImageFileReader) -> None:
    """InputError if ITK reads another size, pixel spacing or position than the header says."""
    if reader.GetNumberOfComponents() != 1:
        raise InputError(f"{plane.path} has {reader.GetNumberOfComponents()} values per voxel, not one")
    wanted = (plane.columns, plane.rows, plane.file.frames)
    if (*size, 1)[:3] != wanted:
        raise InputError(f"{plane.path} is read with the size {tuple(size)}, but its header says {wanted}")
    if plane.file.frames > 1 or plane.placed_by_group:  # positioned only by their headers
        return
    if plane.pixel_mm is not None:
        read_mm = reader.GetSpacing()[1::-1]
        if not np.allclose(read_mm, plane.pixel_mm, rtol=1e-6):
            raise InputError(
                f"{plane.path} is read with pixels of {read_mm} mm, but its header says {plane.pixel_mm} (PixelSpacing)"
            )
    if plane.position_lps is not None:
        away_mm = np.abs(np.subtract(reader.GetOrigin()[:3], plane.position_lps)).max()
        if away_mm > _SAME_PLACE_MM:
            raise InputError(f"{plane.path} is read {away_mm:.4g} mm away from its ImagePositionPatient")
