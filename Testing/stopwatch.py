"""The time that something takes, on a computer that may be busy with other things."""

from __future__ import annotations

import threading
import time

_TICK_S = 0.01


class Stopwatch:
    """A context manager that measures, less the time for which the computer was too busy to run this process.

    A thread that wants to run every hundredth of a second notices by how much it comes too late. On an idle computer
    that is next to nothing; where several programs share a core, it is most of the time.

    Attributes
    ----------
    seconds : set at the end
    """

    def __enter__(self) -> Stopwatch:
        self.seconds, self._late, self._over = 0.0, 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._begun = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        took = time.monotonic() - self._begun
        self._over.set()
        self._thread.join()
        self.seconds = took - min(self._late, took)

    def _watch(self) -> None:
        before, over = self._begun, False
        while not over:
            over = self._over.wait(_TICK_S)
            now = time.monotonic()
            self._late += max(0.0, now - before - 1.5 * _TICK_S)
            before = now
