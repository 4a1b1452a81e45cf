"""The igniter, in a process of its own beside Slicer and the worker."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slicer.i18n import tr as _

from InteractiveSegLib.progress import Progress
from InteractiveSegLib.wording.counting import counted
from InteractiveSegUI.processes.library_process import STARTED, LibraryProcess

_PROGRESS = re.compile(r"(\d+) of (\d+): (.*)")
_LEAST_S = 10.0  # of a stage, before its remaining time is shown


@dataclass(frozen=True)
class Source:
    """Labelled images: folders, and a JSON file that names their labels."""

    images: Path
    labels: Path
    names: Path


class IgnitingProcess:
    """Runs ``interactiveseg casebook ignite`` at low priority. An interrupted training is resumed at the next start.

    Parameters
    ----------
    on_change : called when there is something new to show, with True when it has ended

    Attributes
    ----------
    text : progress or outcome
    progress : of the present stage; None while nothing is running
    is_error : it failed
    casebook : the present or the last one
    options : additional options of the command
    """

    def __init__(self, on_change: Callable[[bool], None]) -> None:
        self._on_change = on_change
        self._process = LibraryProcess(_("the training"), self._on_line, self._on_end)
        self._began, self._first = 0.0, 0
        self._started = 0
        self._lines: list[str] = []
        self.text = ""
        self.progress: Progress | None = None
        self.is_error = False
        self.casebook: Path | None = None
        self.options: list[str] = []

    @property
    def is_running(self) -> bool:
        return self._process.is_running

    def start(self, casebook: Path, source: Source) -> None:
        self._started, self._lines, self.is_error, self.casebook = 0, [], False, casebook
        self.text, self.progress = _("Starting ..."), Progress(0, 0, "")
        words = ["casebook", "ignite", str(casebook), "--images", str(source.images), "--labels", str(source.labels)]
        self._process.start([*words, "--names", str(source.names), "--low-priority", *self.options])
        self._on_change(False)

    def stop(self, wait: bool = False) -> None:
        """End it.

        wait : as for ``LibraryProcess.stop``
        """
        self._process.stop(wait)

    def _on_line(self, line: str) -> None:
        found = _PROGRESS.fullmatch(line)
        if found is not None:
            done, total = int(found[1]), int(found[2])
            if self.progress is None or (total, found[3][:5]) != (self.progress.total, self.progress.text[:5]):
                self._began, self._first = time.monotonic(), done
            self.progress = Progress(done, total, found[3])
            self.text = progress_in_words(self.progress, time.monotonic() - self._began, self._first)
            self._on_change(False)
        elif STARTED in line:
            self._started += 1
        else:
            self._lines.append(line)

    def _on_end(self, code: int | None, reason: str) -> None:
        self.progress = None
        said = " ".join(f"{sentence(each)}." for each in dict.fromkeys(self._lines))
        if code in (0, 3):
            cases = counted(self._started, _("case has a new starting mask."), _("cases have a new starting mask."))
            self.text, self.is_error = f"{cases} {said}".strip(), code == 3
        elif code is not None:
            self.text = self._lines[-1] if self._lines else _("The training ended without a message.")
            self.is_error = True
        else:
            resume = _("Press Start to resume it.")
            self.text, self.is_error = f"{sentence(reason)}. {resume}", not self._process.was_stopped
        self._on_change(True)


def progress_in_words(progress: Progress, seconds: float, first: int = 0) -> str:
    """What is being done, and how long it will take.

    seconds : how long the stage has taken so far
    first : steps done before this run, if a training is resumed
    """
    if progress.text.startswith("loss "):
        text = _("Learning from the labelled images: step {done} of {total}")
        said = text.format(done=progress.done, total=progress.total)
    else:
        text = _("{what}: {done} of {total}")
        said = text.format(what=sentence(progress.text), done=progress.done + 1, total=progress.total)
    if progress.done > first and seconds > _LEAST_S:
        left = seconds / (progress.done - first) * (progress.total - progress.done)
        said = f"{said}, {time_left(left)}"
    return said


def sentence(text: str) -> str:
    """With a capital letter, and without a full stop."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}"


def time_left(seconds: float) -> str:
    """Such as "about 4 min left"."""
    if seconds < 90:
        return _("about {seconds:.0f} s left").format(seconds=max(seconds, 1))
    return _("about {minutes:.0f} min left").format(minutes=seconds / 60)
