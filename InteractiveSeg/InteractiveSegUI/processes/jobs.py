"""The worker process in Slicer: PythonSlicer in a ``QProcess``, so that the window never blocks."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import qt

from InteractiveSegLib.worker.transport import TransportEvents, end_in_words, worker_command

_FAILED_TO_START = 0
_running: set[QProcessTransport] = set()  # a killed process has to be kept until it has ended


class QProcessTransport:
    """One run of the worker (``InteractiveSegLib.worker.transport.Transport``)."""

    def __init__(self) -> None:
        self._process: qt.QProcess | None = None
        self._events: TransportEvents | None = None

    def start(self, events: TransportEvents) -> None:
        """Start PythonSlicer; if it is not found, ``events.ended`` reports it."""
        self._events = events
        python = shutil.which("PythonSlicer")
        if python is None:
            call_later(0, lambda: self._end("the program PythonSlicer, which comes with 3D Slicer, was not found"))
            return
        _running.add(self)
        program, *arguments = worker_command(python)
        self._process = process = qt.QProcess()
        process.connect("readyReadStandardOutput()", self._on_output)
        process.connect("readyReadStandardError()", self._on_words)
        process.connect("finished(int,QProcess::ExitStatus)", self._on_finished)
        process.connect("errorOccurred(QProcess::ProcessError)", self._on_error)
        process.start(program, arguments)

    def write(self, data: bytes) -> None:
        """Qt buffers the bytes until the process reads them."""
        if self._process is not None:
            self._process.write(data)

    def kill(self) -> None:
        """End the process at once."""
        if self._process is not None:
            self._process.kill()

    def _on_output(self) -> None:
        if self._process is not None:
            self._events.received(self._process.readAllStandardOutput().data())

    def _on_words(self) -> None:
        if self._process is not None:
            self._events.said(self._process.readAllStandardError().data().decode(errors="replace"))

    def _on_finished(self, code: int, status: int) -> None:
        self._on_output()
        self._on_words()
        crashed = int(getattr(status, "value", status)) != 0
        self._end(end_in_words(-code if crashed else code))

    def _on_error(self, error: int) -> None:
        if int(getattr(error, "value", error)) == _FAILED_TO_START:
            text = f"the worker process could not be started: {self._process.errorString()}"
            call_later(0, lambda: self._end(text))

    def _end(self, text: str) -> None:
        events, process, self._events, self._process = self._events, self._process, None, None
        _running.discard(self)
        if process is not None:
            process.deleteLater()
        if events is not None:
            events.ended(text)


def call_later(seconds: float, function: Callable[[], None]) -> None:
    """Have the event loop call a function once."""
    qt.QTimer.singleShot(round(1000 * seconds), function)
