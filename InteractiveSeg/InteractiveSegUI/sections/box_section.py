"""The box of the segment: place, show, remove, and how deep it reaches."""

from __future__ import annotations

from typing import ClassVar

from slicer.i18n import tr as _

from InteractiveSegUI.box_placing import BoxPlacing
from InteractiveSegUI.controller import Controller
from InteractiveSegUI.sections.section import Section, icon


class BoxSection(Section):
    ui_file: ClassVar[str] = "Box.ui"

    def __init__(self, controller: Controller, placing: BoxPlacing) -> None:
        super().__init__(controller)
        self._placing, self._updating = placing, False
        self.ui.placeBoxButton.icon = icon("Box")
        self.on_click(self.ui.placeBoxButton, placing.place, "B")
        self.on_click(self.ui.removeBoxButton, placing.remove)
        self.on_click(self.ui.firstSliceButton, placing.first_is_shown)
        self.on_click(self.ui.lastSliceButton, placing.last_is_shown)
        self.ui.depthRange.connect("valuesChanged(double,double)", self._on_depth)
        self.ui.boxVisibleBox.connect("toggled(bool)", self._on_visible)

    def update(self) -> None:
        parameters, box = self.controller.parameters, self._placing.box
        chosen = parameters.segmentation is not None and self.controller.workspace.exists(parameters.segment)
        self.ui.placeBoxButton.enabled = chosen and parameters.volume is not None
        for widget in (self.ui.removeBoxButton, self.ui.depthRange, self.ui.firstSliceButton, self.ui.lastSliceButton):
            widget.enabled = box is not None
        if box is None:
            self.ui.boxLabel.text = ""
            return
        axis = self._placing.depth_axis
        shape = self.controller.workspace.geometry().shape_kji
        self._updating = True
        self.ui.depthRange.setRange(0, shape[axis] - 1)
        self.ui.depthRange.setValues(box.start_kji[axis], box.stop_kji[axis] - 1)
        self._updating = False
        k, j, i = box.shape_kji
        self.ui.boxLabel.text = _("{i} x {j} x {k} voxels").format(i=i, j=j, k=k)

    def _on_depth(self, first: float, last: float) -> None:
        if not self._updating:
            with self.controller.errors_shown():
                self._placing.set_depth(round(first), round(last))

    def _on_visible(self, visible: bool) -> None:
        if self.controller.parameters.segmentation is not None:
            self._placing.set_visible(visible)
