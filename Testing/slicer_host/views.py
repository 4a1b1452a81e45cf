"""Slicer's slice views, rendered off screen: they accept mouse events and give pictures."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import vtk
from numpy.typing import NDArray
from trame_slicer.core import SlicerApp
from trame_slicer.views import DirectViewFactory, SliceView, ViewLayoutDefinition, direct_view_factory
from trame_slicer.views.render_scheduler import NoScheduleRendering

_LAYOUTS = {
    "Red": ViewLayoutDefinition.axial_view,
    "Green": ViewLayoutDefinition.coronal_view,
    "Yellow": ViewLayoutDefinition.sagittal_view,
}


class Views:
    """The three slice views of Slicer's usual layout."""

    def __init__(self, core: SlicerApp, size: tuple[int, int] = (400, 400)) -> None:
        direct_view_factory.DirectRendering = NoScheduleRendering  # a picture renders; an event in a test need not
        core.view_manager.register_factory(DirectViewFactory(do_render_offscreen=True))
        self._views: dict[str, SliceView] = {}
        for name, layout in _LAYOUTS.items():
            view = core.view_manager.create_view(layout())
            view.render_window().SetSize(*size)
            view.interactor().UpdateSize(*size)
            self._views[name] = view
        core.view_manager.set_current_view_ids(list(_LAYOUTS))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._views)

    def __getitem__(self, name: str) -> SliceView:
        return self._views[name]

    def show(self, volume_node: vtk.vtkObject) -> None:
        for view in self._views.values():
            view.set_background_volume_id(volume_node.GetID())
            view.reset_view()

    def jump(self, ras: tuple[float, float, float]) -> None:
        for view in self._views.values():
            view.get_view_node().JumpSliceByOffsetting(*ras)

    def display_of(self, name: str, ras: tuple[float, float, float]) -> tuple[int, int]:
        """Pixel of a view in which a point of the patient is seen."""
        ras_to_xy = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self._views[name].get_view_node().GetXYToRAS(), ras_to_xy)
        x, y, _, _ = ras_to_xy.MultiplyPoint((*ras, 1.0))
        return round(x), round(y)

    def enter(self, name: str) -> None:
        """The mouse comes into a view."""
        self._views[name].interactor().InvokeEvent("EnterEvent")

    def move(self, name: str, at: tuple[int, int]) -> None:
        self._event(name, at, "MouseMoveEvent")

    def click(self, name: str, at: tuple[int, int]) -> None:
        self.move(name, at)
        self._event(name, at, "LeftButtonPressEvent")
        self._event(name, at, "LeftButtonReleaseEvent")

    def drag(self, name: str, points: list[tuple[int, int]]) -> None:
        """Press at the first point, move along the others, release at the last."""
        self.move(name, points[0])
        self._event(name, points[0], "LeftButtonPressEvent")
        for start, stop in itertools.pairwise(points):
            for step in np.linspace(0, 1, 6)[1:]:
                at = np.array(start) + step * np.subtract(stop, start)
                self.move(name, (round(at[0]), round(at[1])))
        self._event(name, points[-1], "LeftButtonReleaseEvent")

    def picture(self, name: str) -> NDArray[np.uint8]:
        """(rows, columns, 3) RGB."""
        window = self._views[name].render_window()
        self._views[name].interactor().Render()
        grabber = vtk.vtkWindowToImageFilter()
        grabber.SetInput(window)
        grabber.ReadFrontBufferOff()
        grabber.Update()
        image = grabber.GetOutput()
        width, height, _ = image.GetDimensions()
        pixels = vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
        return pixels.reshape(height, width, -1)[::-1, :, :3].copy()

    def _event(self, name: str, at: tuple[int, int], event: str) -> None:
        interactor = self._views[name].interactor()
        interactor.SetEventInformation(at[0], at[1], 0, 0, chr(0), 0, None)
        interactor.InvokeEvent(event)


def save_png(path: Path, *pictures: NDArray[np.uint8]) -> None:
    """Pictures of one height side by side."""
    from PIL import Image

    Image.fromarray(np.concatenate(pictures, axis=1)).save(path, optimize=True)
