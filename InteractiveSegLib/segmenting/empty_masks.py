"""Why an object came out empty, as far as that is known, in a sentence for the person who drew it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.segmenting.rounds import ObjectMask
from InteractiveSegLib.wording.counting import counted
from InteractiveSegLib.wording.notes import Labelled, Note


def empty_notes(
    volume: Volume, prompts: Prompts, found: Mapping[int, ObjectMask], kept: Mapping[int, ObjectMask]
) -> list[str]:
    """A note for each label of a round without a voxel.

    Parameters
    ----------
    found : label -> mask of each object by itself
    kept : label -> the same without the voxels that went to other objects
    """
    return [
        Note("the mask of ", Labelled(label), " is empty: ", *_reason(volume, prompts, label, found, kept))
        for label, mask in kept.items()
        if not mask.bits.any()
    ]


def _reason(
    volume: Volume, prompts: Prompts, label: int, found: Mapping[int, ObjectMask], kept: Mapping[int, ObjectMask]
) -> list[str | Labelled]:
    """Parts of a note."""
    own, box = found[label], prompts.boxes.get(label)
    if own.bits.any():
        winners = [other for other in kept if other != label and _share_voxels(own, kept[other])]
        twice = [other for other in winners if box is not None and prompts.boxes.get(other) == box]
        if twice:
            went = ", to which all voxels went; give each object a box of its own"
            return ["it has the same box as ", Labelled(twice[0]), went]
        listed = [part for other in winners for part in (", ", Labelled(other))][1:]
        voxels = counted(_count(own), "voxel", "voxels")
        return [f"all {voxels} found for it are more likely of ", *listed, "; scribble on both to part them"]
    value = _only_value(volume, own.grid.crop)
    if value is not None:
        return [f"the image is constant there, every voxel has the value {value:g}"]
    if box is not None and box.size == 1:
        return ["its box holds a single voxel; draw it round the whole object, with what lies beside it outside"]
    if box is not None and 1 in box.shape_kji and 1 not in volume.geometry.shape_kji:
        return ["its box is one voxel thin; draw it round the whole object, or scribble on the object"]
    return ["nothing in its box stands out as an object; draw the box closer round it, or scribble on the object"]


def _count(mask: ObjectMask) -> int:
    return int(np.count_nonzero(mask.mask))


def _share_voxels(one: ObjectMask, other: ObjectMask) -> bool:
    start = np.maximum(one.grid.crop.start_kji, other.grid.crop.start_kji)
    stop = np.minimum(one.grid.crop.stop_kji, other.grid.crop.stop_kji)
    if (start >= stop).any():
        return False
    common = BoundingBox(start.tolist(), stop.tolist())
    parts = [mask.mask[common.counted_from(mask.grid.crop).slices] for mask in (one, other)]
    return bool((parts[0] & parts[1]).any())


def _only_value(volume: Volume, crop: BoundingBox) -> float | None:
    """The value that all finite voxels of a part of the image have; None where there are several."""
    values = volume.array_kji[crop.slices]
    values = values[np.isfinite(values)]
    return float(values[0]) if values.min() == values.max() else None
