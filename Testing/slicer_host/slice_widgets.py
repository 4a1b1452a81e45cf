"""``slicer.app.layoutManager()`` with its slice widgets, on the slice views of the test bed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QCursor

from slicer_host.pythonqt import Wrapped, unwrap
from slicer_host.views import Views


class _Signals(QObject):
    layoutChanged = Signal(int)


class LayoutManager:
    """As far as the module asks. One for the whole time, as its signal has to be."""

    def __init__(self, views: Views, app_logic: Any) -> None:
        self._views, self._app_logic = views, app_logic
        self._signals = Wrapped(_Signals())

    def connect(self, signature: str, receiver: Callable) -> bool:
        return self._signals.connect(signature, receiver)

    def disconnect(self, signature: str, receiver: Callable) -> bool:
        return self._signals.disconnect(signature, receiver)

    def setLayout(self, layout: int) -> None:
        """The bed has one layout; those who listen are told of another."""
        self._signals.layoutChanged.emit(layout)

    def sliceViewNames(self) -> tuple[str, ...]:
        return self._views.names

    def sliceWidget(self, name: str) -> _SliceWidget | None:
        return _SliceWidget(self._views, name) if name in self._views.names else None

    def mrmlSliceLogics(self) -> Any:
        return self._app_logic.GetSliceLogics()


class _SliceWidget:
    def __init__(self, views: Views, name: str) -> None:
        self._views, self._name = views, name

    def sliceView(self) -> _SliceView:
        return _SliceView(self._views[self._name], self._name)

    def mrmlSliceNode(self) -> Any:
        return self._views[self._name].get_view_node()


class _SliceView:
    """cursors : view name -> the cursor that was set, of all views"""

    cursors: ClassVar[dict[str, QCursor]] = {}

    def __init__(self, view: Any, name: str) -> None:
        self._view, self._name = view, name

    def interactor(self) -> Any:
        return self._view.interactor()

    def renderWindow(self) -> Any:
        return self._view.render_window()

    def scheduleRender(self) -> None:
        """The bed draws when a picture is asked for."""

    def setViewCursor(self, cursor: Any) -> None:
        cursor = unwrap(cursor)
        if not isinstance(cursor, QCursor):
            raise ValueError(f"Called setViewCursor with wrong arguments: {cursor!r}")
        self.cursors[self._name] = cursor

    def unsetViewCursor(self) -> None:
        self.cursors.pop(self._name, None)
