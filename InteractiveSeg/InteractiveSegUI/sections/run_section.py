"""Segment, Fine-tune, Undo, Redo, Cancel, and the status line."""

from __future__ import annotations

from typing import ClassVar

from slicer.i18n import tr as _

from InteractiveSegUI.controller import Controller
from InteractiveSegUI.sections.section import Section
from InteractiveSegUI.segmenting import Segmenting


class RunSection(Section):
    ui_file: ClassVar[str] = "Run.ui"

    def __init__(self, controller: Controller, segmenting: Segmenting) -> None:
        super().__init__(controller)
        self.on_click(self.ui.segmentButton, lambda: segmenting.segment(adapt=False), "S", computes=True)
        self.on_click(self.ui.fineTuneButton, lambda: segmenting.segment(adapt=True), "T", computes=True)
        self.on_click(self.ui.undoButton, controller.undo, "Ctrl+Z")
        self.on_click(self.ui.redoButton, controller.redo, "Ctrl+Y")
        self.on_click(self.ui.cancelButton, controller.cancel, "Esc")

    def update(self) -> None:
        controller, status = self.controller, self.controller.status
        parameters = controller.parameters
        ready = (
            parameters.volume is not None
            and parameters.segmentation is not None
            and controller.workspace.exists(parameters.segment)
        )
        self.ui.segmentButton.enabled = ready and not controller.is_busy
        self.ui.fineTuneButton.enabled = ready and not controller.is_busy
        self.ui.cancelButton.enabled = controller.is_busy
        for button, name, empty in (
            (self.ui.undoButton, controller.history.undo_name, _("Nothing to undo")),
            (self.ui.redoButton, controller.history.redo_name, _("Nothing to redo")),
        ):
            button.enabled = bool(name)
            button.toolTip = name or empty
        total = status.progress.total if status.progress is not None else 1
        self.ui.progressBar.maximum = total
        self.ui.progressBar.value = status.progress.done if status.progress is not None else 0
        self.ui.statusLabel.text = f"\u26a0 {status.text}" if status.is_error else status.text
