"""From a few slices to a volume: slices marked as done, propagation, the next slice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import ClassVar

import numpy as np
import qt
from slicer.i18n import tr as _

from InteractiveSegLib.notes.slice_names import Place
from InteractiveSegUI.actions.overlays import Overlays
from InteractiveSegUI.actions.propagating import Propagating
from InteractiveSegUI.actions.slice_marking import SliceMarking
from InteractiveSegUI.controller import Controller
from InteractiveSegUI.processes.packages import Package
from InteractiveSegUI.scene.parameters import PropagateMethod
from InteractiveSegUI.sections.confidence_plot import ConfidenceCurve, confidence_plot
from InteractiveSegUI.sections.section import Section


class SlicesSection(Section):
    ui_file: ClassVar[str] = "Slices.ui"

    def __init__(
        self, controller: Controller, marking: SliceMarking, propagating: Propagating, overlays: Overlays
    ) -> None:
        super().__init__(controller)
        self._marking, self._propagating, self._overlays = marking, propagating, overlays
        self._listed: list[tuple[Place, str]] = []
        self._plotted: tuple = ()
        self.on_click(self.ui.markSliceButton, marking.mark)
        self.on_click(self.ui.propagateButton, lambda: self._compute(propagating.propagate))
        self.on_click(self.ui.nextSliceButton, lambda: self._compute(propagating.suggest))
        self.on_click(self.ui.shapesButton, propagating.propagate_shapes, computes=True)
        self.on_click(self.ui.showSliceButton, lambda: marking.jump(self._chosen()))
        self.on_click(self.ui.unmarkSliceButton, lambda: marking.remove(self._chosen()))
        self.on_click(self.ui.unmarkAllButton, marking.remove_all)
        self.on_click(self.ui.alignViewsButton, marking.align)
        self.ui.sliceTable.connect("itemSelectionChanged()", self.update)
        self.ui.sliceTable.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.ResizeToContents)

    def bind(self) -> None:
        super().bind()
        self._marking.view.watch()

    def unbind(self) -> None:
        super().unbind()
        self._marking.view.unwatch()

    def update(self) -> None:
        ui, parameters, controller = self.ui, self.controller.parameters, self.controller
        chosen = parameters.volume is not None and parameters.segmentation is not None
        obstacle = controller.obstacles.no_segment or controller.obstacles.is_busy
        self._fill()
        self.allow(ui.markSliceButton, obstacle)
        nothing = "" if self._listed else _("Draw the object on a slice and mark it as done first.")
        for button in (ui.propagateButton, ui.nextSliceButton):
            self.allow(button, obstacle or nothing)
        picked = 0 <= ui.sliceTable.currentRow() < len(self._listed)
        for button in (ui.showSliceButton, ui.unmarkSliceButton):
            self.allow(button, "" if picked else _("Choose a slice in the list."))
        anything = chosen and (bool(self._listed) or controller.recorder.slices is None)
        self.allow(ui.unmarkAllButton, "" if anything else _("No slice is marked."))
        self.allow(ui.alignViewsButton, controller.obstacles.no_volume)
        offered = self._propagating.lacks_elastix and parameters.propagate_method is PropagateMethod.ELASTIX
        ui.offerLabel.visible = ui.shapesButton.visible = offered
        ui.shapesButton.enabled = not obstacle
        ui.offerLabel.text = _(
            "Registration needs the Python package itk-elastix, which is not installed. The shapes of the slices can "
            "be blended without it."
        )
        ui.adviceLabel.text = self._propagating.advice_text
        self._plot()

    def _compute(self, action: Callable[[], None]) -> None:
        """Registration needs a package, which is offered first if it is missing; blending shapes does not."""
        by_shape = self.controller.parameters.propagate_method is PropagateMethod.SHAPE
        self._propagating.lacks_elastix = not by_shape and Package("itk-elastix", "0").is_missing
        self.controller.gate(action, essential=by_shape)

    def _chosen(self) -> Place:
        return self._listed[self.ui.sliceTable.currentRow()][0]

    def _fill(self) -> None:
        listed = self._marking.listed()
        if listed == self._listed:
            return
        self._listed = listed
        table = self.ui.sliceTable
        table.setRowCount(len(listed))
        for number, (place, names) in enumerate(listed):
            for column, text in enumerate((self._marking.name_of(place), names)):
                item = qt.QTableWidgetItem(text)
                item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
                table.setItem(number, column, item)

    def _plot(self) -> None:
        """Plot the confidence along the axis with the most slices marked as done."""
        result, advice = self._overlays.propagated, self._propagating.advice
        axes = Counter(place[0] for place, _names in self._listed)
        axis = axes.most_common(1)[0][0] if axes else 0
        done = frozenset(index for (of_axis, index), _names in self._listed if of_axis == axis)
        best = advice.suggestions[0] if advice is not None and advice.suggestions else None
        proposed = best.index if best is not None and best.axis == axis else None
        wanted = (result, axis, done, proposed)
        if wanted == self._plotted:
            return
        self._plotted = wanted
        shown = result is not None and not np.isnan(result.slice_confidence[axis]).all()
        self.ui.plotCaption.visible = self.ui.plotLabel.visible = shown
        if shown:
            values = result.slice_confidence[axis]
            lowest = int(np.nanargmin(values))
            called = self.controller.workspace.slice_names()
            self.ui.plotCaption.text = _("Confidence of the {plane} slices, lowest at {position}:").format(
                plane=called.plane(axis), position=called.position((axis, lowest))
            )
            ends = tuple(called.position((axis, int(index))) for index in np.flatnonzero(~np.isnan(values))[[0, -1]])
            self.ui.plotLabel.setPixmap(confidence_plot(ConfidenceCurve(values, ends, done, proposed)))
