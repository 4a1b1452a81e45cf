"""The left mouse button in the slice views: paths drawn from press to release."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import qt
import slicer
import vtk
from numpy.typing import NDArray

_PRIORITY = 2.0  # higher than that of the views and of the nodes placed in them
_STEP_PIXELS = 2.0  # between two points of a path
_COLOUR, _WIDTH = (1.0, 1.0, 0.0), 2.0
_LAYOUT_CHANGED = "layoutChanged(int)"
_EVENTS = ("LeftButtonPressEvent", "MouseMoveEvent", "LeftButtonReleaseEvent")


class ViewMouse:
    """Intercepts the left button in all slice views of the layout, and shows the path being drawn.

    Clicks with Shift, Ctrl or Alt are left to the views.

    Parameters
    ----------
    on_path : called with the slice view and the points (N, 3) in RAS mm, from where the button was pressed to where it
        was released
    """

    def __init__(self, on_path: Callable[[slicer.vtkMRMLSliceNode, NDArray[np.float64]], None]) -> None:
        self._on_path = on_path
        # Keep references to the interactors: if only its observers refer to one, Python collects both as a reference
        # cycle, and the application crashes at the next event.
        self._taken: list[tuple[Any, Any, list[int]]] = []
        self._path: _Path | None = None

    def take(self) -> None:
        """Start intercepting, also in the views of later layouts."""
        self.give_back()
        layout = slicer.app.layoutManager()
        if layout is None:
            return
        for name in layout.sliceViewNames():
            widget = layout.sliceWidget(name)
            view, interactor = widget.sliceView(), widget.sliceView().interactor()
            tags = [self._observe(widget, interactor, event) for event in _EVENTS]
            view.setViewCursor(qt.QCursor(qt.Qt.CrossCursor))
            self._taken.append((view, interactor, tags))
        if self._taken:
            layout.connect(_LAYOUT_CHANGED, self._on_layout)

    def give_back(self) -> None:
        """Stop intercepting; a path being drawn is dropped."""
        if self._path is not None:
            self._path.close()
            self._path = None
        taken, self._taken = self._taken, []
        if taken:
            slicer.app.layoutManager().disconnect(_LAYOUT_CHANGED, self._on_layout)
        for view, interactor, tags in taken:
            for tag in tags:
                interactor.RemoveObserver(tag)
            view.unsetViewCursor()

    def _on_layout(self, _layout: int) -> None:
        self.take()

    def _observe(self, widget: Any, interactor: Any, event: str) -> int:
        def call(*_args: Any) -> None:
            command = interactor.GetCommand(tag)  # handling the event may remove it
            if self._is_taken(widget, interactor, event):
                command.SetAbortFlag(1)

        tag = interactor.AddObserver(event, call, _PRIORITY)
        return tag

    def _is_taken(self, widget: Any, interactor: Any, event: str) -> bool:
        """Handle an event; return whether to keep it from the view."""
        if event == "LeftButtonPressEvent":
            if interactor.GetShiftKey() or interactor.GetControlKey() or interactor.GetAltKey():
                return False
            self._path = _Path(widget)
        path = self._path
        if path is None or path.widget is not widget:
            return False
        path.add(interactor.GetEventPosition())
        if event == "LeftButtonReleaseEvent":
            self._path = None
            path.close()
            self._on_path(widget.mrmlSliceNode(), path.points_ras)
        return True


class _Path:
    """The path being drawn in one view, and its line there."""

    def __init__(self, widget: Any) -> None:
        self.widget = widget
        self._points_xy: list[tuple[float, float]] = []
        self._to_ras = slicer.util.arrayFromVTKMatrix(widget.mrmlSliceNode().GetXYToRAS())
        self._line = vtk.vtkPolyData()
        mapper = vtk.vtkPolyDataMapper2D()
        mapper.SetInputData(self._line)
        self._actor = vtk.vtkActor2D()
        self._actor.SetMapper(mapper)
        self._actor.GetProperty().SetColor(*_COLOUR)
        self._actor.GetProperty().SetLineWidth(_WIDTH)
        self._renderer.AddViewProp(self._actor)

    @property
    def points_ras(self) -> NDArray[np.float64]:
        xy = np.array(self._points_xy, float)
        homogeneous = np.column_stack([xy, np.zeros(len(xy)), np.ones(len(xy))])
        return (homogeneous @ self._to_ras.T)[:, :3]

    def add(self, xy: tuple[int, int]) -> None:
        """Add a mouse position, unless it is close to the previous one."""
        if self._points_xy and np.hypot(*np.subtract(xy, self._points_xy[-1])) < _STEP_PIXELS:
            return
        self._points_xy.append((float(xy[0]), float(xy[1])))
        points, cells = vtk.vtkPoints(), vtk.vtkCellArray()
        for x, y in self._points_xy:
            points.InsertNextPoint(x, y, 0.0)
        cells.InsertNextCell(len(self._points_xy), list(range(len(self._points_xy))))
        self._line.SetPoints(points)
        self._line.SetLines(cells)
        self.widget.sliceView().scheduleRender()

    def close(self) -> None:
        self._renderer.RemoveViewProp(self._actor)
        self.widget.sliceView().scheduleRender()

    @property
    def _renderer(self) -> Any:
        return self.widget.sliceView().renderWindow().GetRenderers().GetFirstRenderer()
