"""A worker process for code that waits for its results: commands, scripts, tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.progress import Progress
from InteractiveSegLib.system.python_process import library_environment
from InteractiveSegLib.worker.callback_loop import CallbackLoop
from InteractiveSegLib.worker.client import ClientLimits, WorkerClient, WorkerStatus
from InteractiveSegLib.worker.job import Job, JobCallbacks, JobError
from InteractiveSegLib.worker.requests.request_kinds import Request
from InteractiveSegLib.worker.subprocess_transport import SubprocessTransport
from InteractiveSegLib.worker.transport import worker_command


class BlockingWorker:
    """A client with a process and an event loop of its own. A context manager: leaving it ends the process.

    Parameters
    ----------
    command : starts a worker; ``None`` for one of this interpreter
    environment : of the process, instead of this one's
    on_status, limits : as for ``WorkerClient``

    Attributes
    ----------
    client : has image and prompts
    loop : runs the callbacks
    transport : of the last process started
    log : standard error of the processes
    """

    def __init__(
        self,
        command: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
        on_status: Callable[[WorkerStatus], None] = lambda _: None,
        limits: ClientLimits = ClientLimits(),
    ) -> None:
        self._command, self._environment = list(command or worker_command()), environment or library_environment()
        self.loop = CallbackLoop()
        self.log: list[str] = []
        self.transport: SubprocessTransport | None = None
        self.client = WorkerClient(self._start, self.loop.call_later, on_status, self.log.append, limits)

    def __enter__(self) -> BlockingWorker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()

    def run(self, request: Request, on_progress: Callable[[Progress], None] | None = None) -> Any:
        """Submit a request and wait for its result; an interruption, such as Ctrl-C, cancels it.

        Raises
        ------
        InputError : the image, prompts or request are invalid.
        JobError : the request failed, or the process did.
        """
        outcomes: list[Any] = []
        errors: list[JobError] = []
        callbacks = JobCallbacks(progress=on_progress, result=outcomes.append, error=errors.append)
        job = self.client.submit(request, callbacks)
        try:
            self.wait(job)
        except BaseException:
            job.cancel()
            self.loop.run_until(lambda: job.is_over)
            raise
        if errors:
            raise InputError(errors[0].text) if errors[0].is_input else errors[0]
        if not outcomes:
            raise JobError("Stopped", f"the request was stopped: {job.state}")
        return outcomes[0]

    def wait(self, job: Job, timeout_s: float | None = None) -> bool:
        """Run the loop until a job is over; False on timeout."""
        return self.loop.run_until(lambda: job.is_over, timeout_s)

    def _start(self) -> SubprocessTransport:
        self.transport = SubprocessTransport(self._command, self.loop, self._environment)
        return self.transport
