"""Acceptance test of a whole session by mouse events in the slice views; the module's own test runs it in Slicer."""

from __future__ import annotations

import itertools
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import vtk

from InteractiveSegLib.image.geometry import kji_to_ras
from InteractiveSegUI.scene.history import StepKind
from InteractiveSegUI.scene.parameters import PropagateMethod
from InteractiveSegUI.scene.sample_image import load_sample
from InteractiveSegUI.scene.segment_io import label_of
from InteractiveSegUI.scene.workspace import MARKS, box_key, mask_key

if TYPE_CHECKING:
    from InteractiveSegUI.panel import Panel

_LONGEST_S = 300.0
_SLICE_K = 40
_CORNERS_JI = ((80, 60), (112, 92))  # round the frontal horns of the sample image
_OBJECT_JI, _BACKGROUND_JI = ((104, 70), (96, 72)), ((84, 62), (84, 66))
_STEPS = 6


class Acceptance:
    """Plays a session on the panel that is shown; a failure raises AssertionError and names the step."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel

    def play(self) -> str:
        """Run all steps in order and return one line on the result. The log names each step."""
        started, box = time.monotonic(), self._ui("updateBox")
        wanted, box.checked = box.checked, False
        try:
            count = self._play()
        finally:
            box.checked = wanted
        return f"InteractiveSeg acceptance: {count} steps passed in {time.monotonic() - started:.0f} s."

    def _play(self) -> int:
        """Run the steps and return their number."""
        steps = (
            self._load,
            self._place_box,
            self._segment,
            self._scribble,
            self._fine_tune,
            self._undo_and_redo,
            self._second_object,
            self._answer_a_click,
            self._edit_by_hand,
            self._propagate,
            self._save_and_reload,
            self._close_under_a_brush,
        )
        for step in steps:
            name = step.__name__.strip("_").replace("_", " ")
            logging.info("InteractiveSeg acceptance: %s", name)
            try:
                step()
            except AssertionError as error:
                raise AssertionError(
                    f"{name}: {error}; the status line says: {self._controller.status.text}"
                ) from error
        return len(steps)

    @property
    def _controller(self) -> Any:
        return self._panel.controller

    def _load(self) -> None:
        volume = load_sample()
        slicer.util.setSliceViewerLayers(background=volume, fit=True)
        self._until(lambda: self._controller.parameters.volume is volume, "the loaded volume is not selected")

    def _place_box(self) -> None:
        self._show()
        self._panel.tools.toggle("box")
        for corner in _CORNERS_JI:
            self._drag([corner])
        self._until(lambda: self._known(box_key) is not None, "two clicks made no box")
        assert self._panel.tools.current is None, "the tool stayed active"

    def _segment(self) -> None:
        self._panel.segmenting.segment()
        self._finish()
        assert self._known(mask_key) is not None, "there is no mask"

    def _scribble(self) -> None:
        for background, points in ((False, _OBJECT_JI), (True, _BACKGROUND_JI)):
            self._panel.tools.mark(background)
            self._drag(points)
            self._settle()
        self._panel.tools.stop()
        labels = set(self._controller.recorder.known(MARKS).drawn.labels.tolist())
        assert labels == {1, 255}, f"marks of the labels {sorted(labels)}"

    def _fine_tune(self) -> None:
        self._panel.segmenting.segment(adapt=True)
        self._finish()

    def _undo_and_redo(self) -> None:
        tuned = self._known(mask_key)
        self._controller.undo()
        self._controller.redo()
        assert self._known(mask_key).equals(tuned), "Redo gave a different mask"

    def _second_object(self) -> None:
        first, before = self._controller.parameters.segment, self._known(mask_key)
        self._controller.add_segment()
        self._place_box()
        self._segment()
        self._controller.parameters.segment = first
        assert self._known(mask_key).equals(before), "the first object lost voxels to the second"

    def _answer_a_click(self) -> None:
        """A click updates the mask without a button; one Undo removes both."""
        others = self._controller.workspace.masks()
        first = self._controller.parameters.segment
        self._controller.add_segment()
        clicked = self._controller.parameters.segment
        self._ui("updateBox").checked = True
        self._show()
        self._panel.tools.toggle("point")
        self._drag([_OBJECT_JI[0]])
        self._until(lambda: self._controller.is_updating, "the click started no round")
        self._finish()
        self._panel.tools.stop()
        self._ui("updateBox").checked = False
        assert self._known(mask_key) is not None, "the click gave no mask"
        self._controller.undo()
        assert self._known(mask_key) is None, "one Undo left the mask of the click"
        label = label_of(self._controller.workspace.segmentation_node, clicked)
        assert label not in self._controller.workspace.prompts()[0].labels, "one Undo left the click"
        again = self._controller.workspace.masks()
        assert all(mask.equals(again[key]) for key, mask in others.items()), "Undo did not restore the other masks"
        self._controller.redo()
        assert self._known(mask_key) is not None, "Redo did not restore the mask"
        self._controller.undo()
        self._controller.parameters.segmentation.GetSegmentation().RemoveSegment(clicked)
        self._controller.parameters.segment = first
        self._settle()

    def _edit_by_hand(self) -> None:
        before = self._known(mask_key)
        button, editor = self._ui("editorButton"), self._ui("segmentEditor")
        button.collapsed = False
        self._settle()
        editor.setActiveEffectByName("Paint")
        self._drag(((100, 80), (92, 82)))
        self._settle()
        editor.setActiveEffect(None)
        button.collapsed = True
        after = self._known(mask_key)
        assert not after.equals(before), "painting changed nothing"
        self._controller.undo()
        assert self._known(mask_key).equals(before), "Undo did not remove the painting"

    def _propagate(self) -> None:
        for index in (_SLICE_K - 6, _SLICE_K + 6):
            self._show(index)
            self._panel.marking.mark()
        self._controller.parameters.propagate_method = PropagateMethod.SHAPE
        self._panel.propagating.propagate()
        self._finish()
        assert self._controller.history.last[1].kind is StepKind.ROUND, "the mask was not propagated"

    def _save_and_reload(self) -> None:
        masks, prompts = self._controller.workspace.masks(), self._controller.workspace.prompts()[0]
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "session.mrb")
            assert slicer.util.saveScene(path), "the scene was not saved"
            slicer.mrmlScene.Clear(0)
            slicer.util.loadScene(path)
        self._settle()
        again, found = self._controller.workspace.prompts()[0], self._controller.workspace.masks()
        assert all(found[key].equals(mask) for key, mask in masks.items()), "a mask changed in the file"
        assert again.scribbles.equals(prompts.scribbles), "scribbles changed in the file"
        assert dict(again.boxes) == dict(prompts.boxes), "boxes changed in the file"

    def _close_under_a_brush(self) -> None:
        self._show()
        self._panel.tools.mark(background=False)
        self._drag(_OBJECT_JI)
        slicer.mrmlScene.Clear(0)
        self._settle()
        assert self._controller.parameters.volume is None, "the panel kept the volume of the closed scene"
        left = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        assert not left, f"{len(left)} segmentations outlived the scene"

    def _ui(self, name: str) -> Any:
        """The widget with this name, in any section."""
        return next(getattr(section.ui, name) for section in self._panel.sections if hasattr(section.ui, name))

    def _known(self, key_of: Callable[[str], tuple[str, str]]) -> Any:
        self._controller.recorder.flush()
        return self._controller.recorder.known(key_of(self._controller.parameters.segment))

    def _finish(self) -> None:
        self._until(lambda: not self._controller.is_busy, "the round did not end")
        assert not self._controller.status.is_error, "the round failed"

    def _settle(self) -> None:
        slicer.app.processEvents()
        self._controller.recorder.flush()

    @staticmethod
    def _until(done: Callable[[], bool], failure: str) -> None:
        started = time.monotonic()
        while not done():
            assert time.monotonic() - started < _LONGEST_S, failure
            slicer.app.processEvents()

    def _show(self, index: int = _SLICE_K) -> None:
        """Show a slice in the axial view and move the mouse into it."""
        self._view().mrmlSliceNode().JumpSliceByOffsetting(*self._ras((index, 96, 76)))
        self._event("EnterEvent", self._xy(_CORNERS_JI[0], index))
        self._event("MouseMoveEvent", self._xy(_CORNERS_JI[0], index))
        slicer.app.processEvents()

    def _drag(self, points_ji: tuple[tuple[int, int], ...] | list[tuple[int, int]]) -> None:
        """Press at the first point, move along the others, release at the last."""
        places = np.array([self._xy(point) for point in points_ji])
        self._event("MouseMoveEvent", places[0])
        self._event("LeftButtonPressEvent", places[0])
        for start, stop in itertools.pairwise(places):
            for share in np.linspace(0, 1, _STEPS)[1:]:
                self._event("MouseMoveEvent", start + share * (stop - start))
        self._event("LeftButtonReleaseEvent", places[-1])
        slicer.app.processEvents()

    def _event(self, name: str, xy: Any) -> None:
        interactor = self._view().sliceView().interactor()
        interactor.SetEventInformation(round(xy[0]), round(xy[1]), 0, 0, chr(0), 0, None)
        interactor.InvokeEvent(name)

    def _xy(self, point_ji: tuple[int, int], index: int = _SLICE_K) -> tuple[float, float]:
        to_xy = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self._view().mrmlSliceNode().GetXYToRAS(), to_xy)
        return to_xy.MultiplyPoint((*self._ras((index, *point_ji)), 1.0))[:2]

    def _ras(self, kji: tuple[int, int, int]) -> tuple[float, float, float]:
        return tuple(kji_to_ras(np.array([kji], float), self._controller.workspace.geometry())[0])

    @staticmethod
    def _view() -> Any:
        return slicer.app.layoutManager().sliceWidget("Red")
