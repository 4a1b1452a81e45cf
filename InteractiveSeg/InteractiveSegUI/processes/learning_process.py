"""The learner, in its own process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from InteractiveSegLib.wording.counting import counted
from InteractiveSegUI.processes.library_process import STARTED, LibraryProcess

PROMPTED, SUSTAINER = "prompted", "sustainer"


class LearningProcess:
    """Starts ``interactiveseg learn`` at low priority, for one network after the other, and reports its state.

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
        self._process = LibraryProcess("the learner", self._on_line, self._on_end)
        self._waiting: list[tuple[Path, str]] = []
        self._network = PROMPTED
        self._last = ""
        self._started = 0
        self.text = "Idle."
        self.options: list[str] = []

    @property
    def is_running(self) -> bool:
        return self._process.is_running

    def start(self, casebook: Path, networks: Sequence[str] = (PROMPTED,)) -> None:
        """Learn from all accepted cases; cases accepted meanwhile follow in another run.

        networks : as ``interactiveseg learn --network`` calls them
        """
        self._waiting += [(casebook, each) for each in networks if (casebook, each) not in self._waiting]
        if not self.is_running:
            self._next()

    def stop(self) -> None:
        """End it; the next start resumes where it stopped."""
        self._waiting.clear()
        self._process.stop(wait=True)

    def _next(self) -> None:
        casebook, self._network = self._waiting.pop(0)
        self._last, self._started = "", 0
        told = "Learning from accepted cases, in the background."
        self.text = told if self._network == PROMPTED else "Learning to mark new cases by itself, in the background."
        words = ["learn", str(casebook), "--network", self._network, "--low-priority", "--quiet", *self.options]
        self._process.start(words)
        self._on_change(False)

    def _on_line(self, line: str) -> None:
        if STARTED in line:
            self._started += 1
        else:
            self._last = line.replace("\t", ": ")

    def _on_end(self, code: int | None, reason: str) -> None:
        said = self._last or "it gave no reason"
        if code is None:
            self.text = f"{reason[0].upper()}{reason[1:]}."
        else:
            learnt = f"Learnt from {said}." if self._last else "Nothing was left to learn."
            self.text = learnt if code == 0 else f"The learner stopped: {said}"
        if self._started:
            self.text += f" {counted(self._started, 'case has', 'cases have')} a new starting mask."
        self._on_change(True)
        if self._waiting and not self.is_running:
            self._next()
