"""The open case: its organs, which are right or not there, and in which slices; Accept, Skip and the next case."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import qt
import slicer
from slicer.i18n import tr as _

from InteractiveSegLib.casebook.orders import ORDERS
from InteractiveSegLib.wording.plain_text import breakable, no_markup
from InteractiveSegUI.actions.casebook_work import CasebookWork
from InteractiveSegUI.actions.reviewing import Organ, Reviewing
from InteractiveSegUI.controller import Controller
from InteractiveSegUI.sections.section import Section

_SWATCH = 12


class ReviewSection(Section):
    """
    Parameters
    ----------
    edit : takes up a brush that corrects the chosen organ
    """

    ui_file: ClassVar[str] = "Review.ui"

    def __init__(
        self, controller: Controller, reviewing: Reviewing, work: CasebookWork, edit: Callable[[], None]
    ) -> None:
        super().__init__(controller)
        self._reviewing, self._work = reviewing, work
        self._listed: list[tuple[Organ, tuple[float, ...]]] = []
        self._updating = False
        ui = self.ui
        for button, action, key in (
            (ui.rightButton, reviewing.right, "Y"),
            (ui.editButton, edit, "C"),
            (ui.notThereButton, reviewing.not_there, "Shift+N"),
            (ui.skipOrganButton, reviewing.skip, "K"),
            (ui.sliceRightButton, reviewing.slice_right, "S"),
            (ui.allRightButton, reviewing.all_right, "Shift+S"),
        ):
            self.on_click(button, action, key)
        self.on_click(ui.openNextButton, lambda: work.open_next(ORDERS[ui.orderBox.currentIndex]))
        self.on_click(ui.acceptButton, work.accept)
        self.on_click(ui.skipButton, work.skip)
        self._about_organs = (
            ui.rightButton,
            ui.editButton,
            ui.notThereButton,
            ui.skipOrganButton,
            ui.sliceRightButton,
            ui.allRightButton,
        )
        work.on_opened.append(self._free_keys)
        ui.organTable.connect("itemSelectionChanged()", self._on_selection)
        ui.organTable.connect("itemChanged(QTableWidgetItem*)", self._on_item)
        ui.organTable.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.ResizeToContents)

    def bind(self) -> None:
        super().bind()
        self._reviewing.watch()

    def unbind(self) -> None:
        super().unbind()
        self._reviewing.unwatch()

    def update(self) -> None:
        ui, controller, work = self.ui, self.controller, self._work
        has_casebook, opened = work.view is not None, work.opened
        self.widget.visible = has_casebook
        ui.caseLabel.text = breakable(opened.name) if opened is not None else _("No case is open")
        ui.caseLabel.toolTip = no_markup(opened.name) if opened is not None else ""
        busy = _("Wait until the casebook has been saved.") if work.is_busy else ""
        no_casebook = "" if has_casebook else _("Open a casebook first.")
        no_case = no_casebook or ("" if opened is not None else _("Open a case first."))
        nothing = ""
        if work.is_shown and self._reviewing.nothing_is_right:
            nothing = _("Nothing is verified yet: press Right for an organ, or This slice is right.")
        self.allow(ui.openNextButton, no_casebook or busy)
        not_shown = ""
        if not work.is_shown:
            not_shown = _(
                "Choose the volume and the segmentation of the case again. If they were removed, open the case again."
            )
        self.allow(ui.acceptButton, no_case or busy or not_shown or nothing)
        self.allow(ui.skipButton, no_case or busy or not_shown)
        obstacle = no_case or not_shown or controller.obstacles.no_segment
        for button in self._about_organs:
            self.allow(button, obstacle)
            button.visible = opened is not None
        for widget in (ui.organTable, ui.acceptButton, ui.skipButton):
            widget.visible = opened is not None
        if opened is not None:
            self._fill(opened.confidences)
            self._reviewing.update()

    @staticmethod
    def _free_keys() -> None:
        """The button that opened the case was disabled meanwhile, and a box beside it may have got the keyboard."""
        slicer.util.mainWindow().setFocus()

    def _fill(self, confidences: dict[int, float]) -> None:
        table, organs = self.ui.organTable, self._reviewing.organs(confidences)
        node = self.controller.parameters.segmentation
        listed = [(each, tuple(node.GetSegmentation().GetSegment(each.segment_id).GetColor())) for each in organs]
        self._updating = True
        if listed != self._listed:
            self._listed = listed
            table.setRowCount(len(listed))
            for number, (organ, colour) in enumerate(listed):
                for column, text in enumerate((organ.name, organ.state)):
                    item = qt.QTableWidgetItem(text)
                    item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
                    item.setToolTip(text)
                    if column == 0:
                        item.setFlags(item.flags() | qt.Qt.ItemIsUserCheckable)
                        item.setCheckState(qt.Qt.Checked if self._is_visible(organ) else qt.Qt.Unchecked)
                        swatch = qt.QPixmap(_SWATCH, _SWATCH)
                        swatch.fill(qt.QColor.fromRgbF(*colour))
                        icon = qt.QIcon(swatch)
                        icon.addPixmap(swatch, qt.QIcon.Selected)  # or it is tinted in the chosen row
                        item.setIcon(icon)
                    table.setItem(number, column, item)
        ids = [organ.segment_id for organ, _colour in listed]
        chosen = self.controller.parameters.segment
        if chosen in ids and table.currentRow() != ids.index(chosen):
            table.selectRow(ids.index(chosen))
        self._updating = False

    def _on_selection(self) -> None:
        row = self.ui.organTable.currentRow()
        if self._updating or not 0 <= row < len(self._listed):
            return
        segment_id = self._listed[row][0].segment_id
        if segment_id != self.controller.parameters.segment:
            with self.controller.errors_shown():
                self._reviewing.choose(segment_id)

    def _on_item(self, item: qt.QTableWidgetItem) -> None:
        """The tick before an organ shows and hides it in the views."""
        if self._updating or item.column() != 0 or not 0 <= item.row() < len(self._listed):
            return
        display = self.controller.parameters.segmentation.GetDisplayNode()
        segment_id = self._listed[item.row()][0].segment_id
        display.SetSegmentVisibility(segment_id, item.checkState() == qt.Qt.Checked)

    def _is_visible(self, organ: Organ) -> bool:
        display = self.controller.parameters.segmentation.GetDisplayNode()
        return display is None or bool(display.GetSegmentVisibility(organ.segment_id))
