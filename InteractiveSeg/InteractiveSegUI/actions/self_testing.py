"""The self-test: an image with a known object, in a separate worker; the scene is neither read nor changed."""

from __future__ import annotations

import time

from slicer.i18n import tr as _

from InteractiveSegLib.segmenting.segment_result import SegmentResult
from InteractiveSegLib.segmenting.self_test import REQUIRED_DICE, SelfTestCase
from InteractiveSegLib.worker.client import WorkerClient
from InteractiveSegLib.worker.job import JobCallbacks, JobError
from InteractiveSegLib.worker.requests.segment_request import SegmentRequest
from InteractiveSegUI.controller import Controller
from InteractiveSegUI.processes.jobs import QProcessTransport, call_later


class SelfTesting:
    """Runs the test when the user asks for it.

    Attributes
    ----------
    text : the last result; empty before the first
    passed : None until the test has ended
    """

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._client = WorkerClient(QProcessTransport, call_later)
        self._started = 0.0
        self.is_running = False
        self.text = ""
        self.passed: bool | None = None

    def start(self) -> None:
        """Start a worker and have it segment the image, with fine-tuning, on the device of the parameters."""
        if self.is_running:
            return
        case = SelfTestCase.drawn()
        self.is_running, self.passed, self._started = True, None, time.monotonic()
        self._client.try_again()
        self._client.set_image(case.volume)
        self._client.prompts = case.prompts
        callbacks = JobCallbacks(
            progress=lambda progress: self._controller.say(_("Self-test: {text}").format(text=progress.text)),
            result=lambda result: self._on_result(case, result),
            error=self._on_error,
        )
        self._controller.say(_("Self-test: starting a worker ..."))
        self._client.submit(SegmentRequest(device=self._controller.parameters.device.value), callbacks)

    def close(self) -> None:
        """Called when the window closes or the test has ended."""
        self.is_running = False
        self._client.close()

    def _on_result(self, case: SelfTestCase, result: SegmentResult) -> None:
        dice, seconds = case.dice(result), time.monotonic() - self._started
        versions = self._client.versions
        self.passed = dice >= REQUIRED_DICE
        verdict = _("Self-test passed") if self.passed else _("Self-test failed")
        self._end(
            _(
                "{verdict}: Dice {dice:.3f} with the known object ({least:g} is required), {round:.1f} s on {device}, "
                "{seconds:.1f} s including the start of the worker. InteractiveSeg {library}, Python {python}, PyTorch "
                "{torch}, {gpu}."
            ).format(
                verdict=verdict,
                dice=dice,
                least=REQUIRED_DICE,
                round=result.seconds,
                device=result.device,
                seconds=seconds,
                library=versions["library"],
                python=versions["python"],
                torch=versions["torch"],
                gpu=_("with a GPU") if versions["cuda"] else _("no GPU"),
            )
        )

    def _on_error(self, error: JobError) -> None:
        self.passed = False
        self._end(_("Self-test failed: {error}").format(error=error))

    def _end(self, text: str) -> None:
        self.text = text
        self.close()
        self._controller.say(text, is_error=not self.passed)
