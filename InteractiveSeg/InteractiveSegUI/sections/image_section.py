"""The first step, the volume, the segmentation and the list of objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import slicer
from slicer.i18n import tr as _

from InteractiveSegUI.controller import Controller
from InteractiveSegUI.scene.history import StepKind
from InteractiveSegUI.scene.sample_image import load_sample
from InteractiveSegUI.scene.workspace import box_key, mask_key
from InteractiveSegUI.sections.section import Section


class ImageSection(Section):
    """
    Parameters
    ----------
    is_listed : whether another section lists the objects
    """

    ui_file: ClassVar[str] = "Image.ui"

    def __init__(self, controller: Controller, is_listed: Callable[[], bool]) -> None:
        super().__init__(controller)
        self._is_listed = is_listed
        self._updating = False
        for selector in (self.ui.volumeSelector, self.ui.segmentationSelector):
            selector.setMRMLScene(slicer.mrmlScene)
        self.ui.segmentsTable.connect("selectionChanged(QItemSelection,QItemSelection)", self._on_selection)
        self.on_click(self.ui.sampleButton, load_sample)
        self.on_click(self.ui.loadDataButton, lambda: slicer.app.ioManager().openAddDataDialog())
        self.on_click(self.ui.newSegmentationButton, controller.workspace.new_segmentation)
        self.on_click(self.ui.addSegmentButton, controller.add_segment)
        self.on_click(self.ui.removeSegmentButton, self._remove_segment)
        self.on_click(self.ui.nextObjectButton, self._next_object, "Space")

    def update(self) -> None:
        controller, ui = self.controller, self.ui
        parameters, obstacles = controller.parameters, controller.obstacles
        self._updating = True
        if ui.segmentsTable.segmentationNode() is not parameters.segmentation:
            ui.segmentsTable.setSegmentationNode(parameters.segmentation)
        ui.segmentsTable.visible = not self._is_listed()
        ui.startFrame.visible = parameters.volume is None
        for button in (ui.newSegmentationButton, ui.addSegmentButton, ui.nextObjectButton):
            self.allow(button, obstacles.no_volume)
        self.allow(ui.removeSegmentButton, obstacles.no_segment)
        if not obstacles.no_segment:
            ui.segmentsTable.setSelectedSegmentIDs([parameters.segment])
        self._updating = False

    def _on_selection(self) -> None:
        chosen = self.ui.segmentsTable.selectedSegmentIDs()
        if chosen and not self._updating and chosen[0] != self.controller.parameters.segment:
            self.controller.parameters.segment = chosen[0]

    def _next_object(self) -> None:
        """Choose the next empty object after the current one; add one if there is none."""
        controller, workspace = self.controller, self.controller.workspace
        controller.recorder.flush()
        segmentation = controller.parameters.segmentation
        ids = list(segmentation.GetSegmentation().GetSegmentIDs()) if segmentation is not None else []
        chosen = controller.parameters.segment
        after = ids[ids.index(chosen) + 1 :] if chosen in ids else ids
        known = controller.recorder.known
        empty = [each for each in after if known(mask_key(each)) is None and known(box_key(each)) is None]
        if empty:
            controller.parameters.segment = empty[0]
        else:
            controller.add_segment()
        controller.say(_("Next object: {name}.").format(name=workspace.name_of(workspace.segment_id)))

    def _remove_segment(self) -> None:
        """Remove the segment with its box, its scribbles and its marked slices, as one undo step."""
        controller, workspace = self.controller, self.controller.workspace
        controller.recorder.flush()
        segment_id = workspace.segment_id
        name = workspace.name_of(segment_id)
        text = _("Remove {name}").format(name=name)
        controller.change(StepKind.SEGMENT, text, controller.recorder.removal(segment_id))
        controller.say(_("{name} was removed. Undo restores it.").format(name=name))
