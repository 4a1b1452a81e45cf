"""The widgets of CTK that the panel uses, with CTK's properties and signals."""

from __future__ import annotations

from PySide6.QtCore import Property, QEvent, QSize, Qt, Signal
from PySide6.QtWidgets import QDoubleSpinBox, QHBoxLayout, QSlider, QToolButton, QWidget

_STEPS = 1000


class ctkCollapsibleButton(QWidget):
    """A header that shows and hides what lies below it."""

    contentsCollapsed = Signal(bool)
    _HEADER = 24

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._header = QToolButton(self)
        self._header.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._header.setArrowType(Qt.ArrowType.DownArrow)
        self._header.clicked.connect(lambda: self._set_collapsed(not self._collapsed))
        self._collapsed, self._own = False, False
        self._hidden: set[QWidget] = set()
        self.setContentsMargins(0, self._HEADER, 0, 0)

    def resizeEvent(self, event) -> None:
        self._header.setGeometry(0, 0, self.width(), self._HEADER)
        super().resizeEvent(event)

    def minimumSizeHint(self) -> QSize:
        """It takes what its contents would like."""
        return self.sizeHint()

    def _set_text(self, text: str) -> None:
        self._header.setText(text)

    def _set_collapsed(self, collapsed: bool) -> None:
        if collapsed == self._collapsed:
            return
        self._collapsed = collapsed
        self._header.setArrowType(Qt.ArrowType.RightArrow if collapsed else Qt.ArrowType.DownArrow)
        for child in self.findChildren(QWidget, options=Qt.FindChildOption.FindDirectChildrenOnly):
            if child is not self._header:
                self._show(child)
        self.setMaximumHeight(self._HEADER if collapsed else 16777215)
        self.contentsCollapsed.emit(collapsed)

    def _show(self, child: QWidget) -> None:
        """A child is seen while this is open, unless it was hidden by itself, before or meanwhile."""
        self._own = True
        child.setVisible(not self._collapsed and child not in self._hidden)
        self._own = False

    def childEvent(self, event) -> None:
        child = event.child()
        if event.added() and hasattr(self, "_hidden") and isinstance(child, QWidget):
            child.installEventFilter(self)
            if self._collapsed:
                self._show(child)
        super().childEvent(event)

    def eventFilter(self, child, event) -> bool:
        if not self._own and event.type() in (QEvent.Type.HideToParent, QEvent.Type.ShowToParent):
            hidden = event.type() == QEvent.Type.HideToParent
            (self._hidden.add if hidden else self._hidden.discard)(child)
            if not hidden:
                self._show(child)
        return super().eventFilter(child, event)

    text = Property(str, lambda self: self._header.text(), _set_text)
    collapsed = Property(bool, lambda self: self._collapsed, _set_collapsed)


class ctkSliderWidget(QWidget):
    """A slider with a spin box."""

    valueChanged = Signal(float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._slider, self._spin = QSlider(Qt.Orientation.Horizontal, self), QDoubleSpinBox(self)
        self._slider.setRange(0, _STEPS)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider, 1)
        layout.addWidget(self._spin)
        self._slider.valueChanged.connect(self._on_slider)
        self._spin.valueChanged.connect(self._on_spin)

    def _on_slider(self, step: int) -> None:
        low, high = self._spin.minimum(), self._spin.maximum()
        self._spin.setValue(low + (high - low) * step / _STEPS)

    def _on_spin(self, value: float) -> None:
        low, high = self._spin.minimum(), self._spin.maximum()
        self._slider.blockSignals(True)
        self._slider.setValue(round(_STEPS * (value - low) / ((high - low) or 1)))
        self._slider.blockSignals(False)
        self.valueChanged.emit(value)

    value = Property(float, lambda self: self._spin.value(), lambda self, v: self._spin.setValue(v))
    minimum = Property(float, lambda self: self._spin.minimum(), lambda self, v: self._spin.setMinimum(v))
    maximum = Property(float, lambda self: self._spin.maximum(), lambda self, v: self._spin.setMaximum(v))
    singleStep = Property(float, lambda self: self._spin.singleStep(), lambda self, v: self._spin.setSingleStep(v))
    decimals = Property(int, lambda self: self._spin.decimals(), lambda self, v: self._spin.setDecimals(v))
    suffix = Property(str, lambda self: self._spin.suffix(), lambda self, v: self._spin.setSuffix(v))


class ctkRangeWidget(QWidget):
    """Two ends of a range, each with a spin box."""

    valuesChanged = Signal(float, float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._low, self._high = QDoubleSpinBox(self), QDoubleSpinBox(self)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for spin in (self._low, self._high):
            layout.addWidget(spin, 1)
            spin.valueChanged.connect(lambda _value: self._on_changed())
        self._setting, self._tracking = False, True

    def setValues(self, low: float, high: float) -> None:
        before = (self._low.value(), self._high.value())
        self._setting = True
        self._low.setValue(low)
        self._high.setValue(high)
        self._setting = False
        if before != (self._low.value(), self._high.value()):
            self._on_changed()

    def setRange(self, low: float, high: float) -> None:
        for spin in (self._low, self._high):
            spin.setRange(low, high)

    def _on_changed(self) -> None:
        if not self._setting:
            self.valuesChanged.emit(self._low.value(), self._high.value())

    def _set_decimals(self, decimals: int) -> None:
        for spin in (self._low, self._high):
            spin.setDecimals(decimals)

    minimumValue = Property(float, lambda self: self._low.value(), lambda self, v: self._low.setValue(v))
    maximumValue = Property(float, lambda self: self._high.value(), lambda self, v: self._high.setValue(v))
    minimum = Property(float, lambda self: self._low.minimum(), lambda self, v: self.setRange(v, self._low.maximum()))
    maximum = Property(float, lambda self: self._low.maximum(), lambda self, v: self.setRange(self._low.minimum(), v))
    singleStep = Property(float, lambda self: self._low.singleStep(), lambda self, v: self._low.setSingleStep(v))
    decimals = Property(int, lambda self: self._low.decimals(), _set_decimals)
    tracking = Property(bool, lambda self: self._tracking, lambda self, v: setattr(self, "_tracking", v))


WIDGETS = {cls.__name__: cls for cls in (ctkCollapsibleButton, ctkSliderWidget, ctkRangeWidget)}
