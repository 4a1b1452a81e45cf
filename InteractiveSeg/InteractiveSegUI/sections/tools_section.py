"""The row of tools and the options of the current tool: size of the brush, depth of the box."""

from __future__ import annotations

from typing import ClassVar

from slicer.i18n import tr as _

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegUI.actions.box_placing import BoxPlacing
from InteractiveSegUI.actions.scribbling import Scribbling
from InteractiveSegUI.actions.tools import Tools
from InteractiveSegUI.controller import Controller
from InteractiveSegUI.scene.belongings import show_boxes
from InteractiveSegUI.sections.section import Section, icon, tip_of


class ToolsSection(Section):
    ui_file: ClassVar[str] = "Tools.ui"

    def __init__(self, controller: Controller, tools: Tools, scribbling: Scribbling, placing: BoxPlacing) -> None:
        super().__init__(controller)
        self._tools, self._scribbling, self._placing = tools, scribbling, placing
        self._updating = False
        ui = self.ui
        self._buttons = {
            "point": ui.pointButton,
            "brush": ui.brushButton,
            "lasso": ui.lassoButton,
            "box": ui.boxButton,
            "erase": ui.eraseButton,
        }
        for (tool, button), key in zip(self._buttons.items(), "PBLXE", strict=True):
            button.icon = icon(tool.capitalize())
            self.on_click(button, lambda tool=tool: tools.toggle(tool), key)
        self._marks = {False: ui.objectButton, True: ui.backgroundButton}
        for background, button in self._marks.items():
            button.icon = icon("Background" if background else "Object")
            self.on_click(button, lambda background=background: tools.mark(background))
            self.shortcuts["T"] = tools.switch
        for button, other in ((ui.objectButton, "background"), (ui.backgroundButton, "object")):
            button.toolTip = f"{tip_of(button)} Key to switch to {other}: T"
        self.on_click(ui.removeBoxButton, placing.remove)
        self.on_click(ui.firstSliceButton, placing.first_is_shown)
        self.on_click(ui.lastSliceButton, placing.last_is_shown)
        ui.brushSlider.connect("valueChanged(double)", lambda _value: scribbling.update_brush())
        ui.sphereBox.connect("toggled(bool)", lambda _on: scribbling.update_brush())
        ui.depthRange.connect("valuesChanged(double,double)", self._on_depth)
        ui.boxVisibleBox.connect("toggled(bool)", self._on_boxes_visible)

    def update(self) -> None:
        self._tools.update()
        ui, tool, box = self.ui, self._tools.current, self._placing.box
        obstacle = self.controller.obstacles.no_volume
        for name, button in self._buttons.items():
            self.allow(button, obstacle)
            button.checked = tool == name
        for background, button in self._marks.items():
            self.allow(button, obstacle)
            button.checked = self._tools.is_background == background
        ui.brushOptions.enabled = not obstacle
        ui.depthRange.enabled = box is not None
        for button in (ui.firstSliceButton, ui.lastSliceButton, ui.removeBoxButton):
            self.allow(button, "" if box is not None else _("The object has no box."))
        if box is not None:
            self._show_depth(box)

    def leave(self) -> None:
        self._tools.stop()

    def close(self) -> None:
        self._scribbling.close()

    def _show_depth(self, box: BoundingBox) -> None:
        axis = self._placing.depth_axis
        depth = self.controller.workspace.geometry().shape_kji[axis]
        self._updating = True
        self.ui.depthRange.setRange(0, depth - 1)
        self.ui.depthRange.setValues(box.start_kji[axis], box.stop_kji[axis] - 1)
        self._updating = False

    def _on_depth(self, first: float, last: float) -> None:
        if not self._updating:
            with self.controller.errors_shown():
                self._placing.set_depth(round(first), round(last))

    def _on_boxes_visible(self, visible: bool) -> None:
        if self.controller.parameters.segmentation is not None:
            show_boxes(self.controller.parameters.segmentation, visible)
