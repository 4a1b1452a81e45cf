"""The box of a segment: placed by two clicks in a view, its depth set by number or from the slice shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegUI.controller import Controller
from InteractiveSegUI.processes.jobs import call_later
from InteractiveSegUI.scene.history import StepKind
from InteractiveSegUI.scene.roi_nodes import box_of, box_pose, is_placed, outlined_roi
from InteractiveSegUI.scene.slice_views import axis_across, index_shown
from InteractiveSegUI.scene.workspace import box_key

_K_AXIS = 0


class BoxPlacing(VTKObservationMixin):
    """The box of the current segment.

    It is placed with an ROI that does not belong to a segment yet: the old box stays until both corners are set.
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self._preview: slicer.vtkMRMLMarkupsROINode | None = None
        self._segment_id, self._axis = "", _K_AXIS

    @property
    def is_placing(self) -> bool:
        """Whether the next clicks in a slice view are corners of the box."""
        return self._preview is not None

    def place(self) -> None:
        """Let the user click two opposite corners in a slice view; then replace the old box.

        Raises
        ------
        InputError : no volume, segmentation or segment is chosen.
        """
        controller, workspace = self._controller, self._controller.workspace
        workspace.geometry()
        self._segment_id = workspace.segment_id
        self.cancel()
        self._preview = roi = outlined_roi(workspace.segmentation_node, self._segment_id)
        roi.SetSaveWithScene(False)
        self.addObserver(roi, roi.PointPositionDefinedEvent, self._on_point)
        slicer.modules.markups.logic().SetActiveList(roi)
        interaction = slicer.app.applicationLogic().GetInteractionNode()
        interaction.SetPlaceModePersistence(0)
        interaction.SetCurrentInteractionMode(interaction.Place)
        for node in (interaction, slicer.app.applicationLogic().GetSelectionNode()):
            self.addObserver(node, "ModifiedEvent", self._on_mode)
        controller.say(_("Click two opposite corners of the object in a slice view. Esc keeps the old box."))

    def cancel(self) -> None:
        """Stop placing; the old box stays."""
        roi, self._preview = self._preview, None
        if roi is None:
            return
        self.removeObservers()
        interaction = slicer.app.applicationLogic().GetInteractionNode()
        if self._has_the_mouse(roi):
            interaction.SetCurrentInteractionMode(interaction.ViewTransform)
        if roi.GetScene() is not None:
            slicer.mrmlScene.RemoveNode(roi)
        self._controller.changed()

    def remove(self) -> None:
        """Remove the box; Undo restores it."""
        workspace = self._controller.workspace
        segment_id = workspace.segment_id
        name = _("Remove box of {name}").format(name=workspace.name_of(segment_id))
        self._controller.change(StepKind.BOX, name, {box_key(segment_id): None})

    @property
    def box(self) -> BoundingBox | None:
        """Box of the current segment, clipped to the volume."""
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
        pose = self._controller.workspace.value(box_key(self._controller.workspace.segment_id))
        return pose.depth_axis if pose is not None else _K_AXIS

    def set_depth(self, first: int, last: int) -> None:
        """Set the first and the last slice of the box (inclusive), counted across the slice it was drawn in."""
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
        name = _("Depth of {name}").format(name=workspace.name_of(segment_id))
        self._controller.change(StepKind.BOX, name, {box_key(segment_id): pose})

    def first_is_shown(self) -> None:
        """Make the slice shown the first of the object."""
        axis, box = self.depth_axis, self._required_box()
        shown = self._shown_slice(axis)
        self.set_depth(shown, max(shown, box.stop_kji[axis] - 1))

    def last_is_shown(self) -> None:
        """Make the slice shown the last of the object."""
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

    def _on_point(self, *_args: Any) -> None:
        """A corner was clicked: the mouse is still in the view that it was clicked in."""
        with self._controller.errors_shown():
            self._axis = self._axis_drawn_across(self._controller.workspace.geometry())
        call_later(0, self._look)

    def _on_mode(self, *_args: Any) -> None:
        call_later(0, self._look)

    def _look(self) -> None:
        """Use the box once it is complete; give it up if the mouse does something else meanwhile."""
        roi = self._preview
        if roi is None:
            return
        if is_placed(roi):
            with self._controller.errors_shown():
                try:
                    self._adopt(roi)
                finally:
                    self.cancel()
        elif not self._has_the_mouse(roi):
            self.cancel()
            self._controller.say(_("No box was placed."))

    def _adopt(self, roi: slicer.vtkMRMLMarkupsROINode) -> None:
        """Two clicks make a cube that often extends beyond the volume: clip it and align it with the voxels."""
        controller, workspace, segment_id = self._controller, self._controller.workspace, self._segment_id
        if not workspace.exists(segment_id):
            return
        geometry = workspace.geometry()
        name = workspace.name_of(segment_id)
        try:
            inside = box_of(roi, geometry)[0].intersected(geometry.shape_kji)
        except InputError as error:
            raise InputError(f"the box of {name} lies outside the volume: click inside the image") from error
        pose = box_pose(workspace.roi(segment_id) or roi, inside, geometry, self._axis)
        controller.change(StepKind.BOX, _("Box of {name}").format(name=name), {box_key(segment_id): pose})
        controller.say(_("Set the first and the last slice of the object."))

    @staticmethod
    def _has_the_mouse(roi: slicer.vtkMRMLMarkupsROINode) -> bool:
        logic = slicer.app.applicationLogic()
        interaction, selection = logic.GetInteractionNode(), logic.GetSelectionNode()
        placing = interaction.GetCurrentInteractionMode() == interaction.Place
        return placing and selection.GetActivePlaceNodeID() == roi.GetID()

    @staticmethod
    def _axis_drawn_across(geometry: Geometry) -> int:
        crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        view = crosshair.GetCursorPositionXYZ([0.0, 0.0, 0.0]) if crosshair is not None else None
        return axis_across(view, geometry) if view is not None else _K_AXIS
