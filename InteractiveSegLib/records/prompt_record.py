"""Prompts as plain fields and small arrays, for sending to a worker and for the journal."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox, Index
from InteractiveSegLib.image.index_order import in_ijk
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import Scribbles

Arrays = Mapping[str, NDArray]


def box_fields(box: BoundingBox) -> list[list[int]]:
    """Start and stop, three integers each (k, j, i)."""
    return [list(box.start_kji), list(box.stop_kji)]


def box_of(fields: Any, shape_kji: Index | None = None) -> BoundingBox:
    """The box of ``box_fields``. InputError if it is invalid, or not within an image of this shape."""
    try:
        start, stop = fields
    except (TypeError, ValueError):
        raise InputError(f"a box is recorded as its start and stop, not as {fields!r}") from None
    box = BoundingBox(start, stop)
    if shape_kji is not None and box.intersected(shape_kji) != box:
        raise InputError(f"the box {box} reaches outside the image of shape {in_ijk(shape_kji)}")
    return box


def scribble_arrays(scribbles: Scribbles, shape_kji: Index) -> dict[str, NDArray]:
    """Runs of voxels with one label, in the order of the image's memory: first voxel, length, label.

    InputError if marks lie outside an image of this shape.
    """
    scribbles.require_inside(shape_kji)
    flat = np.ravel_multi_index(tuple(scribbles.indices_kji.T.astype(np.int64)), shape_kji)
    labels = scribbles.labels
    begins = np.append(True, (np.diff(flat) != 1) | (labels[1:] != labels[:-1]))[: len(flat)]
    first = np.flatnonzero(begins)
    lengths = np.diff(np.append(first, len(flat)))
    wide = np.uint32 if np.prod(shape_kji, dtype=np.int64) <= np.iinfo(np.uint32).max else np.uint64
    return {"first": flat[first].astype(wide), "length": lengths.astype(np.uint32), "label": labels[first]}


def scribbles_of(arrays: Arrays, shape_kji: Index) -> Scribbles:
    """The scribbles of ``scribble_arrays``. InputError if the runs do not fit the image."""
    first, lengths = (np.asarray(arrays[name]).astype(np.int64) for name in ("first", "length"))
    labels = np.asarray(arrays["label"])
    if any(np.asarray(arrays[name]).dtype.kind not in "ui" for name in ("first", "length", "label")):
        raise InputError("runs of scribbles are integers: first voxels, lengths and labels")
    if not first.shape == lengths.shape == labels.shape or first.ndim != 1:
        raise InputError(f"runs of scribbles with {first.shape} starts, {lengths.shape} lengths, {labels.shape} labels")
    voxels = int(np.prod(shape_kji, dtype=np.int64))
    stops = first + lengths
    possible = (first >= 0) & (first <= voxels) & (lengths > 0) & (lengths <= voxels)
    in_order = possible.all() and (first[1:] >= stops[:-1]).all()
    if first.size and not (in_order and stops[-1] <= voxels):
        raise InputError(f"runs of scribbles are out of order, or outside the image of shape {tuple(shape_kji)}")
    begins = np.cumsum(lengths) - lengths
    flat = np.repeat(first - begins, lengths) + np.arange(lengths.sum())
    indices = np.stack(np.unravel_index(flat, shape_kji), axis=1).astype(np.int32)
    return Scribbles(indices, np.repeat(labels, lengths))


def mask_of(box: Any, bits: NDArray, shape_kji: Index | None = None) -> PackedMask:
    """A packed mask from the fields of its box and its bits. InputError if they do not fit."""
    held = box_of(box, shape_kji)
    if bits.dtype != np.uint8 or bits.shape != ((held.size + 7) // 8,):
        raise InputError(f"a mask in a box of {held.shape_kji} has {bits.shape} bytes of {bits.dtype}")
    return PackedMask(held, bits)


def prompt_parts(prompts: Prompts) -> dict[str, Scribbles | PackedMask]:
    """The immutable values whose arrays a record contains, by the prefix of the arrays' names."""
    return {"scribbles": prompts.scribbles, **{f"start/{label}": mask for label, mask in prompts.start_masks.items()}}


def prompt_record(
    prompts: Prompts, shape_kji: Index, without: Collection[str] = ()
) -> tuple[dict[str, Any], dict[str, NDArray]]:
    """Fields and arrays of prompts that lie within an image of this shape; without the arrays of the parts named in
    ``without``.
    """
    fields = {
        "boxes": {str(label): box_fields(box) for label, box in prompts.boxes.items()},
        "lassoed": {str(label): box_fields(box) for label, box in prompts.lasso_boxes.items()},
        "starts": {str(label): box_fields(mask.box) for label, mask in prompts.start_masks.items()},
    }
    arrays: dict[str, NDArray] = {}
    for part, value in prompt_parts(prompts).items():
        if part in without:
            continue
        if isinstance(value, Scribbles):
            arrays.update({f"{part}/{name}": runs for name, runs in scribble_arrays(value, shape_kji).items()})
        else:
            arrays[f"{part}/bits"] = value.bits
    return fields, arrays


def prompts_of(fields: Mapping[str, Any], arrays: Arrays, shape_kji: Index) -> Prompts:
    """The prompts of ``prompt_record``.

    Raises
    ------
    InputError : they are damaged, or reach outside the image.
    """
    try:
        runs = {name: arrays[f"scribbles/{name}"] for name in ("first", "length", "label")}
        return Prompts(
            {int(label): box_of(box, shape_kji) for label, box in fields["boxes"].items()},
            scribbles_of(runs, shape_kji),
            {
                int(label): mask_of(box, arrays[f"start/{label}/bits"], shape_kji)
                for label, box in fields["starts"].items()
            },
            {int(label): box_of(box, shape_kji) for label, box in fields["lassoed"].items()},
        )
    except InputError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"a record of prompts is damaged: {type(error).__name__} {error}") from error
