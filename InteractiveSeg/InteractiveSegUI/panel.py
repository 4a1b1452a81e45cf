"""The panel: its sections from top to bottom, on one controller."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
import vtk

from InteractiveSegLib.worker.client import WorkerClient
from InteractiveSegUI.box_placing import BoxPlacing
from InteractiveSegUI.casebook_work import CasebookWork
from InteractiveSegUI.controller import Controller
from InteractiveSegUI.install import Installer
from InteractiveSegUI.jobs import QProcessTransport, call_later
from InteractiveSegUI.journaling import Journaling
from InteractiveSegUI.overlays import Overlays
from InteractiveSegUI.parameters import Parameters
from InteractiveSegUI.propagating import Propagating
from InteractiveSegUI.scribbling import Scribbling
from InteractiveSegUI.sections.advanced_section import AdvancedSection
from InteractiveSegUI.sections.box_section import BoxSection
from InteractiveSegUI.sections.cases_section import CasesSection
from InteractiveSegUI.sections.editor_section import EditorSection
from InteractiveSegUI.sections.image_section import ImageSection
from InteractiveSegUI.sections.overlay_section import OverlaySection
from InteractiveSegUI.sections.packages_section import PackagesSection
from InteractiveSegUI.sections.recovery_section import RecoverySection
from InteractiveSegUI.sections.run_section import RunSection
from InteractiveSegUI.sections.scribbles_section import ScribblesSection
from InteractiveSegUI.sections.section import Section
from InteractiveSegUI.sections.slices_section import SlicesSection
from InteractiveSegUI.segmenting import Segmenting
from InteractiveSegUI.self_testing import SelfTesting
from InteractiveSegUI.slice_marking import SliceMarking


class Panel:
    """All that the module's widget shows.

    Parameters
    ----------
    layout : that the sections are added to
    parameters : of the scene
    """

    def __init__(self, layout: Any, parameters: Parameters) -> None:
        self.client = WorkerClient(QProcessTransport, call_later)
        self.controller = controller = Controller(parameters, self.client)
        self.overlays = Overlays(controller)
        self.scribbling = Scribbling(controller)
        self.installer = Installer(controller)
        self.self_testing = SelfTesting(controller)
        self.segmenting = Segmenting(controller, self.overlays, self.installer.can_compute)
        self.journaling = Journaling(controller, Path(slicer.app.temporaryPath))
        self.marking = SliceMarking(controller)
        self.propagating = Propagating(controller, self.marking, self.overlays)
        self.casebook_work = CasebookWork(controller)
        self.sections: list[Section] = [
            RecoverySection(controller, self.journaling),
            CasesSection(controller, self.casebook_work),
            ImageSection(controller),
            BoxSection(controller, BoxPlacing(controller)),
            ScribblesSection(controller, self.scribbling),
            RunSection(controller, self.segmenting),
            SlicesSection(controller, self.marking, self.propagating, self.overlays),
            OverlaySection(controller, self.overlays),
            AdvancedSection(controller),
            PackagesSection(self.installer, self.self_testing),
            EditorSection(controller, self.scribbling),
        ]
        for section in self.sections:
            layout.addWidget(section.widget)
        layout.addStretch(1)
        controller.listeners.append(self._update)
        self._shortcuts = [
            self._shortcut(key, act) for section in self.sections for key, act in section.shortcuts.items()
        ]
        self._watched: tuple = ()
        self._observation: int | None = None
        self.bind(parameters)

    def bind(self, parameters: Parameters) -> None:
        """Show the parameters of a scene; those before are let go."""
        self.unbind()
        self.controller.workspace.parameters = parameters
        for section in self.sections:
            section.bind()
        self._observation = parameters.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._on_parameters())
        self._on_parameters()

    def unbind(self) -> None:
        """The scene goes away: stop what is under way."""
        if self._observation is None:
            return
        self.scribbling.stop()
        self.journaling.close()
        self.overlays.close()
        self.controller.close()
        self.controller.parameters.RemoveObserver(self._observation)
        self._observation, self._watched = None, ()
        for section in self.sections:
            section.unbind()

    def enter(self) -> None:
        """The module is shown: its keys work."""
        for shortcut in self._shortcuts:
            shortcut.enabled = True
        for section in self.sections:
            section.enter()
        call_later(0, self.journaling.look)

    def leave(self) -> None:
        """Another module is shown."""
        for shortcut in self._shortcuts:
            shortcut.enabled = False
        for section in self.sections:
            section.leave()

    def close(self) -> None:
        """The module goes away."""
        self.leave()
        self.unbind()
        for section in self.sections:
            section.close()
        self.client.close()

    def _on_parameters(self) -> None:
        parameters = self.controller.parameters
        chosen = (parameters.volume, parameters.segmentation)
        if chosen != self._watched:
            self.overlays.forget()
            self.propagating.forget()
            self._watched = chosen
            self.controller.watch()
        else:
            self._update()

    def _update(self) -> None:
        if self._observation is not None:
            for section in self.sections:
                section.update()

    @staticmethod
    def _shortcut(key: str, act: Callable[[], None]) -> qt.QShortcut:
        shortcut = qt.QShortcut(qt.QKeySequence(key), slicer.util.mainWindow())
        shortcut.enabled = False
        shortcut.connect("activated()", act)
        return shortcut
