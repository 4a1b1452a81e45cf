"""Slicer's Segment Editor, on the same segmentation, volume and segment."""

from __future__ import annotations

from typing import ClassVar

import slicer
import vtk
from slicer.i18n import tr as _

from InteractiveSegUI.actions.tools import Tools
from InteractiveSegUI.controller import Controller
from InteractiveSegUI.sections.section import Section


class EditorSection(Section):
    """The editor gets its nodes only while the section is expanded, since it reads every voxel of a new volume."""

    ui_file: ClassVar[str] = "Editor.ui"

    def __init__(self, controller: Controller, tools: Tools) -> None:
        super().__init__(controller)
        self._editor = self.ui.segmentEditor
        self._editor.setMRMLSegmentEditorNode(
            controller.editor_node
        )  # before the scene, which stores its defaults in it
        self._editor.setMRMLScene(slicer.mrmlScene)
        self._editor.setMaximumNumberOfUndoStates(0)  # the module's own Undo covers what is drawn here, too
        self._hide_second_list()
        self._tools = tools
        self._observed: tuple[slicer.vtkMRMLSegmentEditorNode, int] | None = None
        self._updating = False
        self.ui.editorButton.connect("contentsCollapsed(bool)", self._on_collapsed)

    def bind(self) -> None:
        super().bind()
        node = self.controller.editor_node
        self._editor.setMRMLSegmentEditorNode(node)
        self._observed = node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._on_editor())

    def unbind(self) -> None:
        """Called when the scene closes: an editor that has painted must release its segmentation."""
        super().unbind()
        if self._observed is not None:
            node, tag = self._observed
            node.RemoveObserver(tag)
            self._observed = None
        self._release()

    def update(self) -> None:
        parameters, editor = self.controller.parameters, self._editor
        if self.ui.editorButton.collapsed:
            return
        self._updating = True
        if editor.segmentationNode() is not parameters.segmentation:
            editor.setSegmentationNode(parameters.segmentation)
        if editor.sourceVolumeNode() is not parameters.volume and parameters.segmentation is not None:
            editor.setSourceVolumeNode(parameters.volume)
        if parameters.segment and editor.currentSegmentID() != parameters.segment:
            editor.setCurrentSegmentID(parameters.segment)
        self._updating = False

    def edit(self) -> None:
        """Unfold it with its brush on the segment that is worked on."""
        self._tools.stop()
        self.ui.editorButton.collapsed = False
        self.update()
        self._editor.setActiveEffectByName("Paint")
        name = self.controller.workspace.name_of(self.controller.parameters.segment)
        self.controller.say(_("The brush of the Segment Editor, below, now paints {name}.").format(name=name))

    def put_away(self) -> None:
        """Deactivate the effect for another tool."""
        self._editor.setActiveEffect(None)

    def enter(self) -> None:
        if not self.ui.editorButton.collapsed:
            self._editor.setupViewObservations()

    def leave(self) -> None:
        self._editor.setActiveEffect(None)
        self._editor.removeViewObservations()

    def close(self) -> None:
        self._editor.setMRMLScene(None)

    def _on_editor(self) -> None:
        """If an effect was activated, deactivate the scribble brushes, since both would paint; if another segment was
        chosen, make it the current one.
        """
        if self._updating or self._observed is None:
            return
        node, parameters = self._observed[0], self.controller.parameters
        if node.GetActiveEffectName() and self._tools.current is not None:
            self._tools.stop()
        chosen = node.GetSelectedSegmentID() or ""
        same_segmentation = node.GetSegmentationNode() is parameters.segmentation
        if same_segmentation and chosen != parameters.segment and self.controller.workspace.exists(chosen):
            parameters.segment = chosen

    def _on_collapsed(self, collapsed: bool) -> None:
        if collapsed:
            self._release()
        else:
            with self.controller.errors_shown():
                self.update()
                self._editor.setupViewObservations()

    def _release(self) -> None:
        self._updating = True
        self._editor.setActiveEffect(None)
        self._editor.setSegmentationNode(None)
        self._editor.removeViewObservations()
        self._updating = False

    def _hide_second_list(self) -> None:
        """Hide the editor's list of segments; the panel has its own."""
        for table in slicer.util.findChildren(self._editor, name="SegmentsTableView"):
            table.visible = False
