"""A small event loop for programs without one: other threads post callbacks, one thread runs them."""

from __future__ import annotations

import heapq
import itertools
import math
import queue
import time
from collections.abc import Callable

_LONGEST_WAIT_S = 0.5  # so that Ctrl-C works on every system


class CallbackLoop:
    """Runs callbacks and timers on the thread that waits for something."""

    def __init__(self) -> None:
        self._posted: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def post(self, function: Callable[[], None]) -> None:
        """Have the loop call a function; from any thread."""
        self._posted.put(function)

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        """Have the loop call a function after some seconds; from the loop's thread."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), function))

    def run_until(self, is_done: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Run until a condition is true; False on timeout."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while not is_done():
            now = time.monotonic()
            if end is not None and now >= end:
                return False
            due = self._timers[0][0] if self._timers else math.inf
            if due <= now:
                heapq.heappop(self._timers)[2]()
                continue
            wait = min(_LONGEST_WAIT_S, due - now, math.inf if end is None else end - now)
            try:
                function = self._posted.get(timeout=wait)
            except queue.Empty:
                continue
            function()
        return True
