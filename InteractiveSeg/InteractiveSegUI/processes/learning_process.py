"""The learner, in its own process."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import qt

from InteractiveSegLib.worker.transport import worker_command


class LearningProcess:
    """Starts ``interactiveseg learn`` at low priority and reports its state.

    Parameters
    ----------
    on_change : called when it starts (False) and when it has ended (True)

    Attributes
    ----------
    text : for the panel
    options : additional options of the command
    """

    def __init__(self, on_change: Callable[[bool], None]) -> None:
        self._on_change = on_change
        self._process: qt.QProcess | None = None
        self._again: Path | None = None
        self._heard = ""
        self.text = "Idle."
        self.options: list[str] = []

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def start(self, casebook: Path) -> None:
        """Learn from all accepted cases; cases accepted meanwhile follow in another run."""
        if self._process is not None:
            self._again = casebook
            return
        python = shutil.which("PythonSlicer")
        if python is None:
            self.text = "The learner cannot start: the program PythonSlicer was not found."
            self._on_change(False)
            return
        program, *arguments = worker_command(python, "learn")
        self._process = process = qt.QProcess()
        self._heard = ""
        process.setProcessChannelMode(qt.QProcess.MergedChannels)
        process.connect("readyReadStandardOutput()", self._on_output)
        process.connect("finished(int,QProcess::ExitStatus)", self._on_finished)
        process.connect("errorOccurred(QProcess::ProcessError)", self._on_error)
        process.start(program, [*arguments, str(casebook), "--low-priority", "--quiet", *self.options])
        self.text = "Learning from accepted cases, in the background."
        self._on_change(False)

    def stop(self) -> None:
        """End it; the next start resumes where it stopped."""
        self._again = None
        if self._process is not None:
            self._process.kill()
            self._process.waitForFinished(3000)

    def _on_output(self) -> None:
        self._heard += self._process.readAllStandardOutput().data().decode(errors="replace")

    def _on_finished(self, code: int, _status: int) -> None:
        self._on_output()
        lines = [line for line in self._heard.splitlines() if line.strip()]
        said = lines[-1].replace("\t", ": ") if lines else "nothing was left to learn"
        self.text = f"Learnt from {said}." if code == 0 else f"The learner stopped: {said}"
        self._end()

    def _on_error(self, error: int) -> None:
        if int(getattr(error, "value", error)) == 0:
            self.text = f"The learner could not be started: {self._process.errorString()}"
            self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.deleteLater()
        again, self._again = self._again, None
        self._on_change(True)
        if again is not None:
            self.start(again)
