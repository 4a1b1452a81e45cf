"""The effort a case took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from InteractiveSegLib.casebook.states import State

PAUSE_S = 30.0

OPENED, STROKE, EDIT, ROUND, CLOSED = "opened", "stroke", "edit", "round", "closed"
UNDONE, REDONE, REVIEWED, LOOKED = "undone", "redone", "reviewed", "looked"
CHANGED = "changed"
"""Recorded on acceptance: how much of the starting mask was changed."""
_BY_PERSONS = {OPENED, STROKE, EDIT, ROUND, CLOSED, UNDONE, REDONE, REVIEWED, LOOKED, *(state.value for state in State)}


@dataclass(frozen=True)
class Event:
    """Something that happened to a case.

    at : seconds since 1970, UTC
    data : of a stroke ``length_mm``, ``voxels`` and ``slices`` ([axis, index] each); of an edit the latter two
    """

    kind: str
    at: float
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Effort:
    """Effort on one case, all visits together.

    active_s : working time in seconds: times between two events, except those of more than 30 s
    strokes : number of scribbles, including dots and those that were undone
    drawn_mm : their total length
    edited_voxels : painted or erased by hand in the mask itself
    slices : number of slices drawn on, along any axis
    """

    active_s: float = 0.0
    strokes: int = 0
    drawn_mm: float = 0.0
    edited_voxels: int = 0
    slices: int = 0


def effort_of(events: Iterable[Event]) -> Effort:
    """Sum up the events of one case; events recorded by programs do not count."""
    events = sorted((event for event in events if event.kind in _BY_PERSONS), key=lambda event: event.at)
    strokes = [event for event in events if event.kind == STROKE]
    edits = [event for event in events if event.kind == EDIT]
    touched = {tuple(place) for event in (*strokes, *edits) for place in event.data.get("slices", ())}
    return Effort(
        active_seconds([event.at for event in events]),
        len(strokes),
        float(sum(event.data.get("length_mm", 0.0) for event in strokes)),
        int(sum(event.data.get("voxels", 0) for event in edits)),
        len(touched),
    )


def active_seconds(times: Sequence[float], pause_s: float = PAUSE_S) -> float:
    """Time between events, ascending; gaps longer than a pause do not count."""
    gaps = np.diff(np.asarray(times, float))
    return float(gaps[gaps <= pause_s].sum())
