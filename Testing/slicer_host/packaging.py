"""``slicer.packaging``, new in Slicer 5.11: pip in PythonSlicer, which may block the window or not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import slicer
from PySide6.QtCore import QProcess

_running: set[QProcess] = set()


def pip_install(
    requirements: list[str],
    constraints: str | Path | None = None,
    no_deps_requirements: list[str] | None = None,
    skip_packages: list[str] | None = None,
    blocking: bool = True,
    show_progress: bool = True,
    requester: str | None = None,
    parent: object = None,
    logCallback: Callable[[str], None] | None = None,  # noqa: N803
    completedCallback: Callable[[int], None] | None = None,  # noqa: N803
) -> None:
    """As in Slicer, the call waits, raises and calls nobody in testing mode, and where ``blocking`` is true."""
    if no_deps_requirements is not None or skip_packages is not None:
        raise NotImplementedError("the test bed installs requirements with what they depend on only")
    arguments = [*requirements, *(["-c", str(constraints)] if constraints is not None else [])]
    if blocking or slicer.app.testingEnabled():
        slicer.util._executePythonModule("pip", ["install", *arguments])
        return
    process = QProcess()
    process.setProcessChannelMode(QProcess.ProcessChannelMode.MergedChannels)
    process.readyReadStandardOutput.connect(lambda: _tell(process, logCallback))
    process.finished.connect(lambda code: _end(process, code, completedCallback))
    _running.add(process)
    process.start(shutil.which("PythonSlicer"), ["-m", "pip", "install", *arguments])


def _tell(process: QProcess, log: Callable[[str], None] | None) -> None:
    while process.canReadLine():
        (log or print)(bytes(process.readLine().data()).decode().rstrip("\n"))


def _end(process: QProcess, code: int, completed: Callable[[int], None] | None) -> None:
    _running.discard(process)
    if completed is not None:
        completed(code)


PUBLIC = {"pip_install": pip_install}
