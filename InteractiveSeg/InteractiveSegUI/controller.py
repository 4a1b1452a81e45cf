"""What the sections of the panel share: the workspace, its history, the worker and the status line."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import slicer
from slicer.i18n import tr as _

from InteractiveSegLib.errors import InteractiveSegError
from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.progress import Progress
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.worker.client import WorkerClient, WorkerStatus
from InteractiveSegLib.worker.job import Job, JobCallbacks, JobError
from InteractiveSegLib.worker.requests.request_kinds import Request
from InteractiveSegUI.obstacles import Obstacles
from InteractiveSegUI.scene.history import History, State, Step, StepKind
from InteractiveSegUI.scene.parameters import Parameters
from InteractiveSegUI.scene.recorder import Recorder
from InteractiveSegUI.scene.workspace import Workspace

_STALE = _("The prompts or the image have changed, so the result was discarded. Press the button again.")


@dataclass(frozen=True)
class Status:
    """The status line.

    text : what happened or is happening
    progress : of the running work; None if there is none
    is_error : the user has to do something about it
    """

    text: str = ""
    progress: Progress | None = None
    is_error: bool = False


class Controller:
    """Runs actions. A section brings its own actions: a class that takes the controller and calls ``run``.

    Parameters
    ----------
    client : of the worker process

    Attributes
    ----------
    listeners : called after every change, to update the panel
    obstacles : why something cannot be done at the moment
    gate : ``gate(action, essential)`` calls an action that computes, at once or after missing packages have been
        installed; with ``essential``, only the packages that every computation needs
    """

    def __init__(self, parameters: Parameters, client: WorkerClient) -> None:
        self.client = client
        self.workspace = Workspace(parameters)
        self.history = History(self.workspace.restore)
        self.recorder = Recorder(self.workspace, self.history, self._on_step, self._on_error, self.changed)
        self.listeners: list[Callable[[], None]] = []
        self.obstacles = Obstacles(self.workspace, self.recorder, lambda: self.is_busy)
        self.gate: Callable[..., None] = lambda action, essential=False: action()
        self.status = Status()
        self._job: Job | None = None
        self._is_automatic = False
        self._was_lost = False
        self._volume: tuple[tuple, Volume] | None = None

    @property
    def parameters(self) -> Parameters:
        return self.workspace.parameters

    @property
    def is_busy(self) -> bool:
        return self._job is not None

    @property
    def is_updating(self) -> bool:
        """Whether an automatic round is running; anything the user does next may replace it."""
        return self._job is not None and self._is_automatic

    @property
    def volume(self) -> Volume:
        """The chosen volume; the same object as long as its voxels and grid are unchanged.

        Raises
        ------
        InputError : as ``Workspace.volume``.
        """
        node, geometry = self.workspace.volume_node, self.workspace.geometry()
        token = (node.GetID(), node.GetImageData(), node.GetImageData().GetMTime(), geometry.ijk_to_ras.tobytes())
        if self._volume is None or self._volume[0] != token:
            self._volume = token, self.workspace.volume()
        return self._volume[1]

    @property
    def editor_node(self) -> slicer.vtkMRMLSegmentEditorNode:
        """Mask and overwrite mode, shared with the embedded Segment Editor."""
        return singleton("InteractiveSeg", "vtkMRMLSegmentEditorNode")

    def add_segment(self) -> None:
        """Add an empty object and make it the current one."""
        self.workspace.add_segment()
        self.recorder.flush()  # records it as empty before anything is drawn in it

    def watch(self) -> None:
        """Called when a volume or segmentation is chosen; earlier steps can no longer be undone."""
        self.cancel()
        self.history.clear()
        with self.errors_shown():
            self.recorder.watch()
        self.changed()

    def run(
        self,
        name: str,
        request: Request,
        prompts: Prompts,
        apply: Callable[[Any], str],
        failed: Callable[[JobError], None] = lambda _: None,
        automatic: bool = False,
    ) -> None:
        """Submit a request on the volume and its prompts to the worker, without blocking.

        Parameters
        ----------
        name : for the status line
        apply : takes the result and returns the text of the status line; not called if prompts or image have changed
        failed : called with an error before the status line shows it
        automatic : no button was pressed: a worker that failed repeatedly is not restarted, and the status line does
            not ask to press a button again
        """
        self._leave_off()
        self._give_image()
        self.client.prompts = prompts
        version = self.recorder.version

        def if_current(tell: Callable[[Any], None]) -> Callable[[Any], None]:
            """Nothing is reported of work that has been superseded."""
            return lambda what: tell(what) if self._job is job else None

        def on_result(result: Any) -> None:
            self._job = None
            with self.errors_shown():
                self.recorder.flush()
            if self.recorder.version != version:
                self.say("" if automatic else _STALE)
                return
            with self.errors_shown():
                self.say(self._told_of_restart(apply(result)))

        def on_error(error: JobError) -> None:
            failed(error)
            self._on_job_error(error)

        callbacks = JobCallbacks(
            progress=if_current(lambda progress: self._show(Status(f"{name}: {progress.text}", progress))),
            result=if_current(on_result),
            error=if_current(on_error),
            stopped=if_current(self._on_stopped),
        )
        self._show(Status(name, Progress(0, 0, "")))
        if not automatic:
            self.client.try_again()
        job = self._job = self.client.submit(request, callbacks)
        self._is_automatic = automatic
        self.changed()

    def prepare(self, request: Request, prompts: Prompts) -> None:
        """Have the worker prepare for the next request; its outcome is not reported."""
        if self._job is None:
            self._give_image()
            self.client.prompts = prompts
            self.client.submit(request)

    def cancel(self) -> None:
        if self._job is not None:
            self._job.cancel()

    def undo(self) -> None:
        name = self._flushed().undo_name
        if name:
            self._leave_off()
            self.recorder.undo()
            self.say(_("Undone: {name}").format(name=name))

    def redo(self) -> None:
        name = self._flushed().redo_name
        if name:
            self._leave_off()
            self.recorder.redo()
            self.say(_("Redone: {name}").format(name=name))

    def change(self, kind: StepKind, name: str, state: State, notes: tuple[str, ...] = ()) -> None:
        """Put values into the scene, by key (``workspace.mask_key`` and the like), as one named undo step.

        notes : of ``Step``
        """
        self.recorder.change(kind, name, state, notes)

    def answer(self, step: Step, state: State) -> None:
        """Put values into the scene as a consequence of the last step, so that one Undo reverts both."""
        self.recorder.answer(step, state)

    @contextmanager
    def errors_shown(self) -> Iterator[None]:
        """Show errors in the status line; log those that the user cannot do anything about, too."""
        try:
            yield
        except InteractiveSegError as error:
            self._on_error(error)
        except Exception as error:
            logging.exception("InteractiveSeg")
            self._on_error(error)

    def say(self, text: str, is_error: bool = False) -> None:
        self._show(Status(text, None, is_error))
        self.changed()

    def changed(self) -> None:
        for listener in self.listeners:
            listener()

    def close(self) -> None:
        """Called when the scene or window closes: stop the work and the observation of nodes."""
        self.cancel()
        self._volume = None
        self.status = Status()
        self.recorder.close()
        self.history.clear()
        self.workspace.forget_nodes()

    def on_worker(self, status: WorkerStatus) -> None:
        """A worker that crashed is restarted when it is needed; the next result mentions it."""
        if status.stage == "failed":
            logging.warning("InteractiveSeg: %s", status.text)
            self._was_lost = True

    def _flushed(self) -> History:
        self.recorder.flush()
        return self.history

    def _give_image(self) -> None:
        volume = self.volume
        if self.client.volume is not volume:
            self.client.set_image(volume)

    def _told_of_restart(self, text: str) -> str:
        if not self._was_lost:
            return text
        self._was_lost = False
        lost = _("The worker process ended and was restarted; nothing was lost.")
        return f"{text} {lost}"

    def _on_step(self) -> None:
        if self.is_busy:
            text = "" if self.is_updating else _("Cancelled.")
            self._leave_off()
            self.status = Status(text)
        self.changed()

    def _leave_off(self) -> None:
        """Discard the result of the running job."""
        job, self._job = self._job, None
        if job is not None:
            job.supersede()
            self.status = Status()

    def _on_job_error(self, error: JobError) -> None:
        self._job = None
        if error.log:
            logging.error(error.log)
        self.say(str(error), is_error=True)

    def _on_stopped(self, how: str) -> None:
        self._job = None
        self.say(_STALE if how == "stale" else _("Cancelled."))

    def _on_error(self, error: Exception) -> None:
        self.say(str(error) or type(error).__name__, is_error=True)

    def _show(self, status: Status) -> None:
        self.status = status
        if status.progress is not None:
            self.changed()


def singleton(tag: str, class_name: str) -> Any:
    """The scene's singleton node of a class and tag, created if there is none."""
    node = slicer.mrmlScene.GetSingletonNode(tag, class_name)
    if node is None:
        node = slicer.mrmlScene.CreateNodeByClass(class_name)
        node.UnRegister(None)
        node.SetSingletonTag(tag)
        node = slicer.mrmlScene.AddNode(node)
    return node
