"""A lock that a process holds until it ends, however it ends."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from InteractiveSegLib.errors import InputError, OutputError
from InteractiveSegLib.system.files import make_folder


class ProcessLock:
    """A lock on a file of its own, given back by the system when the process ends.

    Parameters
    ----------
    path : created if it does not exist

    Raises
    ------
    BlockingIOError : another process, or another lock of this one, holds it.
    OSError : the file cannot be created, or its file system has no locks.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
        try:
            _lock(self._descriptor)
        except OSError:
            os.close(self._descriptor)
            raise

    def release(self, remove: bool = False) -> None:
        """Release it; with ``remove`` the file is deleted as well."""
        if self._descriptor is None:
            return
        if remove and sys.platform != "win32":  # before another process finds it free
            self._unlink()
        os.close(self._descriptor)
        self._descriptor = None
        if remove and sys.platform == "win32":  # where open files cannot be removed
            self._unlink()

    def _unlink(self) -> None:
        with suppress(OSError):
            self._path.unlink()


def locked_folder(folder: Path, held: str) -> ProcessLock:
    """Create a folder that one process at a time may work in, and lock it.

    held : message if another process works in it

    Raises
    ------
    InputError : another process works in it.
    OutputError : the folder cannot be written, or its file system has no locks.
    """
    make_folder(folder)
    try:
        return ProcessLock(folder / "lock")
    except BlockingIOError as error:
        raise InputError(held) from error
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError(*error.args) from error
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
