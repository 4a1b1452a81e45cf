"""What every section of the panel has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import qt
import slicer
from slicer.i18n import tr as _

from InteractiveSegLib.wording.plain_text import no_markup
from InteractiveSegUI.controller import Controller

_UI_FOLDER = Path(__file__).parents[2] / "Resources" / "UI"


class Section:
    """A widget made from a ``.ui`` file, with the widgets in it as attributes of ``ui``.

    Parameters
    ----------
    controller : shared by all sections

    Attributes
    ----------
    shortcuts : key -> function, of the time in which the module is shown
    """

    ui_file: ClassVar[str]

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self.widget = slicer.util.loadUI(str(_UI_FOLDER / self.ui_file))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.shortcuts: dict[str, Callable[[], None]] = {}
        self._tips: dict[str, str] = {}
        self._gui_tag: Any = None

    def bind(self) -> None:
        """Show the parameters of the scene; called again when the scene has others."""
        self._gui_tag = self.controller.parameters.connectGui(self.ui)

    def unbind(self) -> None:
        """The parameters go away."""
        if self._gui_tag is not None:
            self.controller.parameters.disconnectGui(self._gui_tag)
            self._gui_tag = None

    def update(self) -> None:
        """Bring the widgets in line with the scene; called after every change."""

    def enter(self) -> None:
        """The module is shown."""

    def leave(self) -> None:
        """The module is not shown any more."""

    def close(self) -> None:
        """The module goes away."""

    def on_click(self, button: Any, action: Callable[[], None], key: str = "", computes: bool = False) -> None:
        """Have a button, and a key that its tool tip names, call an action; its errors go to the status line.

        computes : the action needs the worker; where its packages are missing, they are offered first
        """

        def act() -> None:
            with self.controller.errors_shown():
                if computes:
                    self.controller.gate(action, essential=True)
                else:
                    action()

        def act_by_key() -> None:
            if button.enabled:
                act()

        button.connect("clicked()", act)
        if key:
            self.shortcuts[key] = act_by_key
            button.toolTip = _("{tip} Key: {key}").format(tip=button.toolTip, key=_KEY_NAMES.get(key, key))

    def allow(self, button: Any, obstacle: str, remark: str = "") -> None:
        """Let a button be pressed, or say in its tool tip why it cannot.

        obstacle : a sentence; empty where nothing is in the way
        remark : what the tool tip adds where nothing is
        """
        tip = self._tips.setdefault(button.objectName, button.toolTip)
        button.enabled = not obstacle
        shown = no_markup("\n".join(filter(None, (tip, obstacle or remark))))
        if button.toolTip != shown:
            button.toolTip = shown


_KEY_NAMES = {"Return": "Enter"}


def icon(name: str) -> qt.QIcon:
    """One of the module's own icons."""
    return qt.QIcon(str(_UI_FOLDER.parent / "Icons" / f"{name}.svg"))
