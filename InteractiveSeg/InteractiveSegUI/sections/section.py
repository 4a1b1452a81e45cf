"""Base class of the panel's sections."""

from __future__ import annotations

import html
import re
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
    shortcuts : key -> function, active while the module is shown
    """

    ui_file: ClassVar[str]

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self.widget = slicer.util.loadUI(str(_UI_FOLDER / self.ui_file))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.shortcuts: dict[str, Callable[[], None]] = {}
        self._tips: dict[str, str] = {}
        self._shown_tips: dict[str, str] = {}
        self._gui_tag: Any = None

    def bind(self) -> None:
        """Show the parameters of the scene; called again for another scene's parameters."""
        self._gui_tag = self.controller.parameters.connectGui(self.ui)

    def unbind(self) -> None:
        """Disconnect from the parameters."""
        if self._gui_tag is not None:
            self.controller.parameters.disconnectGui(self._gui_tag)
            self._gui_tag = None

    def update(self) -> None:
        """Update the widgets from the scene; called after every change."""

    def enter(self) -> None:
        """Called when the module is shown."""

    def leave(self) -> None:
        """Called when another module is shown."""

    def close(self) -> None:
        """Called when the module is removed."""

    def on_click(self, button: Any, action: Callable[[], None], key: str = "", computes: bool = False) -> None:
        """Connect a button, and a key named in its tool tip, to an action; errors go to the status line.

        computes : the action needs the worker; if packages are missing, offer to install them first
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
            button.toolTip = _("{tip} Key: {key}").format(tip=tip_of(button), key=_KEY_NAMES.get(key, key))

    def allow(self, button: Any, obstacle: str, remark: str = "") -> None:
        """Enable a button, or disable it and give the reason in its tool tip.

        obstacle : a sentence; empty enables the button
        remark : added to the tool tip of an enabled button
        """
        tip = self._tips.setdefault(button.objectName, tip_of(button))
        button.enabled = not obstacle
        shown = no_markup("\n".join(filter(None, (tip, obstacle or remark))))
        if self._shown_tips.get(button.objectName, tip) != shown:
            self._shown_tips[button.objectName] = button.toolTip = shown


_KEY_NAMES = {"Return": "Enter"}


def tip_of(widget: Any) -> str:
    """A tool tip as it was set: Slicer turns plain text into a paragraph of HTML, so that its lines are wrapped."""
    found = widget.toolTip
    if not found.startswith("<p>"):
        return found
    return html.unescape(re.sub(r"<br ?/?>\n?", "\n", found.removeprefix("<p>").removesuffix("</p>")))


def icon(name: str) -> qt.QIcon:
    """One of the module's own icons."""
    return qt.QIcon(str(_UI_FOLDER.parent / "Icons" / f"{name}.svg"))
