"""The study: casebook, worklist, what the learner does, which version is in use."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import qt
from slicer.i18n import tr as _

from InteractiveSegUI.actions.casebook_work import CasebookWork
from InteractiveSegUI.controller import Controller
from InteractiveSegUI.sections.section import Section

_ORDERS = ("fixed", "random", "uncertain")
_COLUMNS = 4


class CasesSection(Section):
    ui_file: ClassVar[str] = "Cases.ui"

    def __init__(self, controller: Controller, work: CasebookWork) -> None:
        super().__init__(controller)
        self._work = work
        self._shown: Any = None
        self.on_click(self.ui.openCasebookButton, self._choose_casebook, computes=True)
        self.on_click(self.ui.openNextButton, lambda: work.open_next(_ORDERS[self.ui.orderBox.currentIndex]))
        self.on_click(self.ui.openCaseButton, lambda: work.open_case(self._chosen()))
        self.on_click(self.ui.acceptButton, work.accept)
        self.on_click(self.ui.skipButton, work.skip)
        self.on_click(self.ui.reopenButton, lambda: work.reopen(self._chosen()))
        self.on_click(self.ui.learnButton, work.learn)
        self.on_click(self.ui.rollBackButton, work.roll_back)
        self.ui.caseTable.connect("itemSelectionChanged()", self.update)
        header = self.ui.caseTable.horizontalHeader()
        header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(0, qt.QHeaderView.Stretch)

    def update(self) -> None:
        work, ui, view = self._work, self.ui, self._work.view
        ui.casebookLabel.text = str(work.folder) if work.folder is not None else _("no casebook")
        if view is not self._shown:
            self._shown = view
            self._fill()
        has_casebook, has_case, idle = view is not None, work.opened is not None, not work.is_busy
        chosen = self._chosen_state()
        ui.openCasebookButton.enabled = idle
        ui.openNextButton.enabled = has_casebook and idle
        ui.openCaseButton.enabled = idle and chosen in ("new", "in work", "reopened")
        ui.acceptButton.enabled = has_case and idle
        ui.skipButton.enabled = has_case and idle
        ui.reopenButton.enabled = idle and chosen in ("accepted", "skipped")
        ui.learnButton.enabled = has_casebook and not work.learning.is_running
        ui.rollBackButton.enabled = idle and has_casebook and bool(view.model)
        ui.caseLabel.text = work.opened.name if has_case else _("no case is open")
        ui.versionLabel.text = view.version if has_casebook else ""
        ui.learnerLabel.text = f"{work.learning.text} {waiting_text(view.waiting)}".strip() if has_casebook else ""
        ui.effortLabel.text = self._effort() if has_casebook else ""

    def close(self) -> None:
        self._work.close()

    def _choose_casebook(self) -> None:
        folder = qt.QFileDialog.getExistingDirectory(None, _("Folder of the casebook"), "")
        if folder:
            self._work.open_casebook(Path(folder))

    def _fill(self) -> None:
        table, rows = self.ui.caseTable, self._shown.rows
        table.setRowCount(len(rows))
        for number, row in enumerate(rows):
            cells = (row.name, row.state, row.split, f"{row.effort.active_s:.0f} s")
            for column, text in enumerate(cells):
                item = qt.QTableWidgetItem(text)
                item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
                table.setItem(number, column, item)

    def _chosen(self) -> str:
        row = self.ui.caseTable.currentRow()
        return self._shown.rows[row].name if self._shown is not None and 0 <= row < len(self._shown.rows) else ""

    def _chosen_state(self) -> str:
        name = self._chosen()
        return next((row.state for row in self._shown.rows if row.name == name), "") if name else ""

    def _effort(self) -> str:
        done = [row.effort for row in self._shown.rows if row.state == "accepted"]
        if not done:
            return _("no case is accepted yet")
        seconds, strokes = sum(each.active_s for each in done), sum(each.strokes for each in done)
        return f"{len(done)} accepted, {seconds / len(done):.0f} s and {strokes / len(done):.1f} strokes a case"


def waiting_text(count: int) -> str:
    """How many accepted cases the learner has not learnt yet."""
    if count == 0:
        return ""
    return _("1 accepted case waits.") if count == 1 else _("{count} accepted cases wait.").format(count=count)
