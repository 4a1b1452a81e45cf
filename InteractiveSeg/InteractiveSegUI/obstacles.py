"""Why a button cannot be pressed, in sentences for its tool tip."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slicer.i18n import tr as _

from InteractiveSegUI.segment_io import labels_of
from InteractiveSegUI.workspace import MARKS, box_key

if TYPE_CHECKING:
    from InteractiveSegUI.controller import Controller


class Obstacles:
    """Each is a sentence on what is missing, and empty where nothing is."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    @property
    def no_volume(self) -> str:
        return "" if self._controller.parameters.volume is not None else _("Choose a volume first.")

    @property
    def no_segment(self) -> str:
        """No volume, or no object that is worked on."""
        parameters = self._controller.parameters
        if self.no_volume or self._controller.workspace.exists(parameters.segment):
            return self.no_volume
        return _("Add an object first.")

    @property
    def is_busy(self) -> str:
        return _("Wait for the result, or press Cancel.") if self._controller.is_busy else ""

    @property
    def no_prompts(self) -> str:
        """Nothing was drawn for what is to be segmented."""
        parameters, known = self._controller.parameters, self._controller.recorder.known
        labels = labels_of(parameters.segmentation) if parameters.segmentation is not None else {}
        ids = list(labels) if parameters.every_segment else [parameters.segment]
        marks = known(MARKS)
        marked = set(marks.drawn.labels.tolist()) | set(marks.edited.labels.tolist()) if marks is not None else set()
        if any(known(box_key(each)) is not None or labels.get(each) in marked for each in ids):
            return ""
        return _("Place a box or mark the object first.")
