"""A command of ``interactiveseg`` in a process of its own, beside Slicer and the worker."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from typing import Any

import qt

from InteractiveSegLib.system.python_process import library_command
from InteractiveSegLib.worker.transport import end_in_words

STARTED = "\tstarting mask\t"  # in the line for each case that got one
_FAILED_TO_START = 0
_STOP_MS = 3000


class LibraryProcess:
    """Runs one command at a time.

    Parameters
    ----------
    name : of the program in messages, such as "the learner"
    on_line : called with each line that it writes, to standard output or standard error
    on_end : called with its exit code when it ended by itself, or with None and a sentence that says why it did not

    Attributes
    ----------
    was_stopped : by ``stop``
    """

    def __init__(self, name: str, on_line: Callable[[str], None], on_end: Callable[[int | None, str], None]) -> None:
        self._name, self._on_line, self._on_end = name, on_line, on_end
        self._process: qt.QProcess | None = None
        self._heard = b""
        self.was_stopped = False

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def start(self, words: Sequence[str]) -> None:
        """Run ``interactiveseg`` with these words. A failure to start is reported by ``on_end``."""
        python = shutil.which("PythonSlicer")
        if python is None:
            self._on_end(None, f"{self._name} cannot start: the program PythonSlicer was not found")
            return
        program, *arguments = library_command("InteractiveSegLib.cli", *words, python=python)
        self._heard, self.was_stopped = b"", False
        self._process = process = qt.QProcess()
        process.setProcessChannelMode(qt.QProcess.MergedChannels)
        process.connect("readyReadStandardOutput()", self._on_output)
        process.connect("finished(int,QProcess::ExitStatus)", self._on_finished)
        process.connect("errorOccurred(QProcess::ProcessError)", self._on_error)
        process.start(program, arguments)

    def stop(self, wait: bool = False) -> None:
        """Kill it; ``on_end`` is told.

        wait : until it has ended, for at most three seconds
        """
        if self._process is not None:
            self.was_stopped = True
            self._process.kill()
            if wait and self._process is not None:
                self._process.waitForFinished(_STOP_MS)

    def _on_output(self) -> None:
        if self._process is not None:
            self._heard += self._process.readAllStandardOutput().data()
            *lines, self._heard = self._heard.split(b"\n")
            self._tell(lines)

    def _tell(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            text = line.decode(errors="replace").strip()
            if text:
                self._on_line(text)

    def _on_finished(self, code: int, status: Any) -> None:
        self._on_output()
        self._tell([self._heard])
        if self.was_stopped:
            self._end(None, f"{self._name} was stopped")
        elif int(getattr(status, "value", status)) != 0:
            self._end(None, end_in_words(-code, self._name))
        else:
            self._end(code, "")

    def _on_error(self, error: Any) -> None:
        if int(getattr(error, "value", error)) == _FAILED_TO_START:
            self._end(None, f"{self._name} could not be started: {self._process.errorString()}")

    def _end(self, code: int | None, reason: str) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.deleteLater()
            self._on_end(code, reason)
