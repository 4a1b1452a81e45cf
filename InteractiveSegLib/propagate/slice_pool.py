"""Processing of slices in several processes.

Threads would not help: elastix holds Python's lock while it registers. The processes are started by their command and
not by ``multiprocessing``, which would run the caller's own script again.
"""

from __future__ import annotations

import os
import queue
import subprocess
import time
from collections.abc import Hashable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Any

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.propagate.slice_process import receive, send
from InteractiveSegLib.propagate.slice_tasks import SliceTask
from InteractiveSegLib.system.python_process import library_command, library_environment

_TASKS_PER_PROCESS = 6  # fewer are not worth starting one
_TICK_S = 0.2
_PATIENCE_S = 0.5
_LONGEST_S = 120.0  # for one task, the start of a process included; a slice takes a fraction of a second


@dataclass(frozen=True)
class Broken:
    """Replaces a missing result: the reason why there is none."""

    reason: str


class SlicePool:
    """Processes that live until ``close`` (or the end of the ``with`` block), started when they are first needed.

    jobs : maximum number of processes; None takes one per core
    """

    def __init__(self, jobs: int | None = None) -> None:
        if jobs is not None and jobs < 1:
            raise InputError(f"jobs {jobs} must be at least 1")
        self.jobs = jobs or _cores()
        self._processes: list[_Process] = []

    def results(self, tasks: Mapping[Hashable, SliceTask]) -> Iterator[tuple[Hashable, Any] | None]:
        """Key and result of each task as they arrive; None from time to time in between, so that a caller can cancel.

        A task that raised, or whose process died, gives ``Broken``. When the iterator is closed, running tasks get half
        a second before their processes are ended.
        """
        waiting = iter(tasks.items())
        lock, stop = Lock(), Event()
        found: queue.SimpleQueue[tuple[Hashable, Any]] = queue.SimpleQueue()

        def work(process: _Process) -> None:
            while not stop.is_set():
                with lock:
                    key, task = next(waiting, (None, None))
                if task is None:
                    return
                found.put((key, process.answer(task)))

        count = self._processes_for(len(tasks))
        threads = [Thread(target=work, args=(process,), daemon=True) for process in self._processes[:count]]
        for thread in threads:
            thread.start()
        try:
            left = len(tasks)
            while left:
                try:
                    yield found.get(timeout=_TICK_S)
                    left -= 1
                except queue.Empty:
                    for process in self._processes[:count]:
                        process.end_if_stuck()
                    yield None
        finally:
            stop.set()
            for thread, process in zip(threads, self._processes, strict=False):
                thread.join(_PATIENCE_S / len(threads))
                if thread.is_alive():
                    process.end()

    def start(self, tasks: int) -> None:
        """Start the processes for this many tasks, so that they load while the tasks are being prepared."""
        count = self._processes_for(tasks) if tasks else 0
        for process in self._processes[:count]:
            process.start()

    def _processes_for(self, tasks: int) -> int:
        """The number of processes for this many tasks; they exist from now on, started or not."""
        count = min(self.jobs, max(1, tasks // _TASKS_PER_PROCESS))
        while len(self._processes) < count:
            self._processes.append(_Process())
        return count

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.end()
        self._processes.clear()

    def __enter__(self) -> SlicePool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        with suppress(Exception):
            self.close()


class _Process:
    """One process; started again when it has died."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._since: float | None = None

    def start(self) -> None:
        if self._child is None:
            self._child = _started()

    def answer(self, task: SliceTask) -> Any:
        """The result of a task. ``Broken`` if it raised, or the process ended."""
        child, self._since = self._child, time.monotonic()
        try:
            if child is None or child.poll() is not None:
                child = self._child = _started()
            send(child.stdin, task)
            right, result = receive(child.stdout)
        except Exception as error:
            if child is not None and self._child is child:
                self.end()
            return Broken(f"the process ended ({error})")
        finally:
            self._since = None
        return result if right else Broken(result)

    def end_if_stuck(self) -> None:
        since = self._since
        if since is not None and time.monotonic() - since > _LONGEST_S:
            self.end()

    def end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        with suppress(OSError):
            child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout):
            with suppress(OSError, ValueError):
                stream.close()


def _started() -> subprocess.Popen[bytes]:
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"), "1")
    return subprocess.Popen(
        library_command("InteractiveSegLib.propagate.slice_process"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=library_environment(**one_thread),
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # on Windows a console would open
    )


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows
        return os.cpu_count() or 1
