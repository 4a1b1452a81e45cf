"""Slice views and the slices of a volume: which slice a view shows, and how to show a slice in a view."""

from __future__ import annotations

import itertools

import numpy as np
import slicer
from numpy.typing import NDArray
from slicer.util import VTKObservationMixin

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geometry import Geometry, kji_to_ras, ras_to_kji
from InteractiveSegLib.notes.slice_names import ByIndex, Place

_OFF_SLICE_VOXELS = 1.0  # maximum tilt of the plane shown, from one end of the volume to the other
_USUAL_VIEW = "Red"


class WorkingView(VTKObservationMixin):
    """The slice view that the mouse was in last."""

    def __init__(self) -> None:
        super().__init__()
        self._last_id = ""

    def watch(self) -> None:
        """Follow the mouse; call it again when the scene has a new crosshair node."""
        self.removeObservers()
        crosshair = _crosshair()
        if crosshair is not None:
            self.addObserver(crosshair, crosshair.CursorPositionModifiedEvent, lambda *_: self._look())

    def unwatch(self) -> None:
        self.removeObservers()

    @property
    def node(self) -> slicer.vtkMRMLSliceNode:
        """The view's node. InputError if there is no slice view."""
        self._look()
        shown = shown_views()
        if not shown:
            raise InputError("no slice view is shown: choose a layout with slice views")
        last = [view for view in shown if view.GetID() == self._last_id]
        usual = [view for view in shown if view.GetName() == _USUAL_VIEW]
        return (last or usual or shown)[0]

    def _look(self) -> None:
        crosshair = _crosshair()
        view = crosshair.GetCursorPositionXYZ([0.0, 0.0, 0.0]) if crosshair is not None else None
        if view is not None:
            self._last_id = view.GetID()


def shown_views() -> list[slicer.vtkMRMLSliceNode]:
    """The slice views of the current layout."""
    return [view for view in slicer.util.getNodesByClass("vtkMRMLSliceNode") if view.IsMappedInLayout()]


def axis_across(view: slicer.vtkMRMLSliceNode, geometry: Geometry) -> int:
    """The voxel axis, 0 to 2 of kji, that is closest to a view's line of sight."""
    return int(_cosines(view, geometry).argmax())


def index_shown(view: slicer.vtkMRMLSliceNode, geometry: Geometry, axis: int) -> int:
    """Index along an axis of the slice in the middle of a view; it may be outside the volume."""
    return round(ras_to_kji(_to_ras(view)[:3, 3][None], geometry)[0, axis])


def place_shown(view: slicer.vtkMRMLSliceNode, geometry: Geometry) -> Place:
    """The slice of the volume that a view shows.

    Raises
    ------
    InputError : the view cuts across several slices, or shows none.
    """
    axis = axis_across(view, geometry)
    off = _voxels_off(view, geometry, axis)
    if off > _OFF_SLICE_VOXELS:
        raise InputError(
            f"the view {view.GetName()} cuts across {off:.0f} slices of the volume: press Align views, "
            "so that it shows one"
        )
    index = index_shown(view, geometry, axis)
    if not 0 <= index < geometry.shape_kji[axis]:
        raise InputError(f"the view {view.GetName()} shows no slice of the volume: scroll to it")
    return axis, index


def align(view: slicer.vtkMRMLSliceNode, geometry: Geometry, axis: int) -> None:
    """Rotate a view as little as possible, so that it looks along a voxel axis with its sides along the others."""
    units = {2 - column: geometry.ijk_to_ras[:3, column] for column in range(3)}
    units = {each: vector / np.linalg.norm(vector) for each, vector in units.items()}
    first, second = (each for each in range(3) if each != axis)
    turned = _to_ras(view).copy()
    right, up = turned[:3, 0].copy(), turned[:3, 1].copy()
    if abs(right @ units[second]) < abs(right @ units[first]):
        first, second = second, first
    right = _towards(units[second], right)
    along = units[first] - (units[first] @ right) * right
    turned[:3, 0], turned[:3, 1] = right, _towards(along / np.linalg.norm(along), up)
    normal = np.cross(turned[:3, 0], turned[:3, 1])
    turned[:3, 2] = _towards(normal, _to_ras(view)[:3, 2])
    view.GetSliceToRAS().DeepCopy(slicer.util.vtkMatrixFromArray(turned))
    view.UpdateMatrices()


def show_place(place: Place, geometry: Geometry) -> slicer.vtkMRMLSliceNode:
    """Show a slice in the view that looks along its axis most closely; the view is aligned if necessary.

    Raises
    ------
    InputError : no slice view is shown, or the volume has no such slice.
    """
    axis, index = place
    if not 0 <= index < geometry.shape_kji[axis]:
        raise InputError(f"{ByIndex().one(place)} does not exist: the image has 0 to {geometry.shape_kji[axis] - 1}")
    views = shown_views()
    if not views:
        raise InputError("no slice view is shown: choose a layout with slice views")
    view = max(views, key=lambda view: _cosines(view, geometry)[axis])
    if axis_across(view, geometry) != axis or _voxels_off(view, geometry, axis) > _OFF_SLICE_VOXELS:
        align(view, geometry, axis)
    middle = ras_to_kji(_to_ras(view)[:3, 3][None], geometry)[0]
    middle[axis] = index
    view.JumpSliceByOffsetting(*kji_to_ras(middle[None], geometry)[0])
    return view


def align_views(geometry: Geometry) -> None:
    """Align every view in the layout with a voxel axis: the first three with one each, rotated as little as possible,
    and others with the axis that they look along most closely. A layout may have none.
    """
    views = shown_views()
    if not views:
        return
    cosines = np.array([_cosines(view, geometry) for view in views])
    first = range(min(3, len(views)))
    own = max(itertools.permutations(range(3), len(first)), key=lambda axes: cosines[first, axes].sum())
    for number, view in enumerate(views):
        align(view, geometry, own[number] if number < 3 else int(cosines[number].argmax()))


def _cosines(view: slicer.vtkMRMLSliceNode, geometry: Geometry) -> NDArray[np.float64]:
    """(3,) cosines of the angles between a view's line of sight and the voxel axes k, j, i, 0 to 1."""
    axes = geometry.ijk_to_ras[:3, :3]
    return np.abs(_to_ras(view)[:3, 2] @ (axes / np.linalg.norm(axes, axis=0)))[::-1]


def _voxels_off(view: slicer.vtkMRMLSliceNode, geometry: Geometry, axis: int) -> float:
    """How many slices a view's plane crosses within the volume, minus one."""
    to_ras = _to_ras(view)
    size_mm = np.linalg.norm(np.array(geometry.shape_kji) * geometry.spacing_kji_mm)
    reach = size_mm / 2 * np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    ends = to_ras[:3, 3] + reach @ to_ras[:3, :2].T
    return float(np.ptp(ras_to_kji(ends, geometry)[:, axis]))


def _towards(direction: NDArray[np.float64], before: NDArray[np.float64]) -> NDArray[np.float64]:
    return direction if direction @ before >= 0 else -direction


def _to_ras(view: slicer.vtkMRMLSliceNode) -> NDArray[np.float64]:
    return slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())


def _crosshair() -> slicer.vtkMRMLCrosshairNode | None:
    return slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
