"""The current session on disk, so that nothing is lost if the program that shows it crashes.

::

    journal = Journal.open(folder, on_trouble=show_warning)  # folder: of the program's temporary files
    journal.record(SessionState(volume, prompts, masks, settings))  # after every action; takes no time
    journal.close()  # a clean end leaves nothing behind

    for found in recoverable(folder):  # sessions whose process died, the latest first
        found.state.prompts, found.state.masks, found.state.volume.difference(volume)
        found.discard()
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from InteractiveSegLib.errors import InteractiveSegError
from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.records.session_state import (
    RecordedState,
    SessionState,
    VolumeIdentity,
    last_state,
    state_record,
)
from InteractiveSegLib.system.process_lock import ProcessLock

SUBFOLDER = f"InteractiveSeg-journal{'-' + str(os.getuid()) if hasattr(os, 'getuid') else ''}"
"""The folder of journals; one per user, since users may share one folder for temporary files."""

_SUFFIX = ".journal"
_MOST_BYTES = 16 << 20
_DAYS_KEPT = 14
_JOURNALS_KEPT = 10


class Journal:
    """Appends whole states to a file of this process; a thread does the work.

    If states come faster than the disk can write, only the latest is written. Beyond 16 MiB the file starts again with
    the latest state. Each record is readable without the previous ones, so a truncated file loses only the last.

    Parameters
    ----------
    folder : in which the folder for journals is made
    on_trouble : called once, with a text, when the journal cannot be written; from within ``record``
    """

    def __init__(self, folder: Path, on_trouble: Callable[[str], None] = lambda _: None) -> None:
        self._folder, self._on_trouble = folder / SUBFOLDER, on_trouble
        self.path = self._folder / f"{os.getpid()}-{secrets.token_hex(4)}{_SUFFIX}"
        self.trouble = ""
        self._told = False
        self._lock: ProcessLock | None = None
        self._next: SessionState | None = None
        self._closing = False
        self._changed = threading.Condition()
        self._identity: tuple[Volume, str, VolumeIdentity] | None = None
        self._size = 0
        self._thread: threading.Thread | None = None

    @classmethod
    def open(cls, folder: Path, on_trouble: Callable[[str], None] = lambda _: None) -> Journal:
        """A journal in this folder; nothing is written before the first ``record``."""
        return cls(folder, on_trouble)

    def record(self, state: SessionState) -> None:
        """Write a state in the background; returns at once. After ``close`` nothing is written."""
        with self._changed:
            self._next = None if self._closing else state
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        if self.trouble and not self._told:
            self._told = True
            self._on_trouble(self.trouble)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until what was recorded is on disk, or could not be written; False on timeout."""
        with self._changed:
            return self._changed.wait_for(lambda: self._next is None, timeout_s)

    def close(self, timeout_s: float = 2.0) -> None:
        """A clean end: there is nothing to recover. Waits at most this long for the thread to tidy up."""
        with self._changed:
            self._closing, self._next = True, None
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._next is not None or self._closing)
                state = self._next
            if state is None:
                break
            try:
                self._write(state)
            except (OSError, InteractiveSegError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                self.trouble = self.trouble or f"the work cannot be recovered after a crash: {self.path}: {reason}"
            with self._changed:
                if self._next is state:
                    self._next = None
                    self._changed.notify_all()
        if self._lock is not None:
            _remove(self.path, self._lock)

    def _write(self, state: SessionState) -> None:
        if self._lock is None:
            _make_private(self._folder)
            _tidy(self._folder)
            self._lock = ProcessLock(_lock_path(self.path))
        record = state_record(state, self._identity_of(state))
        if self._size + len(record) > _MOST_BYTES:
            fresh = self.path.with_suffix(".tmp")
            _append(fresh, record, 0)
            fresh.replace(self.path)
            self._size = len(record)
        else:
            _append(self.path, record, self._size)
            self._size += len(record)

    def _identity_of(self, state: SessionState) -> VolumeIdentity:
        known = self._identity
        if known is None or known[0] is not state.volume or known[1] != state.path:
            known = self._identity = state.volume, state.path, VolumeIdentity.of(state.volume, state.path)
        return known[2]


@dataclass(frozen=True, eq=False)
class Recoverable:
    """The last state of a session whose process died."""

    path: Path
    state: RecordedState

    def discard(self) -> None:
        """Delete it: it was recovered, or nobody wants it."""
        with contextlib.suppress(OSError):
            _remove(self.path, ProcessLock(_lock_path(self.path)))


def recoverable(folder: Path) -> list[Recoverable]:
    """Sessions that ended without ``close``, the latest first; those of living processes are left alone."""
    found = []
    for path in _journals(folder / SUBFOLDER):
        with contextlib.suppress(OSError):
            lock = ProcessLock(_lock_path(path))
            state = last_state(path.read_bytes())
            if state is None:
                _remove(path, lock)
            else:
                lock.release()
                found.append(Recoverable(path, state))
    return sorted(found, key=lambda each: each.state.time, reverse=True)


def _journals(folder: Path) -> list[Path]:
    """Those of this user."""
    with contextlib.suppress(OSError):
        if _is_own(folder):
            return list(folder.glob(f"*{_SUFFIX}"))
    return []


def _is_own(folder: Path) -> bool:
    found = folder.lstat()  # a link placed here by somebody else could lead anywhere
    return not hasattr(os, "getuid") or (stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid())


def _lock_path(path: Path) -> Path:
    return path.with_suffix(".lock")


def _make_private(folder: Path) -> None:
    """A folder that others on this computer cannot read, since it contains patient data."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _is_own(folder):
        raise PermissionError(f"the folder {folder} belongs to somebody else")
    if stat.S_IMODE(folder.stat().st_mode) & 0o077:
        folder.chmod(0o700)


def _append(path: Path, record: bytes, at: int) -> None:
    """Append a complete record, or leave the file unchanged."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
    try:
        os.lseek(file, at, os.SEEK_SET)
        rest = memoryview(record)
        while rest:
            rest = rest[os.write(file, rest) :]
        os.ftruncate(file, at + len(record))
        os.fsync(file)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(file, at)
        raise
    finally:
        os.close(file)


def _tidy(folder: Path) -> None:
    """Delete old sessions that nobody recovered, and locks without a journal."""
    with contextlib.suppress(OSError):
        dead = sorted(_journals(folder), key=lambda path: path.stat().st_mtime, reverse=True)
        oldest = time.time() - _DAYS_KEPT * 86400
        old = [path for index, path in enumerate(dead) if index >= _JOURNALS_KEPT or path.stat().st_mtime < oldest]
        alone = {lock.with_suffix(_SUFFIX) for lock in folder.glob("*.lock")}.difference(dead)
        for path in (*old, *alone):
            with contextlib.suppress(OSError):  # its process lives
                _remove(path, ProcessLock(_lock_path(path)))


def _remove(path: Path, lock: ProcessLock) -> None:
    for each in (path, path.with_suffix(".tmp")):
        with contextlib.suppress(OSError):
            each.unlink()
    lock.release(remove=True)
