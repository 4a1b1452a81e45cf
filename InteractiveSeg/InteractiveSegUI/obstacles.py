"""Why a button is disabled, in sentences for its tool tip."""

from __future__ import annotations

from collections.abc import Callable

from slicer.i18n import tr as _

from InteractiveSegUI.scene.recorder import Recorder
from InteractiveSegUI.scene.segment_io import labels_of
from InteractiveSegUI.scene.start_masks import is_denied
from InteractiveSegUI.scene.workspace import MARKS, Workspace, box_key, start_key


class Obstacles:
    """Each is a sentence on what is missing, empty if nothing is.

    Parameters
    ----------
    is_working : whether a result is pending
    """

    def __init__(self, workspace: Workspace, recorder: Recorder, is_working: Callable[[], bool]) -> None:
        self._workspace, self._recorder, self._is_working = workspace, recorder, is_working

    @property
    def no_volume(self) -> str:
        return "" if self._workspace.parameters.volume is not None else _("Choose a volume first.")

    @property
    def no_segment(self) -> str:
        """No volume or no current object."""
        parameters = self._workspace.parameters
        if self.no_volume or self._workspace.exists(parameters.segment):
            return self.no_volume
        return _("Add an object first.")

    @property
    def is_busy(self) -> str:
        return _("Wait for the result, or press Cancel.") if self._is_working() else ""

    @property
    def no_prompts(self) -> str:
        """There are no prompts for the objects to be segmented."""
        has_prompts = self.has_prompts(self._workspace.parameters.segment)
        return "" if has_prompts else _("Place a box or mark the object first.")

    def has_prompts(self, segment_id: str) -> bool:
        """Whether a segment has prompts, or any segment if all are computed together."""
        parameters, known = self._workspace.parameters, self._recorder.known
        labels = labels_of(parameters.segmentation) if parameters.segmentation is not None else {}
        ids = list(labels) if parameters.every_segment else [segment_id]
        marks = known(MARKS)
        marked = set(marks.drawn.labels.tolist()) | set(marks.edited.labels.tolist()) if marks is not None else set()

        def is_corrected(each: str) -> bool:
            start = known(start_key(each))
            return start is not None and marks is not None and is_denied(start, labels.get(each, 0), marks.all)

        return any(known(box_key(each)) is not None or labels.get(each) in marked or is_corrected(each) for each in ids)
