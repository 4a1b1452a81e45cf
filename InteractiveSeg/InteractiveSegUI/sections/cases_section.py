"""The study: casebook, worklist, state of the learner, version in use."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import qt
import slicer
from slicer.i18n import tr as _

from InteractiveSegLib.casebook.states import OPEN, State
from InteractiveSegLib.wording.plain_text import breakable
from InteractiveSegUI.actions.casebook_work import CasebookWork
from InteractiveSegUI.controller import Controller
from InteractiveSegUI.sections.ignite_section import IgniteSection
from InteractiveSegUI.sections.section import Section

_WIDEST = 150  # pixels, of a column: in a narrow panel a long name leaves room for the others


class CasesSection(Section):
    ui_file: ClassVar[str] = "Cases.ui"

    def __init__(self, controller: Controller, work: CasebookWork, ignite: IgniteSection) -> None:
        super().__init__(controller)
        self._work, self._ignite = work, ignite
        self.ui.igniteBody.layout().addWidget(ignite.widget)
        self.ui.igniteButton.connect("toggled(bool)", self._on_ignite)
        self._shown: Any = None
        self.on_click(self.ui.openCasebookButton, self._choose_casebook, computes=True)
        self.on_click(self.ui.newCasebookButton, self._create_casebook, computes=True)
        self.on_click(self.ui.addImagesButton, self._add_images, computes=True)
        self.on_click(self.ui.openCaseButton, lambda: work.open_case(self._chosen()))
        self.on_click(self.ui.reopenButton, lambda: work.reopen(self._chosen()))
        self.on_click(self.ui.learnButton, work.learn)
        self.on_click(self.ui.rollBackButton, work.roll_back)
        self.ui.caseTable.connect("itemSelectionChanged()", self.update)
        self.ui.caseTable.horizontalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        self.ui.caseTable.horizontalHeader().setMaximumSectionSize(_WIDEST)

    def update(self) -> None:
        work, ui, view = self._work, self.ui, self._work.view
        ui.casebookLabel.text = breakable(work.folder.name) if work.folder is not None else _("No casebook is open")
        ui.casebookLabel.toolTip = str(work.folder or "")
        if view is not self._shown:
            self._shown = view
            self._fill()
        has_casebook = view is not None
        busy = _("Wait until the casebook has been saved.") if work.is_busy else ""
        no_casebook = "" if has_casebook else _("Open a casebook first.")
        chosen = self._chosen_state()
        not_open = "" if chosen in OPEN else _("Choose an unfinished case in the list.")
        is_done = chosen in (State.ACCEPTED, State.SKIPPED)
        not_done = "" if is_done else _("Choose an accepted or skipped case in the list.")
        learning = _("The learner is running.") if work.learning.is_running else ""
        no_version = "" if has_casebook and view.model else _("There is no learnt version yet.")
        self.allow(ui.openCasebookButton, busy)
        self.allow(ui.newCasebookButton, busy)
        self.allow(ui.addImagesButton, no_casebook or busy)
        for button, obstacle in (
            (ui.openCaseButton, no_casebook or not_open),
            (ui.reopenButton, no_casebook or not_done),
            (ui.rollBackButton, no_casebook or no_version),
        ):
            self.allow(button, obstacle or busy)
        self.allow(ui.learnButton, no_casebook or learning)
        ui.standingLabel.text = "\n".join(view.standing) if has_casebook else ""
        ui.standingLabel.visible = has_casebook
        self.allow(ui.igniteButton, no_casebook)
        self._ignite.widget.visible = has_casebook and ui.igniteButton.checked
        ui.versionLabel.text = view.version if has_casebook else ""
        ui.learnerLabel.text = f"{work.learning.text} {waiting_text(view.waiting)}".strip() if has_casebook else ""
        ui.effortLabel.text = self._effort() if has_casebook else ""

    def close(self) -> None:
        self._work.close()

    def _on_ignite(self, is_unfolded: bool) -> None:
        if is_unfolded:
            self._ignite.recall()
        self.update()

    def _choose_casebook(self) -> None:
        folder = qt.QFileDialog.getExistingDirectory(None, _("Folder of the casebook"), "")
        if folder:
            self._work.open_casebook(Path(folder))

    def _create_casebook(self) -> None:
        folder = qt.QFileDialog.getExistingDirectory(None, _("Folder for the new casebook"), "")
        if not folder:
            return
        dialog = qt.QInputDialog(slicer.util.mainWindow())
        dialog.setWindowTitle(_("New casebook"))
        dialog.setLabelText(_("Organs of the study, separated by commas, such as: left ventricle, myocardium"))
        if dialog.exec_():
            self._work.create_casebook(Path(folder), dialog.textValue())

    def _add_images(self) -> None:
        folder = qt.QFileDialog.getExistingDirectory(None, _("Folder with images"), "")
        if folder:
            self._work.add_images(Path(folder))

    def _fill(self) -> None:
        table, rows = self.ui.caseTable, self._shown.rows
        table.setRowCount(len(rows))
        for number, row in enumerate(rows):
            state = _("{state}, starting mask").format(state=row.state) if row.has_start else row.state
            cells = (row.name, state, used_for(row.split), f"{row.effort.active_s:.0f} s")
            for column, text in enumerate(cells):
                item = qt.QTableWidgetItem(text)
                item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
                item.setToolTip(text)
                table.setItem(number, column, item)

    def _chosen(self) -> str:
        row = self.ui.caseTable.currentRow()
        return self._shown.rows[row].name if self._shown is not None and 0 <= row < len(self._shown.rows) else ""

    def _chosen_state(self) -> str:
        name = self._chosen()
        return next((row.state for row in self._shown.rows if row.name == name), "") if name else ""

    def _effort(self) -> str:
        done = [row.effort for row in self._shown.rows if row.state == State.ACCEPTED]
        if not done:
            return _("No case has been accepted yet")
        seconds, strokes = sum(each.active_s for each in done), sum(each.strokes for each in done)
        return f"{len(done)} accepted, {seconds / len(done):.0f} s and {strokes / len(done):.1f} strokes per case"


def used_for(split: str) -> str:
    """What the cases of a split are used for."""
    return {"train": _("training"), "validation": _("validation"), "test": _("test")}.get(split, split)


def waiting_text(count: int) -> str:
    """How many accepted cases are still to be learnt."""
    if count == 0:
        return ""
    return _("1 case is waiting.") if count == 1 else _("{count} cases are waiting.").format(count=count)
