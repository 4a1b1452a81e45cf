"""The time that something takes, on a computer that may be busy with other things."""

from __future__ import annotations

import os
import time


class Stopwatch:
    """A context manager that measures a time and divides it by the number of processes that share a core.

    On an idle computer that is the time itself. The system counts the processes that run or want to, in the mean over
    the last minute.

    Attributes
    ----------
    seconds : set at the end
    """

    def __enter__(self) -> Stopwatch:
        self._begun = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = (time.monotonic() - self._begun) / max(1.0, _processes() / (os.cpu_count() or 1))


def _processes() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 1.0  # not on Windows
