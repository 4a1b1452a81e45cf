"""A submitted request: its state, and who is notified."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from InteractiveSegLib.errors import InputError, InteractiveSegError
from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.progress import Progress
from InteractiveSegLib.prompts.prompts import Prompts

if TYPE_CHECKING:
    from InteractiveSegLib.worker.requests.request_kinds import Request

Stopped = Literal["cancelled", "stale"]
State = Literal["waiting", "running", "done", "failed", "cancelled", "stale"]


@dataclass(frozen=True)
class Program:
    """A model that is a program, on the worker's machine.

    sha256 : of its content; as ``trust`` of a request, it allows the model to run
    """

    path: str
    sha256: str


class JobError(InteractiveSegError):
    """A request that failed.

    Parameters
    ----------
    type_name : of the error in the worker, such as "InputError" or "MemoryError"; "WorkerLost" where the process itself
        could not be started, ended, or was not understood
    text : for the user
    log : for the developer: where it happened, or the last output of the process; may be empty
    program : the program that nobody has allowed to run, if that is the reason
    """

    def __init__(self, type_name: str, text: str, log: str = "", program: Program | None = None) -> None:
        super().__init__(text)
        self.type_name, self.text, self.log, self.program = type_name, text, log, program

    @property
    def is_input(self) -> bool:
        """Whether the input is wrong, as for ``InputError``, rather than the program."""
        return self.type_name == InputError.__name__ or self.program is not None


@dataclass(frozen=True)
class JobCallbacks:
    """Callbacks; exactly one of the last three is called, once, and never from within ``submit``."""

    progress: Callable[[Progress], None] | None = None
    result: Callable[[Any], None] | None = None
    error: Callable[[JobError], None] | None = None
    stopped: Callable[[Stopped], None] | None = None


@dataclass(eq=False)
class Job:
    """A request that was submitted.

    request : what was asked for
    volume, prompts : at the time of submission; None if it is not about an image
    image_identity : distinguishes the images of one client
    tries : how often it was sent
    begun : the worker has started on it
    cancel : the user cancelled it; a worker that continues with it is soon ended
    supersede : something else replaces it; the worker gets more time to stop, since it is needed for the replacement
    state : "stale" if image or prompts changed before the result came, which is then dropped
    """

    request: Request
    identity: int
    callbacks: JobCallbacks
    volume: Volume | None
    prompts: Prompts | None
    image_identity: int
    cancel: Callable[[], None] = field(repr=False, default=lambda: None)
    supersede: Callable[[], None] = field(repr=False, default=lambda: None)
    tries: int = 0
    begun: bool = False
    state: State = "waiting"
    to_stop: Stopped | None = None

    @property
    def is_over(self) -> bool:
        """Whether it is finished."""
        return self.state not in ("waiting", "running")
