"""Files appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from InteractiveSegLib.errors import OutputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path``, with its suffixes kept, renamed to it when the block ends without an error.

    Raises
    ------
    OutputError : the folder cannot be written, or the disk is full.
    """
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"cannot write {path}: {reason}") from error
    finally:
        with suppress(OSError):  # it may never have been made
            temporary.unlink()


def flushed(path: Path) -> None:
    """Have the system write a file to the disk, before anything refers to it. OutputError where that fails."""
    try:
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
