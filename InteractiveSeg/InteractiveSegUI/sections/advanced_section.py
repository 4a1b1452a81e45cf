"""Network, device and settings of the energy."""

from __future__ import annotations

from typing import ClassVar

import qt
import slicer
from slicer.i18n import tr as _

from InteractiveSegUI.controller import Controller
from InteractiveSegUI.sections.section import Section


class AdvancedSection(Section):
    ui_file: ClassVar[str] = "Advanced.ui"

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.on_click(self.ui.modelFolderButton, self._choose_folder)

    def _choose_folder(self) -> None:
        folder = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Folder with a model"))
        if folder:
            self.controller.parameters.model = folder
