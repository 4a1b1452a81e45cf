"""The panel: its sections from top to bottom, on one controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
import vtk
from slicer.util import VTKObservationMixin

from InteractiveSegLib.worker.client import WorkerClient
from InteractiveSegUI.actions.box_placing import BoxPlacing
from InteractiveSegUI.actions.casebook_work import CasebookWork
from InteractiveSegUI.actions.igniting import Igniting
from InteractiveSegUI.actions.journaling import Journaling
from InteractiveSegUI.actions.overlays import Overlays
from InteractiveSegUI.actions.pointing import Pointing
from InteractiveSegUI.actions.propagating import Propagating
from InteractiveSegUI.actions.region_outline import RegionOutline
from InteractiveSegUI.actions.reviewing import Reviewing
from InteractiveSegUI.actions.scribbling import Scribbling
from InteractiveSegUI.actions.segmenting import Segmenting
from InteractiveSegUI.actions.self_testing import SelfTesting
from InteractiveSegUI.actions.slice_marking import SliceMarking
from InteractiveSegUI.actions.tools import Tools
from InteractiveSegUI.actions.updating import Updating
from InteractiveSegUI.controller import Controller
from InteractiveSegUI.keys import Keys
from InteractiveSegUI.processes.install import Installer
from InteractiveSegUI.processes.jobs import QProcessTransport, call_later
from InteractiveSegUI.scene.belongings import hide_belongings, show_belongings
from InteractiveSegUI.scene.parameters import Parameters
from InteractiveSegUI.scene.prompt_nodes import is_of_scribbles
from InteractiveSegUI.sections.cases_section import CasesSection
from InteractiveSegUI.sections.editor_section import EditorSection
from InteractiveSegUI.sections.ignite_section import IgniteSection
from InteractiveSegUI.sections.image_section import ImageSection
from InteractiveSegUI.sections.more_section import MoreSection
from InteractiveSegUI.sections.packages_section import PackagesSection
from InteractiveSegUI.sections.recovery_section import RecoverySection
from InteractiveSegUI.sections.review_section import ReviewSection
from InteractiveSegUI.sections.run_section import RunSection
from InteractiveSegUI.sections.section import Section
from InteractiveSegUI.sections.slices_section import SlicesSection
from InteractiveSegUI.sections.tools_section import ToolsSection


class Panel(VTKObservationMixin):
    """The contents of the module's widget.

    Parameters
    ----------
    layout : to which the sections are added
    parameters : of the scene
    """

    def __init__(self, layout: Any, parameters: Parameters) -> None:
        super().__init__()
        self.client = WorkerClient(QProcessTransport, call_later, lambda status: self.controller.on_worker(status))
        self.controller = controller = Controller(parameters, self.client)
        self.overlays = Overlays(controller)
        self.outline = RegionOutline(controller)
        self.scribbling = Scribbling(controller)
        placing = BoxPlacing(controller)
        self.pointing = Pointing(controller)
        self.tools = Tools(controller, self.scribbling, self.pointing, placing)
        self.installer = Installer(controller)
        self.self_testing = SelfTesting(controller)
        self.segmenting = Segmenting(controller, self.overlays, self.outline, self.installer.can_compute)
        self.updating = Updating(controller, self.segmenting, self.installer.can_compute)
        self.journaling = Journaling(controller, Path(slicer.app.temporaryPath))
        self.marking = SliceMarking(controller)
        self.propagating = Propagating(controller, self.marking, self.overlays)
        self.casebook_work = work = CasebookWork(controller)
        self.reviewing = Reviewing(controller, self.marking.view, lambda: work.is_shown, work.note_look)
        work.on_opened.append(self.reviewing.begin)
        self.igniting = Igniting(controller, lambda: work.folder, work.look_again)
        work.on_casebook.append(self.igniting.check)
        editor, more = EditorSection(controller, self.tools), MoreSection(controller)
        review = ReviewSection(controller, self.reviewing, work, editor.edit)
        ignite = IgniteSection(controller, self.igniting)
        packages = PackagesSection(self.installer, self.self_testing, more.open)
        shown: list[Section] = [
            RecoverySection(controller, self.journaling),
            ImageSection(controller, lambda: work.is_shown),
            review,
            ToolsSection(controller, self.tools, self.scribbling, placing),
            RunSection(controller, self.segmenting, self.updating, self.overlays, self.outline),
            SlicesSection(controller, self.marking, self.propagating, self.overlays),
            CasesSection(controller, work, ignite),
            more,
            editor,
        ]
        for section in shown:
            layout.addWidget(section.widget)
        layout.addStretch(1)
        more.add(packages)
        self.sections = [*shown, ignite, packages]
        for tool in (self.scribbling, self.pointing):
            tool.on_start += [editor.put_away, self.segmenting.warm_up]
        controller.listeners.append(self._update)
        actions = {key: act for section in self.sections for key, act in section.shortcuts.items()}
        of_a_case = dict.fromkeys(review.shortcuts, lambda: work.is_shown)
        self.keys = Keys({**actions, "Esc": self._escape}, {**of_a_case, "Esc": self._has_escape})
        more.offer(self.keys)
        self._chosen: tuple = (None, None)
        self._is_bound = False
        self.bind(parameters)

    def bind(self, parameters: Parameters) -> None:
        """Show the parameters of a scene in place of the previous ones."""
        self.unbind()
        self._is_bound = True
        self.controller.workspace.parameters = parameters
        for section in self.sections:
            section.bind()
        self.addObserver(parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._on_parameters)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeAddedEvent, self._on_node_added)
        self.addObserver(
            slicer.app.applicationLogic().GetInteractionNode(), vtk.vtkCommand.ModifiedEvent, self._on_mouse_mode
        )
        self._on_parameters()

    def unbind(self) -> None:
        """Called when the scene closes: stop running work."""
        if not self._is_bound:
            return
        self._is_bound = False
        self.removeObservers()
        self.tools.stop()
        self.scribbling.release()
        self.journaling.close()
        self.overlays.close()
        self.outline.close()
        self.controller.close()
        self._chosen = (None, None)
        for section in self.sections:
            section.unbind()

    def leave_scene(self) -> None:
        """Called before the scene closes. Scribbles are removed first: when a scene closes, Slicer's subject hierarchy
        looks for items of hidden segmentations that it has already removed, and logs an error for each.
        """
        self.casebook_work.leave_scene()
        self.unbind()
        for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
            if is_of_scribbles(node):
                slicer.mrmlScene.RemoveNode(node)

    def enter(self) -> None:
        """Called when the module is shown: enable its keys and select the volume shown in the views."""
        self.keys.enter()
        for section in self.sections:
            section.enter()
        self._choose_shown_volume()
        call_later(0, self.journaling.look)

    def leave(self) -> None:
        """Called when another module is shown."""
        self.keys.leave()
        for section in self.sections:
            section.leave()

    def close(self) -> None:
        """Called when the module is removed."""
        self.casebook_work.leave_window()
        self.leave()
        self.unbind()
        for section in self.sections:
            section.close()
        self.keys.close()
        self.client.close()

    def _on_parameters(self, *_args: Any) -> None:
        parameters, workspace = self.controller.parameters, self.controller.workspace
        before, chosen = self._chosen, (parameters.volume, parameters.segmentation)
        if chosen == before:
            self._update()
            return
        self._chosen = chosen
        if chosen[0] is not before[0]:
            with self.controller.errors_shown():
                workspace.choose_segmentation_of_volume()
            if parameters.segmentation is not chosen[1]:
                return  # the event of that change has updated everything
        if before[1] is not None and before[1] is not chosen[1] and before[1].GetScene() is not None:
            hide_belongings(before[1])
        if chosen[1] is not None:
            show_belongings(chosen[1], chosen[0], parameters.box_visible)
        self.overlays.forget()
        self.outline.forget()
        self.propagating.forget()
        self.segmenting.forget()
        self.controller.watch()

    def _on_node_added(self, *_args: Any) -> None:
        """Something was loaded; only afterwards is it known which volume the views show."""
        if self.controller.parameters.volume is None:
            call_later(0, self._choose_shown_volume)

    def _choose_shown_volume(self) -> None:
        if self._is_bound:
            with self.controller.errors_shown():
                self.controller.workspace.choose_shown_volume()

    def _on_mouse_mode(self, *_args: Any) -> None:
        self.keys.update()

    def _update(self) -> None:
        if self._is_bound:
            self.controller.workspace.choose_existing_segment()
            for section in self.sections:
                section.update()
            self.keys.update()

    def _has_escape(self) -> bool:
        """Esc belongs to the views while anything other than a box of this module is placed in them."""
        interaction = slicer.app.applicationLogic().GetInteractionNode()
        if interaction.GetCurrentInteractionMode() == interaction.Place:
            return self.tools.current == "box"
        return self.tools.current is not None or self.controller.is_busy

    def _escape(self) -> None:
        """Deactivate the tool; if there is none, cancel the computation."""
        if self.tools.current is not None:
            self.tools.stop()
            self.controller.say("")
        else:
            self.controller.cancel()
