"""Slices of a DICOM series stacked to a volume: in order, alike, and evenly spaced."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.dicom_headers import number, raw
from InteractiveSegLib.image.dicom_pixels import read_pixels
from InteractiveSegLib.image.dicom_planes import Plane
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.itk_volume import ItkImage, chosen_time

_SAME_AXES = 1e-3
_SAME_PLACE_MM = 1e-3
_UNEVEN_VOXELS = 0.1  # off the best-fitting grid: read, with a note
_NOTED_MM, _NOTED_VOXELS = 0.01, 0.01
_LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])


def read_stack(planes: Sequence[Plane], where: str, time: int | None = None) -> ItkImage:
    """The volume of a series; of one time if there are several images at each position.

    Parameters
    ----------
    where : for messages: the series or file

    Raises
    ------
    InputError : slices of several sizes, pixel spacings or orientations, no regular stack, or a file that ITK reads
        differently from its header.
    """
    _require_alike(planes, where)
    ordered = _in_order(planes, where, time)
    spacing_mm, notes = _spacing(ordered, where)
    array, grid = read_pixels(ordered, spacing_mm)
    if ordered[0].file.frames > 1 and not ordered[0].placed_by_group:
        notes.append(f"the frames of {where} hold no positions of their own: they are stacked {spacing_mm:g} mm apart")
    if ordered[0].pixel_mm is None:
        i_mm, j_mm = grid.spacing_kji_mm[:0:-1]
        notes.append(f"{where} holds no PixelSpacing: {i_mm:g} x {j_mm:g} mm is assumed")
    return ItkImage(array, _stacked(ordered, grid), {}, (*notes, *_differences(ordered, where)))


def _require_alike(planes: Sequence[Plane], where: str) -> None:
    first = planes[0]
    for plane in planes:
        names = f"{first.path.name} and {plane.path.name}"
        if (plane.rows, plane.columns) != (first.rows, first.columns):
            raise InputError(
                f"{where} has slices of different sizes: {first.columns} x {first.rows} and "
                f"{plane.columns} x {plane.rows} pixels in {names}"
            )
        if (plane.pixel_mm is None) != (first.pixel_mm is None) or not np.allclose(
            plane.pixel_mm or 0, first.pixel_mm or 0, rtol=1e-4
        ):
            raise InputError(
                f"{where} has slices of different PixelSpacing: {first.pixel_mm} and {plane.pixel_mm} mm in {names}"
            )
        if len(planes) > 1 and (plane.position_lps is None or plane.axes_lps is None):
            raise InputError(f"{where} has slices without position or orientation, such as {plane.path.name}")
        if first.axes_lps is not None and np.abs(plane.axes_lps - first.axes_lps).max() > _SAME_AXES:
            raise InputError(f"{where} has slices in different orientations: {names}")


def along_normal(planes: Sequence[Plane]) -> tuple[NDArray[np.float64], list[Plane]]:
    """Slices with a position, from first to last along their normal, and their positions on it (N,) in mm."""
    normal = np.cross(*planes[0].axes_lps)
    placed = sorted(
        ((float(plane.position_lps @ normal), plane) for plane in planes),
        key=lambda pair: (round(pair[0], 3), pair[1].order),
    )
    return np.array([mm for mm, _ in placed]), [plane for _, plane in placed]


def _in_order(planes: Sequence[Plane], where: str, time: int | None) -> list[Plane]:
    """The slices of one time, along their normal."""
    count = 1
    if len(planes) > 1:
        along_mm, planes = along_normal(planes)
        starts = np.flatnonzero(np.diff(along_mm, prepend=-np.inf) > _SAME_PLACE_MM)
        if (np.diff(starts, append=len(planes)) == len(planes) / len(starts)).all():
            count = len(planes) // len(starts)
    if count > 1:
        _require_no_copies(planes, where)
    return list(planes[chosen_time(where, count, time) :: count])


def _require_no_copies(planes: Sequence[Plane], where: str) -> None:
    uids = Counter((raw(plane.file.fields, "SOPInstanceUID"), plane.frame) for plane in planes)
    (uid, _), most = uids.most_common(1)[0]
    if uid and most > 1:
        names = [plane.path.name for plane in planes if raw(plane.file.fields, "SOPInstanceUID") == uid]
        raise InputError(
            f"{where} holds the same image in several files ({', '.join(names[:3])}): move the copies away"
        )


def _spacing(planes: Sequence[Plane], where: str) -> tuple[float | None, list[str]]:
    """Spacing of the slices, and a note if they are not quite evenly spaced. InputError if they fit no regular grid."""
    if len(planes) == 1:
        return None, []
    offsets = np.array([plane.position_lps for plane in planes]) - planes[0].position_lps
    normal = np.cross(*planes[0].axes_lps)
    along_mm = offsets @ normal
    # ITK's rule, which 3D Slicer follows as well: the mean distance over the stack
    mean_mm = float(np.linalg.norm(offsets[-1])) / (len(planes) - 1)
    numbers = np.arange(len(planes))
    best_mm = np.polyval(np.polyfit(numbers, along_mm, 1), numbers)
    if mean_mm == 0 or np.abs(along_mm - best_mm).max() > _UNEVEN_VOXELS * mean_mm:
        gaps_mm = np.diff(along_mm)
        usual_mm = float(np.median(gaps_mm))
        worst = int(np.abs(gaps_mm - usual_mm).argmax())
        raise InputError(
            f"{where} has missing, repeated or shifted slices: slices {worst + 1} and {worst + 2} of {len(planes)} are "
            f"{gaps_mm[worst]:.4g} mm apart, the others {usual_mm:.4g} mm"
        )
    sideways_mm = float(np.linalg.norm(offsets - np.outer(along_mm, normal), axis=1).max())
    if sideways_mm > _UNEVEN_VOXELS * min(planes[0].pixel_mm or (1.0,)):
        raise InputError(
            f"{where} is sheared (tilted gantry): its slices shift sideways by up to {sideways_mm:.3g} mm, which no "
            "regular grid can hold"
        )
    away_mm = max(float(np.abs(along_mm - numbers * mean_mm).max()), sideways_mm)
    if away_mm <= min(_NOTED_MM, _NOTED_VOXELS * mean_mm):
        return mean_mm, []
    return mean_mm, [
        f"the slices of {where} are not evenly spaced: they lie up to {away_mm:.2g} mm off the regular grid of "
        f"{mean_mm:.4g} mm that is used"
    ]


def _stacked(planes: Sequence[Plane], grid: Geometry) -> Geometry:
    """The grid of the stack. Its axes are those of the first file; multi-frame files are positioned by their
    headers.
    """
    first = planes[0]
    matrix = grid.ijk_to_ras.copy()
    if first.file.frames > 1 or first.placed_by_group:
        matrix[:3, :3] = _axes_ras(first, matrix)
        if first.position_lps is not None:
            matrix[:3, 3] = _LPS_TO_RAS * first.position_lps
    return Geometry((len(planes), first.rows, first.columns), matrix)


def _axes_ras(plane: Plane, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    if plane.axes_lps is None:
        return matrix[:3, :3]
    row_mm, column_mm = plane.pixel_mm or (1.0, 1.0)
    along_row, along_column = plane.axes_lps / np.linalg.norm(plane.axes_lps, axis=1, keepdims=True)
    thick_mm = np.linalg.norm(matrix[:3, 2])
    axes_lps = (along_row * column_mm, along_column * row_mm, np.cross(along_row, along_column) * thick_mm)
    return _LPS_TO_RAS[:, None] * np.stack(axes_lps, axis=1)


def _differences(planes: Sequence[Plane], where: str) -> list[str]:
    """Notes on differences between slices that were taken into account."""
    notes = []
    scales = {(plane.slope, plane.intercept) for plane in planes}
    if len(scales) > 1:
        slopes = sorted({plane.slope for plane in planes})
        intercepts = sorted({plane.intercept for plane in planes})
        notes.append(
            f"{where} is scaled slice by slice: slopes {slopes[0]:g} to {slopes[-1]:g}, intercepts "
            f"{intercepts[0]:g} to {intercepts[-1]:g}, each applied to its own slice"
        )
    for keyword in ("BitsAllocated", "BitsStored", "PixelRepresentation"):
        values = {int(number(plane.file.fields, keyword, 0, plane.path)) for plane in planes}
        if len(values) > 1:
            notes.append(f"{where} has slices of different {keyword} ({', '.join(map(str, sorted(values)))})")
    kinds = {raw(plane.file.fields, "PhotometricInterpretation") for plane in planes}
    if len(kinds) > 1:
        raise InputError(f"{where} has slices of different PhotometricInterpretation: {', '.join(sorted(kinds))}")
    return notes
