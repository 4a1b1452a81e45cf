"""``slicer.parameterNodeWrapper``: typed fields kept in a ``vtkMRMLScriptedModuleNode`` and tied to widgets."""

from __future__ import annotations

import enum
import typing
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import UnionType
from typing import Annotated, Any

import vtk

from slicer_host.pythonqt import Wrapped


@dataclass(frozen=True)
class WithinRange:
    minimum: float
    maximum: float


@dataclass(frozen=True)
class Default:
    value: Any


def parameterNodeWrapper(cls: type) -> type:
    """A class whose annotated fields are read from and written to the node given to its constructor.

    Text, numbers and flags are parameters of the node, nodes are node references: both go into the scene's file.
    """
    fields = {name: _Field(cls, name, hint) for name, hint in typing.get_type_hints(cls, include_extras=True).items()}
    for name, field in fields.items():
        setattr(cls, name, property(field.read, field.write))
    cls.allParameters = fields
    cls.__init__ = _initialise
    cls.connectGui, cls.disconnectGui = _connect_gui, _disconnect_gui
    cls.StartModify = lambda self: self.parameterNode.StartModify()
    cls.EndModify = lambda self, was: self.parameterNode.EndModify(was)
    cls.AddObserver = lambda self, event, callback, priority=0.0: self.parameterNode.AddObserver(
        event, callback, priority
    )
    cls.RemoveObserver = lambda self, tag: self.parameterNode.RemoveObserver(tag)
    return cls


class _Field:
    def __init__(self, cls: type, name: str, hint: Any) -> None:
        self.name = name
        self.limits: WithinRange | None = None
        default = getattr(cls, name, None)
        if typing.get_origin(hint) is Annotated:
            hint, *notes = typing.get_args(hint)
            self.limits = next((note for note in notes if isinstance(note, WithinRange)), None)
            default = next((note.value for note in notes if isinstance(note, Default)), default)
        if isinstance(hint, UnionType) or typing.get_origin(hint) is typing.Union:
            hint = next(part for part in typing.get_args(hint) if part is not type(None))
        self.type: type = hint
        self.is_node = issubclass(hint, vtk.vtkObject)
        if default is None and not self.is_node:
            default = next(iter(hint)) if issubclass(hint, enum.Enum) else hint()
        self.default = default

    def read(self, wrapper: Any) -> Any:
        node = wrapper.parameterNode
        if self.is_node:
            return node.GetNodeReference(self.name)
        text = node.GetParameter(self.name)
        if not text:
            return self.default
        if self.type is bool:
            return text == "True"
        return self.type[text] if issubclass(self.type, enum.Enum) else self.type(text)

    def write(self, wrapper: Any, value: Any) -> None:
        node = wrapper.parameterNode
        if self.is_node:
            node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
            return
        if not isinstance(value, self.type) and not (self.type is float and isinstance(value, int)):
            raise TypeError(f"{self.name} is {self.type.__name__}, not {value!r}")
        if self.limits and not self.limits.minimum <= value <= self.limits.maximum:
            raise ValueError(f"{self.name} lies between {self.limits.minimum} and {self.limits.maximum}, not {value}")
        node.SetParameter(self.name, value.name if isinstance(value, enum.Enum) else str(value))


def _initialise(self: Any, node: vtk.vtkObject) -> None:
    self.parameterNode = node
    self._guis: dict[int, list[tuple[str, _Connector]]] = {}
    self._updating = False
    for field in self.allParameters.values():
        if not field.is_node and not node.GetParameter(field.name):
            field.write(self, field.default)


def _connect_gui(self: Any, gui: Any) -> int:
    """Tie the widgets whose dynamic property ``SlicerParameterName`` names a field."""
    tag = max(self._guis, default=-1) + 1
    self._guis[tag] = []
    for widget in list(vars(gui).values()):
        name = widget.property("SlicerParameterName")
        if not name:
            continue
        if name not in self.allParameters:
            raise ValueError(f"the widget {widget.name} names the parameter {name}, which does not exist")
        connector = _Connector(widget, self.allParameters[name])
        connector.write(getattr(self, name))
        connector.on_changed(partial(_from_gui, self, name, connector))
        self._guis[tag].append((name, connector))
    self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: _to_gui(self))
    return tag


def _disconnect_gui(self: Any, tag: int) -> None:
    for _, connector in self._guis.pop(tag, ()):
        connector.release()


def _from_gui(self: Any, name: str, connector: _Connector) -> None:
    if not self._updating:
        setattr(self, name, connector.read())


def _to_gui(self: Any) -> None:
    if self._updating:
        return
    self._updating = True
    try:
        for connectors in list(self._guis.values()):
            for name, connector in connectors:
                connector.write(getattr(self, name))
    finally:
        self._updating = False


class _Connector:
    """One widget that shows one field."""

    _SIGNALS: typing.ClassVar = {
        "ctkSliderWidget": "valueChanged(double)",
        "qMRMLNodeComboBox": "currentNodeChanged(vtkMRMLNode*)",
        "QCheckBox": "toggled(bool)",
        "QComboBox": "currentIndexChanged(int)",
        "QDoubleSpinBox": "valueChanged(double)",
        "QLineEdit": "textChanged(QString)",
        "QSpinBox": "valueChanged(int)",
    }

    def __init__(self, widget: Wrapped, field: _Field) -> None:
        self._widget, self._kind, self._type = widget, widget.className(), field.type
        if self._kind not in self._SIGNALS:
            raise ValueError(f"{self._kind} cannot show a parameter")
        if self._kind == "ctkSliderWidget" and field.limits is None:
            raise ValueError(f"{field.name}: a slider needs Annotated[{field.type.__name__}, WithinRange(a, b)]")
        if field.limits is not None:
            widget.minimum, widget.maximum = field.limits.minimum, field.limits.maximum
        self._receiver: Callable | None = None

    def on_changed(self, receiver: Callable) -> None:
        self._receiver = receiver
        self._widget.connect(self._SIGNALS[self._kind], receiver)

    def release(self) -> None:
        self._widget.disconnect(self._SIGNALS[self._kind], self._receiver)

    def read(self) -> Any:
        if self._kind == "qMRMLNodeComboBox":
            return self._widget.currentNode()
        if self._kind == "QCheckBox":
            return self._widget.checked
        if self._kind == "QComboBox":
            return self._widget.currentText
        return self._widget.text if self._kind == "QLineEdit" else self._type(self._widget.value)

    def write(self, value: Any) -> None:
        if self._kind == "qMRMLNodeComboBox":
            self._widget.setCurrentNode(value)
        elif self._kind == "QCheckBox":
            self._widget.checked = value
        elif self._kind == "QComboBox":
            self._widget.setCurrentText(value)
        elif self._kind == "QLineEdit":
            if self._widget.text != value:
                self._widget.text = value
        else:
            self._widget.value = value


PUBLIC = {
    "parameterNodeWrapper": parameterNodeWrapper,
    "WithinRange": WithinRange,
    "Default": Default,
}
