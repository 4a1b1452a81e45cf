"""Settings that are rarely changed: network, device, energy, overlay, keys; and the packages below them."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import qt
import slicer
from slicer.i18n import tr as _

from InteractiveSegLib.wording.plain_text import no_markup
from InteractiveSegUI.controller import Controller
from InteractiveSegUI.keys import Keys
from InteractiveSegUI.sections.section import Section


class MoreSection(Section):
    ui_file: ClassVar[str] = "More.ui"

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self._updating = False
        for text, model in (
            (_("Standard (two networks)"), "ensemble"),
            (_("Prompted, sees box and scribbles"), "prompted"),
            (_("P-Net, slice by slice"), "pnet"),
            (_("PC-Net, in 3D"), "pcnet"),
        ):
            self.ui.modelBox.addItem(text, model)
        self.ui.modelBox.connect("currentIndexChanged(int)", self._on_model)
        self.on_click(self.ui.modelFolderButton, self._choose_folder)

    def offer(self, keys: Keys) -> None:
        """Connect the check box of the keyboard shortcuts."""
        self.ui.keysBox.checked = keys.are_wanted
        self.ui.keysBox.connect("toggled(bool)", lambda wanted: setattr(keys, "are_wanted", wanted))

    def add(self, section: Section) -> None:
        """Show another section within this one."""
        self.ui.moreBody.layout().addWidget(section.widget)

    def open(self) -> None:
        """Expand the section, since something in it needs attention."""
        self.ui.moreButton.collapsed = False

    def update(self) -> None:
        """Update the box of models here rather than by the parameter node, since any folder is a valid value, too."""
        box, model = self.ui.modelBox, self.controller.parameters.model
        self._updating = True
        index = box.findData(model)
        if index < 0:
            box.addItem(_("Folder {name}").format(name=Path(model).name), model)
            index = box.findData(model)
        box.currentIndex = index
        box.toolTip = no_markup(str(model)) if Path(model).is_absolute() else box.currentText
        self._updating = False

    def _on_model(self, index: int) -> None:
        if not self._updating and index >= 0:
            self.controller.parameters.model = self.ui.modelBox.itemData(index)

    def _choose_folder(self) -> None:
        folder = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Folder with a model"))
        if folder:
            self.controller.parameters.model = folder
