"""Keyboard shortcuts of the module, active while it is shown, they are enabled and the user is not typing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import qt
import slicer

_SETTING = "InteractiveSeg/Keys"
_TAKES_TEXT = ("QLineEdit", "QTextEdit", "QPlainTextEdit", "QAbstractSpinBox", "QComboBox", "QAbstractItemView")
_ALWAYS = ("Ctrl+", "Esc")  # keys with these prefixes type no text


class Keys:
    """Shortcuts of the main window.

    Parameters
    ----------
    actions : key -> what it does
    applies : key -> whether it does anything at the moment; other keys always do
    """

    def __init__(self, actions: Mapping[str, Callable[[], None]], applies: Mapping[str, Callable[[], bool]]) -> None:
        self._applies = applies
        self._shortcuts = {key: self._shortcut(key, act) for key, act in actions.items()}
        self._are_shown = self._is_typing = False
        slicer.app.connect("focusChanged(QWidget*,QWidget*)", self._on_focus)

    @property
    def are_wanted(self) -> bool:
        """The user's choice, stored in the application's settings."""
        return slicer.util.settingsValue(_SETTING, True, converter=slicer.util.toBool)

    @are_wanted.setter
    def are_wanted(self, wanted: bool) -> None:
        qt.QSettings().setValue(_SETTING, wanted)
        self.update()

    def enter(self) -> None:
        """Called when the module is shown."""
        self._are_shown = True
        self.update()

    def leave(self) -> None:
        """Called when another module is shown."""
        self._are_shown = False
        self.update()

    def update(self) -> None:
        """Enable exactly the keys that apply at the moment."""
        wanted = self._are_shown and self.are_wanted
        for key, shortcut in self._shortcuts.items():
            free = not self._is_typing or key.startswith(_ALWAYS)
            enabled = wanted and free and self._applies.get(key, lambda: True)()
            if shortcut.enabled != enabled:
                shortcut.enabled = enabled

    def close(self) -> None:
        """Called when the module is removed."""
        self.leave()
        slicer.app.disconnect("focusChanged(QWidget*,QWidget*)", self._on_focus)
        for shortcut in self._shortcuts.values():
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._shortcuts = {}

    def _on_focus(self, _before: Any, widget: Any) -> None:
        self._is_typing = widget is not None and any(widget.inherits(name) for name in _TAKES_TEXT)
        self.update()

    @staticmethod
    def _shortcut(key: str, act: Callable[[], None]) -> qt.QShortcut:
        shortcut = qt.QShortcut(qt.QKeySequence(key), slicer.util.mainWindow())
        shortcut.enabled = False
        shortcut.connect("activated()", act)
        return shortcut
