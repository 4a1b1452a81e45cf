"""The tools of the views: brush, eraser and box, of which one has the mouse at a time."""

from __future__ import annotations

from typing import Literal

from InteractiveSegUI.actions.box_placing import BoxPlacing
from InteractiveSegUI.actions.scribbling import Scribbling
from InteractiveSegUI.controller import Controller

Tool = Literal["brush", "erase", "box"]


class Tools:
    """What the mouse does in the slice views.

    is_background : the brush marks background rather than the object
    """

    def __init__(self, controller: Controller, scribbling: Scribbling, placing: BoxPlacing) -> None:
        self._controller, self._scribbling, self._placing = controller, scribbling, placing
        self.is_background = False
        self._segment = ""

    @property
    def current(self) -> Tool | None:
        """As Slicer has it, whoever took the mouse away."""
        if self._placing.is_placing:
            return "box"
        if self._scribbling.brush is None:
            return None
        return "erase" if self._scribbling.brush == "erase" else "brush"

    def toggle(self, tool: Tool) -> None:
        """Take a tool up, or put it away where it is the current one."""
        if self.current == tool:
            self.stop()
        else:
            self._take(tool)

    def mark(self, background: bool) -> None:
        """Have the brush mark the object or background; it is taken up where it is not."""
        self.is_background = background
        self._take("brush")

    def switch(self) -> None:
        """From object to background, and back; a brush that is put away stays so."""
        self.is_background = not self.is_background
        if self.current == "brush":
            self._take("brush")
        else:
            self._controller.changed()

    def stop(self) -> None:
        """Give the mouse back to the views."""
        self._placing.cancel()
        self._scribbling.stop()

    def update(self) -> None:
        """Another segment was chosen: the brush marks that one, on the object and not by chance in its negative."""
        parameters = self._controller.parameters
        chosen = parameters.volume is not None and self._controller.workspace.exists(parameters.segment)
        before, self._segment = self._segment, parameters.segment
        if not chosen:
            self.stop()
        elif before != parameters.segment:
            self.is_background = False
            if self.current == "brush":
                self._take("brush")
            elif self.current == "box":
                self._placing.cancel()

    def _take(self, tool: Tool) -> None:
        controller = self._controller
        try:
            with controller.errors_shown():
                if not controller.workspace.exists(controller.parameters.segment):
                    controller.add_segment()  # the first tool makes the first object
                self._segment = controller.parameters.segment
                if tool == "box":
                    self._scribbling.stop()
                    self._placing.place()
                else:
                    self._placing.cancel()
                    self._scribbling.start(self._brush(tool))
        finally:
            controller.changed()  # a button that was pressed in vain comes up again

    def _brush(self, tool: Tool) -> Literal["object", "background", "erase"]:
        if tool == "erase":
            return "erase"
        return "background" if self.is_background else "object"
