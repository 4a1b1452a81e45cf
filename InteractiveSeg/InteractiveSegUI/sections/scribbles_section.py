"""The brushes: on the object, on background, and the eraser."""

from __future__ import annotations

from typing import ClassVar

from InteractiveSegUI.controller import Controller
from InteractiveSegUI.scribbling import Scribbling, Tool
from InteractiveSegUI.sections.section import Section, icon


class ScribblesSection(Section):
    ui_file: ClassVar[str] = "Scribbles.ui"

    def __init__(self, controller: Controller, scribbling: Scribbling) -> None:
        super().__init__(controller)
        self._scribbling = scribbling
        self._buttons = {
            "foreground": self.ui.foregroundButton,
            "background": self.ui.backgroundButton,
            "erase": self.ui.eraseButton,
        }
        for (tool, button), key in zip(self._buttons.items(), "FDE", strict=True):
            button.icon = icon(tool.capitalize())
            self.on_click(button, lambda tool=tool: self._toggle(tool), key)
        self.ui.brushSlider.connect("valueChanged(double)", lambda _value: self._on_brush())
        self.ui.sphereBox.connect("toggled(bool)", lambda _on: self._on_brush())
        self._segment = ""

    def update(self) -> None:
        parameters = self.controller.parameters
        ready = (
            parameters.volume is not None
            and parameters.segmentation is not None
            and self.controller.workspace.exists(parameters.segment)
        )
        if not ready:
            self._scribbling.stop()
        elif self._scribbling.tool is not None and parameters.segment != self._segment:
            self._restart()
        self._segment = parameters.segment
        for tool, button in self._buttons.items():
            button.enabled = ready
            button.checked = self._scribbling.tool == tool

    def leave(self) -> None:
        self._scribbling.stop()

    def close(self) -> None:
        self._scribbling.close()

    def _toggle(self, tool: Tool) -> None:
        if self._scribbling.tool == tool:
            self._scribbling.stop()
        else:
            self._start(tool)

    def _start(self, tool: Tool) -> None:
        self._segment = self.controller.parameters.segment
        try:
            self._scribbling.start(tool)
        finally:
            self.controller.changed()  # a button that was pressed in vain comes up again

    def _restart(self) -> None:
        """Another segment was chosen: the brush marks that one, on the object and not by chance in its negative."""
        with self.controller.errors_shown():
            self._start("foreground")

    def _on_brush(self) -> None:
        self._scribbling.update_brush()
