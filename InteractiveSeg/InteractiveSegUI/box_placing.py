"""The box of a segment: placed by two clicks in a view, its depth set by numbers or from the slice that is shown."""

from __future__ import annotations

import numpy as np
import slicer
from slicer.i18n import tr as _

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.geometry import Geometry
from InteractiveSegLib.prompts import BoundingBox
from InteractiveSegUI.controller import Controller
from InteractiveSegUI.prompt_nodes import box_pose, is_placed, place_roi
from InteractiveSegUI.slice_views import axis_across, index_shown
from InteractiveSegUI.workspace import box_key

_K_AXIS = 0
_DEPTH_AXIS = "InteractiveSeg.DepthAxis"


class BoxPlacing:
    """The box of the segment that is worked on."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    def place(self) -> None:
        """Have the person click two opposite corners in a slice view; the box there was goes."""
        workspace = self._controller.workspace
        workspace.geometry()
        segment_id = workspace.segment_id
        if workspace.roi(segment_id) is not None:
            self.remove()
        roi = workspace.required_roi(segment_id)
        self._controller.recorder.watch_roi(roi, segment_id)
        roi.AddObserver(roi.PointPositionDefinedEvent, lambda *_: self._on_placed(roi))
        slicer.modules.markups.logic().SetActiveList(roi)
        interaction = slicer.app.applicationLogic().GetInteractionNode()
        interaction.SetPlaceModePersistence(0)
        interaction.SetCurrentInteractionMode(interaction.Place)
        self._controller.say(_("Click two opposite corners of the object in a slice view."))

    def remove(self) -> None:
        """Remove the box; Undo brings it back."""
        workspace = self._controller.workspace
        segment_id = workspace.segment_id
        self._controller.change(f"Remove box of {workspace.name_of(segment_id)}", {box_key(segment_id): None})

    def set_visible(self, visible: bool) -> None:
        """Show or hide the boxes of all segments."""
        workspace = self._controller.workspace
        for segment_id in workspace.segmentation_node.GetSegmentation().GetSegmentIDs():
            roi = workspace.roi(segment_id)
            if roi is not None:
                roi.GetDisplayNode().SetVisibility(visible)

    @property
    def box(self) -> BoundingBox | None:
        """Of the segment that is worked on, as far as it lies in the volume."""
        controller = self._controller
        if controller.parameters.volume is None or controller.parameters.segmentation is None:
            return None
        if not controller.workspace.exists(controller.parameters.segment):
            return None
        found = controller.workspace.box(controller.workspace.segment_id)
        return found[0].clipped(controller.workspace.geometry().shape_kji) if found else None

    @property
    def depth_axis(self) -> int:
        """0, 1 or 2 (k, j, i): across the slice in which the box was drawn."""
        roi = self._controller.workspace.roi(self._controller.workspace.segment_id)
        return int((roi.GetAttribute(_DEPTH_AXIS) if roi is not None else None) or _K_AXIS)

    def set_depth(self, first: int, last: int) -> None:
        """Let the box reach from one slice to another, both included, across the slice it was drawn in."""
        workspace, axis = self._controller.workspace, self.depth_axis
        segment_id = workspace.segment_id
        box = self._required_box()
        low, high = sorted((first, last))
        depth = workspace.geometry().shape_kji[axis]
        start, stop = list(box.start_kji), list(box.stop_kji)
        start[axis], stop[axis] = max(0, low), min(depth, high + 1)
        if (start[axis], stop[axis]) == (box.start_kji[axis], box.stop_kji[axis]):
            return
        pose = box_pose(workspace.roi(segment_id), BoundingBox(start, stop), workspace.geometry())
        self._controller.change(f"Depth of {workspace.name_of(segment_id)}", {box_key(segment_id): pose})

    def first_is_shown(self) -> None:
        """The slice that is shown is the first of the object."""
        axis, box = self.depth_axis, self._required_box()
        shown = self._shown_slice(axis)
        self.set_depth(shown, max(shown, box.stop_kji[axis] - 1))

    def last_is_shown(self) -> None:
        """The slice that is shown is the last of the object."""
        axis, box = self.depth_axis, self._required_box()
        shown = self._shown_slice(axis)
        self.set_depth(min(shown, box.start_kji[axis]), shown)

    def _required_box(self) -> BoundingBox:
        box = self.box
        if box is None:
            raise InputError("place a box first")
        return box

    def _shown_slice(self, axis: int) -> int:
        """Index along an axis of the slice shown in the view that looks along it."""
        geometry = self._controller.workspace.geometry()
        for view in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
            if axis_across(view, geometry) == axis:
                return int(np.clip(index_shown(view, geometry, axis), 0, geometry.shape_kji[axis] - 1))
        raise InputError("no slice view looks along the depth of the box")

    def _on_placed(self, roi: slicer.vtkMRMLMarkupsROINode) -> None:
        """Two clicks make a cube, which often leaves the volume: cut it, and lay it along the voxels."""
        if not is_placed(roi) or roi.GetAttribute(_DEPTH_AXIS):
            return
        workspace = self._controller.workspace
        with self._controller.errors_shown():
            geometry = workspace.geometry()
            roi.SetAttribute(_DEPTH_AXIS, str(self._axis_drawn_across(geometry)))
            found = workspace.box(roi.GetAttribute("InteractiveSeg.Segment"))
            inside = found[0].intersected(geometry.shape_kji)
            place_roi(roi, inside, geometry)
            self._controller.say(_("Set the first and the last slice of the object, then press Segment."))

    @staticmethod
    def _axis_drawn_across(geometry: Geometry) -> int:
        crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        view = crosshair.GetCursorPositionXYZ([0.0, 0.0, 0.0]) if crosshair is not None else None
        return axis_across(view, geometry) if view is not None else _K_AXIS
