"""Probability and uncertainty over the image."""

from __future__ import annotations

from typing import ClassVar

from InteractiveSegUI.controller import Controller
from InteractiveSegUI.overlays import Overlays
from InteractiveSegUI.sections.section import Section


class OverlaySection(Section):
    ui_file: ClassVar[str] = "Overlay.ui"

    def __init__(self, controller: Controller, overlays: Overlays) -> None:
        super().__init__(controller)
        self._overlays = overlays
        self._shown: tuple = ()

    def update(self) -> None:
        parameters = self.controller.parameters
        wanted = (parameters.overlay, parameters.overlay_opacity, parameters.segment)
        if wanted != self._shown:
            self._shown = wanted
            self._overlays.update()
