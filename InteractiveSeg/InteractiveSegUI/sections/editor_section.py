"""Slicer's Segment Editor, on the same segmentation and volume."""

from __future__ import annotations

from typing import ClassVar

import slicer
import vtk

from InteractiveSegUI.controller import Controller
from InteractiveSegUI.scribbling import Scribbling
from InteractiveSegUI.sections.section import Section


class EditorSection(Section):
    ui_file: ClassVar[str] = "Editor.ui"

    def __init__(self, controller: Controller, scribbling: Scribbling) -> None:
        super().__init__(controller)
        self._editor = self.ui.segmentEditor
        self._editor.setMRMLSegmentEditorNode(
            controller.editor_node
        )  # before the scene, which stores its defaults in it
        self._editor.setMRMLScene(slicer.mrmlScene)
        self._editor.setMaximumNumberOfUndoStates(10)
        controller.before_write.append(self._editor.saveStateForUndo)
        scribbling.on_start.append(lambda: self._editor.setActiveEffect(None))
        self._scribbling = scribbling
        self._observed: tuple[slicer.vtkMRMLSegmentEditorNode, int] | None = None

    def bind(self) -> None:
        super().bind()
        node = self.controller.editor_node
        self._editor.setMRMLSegmentEditorNode(node)
        self._observed = node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._on_editor())

    def unbind(self) -> None:
        super().unbind()
        if self._observed is not None:
            node, tag = self._observed
            node.RemoveObserver(tag)
            self._observed = None

    def update(self) -> None:
        parameters, editor = self.controller.parameters, self._editor
        if editor.segmentationNode() is not parameters.segmentation:
            editor.setSegmentationNode(parameters.segmentation)
        if editor.sourceVolumeNode() is not parameters.volume and parameters.segmentation is not None:
            editor.setSourceVolumeNode(parameters.volume)
        if parameters.segment and editor.currentSegmentID() != parameters.segment:
            editor.setCurrentSegmentID(parameters.segment)

    def enter(self) -> None:
        self._editor.setupViewObservations()

    def leave(self) -> None:
        self._editor.setActiveEffect(None)
        self._editor.removeViewObservations()

    def _on_editor(self) -> None:
        """A tool of the Segment Editor was taken up: the brushes of the scribbles are put away, or both would paint."""
        if self._observed[0].GetActiveEffectName() and self._scribbling.tool is not None:
            self._scribbling.stop()

    def close(self) -> None:
        self._editor.setMRMLScene(None)
