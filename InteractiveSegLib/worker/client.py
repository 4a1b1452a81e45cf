"""The client's side of a worker process: it has image and prompts, so nothing is lost if the worker is.

The client has no thread and never waits: an event loop drives it, through a ``Transport`` and a timer. In 3D Slicer::

    client = WorkerClient(
        start=lambda: QProcessTransport(worker_command(shutil.which("PythonSlicer"))),  # a Transport
        call_later=lambda seconds, function: qt.QTimer.singleShot(round(1000 * seconds), function),
        on_status=lambda status: show(status.text),
    )
    client.set_image(volume)          # a Volume; its array must not change until the next set_image
    client.warm_up()                  # start the process before it is needed
    client.prompts = drawing.prompts  # a Drawing checks and notes what a person draws
    job = client.submit(
        SegmentRequest(adapt=False, with_probability=True),
        JobCallbacks(progress=show_progress, result=show_masks, error=show_error, stopped=hide_progress),
    )
    job.cancel()                      # takes effect within a second
    client.close()                    # when the scene closes, and at the end

Blocking, in a command or a test, with a process of its own or on another machine::

    with BlockingWorker() as worker:  # or BlockingWorker(["ssh", "host", "interactiveseg", "worker"])
        worker.client.set_image(volume)
        worker.client.prompts = drawing.prompts
        result = worker.run(SegmentRequest())  # raises InputError or JobError
        mask = result.labelmap(volume.geometry.shape_kji)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from InteractiveSegLib.errors import InteractiveSegError
from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.progress import Progress
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.records.message import Message, ProtocolError
from InteractiveSegLib.records.prompt_record import prompt_parts, prompt_record
from InteractiveSegLib.worker.connection import Connection
from InteractiveSegLib.worker.image_transfer import image_fields, voxels_message
from InteractiveSegLib.worker.job import Job, JobCallbacks, JobError, Program, State, Stopped
from InteractiveSegLib.worker.requests.request_kinds import Request
from InteractiveSegLib.worker.transport import CallLater, Transport

_TRIES = 2

Stage = Literal["stopped", "starting", "warming up", "ready", "busy", "failed"]


@dataclass(frozen=True)
class WorkerStatus:
    """State of the worker.

    text : a sentence for the status line; of "failed" and "stopped" it says why
    """

    stage: Stage
    text: str


@dataclass(frozen=True)
class ClientLimits:
    """How long a client waits, in seconds, and how often it tries.

    greeting_s : for the first message of a process
    silence_s : for any sign of life from a process, which sends one every 2 s
    cancel_s : for a cancel to be obeyed; then the process is killed and started again
    stale_s : the same for work whose result is no longer wanted
    failures : number of consecutive processes that end without an answer, after which only ``try_again`` starts another
    """

    greeting_s: float = 60.0
    silence_s: float = 60.0
    cancel_s: float = 0.75
    stale_s: float = 4.0
    failures: int = 3


class WorkerClient:
    """Submits requests to a worker process, starts it when it is needed, and reports results.

    Parameters
    ----------
    start : creates a transport for one process; a new one for every start
    call_later : makes the event loop call a function after some seconds
    on_status : called with the state of the worker
    on_log : called with what the process writes to standard error
    """

    def __init__(
        self,
        start: Callable[[], Transport],
        call_later: CallLater,
        on_status: Callable[[WorkerStatus], None] = lambda _: None,
        on_log: Callable[[str], None] = lambda _: None,
        limits: ClientLimits = ClientLimits(),
    ) -> None:
        self._start, self._call_later = start, call_later
        self._on_status, self._on_log = on_status, on_log
        self._limits = limits
        self._volume: Volume | None = None
        self._image_identity = 0
        self._prompts = Prompts()
        self._jobs_so_far = 0
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._connection: Connection | None = None
        self._failures, self._last_failure = 0, ""
        self.status = WorkerStatus("stopped", "the worker process is started when it is needed")

    @property
    def volume(self) -> Volume | None:
        """The image that requests are about."""
        return self._volume

    @property
    def versions(self) -> Mapping[str, Any]:
        """As in ``Connection``, for the running process; empty if there is none."""
        return self._connection.versions if self._connection is not None else {}

    def set_image(self, volume: Volume | None) -> None:
        """Set another image, without prompts; running requests about the previous one become stale."""
        self._volume = volume
        self._image_identity += 1
        self._prompts = Prompts()
        self._make_stale()

    @property
    def prompts(self) -> Prompts:
        """What was drawn on the image; setting other prompts makes running requests about the previous ones stale."""
        return self._prompts

    @prompts.setter
    def prompts(self, prompts: Prompts) -> None:
        if prompts is not self._prompts:
            self._prompts = prompts
            self._make_stale()

    def submit(self, request: Request, callbacks: JobCallbacks = JobCallbacks()) -> Job:
        """Queue a request after those before it, for the current image and prompts."""
        self._jobs_so_far += 1
        about = (self._volume, self._prompts) if request.needs_image else (None, None)
        job = Job(request, self._jobs_so_far, callbacks, *about, self._image_identity)
        job.cancel = lambda: self._stop(job, "cancelled")
        job.supersede = lambda: self._stop(job, "stale")
        self._waiting.append(job)
        self._call_later(0, self._go_on)
        return job

    def warm_up(self) -> None:
        """Start the process before it is needed."""
        if self._connection is None and self._failures < self._limits.failures:
            self._connect()

    def try_again(self) -> None:
        """Forget the failures so far: the next request starts the process again."""
        self._failures = 0

    def close(self) -> None:
        """End the process; running jobs are cancelled. The client can be used again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        left = [*([self._running] if self._running else []), *self._waiting]
        self._running = None
        self._waiting.clear()
        for job in left:
            self._finish(job, "cancelled")
        self._tell("stopped", "the worker process is started when it is needed")

    def _go_on(self) -> None:
        """Send the next request if the worker is ready; start the worker if it is not running."""
        if self._running is not None or not self._waiting:
            return
        if self._connection is None:
            if self._failures >= self._limits.failures:
                self._refuse_waiting()
            else:
                self._connect()
        elif self._connection.stage == "ready":
            job = self._running = self._waiting.popleft()
            try:
                self._send(job, self._connection)
            except InteractiveSegError as error:
                self._end_running("failed", JobError(type(error).__name__, str(error)))

    def _connect(self) -> None:
        connection = Connection(
            self._start(),
            on_message=lambda message: self._take(message),
            on_stage=lambda: self._on_stage(connection),
            on_end=lambda text: self._on_end(connection, text),
            on_log=self._on_log,
        )
        self._connection = connection
        self._tell("starting", "starting the worker process")
        connection.start()
        self._call_later(self._limits.greeting_s, lambda: self._require_greeting(connection))
        self._watch(connection, connection.heard, 0)

    def _send(self, job: Job, connection: Connection) -> None:
        job.state, job.tries = "running", job.tries + 1
        own = job.request.to_message()
        fields = {"id": job.identity, "kind": job.request.kind, "own": dict(own.fields)}
        arrays = {f"own/{name}": values for name, values in own.arrays.items()}
        if job.volume is not None:
            parts = prompt_parts(job.prompts)
            known = [name for name, part in parts.items() if connection.knows(job.image_identity, name, part)]
            prompts, of_prompts = prompt_record(job.prompts, job.volume.geometry.shape_kji, known)
            fields |= {"image": image_fields(job.volume, job.image_identity), "prompts": prompts, "known": known}
            arrays |= of_prompts
            connection.known = job.image_identity, parts
        self._tell("busy", "computing")
        connection.send(Message("request", fields, arrays))

    def _take(self, message: Message) -> Callable[[], None]:
        """Handle a message about a job; messages about finished jobs are ignored."""
        job, fields = self._running, message.fields
        if job is None or (message.kind != "need" and fields["id"] != job.identity):
            return _nothing
        if message.kind == "need":
            if job.volume is not None and fields["identity"] == job.image_identity and self._connection is not None:
                self._connection.send(voxels_message(job.volume, job.image_identity, message))
            return _nothing
        if message.kind == "begun":
            job.begun = True
            return _nothing
        if message.kind == "progress":
            progress = Progress(int(fields["done"]), int(fields["total"]), str(fields["text"]))
            tell = job.callbacks.progress if job.to_stop is None else None
            return (lambda: tell(progress)) if tell else _nothing
        if message.kind == "result":
            result = job.request.result_of(replace(message, fields=fields["result"]))
            return lambda: self._end_running("done", result)
        if message.kind == "error":
            program = Program(**fields["program"]) if fields.get("program") else None
            error = JobError(str(fields["type"]), str(fields["text"]), str(fields["log"]), program)
            return lambda: self._end_running("failed", error)
        if message.kind == "cancelled":
            return lambda: self._end_running("cancelled")
        raise ProtocolError(f"the message kind {message.kind!r} is unknown")

    def _end_running(self, state: State, outcome: object = None) -> None:
        """The worker has answered."""
        job, self._running, self._failures = self._running, None, 0
        self._tell("ready", "ready")
        self._call_later(0, self._go_on)
        self._finish(job, job.to_stop or state, outcome)

    def _finish(self, job: Job, state: State, outcome: object = None) -> None:
        job.state = state
        callbacks = job.callbacks
        if state == "done" and callbacks.result:
            callbacks.result(outcome)
        elif state == "failed" and callbacks.error:
            callbacks.error(outcome)
        elif state in ("cancelled", "stale") and callbacks.stopped:
            callbacks.stopped(state)

    def _make_stale(self) -> None:
        for job in [*([self._running] if self._running else []), *self._waiting]:
            if job.volume is not None:
                self._stop(job, "stale")

    def _stop(self, job: Job, why: Stopped) -> None:
        if job in self._waiting:
            self._waiting.remove(job)
            job.state = why
            self._call_later(0, lambda: self._finish(job, why))
        elif job is self._running and self._connection is not None and job.to_stop != "cancelled":
            job.to_stop = why
            self._connection.send(Message("cancel", {"id": job.identity}))
            patience = self._limits.cancel_s if why == "cancelled" else self._limits.stale_s
            self._call_later(patience, lambda: self._enforce_stop(job, why))

    def _enforce_stop(self, job: Job, why: Stopped) -> None:
        """The work cannot be interrupted: end the process, and start another for what comes next."""
        if job is self._running and job.to_stop == why and self._connection is not None:
            self._connection.close()
            self._connection, self._running = None, None
            self._connect()
            self._finish(job, why)

    def _on_stage(self, connection: Connection) -> None:
        if connection.stage == "warming up":
            self._tell("warming up", "the worker process loads its packages")
        else:
            self._tell("ready", "ready")
            self._go_on()

    def _on_end(self, connection: Connection, text: str) -> None:
        """The process is lost; image and prompts are not."""
        if connection is not self._connection:
            return
        self._connection = None
        self._failures += 1
        self._last_failure = text
        lost, self._running = self._running, None
        self._tell("failed", text)
        if lost is not None and lost.to_stop is not None:
            self._finish(lost, lost.to_stop)
        elif lost is not None and not lost.begun and lost.tries < _TRIES:
            lost.state = "waiting"  # the process had ended before
            self._waiting.appendleft(lost)
        elif lost is not None:
            self._finish(lost, "failed", JobError("WorkerLost", text, connection.last_words))
        elif not connection.was_ready:
            self._refuse_waiting(connection.last_words)
        self._call_later(0, self._go_on)

    def _refuse_waiting(self, log: str = "") -> None:
        text = self._last_failure
        if self._failures >= self._limits.failures:
            text = f"the worker process failed {self._failures} times in a row and is not started again: {text}"
        waiting = list(self._waiting)
        self._waiting.clear()
        for job in waiting:
            self._finish(job, "failed", JobError("WorkerLost", text, log))

    def _require_greeting(self, connection: Connection) -> None:
        if connection.stage == "starting":
            connection.fail(f"the worker process did not answer within {self._limits.greeting_s:g} s")

    def _watch(self, connection: Connection, heard: int, silent: int) -> None:
        """Count ticks rather than time: a computer that slept is not a process that is silent."""
        tick_s = self._limits.silence_s / 6
        if connection.stage == "ended":
            return
        silent = silent + 1 if connection.heard == heard else 0
        if silent > 6 and connection.stage != "starting":
            connection.fail(f"the worker process gave no sign of life for {self._limits.silence_s:g} s")
            return
        self._call_later(tick_s, lambda: self._watch(connection, connection.heard if silent == 0 else heard, silent))

    def _tell(self, stage: Stage, text: str) -> None:
        self.status = WorkerStatus(stage, text)
        self._on_status(self.status)


def _nothing() -> None:
    pass
