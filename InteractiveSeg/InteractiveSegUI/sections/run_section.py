"""Update after every stroke, Segment, Fine-tune, Undo, Redo, Cancel, the status line and the result."""

from __future__ import annotations

import re
from typing import ClassVar

from slicer.i18n import tr as _

from InteractiveSegLib.wording.plain_text import no_markup
from InteractiveSegUI.actions.overlays import Overlays
from InteractiveSegUI.actions.region_outline import RegionOutline
from InteractiveSegUI.actions.segmenting import Segmenting
from InteractiveSegUI.actions.updating import Updating
from InteractiveSegUI.controller import Controller
from InteractiveSegUI.sections.section import Section

_SENTENCE = re.compile(r"(?:^|(?<=[.] ))[a-z](?=[a-z]*(?:[ ,;.]|$))")
"""The first letter of a sentence, but not of a file name, as in ``hippocampus_001: accepted``."""


class RunSection(Section):
    ui_file: ClassVar[str] = "Run.ui"

    def __init__(
        self,
        controller: Controller,
        segmenting: Segmenting,
        updating: Updating,
        overlays: Overlays,
        outline: RegionOutline,
    ) -> None:
        super().__init__(controller)
        self._segmenting, self._overlays, self._outline = segmenting, overlays, outline
        self._overlay: tuple = ()
        self.on_click(self.ui.segmentButton, lambda: segmenting.segment(adapt=False), "Return", computes=True)
        self.on_click(self.ui.fineTuneButton, lambda: segmenting.segment(adapt=True), "Shift+Return", computes=True)
        self.on_click(self.ui.undoButton, controller.undo, "Ctrl+Z")
        self.on_click(self.ui.redoButton, controller.redo, "Ctrl+Y")
        self.on_click(self.ui.cancelButton, controller.cancel)
        self.ui.updateBox.checked = updating.is_wanted
        self.ui.updateBox.connect("toggled(bool)", lambda wanted: setattr(updating, "is_wanted", wanted))
        policy = self.ui.cancelButton.sizePolicy
        policy.setRetainSizeWhenHidden(True)  # the buttons below stay where they are while the mask is updated
        self.ui.cancelButton.setSizePolicy(policy)
        self.ui.cancelButton.toolTip = _("Stop the computation. Key: Esc")

    def update(self) -> None:
        controller, status, ui = self.controller, self.controller.status, self.ui
        is_busy = "" if controller.is_updating else controller.obstacles.is_busy
        obstacle = controller.obstacles.no_segment or is_busy or controller.obstacles.no_prompts
        self.allow(ui.segmentButton, obstacle)
        self.allow(ui.fineTuneButton, obstacle, self._segmenting.warning)
        ui.cancelButton.visible = controller.is_busy
        for button, step, nothing in (
            (ui.undoButton, controller.history.undo_name, _("Nothing to undo.")),
            (ui.redoButton, controller.history.redo_name, _("Nothing to redo.")),
        ):
            self.allow(button, "" if step else nothing, step)
        total = status.progress.total if status.progress is not None else 1
        ui.progressBar.maximum = total
        ui.progressBar.value = status.progress.done if status.progress is not None else 0
        text = _SENTENCE.sub(lambda first: first.group().upper(), status.text)
        ui.statusLabel.text = f"\u26a0 {text}" if status.is_error else text
        ui.statusLabel.toolTip = no_markup(status.text)
        ui.resultLabel.text = self._segmenting.result_text
        parameters = controller.parameters
        overlay = (parameters.overlay, parameters.overlay_opacity, parameters.segment)
        if overlay != self._overlay:
            self._overlay = overlay
            self._overlays.update()
        self._outline.update()
