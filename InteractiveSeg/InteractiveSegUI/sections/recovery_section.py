"""Offers to recover a session interrupted by a crash; shown only while there is one."""

from __future__ import annotations

import time
from typing import ClassVar

from slicer.i18n import tr as _

from InteractiveSegUI.actions.journaling import Journaling
from InteractiveSegUI.controller import Controller
from InteractiveSegUI.sections.section import Section


class RecoverySection(Section):
    ui_file: ClassVar[str] = "Recovery.ui"

    def __init__(self, controller: Controller, journaling: Journaling) -> None:
        super().__init__(controller)
        self._journaling = journaling
        self.on_click(self.ui.recoverButton, journaling.recover)
        self.on_click(self.ui.discardButton, journaling.discard)
        self.widget.visible = False

    def update(self) -> None:
        self.widget.visible = bool(self._journaling.found)
        if self._journaling.found:
            state = self._journaling.found[0].state
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(state.time))
            self.ui.recoveryLabel.text = _("A session on {name}, {when}, was interrupted.").format(
                name=state.volume.name, when=when
            )
