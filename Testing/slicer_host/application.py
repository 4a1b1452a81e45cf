"""The parts of ``slicer`` besides MRML when the Qt application runs: app, modules, the scene, translation."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import slicer
import slicer.util
import vtk
from PySide6.QtCore import QObject, QSettings, Signal
from PySide6.QtWidgets import QApplication, QMainWindow, QWidget
from trame_slicer.core import SlicerApp

from slicer_host import mrml_widgets, packaging, parameter_node, qt_modules, scripted_module
from slicer_host.pythonqt import Wrapped, WrappedClass
from slicer_host.segment_editor import qMRMLSegmentEditorWidget
from slicer_host.slice_widgets import LayoutManager
from slicer_host.temporary import temporary_folder


class _ModuleManager(QObject):
    moduleAboutToBeUnloaded = Signal(str)


class _CoreIOManager:
    def __init__(self, core: SlicerApp) -> None:
        self._core = core

    def saveNodes(self, _filetype: str, properties: dict, _messages: object) -> bool:
        return bool(self._core.io_manager.save_scene(properties["fileName"]))

    def loadNodes(self, filetype: str, properties: dict, nodes: Any, _messages: object) -> bool:
        path = properties["fileName"]
        if filetype != "VolumeFile":
            return bool(self._core.io_manager.load_scene(path))
        name = properties.get("name", Path(path).name.split(".")[0])
        node = self._core.volumes_logic.AddArchetypeVolume(path, name, 0, vtk.vtkStringArray())
        if node is not None:
            nodes.AddItem(node)
        return node is not None


class _ApplicationSignals(QObject):
    startupCompleted = Signal()
    focusChanged = Signal(QWidget, QWidget)


class _Application:
    """``slicer.app``, as far as the module asks."""

    applicationName = "Slicer"
    majorVersion, minorVersion = 5, 12

    def __init__(self, core: SlicerApp) -> None:
        self._core, signals = core, _ApplicationSignals()
        QApplication.instance().focusChanged.connect(signals.focusChanged)
        self._signals = Wrapped(signals)
        self._layout_manager: LayoutManager | None = None
        self._manager = Wrapped(_ModuleManager())
        self.temporaryPath = str(temporary_folder("slicer-"))
        self.slicerHome = self.temporaryPath

    def connect(self, signature: str, receiver: Callable) -> None:
        self._signals.connect(signature, receiver)

    def disconnect(self, signature: str, receiver: Callable) -> None:
        self._signals.disconnect(signature, receiver)

    def moduleManager(self) -> Wrapped:
        return self._manager

    def coreIOManager(self) -> _CoreIOManager:
        return _CoreIOManager(self._core)

    def applicationLogic(self) -> Any:
        return self._core.app_logic

    def layoutManager(self) -> LayoutManager | None:
        views = qMRMLSegmentEditorWidget.views
        if self._layout_manager is None and views is not None:
            self._layout_manager = LayoutManager(views, self._core.app_logic)
        return self._layout_manager

    def processEvents(self) -> None:
        QApplication.processEvents()

    def testingEnabled(self) -> bool:
        return True

    def commandOptions(self) -> SimpleNamespace:
        return SimpleNamespace(noMainWindow=True)

    def moduleDocumentationUrl(self, name: str) -> str:
        return name


class _Modules(SimpleNamespace):
    """``slicer.modules``: module names with their logics."""


def start() -> SlicerApp:
    """Make this process look like Slicer's Python, once."""
    application = QApplication.instance() or QApplication(["slicer_host"])
    application.setOrganizationName("InteractiveSegTests")
    QSettings.setPath(QSettings.NativeFormat, QSettings.UserScope, str(temporary_folder("slicer-settings-")))
    qt_modules.CUSTOM_WIDGETS.update(mrml_widgets.WIDGETS)
    qt_modules.CUSTOM_WIDGETS["qMRMLSegmentEditorWidget"] = qMRMLSegmentEditorWidget
    qt_modules.install()
    core = SlicerApp()
    colours = slicer.vtkSlicerColorLogic()
    home = temporary_folder("slicer-home-")
    (home / "share" / "ColorFiles").mkdir(parents=True)
    core.app_logic.SetHomeDirectory(str(home))
    core.app_logic.SetShareDirectory("share")
    colours.SetMRMLApplicationLogic(core.app_logic)
    core.register_module_logic(colours, logic_name="Colors")
    _add_colours_of_files(core)
    window = QMainWindow()
    slicer.app = _Application(core)
    slicer.mrmlScene = core.scene
    slicer.modules = _Modules(
        segmentations=SimpleNamespace(logic=lambda: core.segmentations_logic),
        markups=SimpleNamespace(logic=lambda: core.markups_logic._logic),
        volumes=SimpleNamespace(logic=lambda: core.volumes_logic),
        colors=SimpleNamespace(logic=lambda: colours),
    )
    slicer.util.mainWindow = lambda: Wrapped(window)
    slicer.util.childWidgetVariables = qt_modules.child_widget_variables
    for name, widget in (*mrml_widgets.WIDGETS.items(), ("qMRMLSegmentEditorWidget", qMRMLSegmentEditorWidget)):
        setattr(slicer, name, WrappedClass(widget))
    _module("i18n", tr=lambda text: text, translate=lambda _context, text: text)
    _module("packaging", **packaging.PUBLIC)
    _module("parameterNodeWrapper", **parameter_node.PUBLIC)
    _module("ScriptedLoadableModule", __all__=list(scripted_module.PUBLIC), **scripted_module.PUBLIC)
    return core


def _add_colours_of_files(core: SlicerApp) -> None:
    """Colour tables that Slicer reads from its share folder, which slicer-core lacks."""
    from matplotlib import colormaps

    for name in ("Viridis", "Inferno"):
        node = slicer.vtkMRMLColorTableNode()
        node.SetTypeToFile()
        node.SetSingletonTag(f"File{name}.txt")
        node.SetName(name)
        node.SetSaveWithScene(False)
        node.SetNumberOfColors(256)
        for index, colour in enumerate(colormaps[name.lower()](range(256))):
            node.SetColor(index, f"{index}", *colour)
        core.scene.AddNode(node)


def _module(name: str, **members: Any) -> None:
    module = ModuleType(f"slicer.{name}")
    vars(module).update(members)
    sys.modules[module.__name__] = module
    setattr(slicer, name, module)


def load_module(path: Path, name: str) -> ModuleType:
    """Import a scripted module as the module factory does: its own folder on the path, its file run once."""
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.append(folder)
    setattr(slicer.modules, name.lower(), SimpleNamespace(path=str(path)))
    return scripted_module.instantiate(path, name)
