"""Why the mask of an object is empty, as far as is known, in a sentence for the user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.notes.notes import Labelled, Note
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.segmenting.rounds import ObjectMask
from InteractiveSegLib.wording.counting import counted


def empty_notes(
    volume: Volume, prompts: Prompts, found: Mapping[int, ObjectMask], kept: Mapping[int, ObjectMask]
) -> list[str]:
    """A note for each label whose mask in a round is empty.

    Parameters
    ----------
    found : label -> mask of each object alone
    kept : label -> the same without the voxels that went to other objects
    """
    empty = [label for label, mask in kept.items() if not mask.bits.any()]
    winners = _winners({label: found[label] for label in empty}, kept)
    return [
        Note("the mask of ", Labelled(label), " is empty: ", *_reason(volume, prompts, label, found[label], winners))
        for label in empty
    ]


def _reason(
    volume: Volume, prompts: Prompts, label: int, own: ObjectMask, winners_of: Mapping[int, Sequence[int]]
) -> list[str | Labelled]:
    """Parts of a note.

    winners_of : as for ``_winners``
    """
    box = prompts.boxes.get(label)
    if own.bits.any():
        winners = winners_of[label]
        twice = [other for other in winners if box is not None and prompts.boxes.get(other) == box]
        if twice:
            went = ", to which all voxels went; give each object its own box"
            return ["it has the same box as ", Labelled(twice[0]), went]
        listed = [part for other in winners for part in (", ", Labelled(other))][1:]
        voxels = counted(_count(own), "voxel", "voxels")
        return [
            f"all {voxels} found for it are more likely to belong to ",
            *listed,
            "; scribble on both to separate them",
        ]
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


def _winners(lost: Mapping[int, ObjectMask], kept: Mapping[int, ObjectMask]) -> dict[int, list[int]]:
    """For each object that lost all its voxels, the labels that got them, ascending."""
    claimed = {label: own for label, own in lost.items() if own.bits.any()}
    if not claimed:
        return {}
    whole = reduce(BoundingBox.union, (mask.grid.crop for mask in kept.values()))
    labels = np.zeros(whole.shape_kji, np.uint8)
    for label, mask in kept.items():
        labels[mask.grid.crop.counted_from(whole).slices][mask.mask] = label
    return {
        label: np.unique(labels[own.grid.crop.counted_from(whole).slices][own.mask]).tolist()
        for label, own in claimed.items()
    }


def _only_value(volume: Volume, crop: BoundingBox) -> float | None:
    """The one value of all finite voxels in a part of the image; None if there are several values."""
    values = volume.array_kji[crop.slices]
    values = values[np.isfinite(values)]
    return float(values[0]) if values.min() == values.max() else None
