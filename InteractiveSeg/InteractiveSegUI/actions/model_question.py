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
    """For ``Controller.run``: where a round failed because nobody trusts its model, ask, and run it again.

    run_again : takes the hash of the model, for the request to carry
    """

    def ask(program: Program) -> None:
        if _may_run(program):
            with controller.errors_shown():
                run_again(program.sha256)

    def failed(error: JobError) -> None:
        if error.program is not None:
            call_later(0, lambda: ask(error.program))  # the status line says first what is wrong

    return failed


def _may_run(program: Program) -> bool:
    text = _(
        "This model is a program from elsewhere, which can read and change whatever you can:\n\n{path}\n"
        "SHA-256 {sha256}\n\n"
        "Run it only if you trust whoever made it. You are asked once for this very file.\n\nRun it?"
    ).format(path=program.path, sha256=program.sha256)
    return bool(slicer.util.confirmOkCancelDisplay(no_markup(text), windowTitle="InteractiveSeg"))
