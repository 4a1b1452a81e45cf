"""A study in the panel: the open case, the work on it, and how it is saved in the casebook."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import slicer

from InteractiveSegLib.casebook.case_view import CasebookView, CaseWork, OpenedCase
from InteractiveSegLib.casebook.effort import EDIT, LOOKED, OPENED, REDONE, REVIEWED, ROUND, STROKE, UNDONE, Event
from InteractiveSegLib.casebook.states import State
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.networks import DEFAULT_NETWORK
from InteractiveSegLib.progress import Progress
from InteractiveSegLib.prompts.scribbles import Scribbles
from InteractiveSegLib.wording.counting import counted
from InteractiveSegLib.worker.job import JobCallbacks, JobError
from InteractiveSegLib.worker.requests.casebook_request import CasebookRequest
from InteractiveSegUI.actions.drawn_event import drawn_event
from InteractiveSegUI.actions.session_nodes import KeptSegment, put_session
from InteractiveSegUI.controller import Controller
from InteractiveSegUI.processes.learning_process import PROMPTED, SUSTAINER, LearningProcess
from InteractiveSegUI.scene.history import StepKind, Way
from InteractiveSegUI.scene.segment_io import label_of, labels_of
from InteractiveSegUI.scene.workspace import REVIEW

_LOOK_EVERY_S = 5.0


class CasebookWork:
    """Actions on a casebook. They never block: the worker does what takes time.

    Attributes
    ----------
    folder : of the casebook; None if none is open
    view : its last known state
    opened : the open case; None if none is open
    learning : the learner, in its own process
    on_opened : called when a case was opened and its nodes are in the scene
    on_casebook : called when another casebook was opened
    """

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self.folder: Path | None = None
        self.view: CasebookView | None = None
        self.opened: OpenedCase | None = None
        self.learning = LearningProcess(self._on_learning)
        self.on_opened: list[Callable[[], None]] = []
        self.on_casebook: list[Callable[[], None]] = []
        self._volume: slicer.vtkMRMLScalarVolumeNode | None = None
        self._segmentation: slicer.vtkMRMLSegmentationNode | None = None
        self._events: list[Event] = []
        self._marks = Scribbles.none()
        self._answered: dict[int, PackedMask] = {}
        self._version = 0
        self._busy = False
        controller.listeners.append(self._note_what_happened)

    @property
    def is_busy(self) -> bool:
        """Whether a request is in progress."""
        return self._busy

    @property
    def is_shown(self) -> bool:
        """Whether a case is open, and its volume and its segmentation are the chosen ones."""
        parameters = self._controller.parameters
        its_own = parameters.volume is self._volume and parameters.segmentation is self._segmentation
        return self.opened is not None and its_own

    @property
    def is_gone(self) -> bool:
        """Whether the image or the masks of the open case were removed from the scene."""
        nodes = (self._volume, self._segmentation)
        return self.opened is not None and any(node is None or node.GetScene() is None for node in nodes)

    def open_casebook(self, folder: Path) -> None:
        """Show another casebook. Work on the open case is saved first."""
        self._with_work_kept(lambda: self._submit("look", self._on_casebook, folder=folder))

    def create_casebook(self, folder: Path, organs: str) -> None:
        """Create a casebook, and show it. Work on the open case is saved first.

        organs : their names, separated by commas
        """
        self._with_work_kept(lambda: self._submit("create", self._on_casebook, folder=folder, organs=organs))

    def add_images(self, images: Path) -> None:
        """Add all images of a folder and its subfolders to the casebook."""
        self._submit("add", self._on_view, images=str(images))

    def open_next(self, order: str) -> None:
        """Open the next case. Work on the open case is saved first."""
        left = self.opened.name if self.opened is not None else ""
        self._with_work_kept(lambda: self._submit("next", self._on_opened, order=order, case=left))

    def open_case(self, name: str) -> None:
        """Open a case of the list."""
        self._with_work_kept(lambda: self._submit("open", self._on_opened, case=name))

    def accept(self) -> None:
        """Accept the current masks and learn from them."""
        self._submit("accept", self._on_accepted, work=self._work())

    def skip(self) -> None:
        self._submit("skip", self._on_done, work=self._work())

    def reopen(self, name: str) -> None:
        """Reopen an accepted or skipped case."""
        self._submit("reopen", self._on_view, case=name)

    def roll_back(self) -> None:
        """Go back to the previous version of the network."""
        self._submit("roll back", self._on_view)

    def learn(self) -> None:
        """Learn from the accepted cases, at low priority."""
        ignited = self.view is not None and self.view.is_ignited
        self.learning.start(self._required_folder(), (PROMPTED, SUSTAINER) if ignited else (PROMPTED,))

    def look_again(self) -> None:
        """Another program changed the casebook: show it as it stands."""
        if self.folder is not None and not self._busy:
            self._submit("look", self._on_view_quietly)

    def note_look(self) -> None:
        """Record that the person looks at another slice of the open case, which counts as working time."""
        now = time.time()
        if self.opened is not None and (not self._events or now - self._events[-1].at > _LOOK_EVERY_S):
            self._events.append(Event(LOOKED, now))

    def leave_scene(self) -> None:
        """Called before the scene closes: the work on the open case is saved, as it is before another one is opened."""
        if self.opened is not None and not self.is_gone:
            with suppress(InputError):  # another volume is chosen, or the casebook is busy: the case is released later
                self._submit("leave", self._on_done, work=self._work())

    def leave_window(self) -> None:
        """Called before the window closes, and its scene and its worker with it: the work is saved in this process."""
        if self.opened is not None and not self.is_gone:
            # it reads images, which takes imports that the panel does not need at the start
            from InteractiveSegLib.worker.requests.casebook_actions import leave_at_once

            with self._controller.errors_shown():
                leave_at_once(self._required_folder(), self._work())

    def close(self) -> None:
        """Called when the window closes; the learner resumes the next time."""
        self.folder = None  # otherwise the end of the learner would start a worker that nobody stops
        self.learning.stop()

    def _with_work_kept(self, then: Callable[[], None]) -> None:
        """Save the work on the open case; continue only if that succeeded. Where its nodes are gone, it is released."""
        if self.opened is None:
            then()
            return

        def on_kept(view: CasebookView) -> None:
            self._on_done(view)
            then()

        if self.is_gone:
            self._submit("release", on_kept, case=self.opened.name)
        else:
            self._submit("leave", on_kept, work=self._work())

    def _work(self) -> CaseWork:
        """The work so far. InputError if no case is open or its volume and segmentation are not the selected ones."""
        controller, workspace = self._controller, self._controller.workspace
        if self.opened is None:
            raise InputError("no case is open: press Open next")
        if self.is_gone:
            raise InputError(f"the image or the masks of {self.opened.name} were removed: open the case again")
        if not self.is_shown:
            raise InputError(f"choose the volume and the segmentation of the case {self.opened.name} again")
        controller.recorder.flush()
        self._note_what_happened()
        prompts, _ = workspace.prompts()
        node = workspace.segmentation_node
        masks = {label_of(node, segment_id): mask for segment_id, mask in workspace.masks().items() if mask is not None}
        return CaseWork(
            self.opened.name,
            self.opened.revision,
            prompts,
            masks,
            dict(self._answered),
            tuple(self._events),
            controller.recorder.known(REVIEW),
        )

    def _submit(
        self,
        action: str,
        on_view: Callable[[CasebookView], None],
        work: CaseWork | None = None,
        folder: Path | None = None,
        **more: str,
    ) -> None:
        if self._busy:
            raise InputError("the casebook is busy: try again in a moment")
        place = folder or self._required_folder()
        shape = self._controller.workspace.geometry().shape_kji if work is not None else None
        request = CasebookRequest(str(place), action, work, shape, **more)

        def on_result(view: CasebookView) -> None:
            self._busy = False
            with self._controller.errors_shown():
                is_other = folder is not None and folder != self.folder
                self.folder = folder or self.folder
                self.view = view
                on_view(view)
                for tell in self.on_casebook if is_other else ():
                    tell()

        callbacks = JobCallbacks(
            progress=self._on_progress if action == "add" else None,
            result=on_result,
            error=self._on_error,
            stopped=lambda _how: self._on_stopped(),
        )
        self._busy = True
        self._controller.client.submit(request, callbacks)
        self._controller.changed()

    def _required_folder(self) -> Path:
        if self.folder is None:
            raise InputError("open a casebook first")
        return self.folder

    def _on_casebook(self, view: CasebookView) -> None:
        done = sum(row.state == State.ACCEPTED for row in view.rows)
        self._use(view)
        self._controller.say(
            " ".join([f"{self.folder}: {counted(len(view.rows), 'case', 'cases')}, {done} accepted.", *view.notes])
        )

    def _on_view(self, view: CasebookView) -> None:
        self._use(view)
        self._controller.say(" ".join([view.said, *view.notes]))

    def _on_done(self, view: CasebookView) -> None:
        """Close the open case; its nodes stay in the scene."""
        self._forget_case()
        self._on_view(view)

    def _on_accepted(self, view: CasebookView) -> None:
        self._on_done(view)
        if view.waiting:
            self.learn()

    def _on_opened(self, view: CasebookView) -> None:
        if view.opened is None:
            self._on_view(view)
            return
        self.opened = view.opened
        self._show(view.opened)
        self.view = replace(view, opened=None)  # the voxels are in the scene
        self._events = [Event(OPENED, time.time())]
        self._answered = {}
        self._marks = self._controller.workspace.marks().all
        self._version = self._controller.recorder.version
        for tell in self.on_opened:
            tell()
        self._on_view(view)

    def _show(self, opened: OpenedCase) -> None:
        """Add image, masks and prompts of a case as new nodes; the rest of the scene stays."""
        controller, geometry = self._controller, opened.volume.geometry
        array = np.array(opened.volume.array_kji)
        self._volume = slicer.util.addVolumeFromArray(array, np.array(geometry.ijk_to_ras), opened.name)
        self._volume.CreateDefaultDisplayNodes()
        controller.parameters.volume = self._volume
        segments = [KeptSegment(value, name) for value, name in sorted(self._labels(opened).items())]
        review = None if opened.review is None else opened.review.naming(self._labels(opened))
        put_session(controller, segments, opened.prompts, opened.masks, review=review)
        self._segmentation = controller.parameters.segmentation
        slicer.util.setSliceViewerLayers(background=self._volume, fit=True)

    def _labels(self, opened: OpenedCase) -> dict[int, str]:
        """Labels of the study and of the case; one to begin with if there are none."""
        known = dict(self.view.labels) if self.view is not None else {}
        for value in (*opened.masks, *opened.prompts.labels):
            known.setdefault(value, f"label {value}")
        return known or {1: "label 1"}

    def _forget_case(self) -> None:
        self.opened, self._volume, self._segmentation = None, None, None
        self._events, self._answered = [], {}

    def _use(self, view: CasebookView) -> None:
        """Select the version of the network in use."""
        self._controller.parameters.model = view.model or DEFAULT_NETWORK

    def _on_progress(self, progress: Progress) -> None:
        self._controller.say(f"{progress.text}: {progress.done + 1} of {progress.total}")

    def _on_error(self, error: JobError) -> None:
        self._busy = False
        self._controller.say(str(error), is_error=True)

    def _on_stopped(self) -> None:
        self._busy = False
        self._controller.changed()

    def _on_learning(self, ended: bool) -> None:
        if ended:
            self.look_again()
        self._controller.changed()

    def _on_view_quietly(self, view: CasebookView) -> None:
        self._use(view)
        self._controller.changed()

    def _note_what_happened(self) -> None:
        """Record the user's last step as an event of the case."""
        controller = self._controller
        if self.opened is None or controller.recorder.version == self._version:
            return
        self._version = controller.recorder.version
        if controller.history.last is None:
            return
        way, step = controller.history.last
        if way is Way.ANSWERED:  # by an automatic update, not by the user
            self._answered = self._masks_by_label()
        elif way is not Way.DONE:
            self._events.append(Event(UNDONE if way is Way.UNDONE else REDONE, time.time()))
            self._marks = controller.workspace.marks().all
        elif step.kind is StepKind.REVIEW:
            self._events.append(Event(REVIEWED, time.time()))
        elif step.kind is StepKind.ROUND:
            self._events.append(Event(ROUND, time.time()))
            self._answered = self._masks_by_label()
        elif step.kind in (StepKind.SCRIBBLE, StepKind.EDIT):
            marks, spacing_kji_mm = controller.workspace.marks().all, controller.workspace.geometry().spacing_kji_mm
            kind = STROKE if step.kind is StepKind.SCRIBBLE else EDIT
            self._events.append(drawn_event(kind, self._marks, marks, spacing_kji_mm))
            self._marks = marks

    def _masks_by_label(self) -> dict[int, PackedMask]:
        workspace = self._controller.workspace
        labels = labels_of(workspace.segmentation_node)
        return {labels[key]: mask for key, mask in workspace.masks().items() if mask is not None and key in labels}
