"""Manual changes of a mask, as marks, and the slices in which masks differ."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import reduce
from typing import Any

import numpy as np

from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.prompts.scribbles import BACKGROUND, Scribbles
from InteractiveSegLib.propagate.marked_slices import MarkedSlices
from InteractiveSegUI.scene.history import History
from InteractiveSegUI.scene.segment_io import label_of
from InteractiveSegUI.scene.workspace import MARKS, SLICES, Workspace, same, start_key


def marks_of_difference(one: PackedMask | None, other: PackedMask | None, label: int) -> Scribbles:
    """Voxels of one mask that the other lacks, as marks."""
    if one is None:
        return Scribbles.none()
    voxels = one.mask_kji if other is None else one.mask_kji & ~other.within(one.box)
    indices = np.argwhere(voxels) + np.array(one.box.start_kji)
    return Scribbles(indices, np.full(len(indices), label))


def edits_of(
    now: Mapping[tuple[str, ...], Any], known: Mapping[tuple[str, ...], Any], history: History, workspace: Workspace
) -> dict[tuple[str, ...], Any]:
    """What masks that were edited by hand change: themselves, marks, slices marked as done; empty if nothing.

    Voxels painted or erased become hard marks; painted ones take precedence. A mask that returns to an earlier state,
    as after the Segment Editor's own Undo, gives no marks. An emptied one is no longer corrected.

    Parameters
    ----------
    now : key -> mask that may have been edited
    known : key -> value before
    """
    values: dict[tuple[str, ...], Any] = {}
    erased: list[Scribbles] = []
    painted: list[Scribbles] = []
    slices: MarkedSlices | None = known.get(SLICES)
    for key, after in now.items():
        before, segment_id = known.get(key), key[1]
        if same(before, after):
            continue
        values[key] = after
        if after is None:
            values[start_key(segment_id)] = None
        label = label_of(workspace.segmentation_node, segment_id)
        off, on = marks_of_difference(before, after, BACKGROUND), marks_of_difference(after, before, label)
        if not any(same(earlier, after) for earlier in history.values(key)):
            erased.append(off)
            painted.append(on)
        if slices is not None:
            slices = slices.redrawn(label, np.concatenate([off.indices_kji, on.indices_kji]), after)
    edits = reduce(Scribbles.merged, erased + painted, Scribbles.none())
    if len(edits):
        values[MARKS] = (known.get(MARKS) or workspace.value(MARKS)).with_edits(edits)
    if values and slices is not known.get(SLICES):
        values[SLICES] = slices
    return values


def slices_of_difference(before: PackedMask | None, after: PackedMask | None, axis: int) -> set[int]:
    """Slices along an axis, 0 to 2 of kji, in which two masks differ."""
    found: set[int] = set()
    for one, other in ((before, after), (after, before)):
        if one is not None:
            differs = one.mask_kji if other is None else one.mask_kji & ~other.within(one.box)
            others = tuple(each for each in range(3) if each != axis)
            found |= set((np.flatnonzero(differs.any(axis=others)) + one.box.start_kji[axis]).tolist())
    return found


def changed_only_in(
    before: PackedMask | None, after: PackedMask | None, axis: int, slices: Collection[int]
) -> PackedMask | None:
    """A mask that is as ``after`` in these slices along an axis, and else as ``before``."""
    boxes = [mask.box for mask in (before, after) if mask is not None]
    if not boxes:
        return None
    box = boxes[0].union(boxes[-1])
    old, new = (np.zeros(box.shape_kji, bool) if mask is None else mask.within(box) for mask in (before, after))
    shape = [1, 1, 1]
    shape[axis] = box.shape_kji[axis]
    open_slices = np.isin(np.arange(box.start_kji[axis], box.stop_kji[axis]), list(slices)).reshape(shape)
    voxels = np.where(open_slices, new, old)
    return PackedMask.of_part(voxels, box) if voxels.any() else None
