"""One learner at a time: a lock that the system takes back when its process ends, however it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from InteractiveSegLib.errors import InputError, OutputError


@contextmanager
def process_lock(path: Path, what: str) -> Iterator[None]:
    """Hold the lock of a file for the block.

    Raises
    ------
    InputError : another process holds it; ``what`` names it in the text.
    OutputError : the file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    with file:
        try:
            _lock(file.fileno())
        except OSError as error:
            raise InputError(f"{what} is at work already in another process ({path} is locked)") from error
        yield


def _lock(descriptor: int) -> None:
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
