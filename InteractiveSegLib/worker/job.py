"""One request on its way: what became of it, and who is told."""

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

    sha256 : of its content; as ``trust`` of a request it lets it run
    """

    path: str
    sha256: str


class JobError(InteractiveSegError):
    """A request that failed.

    Parameters
    ----------
    type_name : of the error in the worker, such as "InputError" or "MemoryError"; "WorkerLost" where the process itself
        could not be started, ended, or was not understood
    text : for the person
    log : for the developer: where it happened, or what the process said last; may be empty
    program : that nobody has said may run, where that is why
    """

    def __init__(self, type_name: str, text: str, log: str = "", program: Program | None = None) -> None:
        super().__init__(text)
        self.type_name, self.text, self.log, self.program = type_name, text, log, program

    @property
    def is_input(self) -> bool:
        """What was given is at fault, as for ``InputError``, rather than the program."""
        return self.type_name == InputError.__name__ or self.program is not None


@dataclass(frozen=True)
class JobCallbacks:
    """Who is told; exactly one of the last three is called, once, and never from within ``submit``."""

    progress: Callable[[Progress], None] | None = None
    result: Callable[[Any], None] | None = None
    error: Callable[[JobError], None] | None = None
    stopped: Callable[[Stopped], None] | None = None


@dataclass(eq=False)
class Job:
    """A request that was submitted.

    request : what was asked for
    volume, prompts : what it is about, as they were when it was submitted; None where it is about no image
    image_identity : tells images of one client apart
    tries : how often it was sent
    begun : the worker has begun with it
    cancel : a person wants it no more; a worker that goes on with it is ended soon
    supersede : something else takes its place; the worker has longer to leave it off, since it is needed for that
    state : "stale" where image or prompts changed before the result came, which is then dropped
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
        """Nothing more will come of it."""
        return self.state not in ("waiting", "running")
