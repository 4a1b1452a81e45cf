"""Asks whether a model that is a program may run."""

from __future__ import annotations

from collections.abc import Callable

import slicer
from slicer.i18n import tr as _

from InteractiveSegLib.wording.plain_text import no_markup
from InteractiveSegLib.worker.job import JobError, Program
from InteractiveSegUI.controller import Controller
from InteractiveSegUI.processes.jobs import call_later


def asking(controller: Controller, run_again: Callable[[str], None]) -> Callable[[JobError], None]:
    """For ``Controller.run``: if a round failed because its model is not trusted, ask the user and run it again.

    run_again : takes the hash of the trusted model, to be sent with the request
    """

    def ask(program: Program) -> None:
        if _may_run(program):
            with controller.errors_shown():
                run_again(program.sha256)

    def failed(error: JobError) -> None:
        if error.program is not None:
            call_later(0, lambda: ask(error.program))  # after the status line has shown the error

    return failed


def _may_run(program: Program) -> bool:
    text = _(
        "This model is a program. It can read and change everything that you can:\n\n{path}\n"
        "SHA-256 {sha256}\n\n"
        "Run it only if you trust its author. You are asked only once for this file.\n\nRun it?"
    ).format(path=program.path, sha256=program.sha256)
    return bool(slicer.util.confirmOkCancelDisplay(no_markup(text), windowTitle="InteractiveSeg"))
