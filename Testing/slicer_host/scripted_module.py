"""``slicer.ScriptedLoadableModule``: the base classes of a scripted module, as far as a module uses them."""

from __future__ import annotations

import importlib
import unittest
from pathlib import Path
from types import ModuleType, SimpleNamespace

import slicer
import vtk
from PySide6.QtCore import Property
from PySide6.QtWidgets import QSizePolicy, QVBoxLayout

from slicer_host.mrml_widgets import qMRMLWidget
from slicer_host.pythonqt import Wrapped

_SCROLL_BAR = 55


class ScriptedLoadableModule:
    def __init__(self, parent: SimpleNamespace) -> None:
        super().__init__()
        self.parent = parent
        self.moduleName = type(self).__name__

    def resourcePath(self, filename: str) -> str:
        return str(Path(self.parent.path).parent / "Resources" / filename)

    def getDefaultModuleDocumentationLink(self) -> str:
        return ""


class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """What a module's widget lies in; it outlives a Reload, and knows whether the module is shown."""

    def __init__(self) -> None:
        super().__init__()
        QVBoxLayout(self).setContentsMargins(0, 0, 0, 0)
        self.setSizePolicy(QSizePolicy.Policy.Minimum, QSizePolicy.Policy.Minimum)
        self._is_entered = False

    def show_module(self, shown: bool) -> None:
        """As Slicer's panel of modules does before it calls ``enter``."""
        if shown:
            self.setSizePolicy(QSizePolicy.Policy.Minimum, self.sizePolicy().verticalPolicy())
        self._is_entered = shown

    def dock_width(self) -> int:
        """The least width of the dock, which adds that of a scroll bar along the bottom. A widget that must not shrink
        counts with the width that it would like.
        """
        may_shrink = self.sizePolicy().horizontalPolicy() != QSizePolicy.Policy.Minimum
        hint = self.minimumSizeHint() if may_shrink else self.sizeHint()
        return hint.width() + _SCROLL_BAR

    isEntered = Property(bool, lambda self: self._is_entered)


class ScriptedLoadableModuleWidget:
    def __init__(self, parent: Wrapped | None = None) -> None:
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = False
        if parent is None:
            parent = Wrapped(qSlicerScriptedLoadableModuleWidget())
        self.parent = parent
        self.layout = parent.layout()

    def resourcePath(self, filename: str) -> str:
        return str(Path(getattr(slicer.modules, self.moduleName.lower()).path).parent / "Resources" / filename)

    def setup(self) -> None:
        pass

    def cleanup(self) -> None:
        pass


class ScriptedLoadableModuleLogic:
    def __init__(self, parent: object = None) -> None:
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Logic")

    def getParameterNode(self) -> vtk.vtkObject:
        """The scene's one parameter node of this module, made where there is none."""
        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
            node.UnRegister(None)
            node.SetSingletonTag(self.moduleName)
            node.SetModuleName(self.moduleName)
            node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
            node = slicer.mrmlScene.AddNode(node)
        if node.GetAttribute("ModuleName") != self.moduleName:
            node.SetAttribute("ModuleName", self.moduleName)
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    def runTest(self) -> None:
        pass

    def delayDisplay(self, message: str, _msec: int | None = None) -> None:
        pass


PUBLIC = {
    cls.__name__: cls
    for cls in (
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
    )
}


def instantiate(path: Path, name: str) -> ModuleType:
    """Run the module's file and its module class, as the application does at its start."""
    module = importlib.import_module(name)
    module.description = getattr(module, name)(SimpleNamespace(path=str(path)))
    return module
