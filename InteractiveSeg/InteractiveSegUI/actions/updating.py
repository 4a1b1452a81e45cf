"""Update after every stroke: a stroke, point, lasso or box updates the mask without a button."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer
from slicer.i18n import tr as _

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.notes.notes import sentences
from InteractiveSegLib.wording.counting import counted
from InteractiveSegUI.actions.segmenting import Segmenting
from InteractiveSegUI.controller import Controller
from InteractiveSegUI.processes.jobs import call_later
from InteractiveSegUI.scene.history import Step, StepKind, Way
from InteractiveSegUI.scene.workspace import MARKS

_SETTING = "InteractiveSeg/UpdateAfterEveryStroke"
_PAUSE_S = 0.15  # ends a burst of steps; shorter than the pause before the worker is prepared


class Updating:
    """Starts a round without fine-tuning once the user pauses after a step that changed the prompts.

    Undo and redo do not start one, since they restore a mask; neither does painting in the mask itself.

    Parameters
    ----------
    can_compute : whether the packages are installed
    """

    def __init__(self, controller: Controller, segmenting: Segmenting, can_compute: Callable[[], bool]) -> None:
        self._controller, self._segmenting, self._can_compute = controller, segmenting, can_compute
        self._seen: Step | None = None
        controller.listeners.append(self._on_change)

    @property
    def is_wanted(self) -> bool:
        """The user's choice, stored in the application's settings."""
        return slicer.util.settingsValue(_SETTING, True, converter=slicer.util.toBool)

    @is_wanted.setter
    def is_wanted(self, wanted: bool) -> None:
        qt.QSettings().setValue(_SETTING, wanted)
        if wanted:  # the last step gets its update
            self._seen = None
            self._on_change()

    def _on_change(self) -> None:
        last = self._controller.history.last
        if last is None or last[1] is self._seen:
            return
        way, self._seen = last
        if way is not Way.DONE or self._seen.kind not in (StepKind.BOX, StepKind.SCRIBBLE):
            return
        step, segment_id = self._seen, self._segment_of(self._seen)
        if self.is_wanted:
            self._start_later(step, segment_id)
        elif remarks := _remarks(step):
            self._controller.say(sentences(remarks, self._controller.workspace.words()))

    def _segment_of(self, step: Step) -> str:
        """The segment of a step: the owner of its box, otherwise the current segment."""
        return next((key[1] for key in step.after if key[0] == "box"), self._controller.parameters.segment)

    def _start_later(self, step: Step, segment_id: str) -> None:
        def start() -> None:
            with self._controller.errors_shown():
                self._start(step, segment_id)

        call_later(_PAUSE_S, start)

    def _start(self, step: Step, segment_id: str) -> None:
        controller = self._controller
        if controller.history.last != (Way.DONE, step) or controller.is_busy or not self.is_wanted:
            return  # a later step has its own turn; or a button was pressed
        if controller.recorder.is_box_held:
            self._start_later(step, segment_id)
            return
        reason, remarks = self._reason_against(segment_id), _remarks(step)
        if not reason and controller.obstacles.has_prompts(segment_id):
            try:
                self._segmenting.update(step, segment_id, remarks)
                return
            except InputError as error:
                reason = str(error)
        if reason or remarks:
            controller.say(sentences(tuple(filter(None, (reason, *remarks))), controller.workspace.words()))

    def _reason_against(self, segment_id: str) -> str:
        """Why the mask is not updated; empty if nothing prevents it, or if there are no prompts."""
        marks = self._controller.recorder.known(MARKS)
        if not self._controller.obstacles.has_prompts(segment_id):
            marked = marks is not None and len(marks.all) > 0
            return _("Only background is marked so far: mark the object, too") if marked else ""
        if self._segmenting.warning:
            return _("The propagated mask is kept; press Segment to replace it")
        if not self._can_compute():
            return _("Packages needed to compute the mask are missing; press Segment to install them")
        return ""


def _remarks(step: Step) -> tuple[str, ...]:
    """Notes on what was cut off a step, and on the earlier marks it changed."""
    before, after = step.before.get(MARKS), step.after.get(MARKS)
    changed = before.relabelled(after) if before is not None and after is not None else 0
    if not changed:
        return step.notes
    voxels = counted(changed, _("voxel was"), _("voxels were"))
    return (*step.notes, _("{voxels} marked differently before; the latest mark is used").format(voxels=voxels))
