"""Point and lasso: a click marks one voxel, a curve drawn round the object marks its middle and its surroundings."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import slicer
from numpy.typing import NDArray
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import ras_to_kji
from InteractiveSegLib.prompts.lasso import Lasso, area, largest_loop
from InteractiveSegLib.prompts.scribbles import BACKGROUND, Scribbles
from InteractiveSegUI.controller import Controller
from InteractiveSegUI.scene.history import StepKind
from InteractiveSegUI.scene.prompt_nodes import Marks
from InteractiveSegUI.scene.segment_io import label_of
from InteractiveSegUI.scene.slice_views import place_shown
from InteractiveSegUI.scene.view_mouse import ViewMouse
from InteractiveSegUI.scene.workspace import MARKS

_TAIL = 0.05  # share of a lasso's area; smaller loops arise where its ends overlap


class Pointing(VTKObservationMixin):
    """One of the two tools at a time.

    tool : the active tool, None if there is none. Slicer ends it when something is placed in the views
    on_start : called before a tool becomes active
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self._mouse = ViewMouse(self._on_path)
        self._is_background = False
        self.tool: Literal["point", "lasso"] | None = None
        self.on_start = []

    def start(self, tool: Literal["point", "lasso"], background: bool) -> None:
        """Let clicks or curves in the slice views mark the current segment.

        background : clicks mark background instead

        Raises
        ------
        InputError : no volume, segmentation or segment is chosen; as ``Workspace.geometry``.
        """
        controller, workspace = self._controller, self._controller.workspace
        workspace.geometry()
        workspace.scribble_segment(background)
        controller.recorder.watch_scribbles()
        self.stop()
        for prepare in self.on_start:
            prepare()
        interaction = slicer.app.applicationLogic().GetInteractionNode()
        if interaction.GetCurrentInteractionMode() != interaction.ViewTransform:
            interaction.SetCurrentInteractionMode(interaction.ViewTransform)
        self.addObserver(interaction, "ModifiedEvent", self._on_mode)
        self._mouse.take()
        self.tool, self._is_background = tool, background
        controller.changed()

    def stop(self) -> None:
        """Deactivate the tool."""
        if self.tool is not None:
            self.tool = None
            self.removeObservers()
            self._mouse.give_back()
            self._controller.changed()

    def _on_mode(self, interaction: Any, _event: str) -> None:
        if interaction.GetCurrentInteractionMode() != interaction.ViewTransform:
            self.stop()

    def _on_path(self, view: slicer.vtkMRMLSliceNode, points_ras: NDArray[np.float64]) -> None:
        with self._controller.errors_shown():
            points_kji = ras_to_kji(points_ras, self._controller.workspace.geometry())
            if self.tool == "point":
                self._mark_point(points_kji[0])
            else:
                self._mark_lasso(view, points_kji)

    def _mark_point(self, point_kji: NDArray[np.float64]) -> None:
        controller, workspace = self._controller, self._controller.workspace
        voxel = np.floor(point_kji + 0.5).astype(int)[None]
        if not BoundingBox.whole(workspace.geometry().shape_kji).contains(voxel).all():
            controller.say(_("The click was outside the image and marked nothing."))
            return
        label = BACKGROUND if self._is_background else self._label
        marked = Scribbles(voxel, np.array([label]))
        controller.change(StepKind.SCRIBBLE, _("Point"), {MARKS: self._marks().with_drawn(marked)})

    def _mark_lasso(self, view: slicer.vtkMRMLSliceNode, points_kji: NDArray[np.float64]) -> None:
        """InputError if the view shows no slice of the volume."""
        controller, geometry = self._controller, self._controller.workspace.geometry()
        axis, index = place_shown(view, geometry)
        outline, left_out = largest_loop(np.delete(points_kji, axis, axis=1))
        if len(outline) < 3:
            controller.say(_("Draw round the object with the mouse button held down."))
            return
        try:
            marks, extent, note = Lasso(axis, index, outline).marks(self._label, geometry)
        except InputError:  # it names array indices, which a view does not show
            controller.say(_("The lasso contains no voxel of the image and marked nothing."))
            return
        notes = [note] if note else []
        if left_out > _TAIL * area(outline):
            notes.append(_("The lasso crosses itself; only its largest loop is used"))
        state = {MARKS: self._marks().with_lasso(self._label, marks, extent)}
        controller.change(StepKind.SCRIBBLE, _("Lasso"), state, tuple(notes))

    @property
    def _label(self) -> int:
        workspace = self._controller.workspace
        return label_of(workspace.segmentation_node, workspace.segment_id)

    def _marks(self) -> Marks:
        """All marks so far."""
        self._controller.recorder.flush()
        return self._controller.workspace.marks()
