"""Scribbles: the Segment Editor's own brush in a hidden widget, painting into a segmentation of marks."""

from __future__ import annotations

from typing import Literal

import slicer
import vtk

from InteractiveSegUI.controller import Controller, singleton

Brush = Literal["object", "background", "erase"]


class Scribbling:
    """One brush at a time.

    brush : the active brush, None if there is none. Slicer ends it when something else is placed in the views
    on_start : called before a brush becomes active, since two active brushes would both paint
    """

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._editor = slicer.qMRMLSegmentEditorWidget()
        self._editor.setMRMLSegmentEditorNode(_editor_node())
        self._editor.setMRMLScene(slicer.mrmlScene)
        self._editor.setMaximumNumberOfUndoStates(0)
        self.brush: Brush | None = None
        self.on_start = []
        self._observed: tuple[slicer.vtkMRMLSegmentEditorNode, int] | None = None

    def start(self, brush: Brush) -> None:
        """Let strokes in the slice views mark the current segment or background, or erase marks.

        Raises
        ------
        InputError : no volume, segmentation or segment is chosen.
        """
        controller, workspace = self._controller, self._controller.workspace
        workspace.geometry()
        controller.recorder.flush()  # record the marks so far before there are new ones
        segment_id = workspace.scribble_segment(background=brush == "background")
        node = workspace.required_scribbles()
        controller.recorder.watch_scribbles()
        for prepare in self.on_start:
            prepare()
        self._observe(None)
        editor = _editor_node()
        self._editor.setMRMLSegmentEditorNode(editor)
        self._editor.setSegmentationNode(node)
        self._editor.setCurrentSegmentID(segment_id)
        self._editor.setActiveEffectByName("Erase" if brush == "erase" else "Paint")
        self._editor.setupViewObservations()
        self.brush = brush
        self._observe(editor)
        self.update_brush()
        controller.changed()

    def stop(self) -> None:
        """Deactivate the brush."""
        if self.brush is not None:
            self._put_away()
            self._editor.setActiveEffect(None)
            self._editor.removeViewObservations()
            self._controller.changed()

    def release(self) -> None:
        """Called when the scene closes: an editor that has painted must release its segmentation."""
        self._put_away()
        self._editor.setActiveEffect(None)
        self._editor.setSegmentationNode(None)
        self._editor.removeViewObservations()

    def update_brush(self) -> None:
        """Set size and shape of the brush from the parameters."""
        effect = self._editor.activeEffect()
        if effect is None:
            return
        parameters = self._controller.parameters
        effect.setCommonParameter("BrushDiameterIsRelative", 1)
        effect.setCommonParameter("BrushRelativeDiameter", parameters.brush_percent)
        effect.setCommonParameter("BrushSphere", int(parameters.sphere_brush))
        if self.brush == "erase":
            effect.setParameter("EraseAllSegments", 1)

    def close(self) -> None:
        self.release()
        self._editor.setMRMLScene(None)

    def _put_away(self) -> None:
        self.brush = None
        self._observe(None)

    def _observe(self, node: slicer.vtkMRMLSegmentEditorNode | None) -> None:
        if self._observed is not None:
            self._observed[0].RemoveObserver(self._observed[1])
        tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._on_editor()) if node is not None else 0
        self._observed = (node, tag) if node is not None else None

    def _on_editor(self) -> None:
        """Slicer ends the effect of every Segment Editor when a place mode begins."""
        if self._observed is not None and not self._observed[0].GetActiveEffectName():
            self.stop()


def _editor_node() -> slicer.vtkMRMLSegmentEditorNode:
    """Editor node of the brushes only: a later mark replaces an earlier one, and masking is off."""
    node = singleton("InteractiveSegScribbles", "vtkMRMLSegmentEditorNode")
    node.SetOverwriteMode(node.OverwriteAllSegments)
    return node
