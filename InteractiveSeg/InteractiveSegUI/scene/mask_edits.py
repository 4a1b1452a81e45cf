"""Manual changes of a mask, as marks, and the slices in which masks differ."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.prompts.scribbles import Scribbles


def marks_of_difference(one: PackedMask | None, other: PackedMask | None, label: int) -> Scribbles:
    """Voxels of one mask that the other lacks, as marks."""
    if one is None:
        return Scribbles.none()
    voxels = one.mask_kji if other is None else one.mask_kji & ~other.within(one.box)
    indices = np.argwhere(voxels) + np.array(one.box.start_kji)
    return Scribbles(indices, np.full(len(indices), label))


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
