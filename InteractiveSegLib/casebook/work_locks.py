"""Which cases are in work: a lock on each, which the system gives back however its program ends."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from InteractiveSegLib.errors import OutputError
from InteractiveSegLib.system.files import make_folder
from InteractiveSegLib.system.process_lock import ProcessLock

LOCKS = "locks"
_TRIES, _PAUSE_S = 5, 0.01  # somebody else may be looking just now


class WorkLocks:
    """The cases that one program has in work. For the use of one thread.

    Parameters
    ----------
    folder : of the casebook
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / LOCKS
        self._held: dict[int, ProcessLock] = {}

    def take(self, case_id: int) -> bool:
        """Have a case in work; True where it was not so before. A case that another program has stays the other's."""
        if case_id in self._held:
            return False
        with suppress(OSError, OutputError):  # a folder that cannot be written, or whose file system knows no locks
            make_folder(self._folder)
            for _ in range(_TRIES):
                try:
                    self._held[case_id] = ProcessLock(self._path(case_id))
                    return True
                except BlockingIOError:
                    time.sleep(_PAUSE_S)
        return False

    def give_back(self, case_id: int) -> None:
        """It is done with."""
        lock = self._held.pop(case_id, None)
        if lock is not None:
            lock.release(remove=True)

    def someone_has(self, case_id: int) -> bool:
        """Whether a program that lives has a case in work, this one or another."""
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
        """Give all of them back."""
        for case_id in list(self._held):
            self.give_back(case_id)

    def _path(self, case_id: int) -> Path:
        return self._folder / f"work-{case_id}.lock"
