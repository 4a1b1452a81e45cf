"""What else changes when a segment is removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from InteractiveSegUI.scene.history import State
from InteractiveSegUI.scene.workspace import MARKS, SLICES, box_key, mask_key, segment_key, start_key


def segment_removal(known: Mapping[tuple[str, ...], Any], segment_id: str) -> State:
    """The changes for removing a segment, including its masks, its box, its marks and its marked slices."""
    state: dict[tuple[str, ...], Any] = {
        segment_key(segment_id): None,
        mask_key(segment_id): None,
        box_key(segment_id): None,
        start_key(segment_id): None,
    }
    label = known[segment_key(segment_id)].label
    for key, without in ((MARKS, "without"), (SLICES, "without_label")):
        if label is not None and known.get(key) is not None:
            state[key] = getattr(known[key], without)(label)
    return state
