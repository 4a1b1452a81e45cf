"""Volume, segmentation and the list of segments."""

from __future__ import annotations

from typing import ClassVar

import slicer

from InteractiveSegUI.controller import Controller
from InteractiveSegUI.prompt_nodes import Marks
from InteractiveSegUI.sections.section import Section
from InteractiveSegUI.segment_io import label_of
from InteractiveSegUI.workspace import MARKS, SLICES, box_key


class ImageSection(Section):
    ui_file: ClassVar[str] = "Image.ui"

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        for selector in (self.ui.volumeSelector, self.ui.segmentationSelector):
            selector.setMRMLScene(slicer.mrmlScene)
        self.ui.segmentsTable.connect("selectionChanged(QItemSelection,QItemSelection)", self._on_selection)
        self.on_click(self.ui.newSegmentationButton, self._new_segmentation)
        self.on_click(self.ui.addSegmentButton, self._add_segment, "N")
        self.on_click(self.ui.removeSegmentButton, self._remove_segment)

    def update(self) -> None:
        parameters = self.controller.parameters
        table = self.ui.segmentsTable
        if table.segmentationNode() is not parameters.segmentation:
            table.setSegmentationNode(parameters.segmentation)
        has_volume = parameters.volume is not None
        self.ui.newSegmentationButton.enabled = has_volume
        self.ui.addSegmentButton.enabled = has_volume
        self.ui.removeSegmentButton.enabled = self._has_segment()
        if self._has_segment():
            table.setSelectedSegmentIDs([parameters.segment])

    def _has_segment(self) -> bool:
        parameters = self.controller.parameters
        return parameters.segmentation is not None and self.controller.workspace.exists(parameters.segment)

    def _on_selection(self) -> None:
        chosen = self.ui.segmentsTable.selectedSegmentIDs()
        if chosen and chosen[0] != self.controller.parameters.segment:
            self.controller.parameters.segment = chosen[0]

    def _new_segmentation(self) -> None:
        self.controller.workspace.new_segmentation()

    def _add_segment(self) -> None:
        self.controller.workspace.add_segment()

    def _remove_segment(self) -> None:
        """The segment, its box, its scribbles and what slices were marked for it."""
        workspace = self.controller.workspace
        node, segment_id = workspace.segmentation_node, workspace.segment_id
        label = label_of(node, segment_id)
        marks = workspace.marks()
        kept = Marks(*(scribbles.without(label) for scribbles in (marks.drawn, marks.edited)))
        state = {MARKS: kept, box_key(segment_id): None}
        if self.controller.recorder.slices is not None:
            state[SLICES] = self.controller.recorder.slices.without_label(label)
        self.controller.change(f"Remove {workspace.name_of(segment_id)}", state)
        node.GetSegmentation().RemoveSegment(segment_id)
        left = list(node.GetSegmentation().GetSegmentIDs())
        self.controller.parameters.segment = left[0] if left else ""
        self.controller.watch()
