"""The modules ``qt`` and ``ctk``, as in Slicer's Python: all of Qt under one name."""

from __future__ import annotations

import sys
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Any

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

from slicer_host import ctk_widgets
from slicer_host.pythonqt import Wrapped, WrappedClass, wrapped_tip

CUSTOM_WIDGETS: dict[str, type[QtWidgets.QWidget]] = dict(ctk_widgets.WIDGETS)
"""Widgets that ``.ui`` files may name besides Qt's own."""


class _UiLoader(QtUiTools.QUiLoader):
    def createWidget(self, name: str, parent: Any = None, object_name: str = "") -> QtWidgets.QWidget:
        if name not in CUSTOM_WIDGETS:
            widget = super().createWidget(name, parent, object_name)
            if widget is None:
                raise ValueError(f"the .ui file names the widget {name}, which the test bed does not have")
            return widget
        widget = CUSTOM_WIDGETS[name](parent)
        widget.setObjectName(object_name)
        return widget

    def load(self, device: Any, parent: Any = None) -> QtWidgets.QWidget:
        widget = super().load(device, parent)
        for each in (widget, *widget.findChildren(QtWidgets.QWidget)):
            each.setToolTip(wrapped_tip(each.toolTip()))
        return widget


@cache
def _wrapped_loader() -> Wrapped:
    """One for all files: a loader keeps nothing of what it has loaded, and looks for plugins where it is made."""
    return Wrapped(_UiLoader())


class _QtModule(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "QUiLoader":
            return _wrapped_loader
        for library in (QtCore, QtGui, QtWidgets):
            found = getattr(library, name, None)
            if found is not None:
                wrapped = isinstance(found, type) and issubclass(found, QtCore.QObject)
                return WrappedClass(found) if wrapped else found
        raise AttributeError(f"qt has no {name}")


def child_widget_variables(widget: Wrapped) -> SimpleNamespace:
    """What ``slicer.util.childWidgetVariables`` finds step by step from child to child."""
    found = (widget._qt, *widget._qt.findChildren(QtCore.QObject))
    return SimpleNamespace(**{name: Wrapped(child) for child in found if (name := child.objectName())})


def install() -> None:
    """Make ``import qt`` and ``import ctk`` work."""
    sys.modules["qt"] = _QtModule("qt")
    ctk = ModuleType("ctk")
    for name, widget in ctk_widgets.WIDGETS.items():
        setattr(ctk, name, WrappedClass(widget))
    sys.modules["ctk"] = ctk
