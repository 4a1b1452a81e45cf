"""Which cases are in work: a lock on each, which the system releases however its program ends."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from InteractiveSegLib.errors import OutputError
from InteractiveSegLib.system.files import make_folder
from InteractiveSegLib.system.process_lock import ProcessLock

LOCKS = "locks"
_TRIES, _PAUSE_S = 5, 0.01  # another program may be testing the lock


class WorkLocks:
    """The cases that one program has in work. Use it from one thread.

    Parameters
    ----------
    folder : of the casebook
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / LOCKS
        self._held: dict[int, ProcessLock] = {}

    def take(self, case_id: int) -> bool:
        """Lock a case; True if it was not locked before. A case locked by another program remains its."""
        if case_id in self._held:
            return False
        with suppress(OSError, OutputError):  # the folder cannot be written, or its file system has no locks
            make_folder(self._folder)
            for _ in range(_TRIES):
                try:
                    self._held[case_id] = ProcessLock(self._path(case_id))
                    return True
                except BlockingIOError:
                    time.sleep(_PAUSE_S)
        return False

    def give_back(self, case_id: int) -> None:
        """Release a case."""
        lock = self._held.pop(case_id, None)
        if lock is not None:
            lock.release(remove=True)

    def someone_has(self, case_id: int) -> bool:
        """Whether a running program, this one or another, has a case in work."""
        if case_id in self._held:
            return True
        if not self._path(case_id).exists():
            return False
        try:
            ProcessLock(self._path(case_id)).release()
        except OSError:
            return True
        return False

    def close(self) -> None:
        """Release all cases."""
        for case_id in list(self._held):
            self.give_back(case_id)

    def _path(self, case_id: int) -> Path:
        return self._folder / f"work-{case_id}.lock"
