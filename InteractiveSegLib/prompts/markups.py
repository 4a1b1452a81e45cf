"""Slicer's markups files: an ROI, a point list, a closed curve; all in mm, in LPS or RAS.

They are ``.mrk.json``; older versions of Slicer wrote point lists as ``.fcsv``, and ROIs and points as ``.acsv``.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry, ras_to_kji
from InteractiveSegLib.prompts.lasso import Lasso, crossing_of
from InteractiveSegLib.prompts.markup_tables import is_table, markups_of_table
from InteractiveSegLib.prompts.slicer_roi import roi_box

_SIDES_A_SEGMENT = 10
_OTHER_UNITS = {"m", "cm", "um", "µm", "nm", "in", "inch"}


def read_roi(path: str | os.PathLike[str], geometry: Geometry) -> tuple[BoundingBox, str]:
    """Box of voxels whose centres lie within an ROI.

    Returns
    -------
    box, note : as for ``roi_box``; the note also says if an ROI is inside out, which has no meaning here

    Raises
    ------
    InputError : no such file, not JSON, not exactly one ROI, or one without a place, size or axes.
    """
    roi, to_ras = _the_markup(Path(path), "ROI")
    ignored = ""
    if roi.get("insideOut", False) is not False:
        ignored = f"{Path(path).name} says 'inside out', which is ignored: the object is segmented inside the ROI."
    center = _numbers(roi, "center", 3, f"{path}: the ROI's")
    size_mm = _numbers(roi, "size", 3, f"{path}: the ROI's")
    axes = _numbers(roi, "orientation", 9, f"{path}: the ROI's").reshape(3, 3)
    if size_mm.min() <= 0 or np.abs(axes.T @ axes - np.eye(3)).max() > 1e-3:
        raise InputError(f"{path}: the ROI needs a size above 0 and an orthonormal orientation, not {size_mm.tolist()}")
    box, note = roi_box(center * to_ras, to_ras[:, None] * axes, size_mm, geometry)
    return box, " ".join(filter(None, (note, ignored)))


def read_points(path: str | os.PathLike[str], geometry: Geometry) -> tuple[NDArray[np.int64], str]:
    """Voxels that hold the points of a point list.

    Returns
    -------
    indices_kji, note : (N, 3); the note says that points without a position were left out; otherwise it is empty.

    Raises
    ------
    InputError : no such file, not JSON, not exactly one point list, no point, or one outside the image.
    """
    points_ras, note = _positions(Path(path), "Fiducial")
    if not len(points_ras):
        raise InputError(f"{path} holds no point with a position")
    indices = np.floor(ras_to_kji(points_ras, geometry) + 0.5)
    outside = ~((indices >= 0) & (indices < geometry.shape_kji)).all(axis=1)
    if outside.any():
        first = tuple(np.round(points_ras[outside][0], 2).tolist())
        raise InputError(
            f"{path}: {np.count_nonzero(outside)} of {len(outside)} points lie outside the image, the first at {first} "
            "(mm, RAS)"
        )
    return indices.astype(np.int64), note


def read_lasso(path: str | os.PathLike[str], geometry: Geometry) -> tuple[Lasso, str]:
    """A closed curve as a lasso.

    The file contains only the control points: they are joined as Slicer does unless told otherwise, by a cubic spline
    over their numbers (``vtkCardinalSpline``).

    Returns
    -------
    lasso, note : the note says in sentences which points were left out, and that straight lines were taken because the
        spline crosses itself, as it may through few and uneven points; it is empty otherwise.

    Raises
    ------
    InputError : no such file, not JSON, not exactly one closed curve, or points from which ``Lasso.through`` cannot
        make a lasso.
    """
    points_ras, note = _positions(Path(path), "ClosedCurve")
    try:
        lasso = Lasso.through(ras_to_kji(points_ras, geometry))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    smooth = _spline(lasso.outline)
    if crossing_of(smooth) is None:
        return replace(lasso, outline=smooth), note
    straight = "The curve through the points crosses itself; they are joined by straight lines."
    return lasso, " ".join(filter(None, (note, straight)))


def _spline(outline: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sides of a smooth closed curve through points (N, 2): one a voxel, at most ten from a point to the next."""
    closed = np.concatenate([outline, outline[:1]])
    lengths = np.linalg.norm(np.diff(closed, axis=0), axis=1)
    counts = np.clip(np.ceil(lengths), 1, _SIDES_A_SEGMENT).astype(int)
    parameters = np.concatenate([start + np.arange(count) / count for start, count in enumerate(counts)])
    return CubicSpline(np.arange(len(closed)), closed, bc_type="periodic")(parameters)


def _positions(path: Path, kind: str) -> tuple[NDArray[np.float64], str]:
    """Control points (N, 3) in RAS mm, and a note on those that have no position."""
    markup, to_ras = _the_markup(path, kind)
    points = markup.get("controlPoints")
    if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
        raise InputError(f"{path}: the {kind}'s controlPoints must be a list of points, not {str(points)[:80]}")
    placed = [point for point in points if point.get("positionStatus", "defined") == "defined"]
    rows = [_numbers(point, "position", 3, f"{path}: point {point.get('label', '')!r}'s") for point in placed]
    missing = len(points) - len(placed)
    note = f"{missing} of {len(points)} points of {path.name} have no position and are left out." if missing else ""
    return np.reshape(rows, (-1, 3)) * to_ras, note


def _the_markup(path: Path, kind: str) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """The file's only markup of this kind, and the signs (3,) that take its coordinates to RAS."""
    try:
        # of bytes, json finds out which of the encodings of Unicode they are
        content = markups_of_table(path) if is_table(path) else json.loads(path.read_bytes())
        markups = [markup for markup in content["markups"] if markup["type"] == kind]
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path} is not a Slicer markups file ({type(error).__name__}: {error})") from error
    if len(markups) != 1:
        raise InputError(f"{path} must hold exactly one {kind}, not {len(markups)}")
    frame, units = markups[0].get("coordinateSystem", "LPS"), markups[0].get("coordinateUnits", "mm")
    each = units if isinstance(units, list) else [units]  # a code, its scheme and its meaning; or one per axis
    if frame not in ("LPS", "RAS") or each[:1] != ["mm"] or not _OTHER_UNITS.isdisjoint(map(str, each)):
        raise InputError(f"{path}: the {kind} must be in mm in LPS or RAS, not {units} in {frame}")
    return markups[0], np.array([-1.0, -1.0, 1.0]) if frame == "LPS" else np.ones(3)


def _numbers(holder: dict[str, Any], key: str, count: int, whose: str) -> NDArray[np.float64]:
    try:
        values = np.array(holder[key], dtype=np.float64).ravel()
    except (KeyError, TypeError, ValueError, OverflowError):
        values = np.empty(0)
    if values.size != count or not np.isfinite(values).all():
        raise InputError(f"{whose} {key} must be {count} numbers, not {holder.get(key)!r}")
    return values
