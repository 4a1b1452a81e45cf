"""A user of the panel in the test bed: presses its buttons, draws with the mouse in the slice views, and waits."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from warm_worker import warm_worker_command

REPOSITORY = Path(__file__).resolve().parents[1]
MODULE_FILE = REPOSITORY / "InteractiveSeg" / "InteractiveSeg.py"
_IDLE_S = 0.004  # where no event waits: a person's event loop sleeps until one comes


@cache
def bed() -> Any:
    """Start the test bed once in this process; returns its slice views."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    if str(REPOSITORY / "Testing") not in sys.path:
        sys.path.insert(0, str(REPOSITORY / "Testing"))
    from slicer_host.application import load_module, start
    from slicer_host.segment_editor import qMRMLSegmentEditorWidget
    from slicer_host.temporary import temporary_folder
    from slicer_host.views import Views

    programs = temporary_folder("programs-")
    python_slicer = programs / "PythonSlicer"  # Slicer has it on its path
    python_slicer.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python_slicer.chmod(0o755)
    os.environ["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"
    core = start()
    views = qMRMLSegmentEditorWidget.views = Views(core)
    views.module = load_module(MODULE_FILE, "InteractiveSeg")
    views.module.make_importable()
    return views


class PanelSession:
    """The module's widget in a scene of its own. Nothing is updated after every stroke: a test that is about it ticks
    the box.
    """

    def __init__(self) -> None:
        import slicer

        self.views = bed()
        from InteractiveSegUI.processes import jobs

        jobs.worker_command = warm_worker_command
        slicer.mrmlScene.Clear(False)
        self.widget = self.views.module.InteractiveSegWidget()
        self.widget.setup()
        self.widget.parent.show_module(True)
        self.widget.enter()
        self.ui("updateBox").checked = False

    def reload(self) -> None:
        """As Slicer's Reload does: ``cleanup`` of the old widget, ``setup`` of a new one, and no ``enter``."""
        parent = self.widget.parent
        self.widget.cleanup()
        self.widget = self.views.module.InteractiveSegWidget(parent)
        self.widget.setup()

    def close(self) -> None:
        from InteractiveSegUI.processes import jobs

        self.widget.cleanup()
        self.spin(lambda: not jobs._running)

    @property
    def panel(self) -> Any:
        return self.widget.panel

    @property
    def controller(self) -> Any:
        return self.panel.controller

    @property
    def status(self) -> Any:
        return self.controller.status

    @property
    def parameters(self) -> Any:
        return self.controller.parameters

    def ui(self, name: str) -> Any:
        """The widget of a name, in whichever section it is."""
        for section in self.panel.sections:
            if hasattr(section.ui, name):
                return getattr(section.ui, name)
        raise AssertionError(f"no widget is called {name}")

    def tip(self, name: str) -> str:
        """The tool tip of a widget, in plain text."""
        from InteractiveSegUI.sections.section import tip_of

        return tip_of(self.ui(name))

    def press(self, name: str) -> None:
        button = self.ui(name)
        assert button.enabled, f"{name} is disabled: {self.status}"
        button.click()

    def spin(self, until: Callable[[], bool], timeout_s: float = 90.0) -> None:
        """Let the event loop run until something is so."""
        from PySide6.QtCore import QEventLoop

        started, loop = time.monotonic(), QEventLoop()
        while True:
            waits = not loop.processEvents()
            if until():
                return
            assert time.monotonic() - started < timeout_s, f"in vain: {self.status}"
            if waits:
                time.sleep(_IDLE_S)

    def settle(self) -> None:
        """Let what the module has left for a free moment happen."""
        self.spin(lambda: True)
        self.controller.recorder.flush()

    def wait(self) -> None:
        """Until the worker has answered."""
        self.spin(lambda: not self.controller.is_busy)

    def add_volume(self, array_kji: np.ndarray, ijk_to_ras: np.ndarray, name: str = "image") -> Any:
        import slicer

        node = slicer.util.addVolumeFromArray(array_kji, ijk_to_ras, name)
        node.CreateDefaultDisplayNodes()
        return node

    def choose(self, volume: Any) -> None:
        """Choose the volume in the panel and show it in the views."""
        self.ui("volumeSelector").setCurrentNode(volume)
        self.views.show(volume)

    def add_segment(self) -> str:
        self.press("addSegmentButton")
        return self.parameters.segment

    def point(self, kji: tuple[float, float, float]) -> tuple[float, float, float]:
        """A voxel of the volume in the patient, RAS mm."""
        from InteractiveSegLib.image.geometry import kji_to_ras

        return tuple(kji_to_ras(np.array([kji], float), self.controller.workspace.geometry())[0])

    def look_at(self, kji: tuple[float, float, float]) -> None:
        self.views.jump(self.point(kji))

    def place_box(self, one_kji: tuple[float, ...], other_kji: tuple[float, ...], view: str = "Red") -> None:
        """Two clicks in a slice view."""
        self.press("boxButton")
        self.look_at(one_kji)
        self.views.enter(view)
        for corner in (one_kji, other_kji):
            self.views.click(view, self.views.display_of(view, self.point(corner)))
        self.settle()

    def scribble(self, mark: str, *points_kji: tuple[float, float, float], view: str = "Red") -> None:
        """A stroke on the "object", on "background" or with "erase"; the brush is then put away."""
        self.look_at(points_kji[0])
        button = "eraseButton" if mark == "erase" else "brushButton"
        self.press("eraseButton" if mark == "erase" else f"{mark}Button")
        self.views.drag(view, [self.views.display_of(view, self.point(point)) for point in points_kji])
        self.press(button)
        self.settle()

    def click(self, kji: tuple[float, float, float], view: str = "Red") -> None:
        """A click in a slice view with the tool that is in hand."""
        self.look_at(kji)
        self.views.click(view, self.views.display_of(view, self.point(kji)))
        self.settle()

    def put_round(self, masks: dict[str, Any]) -> None:
        """As if the worker had answered: segment id -> packed mask."""
        from InteractiveSegUI.scene.history import StepKind
        from InteractiveSegUI.scene.workspace import mask_key

        found = {mask_key(segment_id): mask for segment_id, mask in masks.items()}
        self.controller.change(StepKind.ROUND, "Segment", found)

    def pick(self, box: str, kind: str, value: str) -> None:
        """Choose in a box what a kind of parameter, such as "PropagateMethod", calls by this value: by its label."""
        from InteractiveSegUI.scene import parameters

        self.ui(box).setCurrentText(getattr(parameters, kind)(value).label())

    def show_overlay(self, name: str) -> None:
        """Choose "none", "probability", "uncertainty", "confidence" or "residual"."""
        self.pick("overlayBox", "Overlay", name)

    @property
    def editor(self) -> Any:
        """The embedded Segment Editor, unfolded."""
        self.ui("editorButton").collapsed = False
        return self.ui("segmentEditor")

    def labelmap(self) -> np.ndarray:
        """(K, J, I) uint8 of the scene's masks: the labels of their segments."""
        from InteractiveSegUI.scene.segment_io import labels_of

        workspace = self.controller.workspace
        labelmap = np.zeros(workspace.geometry().shape_kji, np.uint8)
        labels = labels_of(workspace.segmentation_node)
        for segment_id, mask in workspace.masks().items():
            if mask is not None:
                labelmap[mask.box.slices][mask.mask_kji] = labels[segment_id]
        return labelmap
