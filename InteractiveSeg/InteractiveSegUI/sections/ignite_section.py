"""Start from labelled images: folders, the organs of their labels, progress and Cancel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import qt
import slicer
from slicer.i18n import tr as _

from InteractiveSegLib.wording.plain_text import breakable
from InteractiveSegUI.actions.igniting import Igniting
from InteractiveSegUI.controller import Controller
from InteractiveSegUI.sections.section import Section

_CHOOSE, _UNUSED = _("choose ..."), _("not used")


class IgniteSection(Section):
    ui_file: ClassVar[str] = "Ignite.ui"

    def __init__(self, controller: Controller, igniting: Igniting) -> None:
        super().__init__(controller)
        self._igniting = igniting
        self._listed: Any = None
        self._updating = False
        ui = self.ui
        self.on_click(
            ui.imagesButton, lambda: self._choose(_("Folder with images"), igniting.choose_images), computes=True
        )
        self.on_click(
            ui.labelsButton, lambda: self._choose(_("Folder with labelmaps"), igniting.choose_labels), computes=True
        )
        self.on_click(ui.startButton, igniting.start, computes=True)
        self.on_click(ui.stopButton, igniting.stop)
        ui.labelTable.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.ResizeToContents)
        ui.labelTable.horizontalHeader().setSectionResizeMode(1, qt.QHeaderView.ResizeToContents)

    def update(self) -> None:
        igniting, ui, process = self._igniting, self.ui, self._igniting.process
        for label, folder, nothing in (
            (ui.imagesLabel, igniting.images, _("no folder with images")),
            (ui.labelsLabel, igniting.labels, _("no folder with labelmaps")),
        ):
            label.text = breakable(folder.name) if folder is not None else nothing
            label.toolTip = str(folder or "")
        if igniting.source is not self._listed:
            self._listed = igniting.source
            self._fill()
        ui.labelTable.visible = igniting.source is not None
        warning = "\u26a0 " if igniting.is_error else ""
        ui.sourceLabel.text = f"{warning}{igniting.text}"
        ui.sourceLabel.visible = bool(igniting.text)
        other = igniting.other_study
        running = _("Wait until the training has ended, or press Cancel.") if process.is_running else ""
        running = f"{other} {running}".strip()
        for button in (ui.imagesButton, ui.labelsButton):
            self.allow(button, running)
        self.allow(ui.startButton, igniting.obstacle)
        self.allow(ui.stopButton, "" if process.is_running else _("Nothing is running."))
        ui.labelTable.enabled = not running
        ui.igniteBar.visible = process.progress is not None
        if process.progress is not None:
            ui.igniteBar.maximum = process.progress.total
            ui.igniteBar.value = process.progress.done
        ui.igniteLabel.text = igniting.status_text
        ui.igniteLabel.visible = bool(igniting.status_text)

    def recall(self) -> None:
        """Restore what was chosen before Slicer was restarted; called when the block is unfolded."""
        with self.controller.errors_shown():
            self._igniting.recall()

    def close(self) -> None:
        self._igniting.close()

    def _choose(self, title: str, chosen: Callable[[Path], None]) -> None:
        folder = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), title, "")
        if folder:
            chosen(Path(folder))

    def _fill(self) -> None:
        """One row per label of the source, with the study's organs to choose from; without organs, names are typed."""
        table, source = self.ui.labelTable, self._listed
        labels = list(source.images_with) if source is not None else []
        table.setRowCount(len(labels))
        for number, label in enumerate(labels):
            shown = _("{some} of {all}").format(some=source.images_with[label], all=source.images)
            for column, text in enumerate((str(label), shown)):
                item = qt.QTableWidgetItem(text)
                item.setFlags(qt.Qt.ItemIsEnabled)
                table.setItem(number, column, item)
            table.setCellWidget(number, 2, self._organ_box(label, list(source.study.values())))

    def _organ_box(self, label: int, organs: list[str]) -> Any:
        box = qt.QComboBox()
        name = self._igniting.names[label]
        if not organs:
            box.setEditable(True)
            box.addItem(name)
            box.connect("editTextChanged(QString)", lambda text: self._igniting.name(label, text.strip() or None))
            return box
        for text in (_CHOOSE, *organs, _UNUSED):
            box.addItem(text)
        choices = [None, *organs, ""]
        box.currentIndex = choices.index(name) if name in choices else 0

        def on_choice(index: int) -> None:
            self._igniting.name(label, choices[index])

        box.connect("currentIndexChanged(int)", on_choice)
        return box
