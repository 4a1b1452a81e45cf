"""``slicer.parameterNodeWrapper``: typed fields kept in a ``vtkMRMLScriptedModuleNode`` and tied to widgets.

As strict as Slicer's: each kind of widget shows the types that Slicer's connector for it shows, a combo box loses its
items to the choices of the field, a spin box without limits gets those of its type, and a value that is no choice is
refused, also where it comes from the node.
"""

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
class Minimum:
    minimum: float


@dataclass(frozen=True)
class Maximum:
    maximum: float


@dataclass(frozen=True)
class Choice:
    choices: typing.Sequence[Any]


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
        self.notes: list[Any] = []
        default = getattr(cls, name, None)
        if typing.get_origin(hint) is Annotated:
            hint, *self.notes = typing.get_args(hint)
            default = next((note.value for note in self.notes if isinstance(note, Default)), default)
        if isinstance(hint, UnionType) or typing.get_origin(hint) is typing.Union:
            hint = next(part for part in typing.get_args(hint) if part is not type(None))
        self.type: type = hint
        self.is_node = issubclass(hint, vtk.vtkObject)
        if default is None and not self.is_node:
            default = next(iter(hint)) if issubclass(hint, enum.Enum) else hint()
        self.default = default

    def note(self, kind: type) -> Any:
        """The annotation of a kind, None where there is none."""
        return next((note for note in self.notes if isinstance(note, kind)), None)

    @property
    def minimum(self) -> float | None:
        found = self.note(WithinRange) or self.note(Minimum)
        return found.minimum if found else None

    @property
    def maximum(self) -> float | None:
        found = self.note(WithinRange) or self.note(Maximum)
        return found.maximum if found else None

    def read(self, wrapper: Any) -> Any:
        node = wrapper.parameterNode
        if self.is_node:
            return node.GetNodeReference(self.name)
        if not node.HasParameter(self.name):
            self.write(wrapper, self.default)
        text = node.GetParameter(self.name)
        if self.type is bool:
            return text == "True"
        if issubclass(self.type, enum.Enum):
            if text not in self.type.__members__:
                raise ValueError(f"Found {text!r} in parameter node but it is not a name in {self.type!r}")
            return self.type[text]
        return self.type(text)

    def write(self, wrapper: Any, value: Any) -> None:
        node = wrapper.parameterNode
        if self.is_node:
            node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
            return
        if not isinstance(value, self.type) and not (self.type is float and isinstance(value, int)):
            raise TypeError(f"{self.name} is {self.type.__name__}, not {value!r}")
        low, high, choice = self.minimum, self.maximum, self.note(Choice)
        if (low is not None and value < low) or (high is not None and value > high):
            raise ValueError(f"{self.name} lies between {low} and {high}, not {value}")
        if choice is not None and value not in choice.choices:
            raise ValueError(f"Value is {value}, but must be in one of the following: {choice.choices}")
        node.SetParameter(self.name, value.name if isinstance(value, enum.Enum) else str(value))


def _initialise(self: Any, node: vtk.vtkObject) -> None:
    self.parameterNode = node
    self._guis: dict[int, list[tuple[str, _Connector]]] = {}
    self._updating, self._observation = False, None
    for field in self.allParameters.values():
        field.read(self)  # Slicer reads every value once, so that one which cannot be read raises here


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
    if self._observation is None:
        self._observation = self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: _to_gui(self))
    return tag


def _disconnect_gui(self: Any, tag: int) -> None:
    for _, connector in self._guis.pop(tag, ()):
        connector.release()
    if not self._guis and self._observation is not None:  # the node outlives the scene, and the widgets, of a test
        self.RemoveObserver(self._observation)
        self._observation = None


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
        "QCheckBox": "stateChanged(int)",
        "QComboBox": "currentIndexChanged(int)",
        "QDoubleSpinBox": "valueChanged(double)",
        "QLineEdit": "textChanged(QString)",
        "QPushButton": "toggled(bool)",
        "QSpinBox": "valueChanged(int)",
    }
    _SHOWS: typing.ClassVar = {
        "ctkSliderWidget": (float, int),
        "QCheckBox": (bool,),
        "QComboBox": (int, float, str, bool, enum.Enum),
        "QDoubleSpinBox": (float, int),
        "QLineEdit": (str,),
        "QPushButton": (bool,),
        "QSpinBox": (int,),
    }

    def __init__(self, widget: Wrapped, field: _Field) -> None:
        self._widget, self._kind, self._type = widget, widget.className(), field.type
        nodes = field.is_node and self._kind == "qMRMLNodeComboBox"
        if not nodes and not any(
            field.type is shown or (shown is enum.Enum and issubclass(field.type, shown))
            for shown in self._SHOWS.get(self._kind, ())
        ):
            raise RuntimeError(
                f"Unable to create GUI connector from datatype '{field.type}' to widget type '{self._kind}'"
            )
        self._choices: list[tuple[str, Any]] = []
        if self._kind == "QComboBox":
            self._fill(field)
        elif self._kind in ("ctkSliderWidget", "QSpinBox", "QDoubleSpinBox"):
            self._limit(field)
        self._receiver: Callable | None = None

    def _fill(self, field: _Field) -> None:
        if issubclass(field.type, enum.Enum):
            label = getattr(field.type, "label", lambda each: each.name)
            self._choices = [(label(each), each) for each in field.type]
        else:
            choice = field.note(Choice)
            if choice is None:
                raise RuntimeError("ComboBoxToStringableConnector requires the Choice annotation to be used.")
            self._choices = [(str(each), each) for each in choice.choices]
        self._widget.clear()
        for text, _value in self._choices:
            self._widget.addItem(text)

    def _limit(self, field: _Field) -> None:
        low, high = field.minimum, field.maximum
        if self._kind == "ctkSliderWidget" and (low is None or high is None):
            raise RuntimeError("Cannot have a connection to ctkSliderWidget where the float types is unbounded.")
        whole = self._kind == "QSpinBox"
        self._widget.minimum = low if low is not None else (-(2**31) if whole else float("-inf"))
        self._widget.maximum = high if high is not None else (2**31 - 1 if whole else float("inf"))

    def on_changed(self, receiver: Callable) -> None:
        self._receiver = receiver
        self._widget.connect(self._SIGNALS[self._kind], receiver)

    def release(self) -> None:
        self._widget.disconnect(self._SIGNALS[self._kind], self._receiver)

    def read(self) -> Any:
        if self._kind == "qMRMLNodeComboBox":
            return self._widget.currentNode()
        if self._kind in ("QCheckBox", "QPushButton"):
            return self._widget.checked
        if self._kind == "QComboBox":
            return self._choices[self._widget.currentIndex][1]
        return self._widget.text if self._kind == "QLineEdit" else self._type(self._widget.value)

    def write(self, value: Any) -> None:
        if self._kind == "qMRMLNodeComboBox":
            self._widget.setCurrentNode(value)
        elif self._kind in ("QCheckBox", "QPushButton"):
            self._widget.checked = value
        elif self._kind == "QComboBox":
            values = [each for _text, each in self._choices]
            if value not in values:
                raise ValueError(f"Unable to find value {value} in choices {values}")
            self._widget.currentIndex = values.index(value)
        elif self._kind == "QLineEdit":
            if self._widget.text != value:
                self._widget.text = value
        else:
            self._widget.value = value


PUBLIC = {
    "parameterNodeWrapper": parameterNodeWrapper,
    "WithinRange": WithinRange,
    "Minimum": Minimum,
    "Maximum": Maximum,
    "Choice": Choice,
    "Default": Default,
}
