"""The tools of the views, one active at a time: point, brush, lasso, box and eraser."""

from __future__ import annotations

from typing import Literal

from InteractiveSegUI.actions.box_placing import BoxPlacing
from InteractiveSegUI.actions.pointing import Pointing
from InteractiveSegUI.actions.scribbling import Scribbling
from InteractiveSegUI.controller import Controller

Tool = Literal["point", "brush", "lasso", "box", "erase"]


class Tools:
    """What the mouse does in the slice views.

    is_background : brush and point mark background rather than the object; a lasso is always drawn round the object
    """

    def __init__(self, controller: Controller, scribbling: Scribbling, pointing: Pointing, placing: BoxPlacing) -> None:
        self._controller, self._scribbling, self._placing = controller, scribbling, placing
        self._pointing = pointing
        self.is_background = False
        self._segment = ""

    @property
    def current(self) -> Tool | None:
        """The tool that is active in Slicer, which may have ended it by itself."""
        if self._placing.is_placing:
            return "box"
        if self._pointing.tool is not None:
            return self._pointing.tool
        if self._scribbling.brush is None:
            return None
        return "erase" if self._scribbling.brush == "erase" else "brush"

    def toggle(self, tool: Tool) -> None:
        """Activate a tool, or deactivate it if it is the current one."""
        if self.current == tool:
            self.stop()
        else:
            self._take(tool)

    def mark(self, background: bool) -> None:
        """Let brush or point mark the object or background; activate the brush if neither is active."""
        self.is_background = background
        self._take("point" if self.current == "point" else "brush")

    def switch(self) -> None:
        """Switch between object and background; this activates no tool."""
        self.is_background = not self.is_background
        if self.current in ("brush", "point"):
            self._take(self.current)
        else:
            self._controller.changed()

    def stop(self) -> None:
        """Deactivate the tool."""
        self._placing.cancel()
        self._pointing.stop()
        self._scribbling.stop()

    def update(self) -> None:
        """After a change of segment, let the tool mark the new one, and its object rather than background."""
        parameters = self._controller.parameters
        chosen = parameters.volume is not None and self._controller.workspace.exists(parameters.segment)
        before, self._segment = self._segment, parameters.segment
        if not chosen:
            self.stop()
        elif before != parameters.segment:
            self.is_background = False
            if self.current == "box":
                self._placing.cancel()
            elif self.current in ("brush", "point"):
                self._take(self.current)

    def _take(self, tool: Tool) -> None:
        controller = self._controller
        try:
            with controller.errors_shown():
                if not controller.workspace.exists(controller.parameters.segment):
                    controller.add_segment()  # the first tool makes the first object
                self._segment = controller.parameters.segment
                if tool == "lasso":
                    self.is_background = False
                if tool == "box":
                    self._pointing.stop()
                    self._scribbling.stop()
                    self._placing.place()
                elif tool in ("point", "lasso"):
                    self._placing.cancel()
                    self._scribbling.stop()
                    self._pointing.start(tool, self.is_background)
                else:
                    self._placing.cancel()
                    self._pointing.stop()
                    self._scribbling.start(self._brush(tool))
        finally:
            controller.changed()  # releases the button if the tool could not start

    def _brush(self, tool: Tool) -> Literal["object", "background", "erase"]:
        if tool == "erase":
            return "erase"
        return "background" if self.is_background else "object"
