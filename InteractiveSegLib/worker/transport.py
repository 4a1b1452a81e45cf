"""How a client reaches a worker process: the interface to a process, and the command that starts one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from InteractiveSegLib.system.python_process import library_command

CallLater = Callable[[float, Callable[[], None]], object]
"""``call_later(seconds, function)``: the event loop calls the function once, from the thread of all other callbacks."""


@dataclass(frozen=True)
class TransportEvents:
    """Callbacks of a transport; all from the thread of the event loop, and never from within ``start`` or ``write``.

    received : bytes of the worker's standard output, in any pieces
    said : text of its standard error
    ended : the process ended or could not be started, with a text that says why; once, after all bytes that it wrote
    """

    received: Callable[[bytes], None]
    said: Callable[[str], None]
    ended: Callable[[str], None]


class Transport(Protocol):
    """One run of one process. None of its methods may block."""

    def start(self, events: TransportEvents) -> None:
        """Start the process; a failure is reported by ``events.ended``."""

    def write(self, data: bytes) -> None:
        """Write bytes to its standard input, in the order of the calls; ignored if the process has ended."""

    def kill(self) -> None:
        """End the process at once."""


def worker_command(python: str | Path = sys.executable, command: str = "worker") -> list[str]:
    """Arguments that start a worker with this copy of the library, wherever the process searches for packages.

    Parameters
    ----------
    python : as for ``library_command``
    command : of ``interactiveseg``
    """
    return library_command("InteractiveSegLib.cli", command, python=python)


def end_in_words(code: int, what: str = "the worker process") -> str:
    """A text that says why a process ended, from its exit code; on POSIX that is negative for a signal."""
    if code in (-9, 137):
        return f"{what} was killed by the system (signal 9), usually because memory ran out"
    if code < 0:
        return f"{what} was killed by the signal {-code}"
    return f"{what} ended with the exit code {code}"
