"""Notes on what was converted, cut or ignored, with the names that their reader uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from InteractiveSegLib.notes.slice_names import ByIndex, Place, SliceNames


@dataclass(frozen=True)
class Words:
    """The reader's names for what a note is about.

    objects : label -> name; other labels are called "label 3"
    """

    objects: Mapping[int, str] = field(default_factory=dict)
    slices: SliceNames = field(default_factory=ByIndex)


@dataclass(frozen=True)
class Labelled:
    """An object, within a note."""

    label: int

    def said(self, words: Words) -> str:
        return words.objects.get(self.label, f"label {self.label}")


@dataclass(frozen=True)
class Slices:
    """A slice, or neighbours, ``last`` included, within a note."""

    axis: int
    first: int
    last: int

    @classmethod
    def at(cls, place: Place) -> Slices:
        axis, index = place
        return cls(axis, index, index)

    def said(self, words: Words) -> str:
        if self.first == self.last:
            return words.slices.one((self.axis, self.first))
        return words.slices.run(self.axis, self.first, self.last)


class Note(str):
    """A sentence that refers to objects and slices.

    As a string, it names them by label and index, as files and the command line do.

    Parameters
    ----------
    parts : one after the other
    """

    __slots__ = ("parts",)
    parts: tuple[str | Labelled | Slices, ...]

    def __new__(cls, *parts: str | Labelled | Slices) -> Note:
        note = super().__new__(cls, _joined(parts, Words()))
        note.parts = parts
        return note

    def said(self, words: Words) -> str:
        return _joined(self.parts, words)


def said(note: str, words: Words) -> str:
    """A note with the names of its reader; a plain string has none."""
    return note.said(words) if isinstance(note, Note) else note


def sentences(notes: Iterable[str], words: Words) -> str:
    """All notes joined, each ending with a full stop."""
    return " ".join(f"{said(note, words).rstrip('.')}." for note in notes)


def note_fields(notes: Iterable[str]) -> list[Any]:
    """JSON values."""
    return [[_part_field(part) for part in note.parts] if isinstance(note, Note) else note for note in notes]


def notes_of(fields: Iterable[Any]) -> tuple[str, ...]:
    """The notes of ``note_fields``. TypeError, KeyError or ValueError if they are invalid."""
    return tuple(note if isinstance(note, str) else Note(*map(_part_of, note)) for note in fields)


def _joined(parts: Iterable[str | Labelled | Slices], words: Words) -> str:
    return "".join(part if isinstance(part, str) else part.said(words) for part in parts)


def _part_field(part: str | Labelled | Slices) -> Any:
    if isinstance(part, Labelled):
        return {"label": part.label}
    if isinstance(part, Slices):
        return {"slices": [part.axis, part.first, part.last]}
    return part


def _part_of(part: Any) -> str | Labelled | Slices:
    if isinstance(part, str):
        return part
    if "label" in part:
        return Labelled(int(part["label"]))
    axis, first, last = map(int, part["slices"])
    return Slices(axis, first, last)
