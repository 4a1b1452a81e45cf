"""PySide6 objects presented to a module as in PythonQt: properties are attributes, signals go by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any

from PySide6.QtCore import QObject, SignalInstance
from PySide6.QtGui import Qt

_ALIASES = {"name": "objectName"}


class Wrapped:
    """One Qt object. A property is read and set as an attribute and is not callable; what is neither property nor
    signal is a method."""

    def __init__(self, qt_object: QObject) -> None:
        object.__setattr__(self, "_qt", qt_object)

    def __getattr__(self, name: str) -> Any:
        qt_object = object.__getattribute__(self, "_qt")
        name = _ALIASES.get(name, name)
        if qt_object.metaObject().indexOfProperty(name) >= 0:
            return wrap(qt_object.property(name))
        found = getattr(qt_object, name)
        if isinstance(found, SignalInstance):
            return NamedSignal(found)
        return _method(found) if callable(found) else wrap(found)

    def __setattr__(self, name: str, value: Any) -> None:
        name = _ALIASES.get(name, name)
        if self._qt.metaObject().indexOfProperty(name) < 0:
            raise AttributeError(f"{self.className()} has no property {name!r}")
        self._qt.setProperty(name, wrapped_tip(value) if name == "toolTip" else unwrap(value))

    def connect(self, signature: str, receiver: Callable) -> bool:
        """``connect("clicked(bool)", f)``; ValueError where there is no such signal."""
        self._signal(signature).connect(receiver)
        return True

    def disconnect(self, signature: str, receiver: Callable | None = None) -> bool:
        self._signal(signature).disconnect(receiver)
        return True

    def className(self) -> str:
        return self._qt.metaObject().className()

    def _signal(self, signature: str) -> NamedSignal:
        found = getattr(self._qt, signature.split("(")[0], None)
        if not isinstance(found, SignalInstance):
            raise ValueError(f"{self.className()} has no signal {signature}")
        types = signature[signature.index("(") + 1 : signature.rindex(")")]
        return NamedSignal(found, len(types.split(",")) if types else 0)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Wrapped) and other._qt is self._qt

    def __hash__(self) -> int:
        return hash(id(self._qt))

    def __repr__(self) -> str:
        return f"<{self.className()} {self._qt.objectName()!r}>"


def wrapped_tip(text: str) -> str:
    """A tool tip as the application changes it, which turns plain text into HTML so that its lines are wrapped."""
    return text if not text or Qt.mightBeRichText(text) else Qt.convertFromPlainText(text, Qt.WhiteSpaceNormal)


class NamedSignal:
    """A signal; a receiver gets as many arguments as it takes, and no more than the signal's signature names."""

    _receivers: dict[tuple, Callable] = {}  # noqa: RUF012 (one table for the process: Qt wants the same object back)

    def __init__(self, signal: SignalInstance, sends: int = 2) -> None:
        self._signal, self._sends = signal, sends

    def connect(self, receiver: Callable) -> None:
        call = _OF_LENGTH[min(_positional(receiver), self._sends)](receiver)
        self._receivers[(repr(self._signal), receiver)] = call
        self._signal.connect(call)

    def disconnect(self, receiver: Callable | None = None) -> None:
        if receiver is None:
            self._signal.disconnect()
        else:
            self._signal.disconnect(self._receivers.pop((repr(self._signal), receiver)))

    def emit(self, *arguments: Any) -> None:
        self._signal.emit(*[unwrap(argument) for argument in arguments])


class WrappedClass:
    """A Qt class: calling it makes a wrapped object; its attributes are enums and static functions."""

    def __init__(self, qt_class: type) -> None:
        self._qt_class = qt_class

    def __call__(self, *arguments: Any) -> Any:
        return wrap(self._qt_class(*[unwrap(argument) for argument in arguments]))

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._qt_class, name)
        return _method(found) if inspect.isroutine(found) else found

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(unwrap(instance), self._qt_class)


def wrap(value: Any) -> Any:
    if isinstance(value, QObject):
        return Wrapped(value)
    if isinstance(value, list):
        return [wrap(item) for item in value]
    return value


def unwrap(value: Any) -> Any:
    if isinstance(value, Wrapped):
        return value._qt
    if isinstance(value, WrappedClass):
        return value._qt_class
    return value


def _method(function: Callable) -> Callable:
    def call(*arguments: Any) -> Any:
        return wrap(function(*[unwrap(argument) for argument in arguments]))

    return call


_OF_LENGTH = (  # PySide counts the parameters of a function to choose how many arguments it sends
    lambda receiver: lambda: receiver(),
    lambda receiver: lambda a: receiver(wrap(a)),
    lambda receiver: lambda a, b: receiver(wrap(a), wrap(b)),
)


def _positional(receiver: Callable) -> int:
    function = getattr(receiver, "__func__", receiver)
    if isinstance(function, FunctionType) and not hasattr(function, "__wrapped__"):  # most are, and its code knows
        code = function.__code__
        return 99 if code.co_flags & inspect.CO_VARARGS else code.co_argcount - (function is not receiver)
    parameters = inspect.signature(receiver).parameters.values()
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return 99
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(parameter.kind in kinds for parameter in parameters)
