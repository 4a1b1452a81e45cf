"""Scribbles: the Segment Editor's own brush, painting into a segmentation of marks by a widget that is never shown."""

from __future__ import annotations

from typing import Literal

import slicer

from InteractiveSegUI.controller import Controller, singleton

Tool = Literal["foreground", "background", "erase"]


class Scribbling:
    """One tool at a time.

    on_start : called before one becomes active: of two active brushes both would paint
    """

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._editor = slicer.qMRMLSegmentEditorWidget()
        self._editor.setMRMLSegmentEditorNode(_editor_node())
        self._editor.setMRMLScene(slicer.mrmlScene)
        self._editor.setMaximumNumberOfUndoStates(0)
        self.tool: Tool | None = None
        self.on_start = []

    def start(self, tool: Tool) -> None:
        """Have strokes in the slice views mark the segment that is worked on, or background, or erase marks.

        Raises
        ------
        InputError : no volume, segmentation or segment is chosen.
        """
        controller, workspace = self._controller, self._controller.workspace
        workspace.geometry()
        controller.recorder.flush()  # the marks so far are known before there are others
        segment_id = workspace.scribble_segment(background=tool == "background")
        node = workspace.required_scribbles()
        controller.recorder.watch_scribbles()
        for prepare in self.on_start:
            prepare()
        self._editor.setMRMLSegmentEditorNode(_editor_node())
        self._editor.setSegmentationNode(node)
        self._editor.setSourceVolumeNode(workspace.volume_node)
        self._editor.setCurrentSegmentID(segment_id)
        self._editor.setActiveEffectByName("Erase" if tool == "erase" else "Paint")
        self._editor.setupViewObservations()
        self.tool = tool
        self.update_brush()
        controller.changed()

    def stop(self) -> None:
        """Give the mouse back."""
        if self.tool is not None:
            self.tool = None
            self._editor.setActiveEffect(None)
            self._editor.removeViewObservations()
            self._controller.changed()

    def update_brush(self) -> None:
        """Take over size and shape of the brush from the parameters."""
        effect = self._editor.activeEffect()
        if effect is None:
            return
        parameters = self._controller.parameters
        effect.setCommonParameter("BrushDiameterIsRelative", 1)
        effect.setCommonParameter("BrushRelativeDiameter", parameters.brush_percent)
        effect.setCommonParameter("BrushSphere", int(parameters.sphere_brush))
        if self.tool == "erase":
            effect.setParameter("EraseAllSegments", 1)

    def close(self) -> None:
        self.stop()
        self._editor.setMRMLScene(None)


def _editor_node() -> slicer.vtkMRMLSegmentEditorNode:
    """Of the brushes alone: a later mark replaces an earlier one, and no mask keeps it away."""
    node = singleton("InteractiveSegScribbles", "vtkMRMLSegmentEditorNode")
    node.SetOverwriteMode(node.OverwriteAllSegments)
    return node
