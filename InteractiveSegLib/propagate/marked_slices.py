"""Slices that the user marked as done, each for some of the objects: a value that can be stored."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox, Index
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.notes.slice_names import ByIndex, Place, SliceNames
from InteractiveSegLib.propagate.annotated_slice import AnnotatedSlice
from InteractiveSegLib.records.prompt_record import box_fields, mask_of
from InteractiveSegLib.wording.counting import counted


@dataclass(frozen=True, eq=False)
class MarkedSlice:
    """One slice.

    masks : label -> the object on this slice, None if it is absent there. The slice says nothing about other labels.
    """

    axis: int
    index: int
    masks: Mapping[int, PackedMask | None]

    @classmethod
    def of_masks(cls, place: Place, masks: Mapping[int, PackedMask | None], shape_kji: Index) -> MarkedSlice:
        """The part on this slice of masks of the whole image. InputError if the image has no such slice."""
        box = slice_box(_existing(place, shape_kji), shape_kji)
        return cls(*place, {label: _part(mask, box) for label, mask in masks.items()})

    @property
    def place(self) -> Place:
        return self.axis, self.index

    @property
    def pixels(self) -> int:
        """Labels of all objects on it."""
        return sum(mask.voxels for mask in self.masks.values() if mask is not None)

    def equals(self, other: MarkedSlice) -> bool:
        if self.place != other.place or self.masks.keys() != other.masks.keys():
            return False
        return all(_same(mask, other.masks[label]) for label, mask in self.masks.items())

    def fields(self) -> dict[str, Any]:
        masks = {
            str(label): None if mask is None else [box_fields(mask.box), base64.b64encode(mask.bits).decode()]
            for label, mask in self.masks.items()
        }
        return {"axis": self.axis, "index": self.index, "masks": masks}


@dataclass(frozen=True, eq=False)
class MarkedSlices:
    """All marked slices of an image, in the order of drawing; each place occurs once.

    shape_kji : of the image
    """

    shape_kji: Index
    slices: tuple[MarkedSlice, ...] = ()

    def at(self, place: Place) -> MarkedSlice | None:
        return next((each for each in self.slices if each.place == place), None)

    def with_slice(self, drawn: MarkedSlice) -> MarkedSlices:
        """A copy with this slice after all others; what it said about other labels is kept."""
        before = self.at(drawn.place)
        masks = {**(before.masks if before is not None else {}), **drawn.masks}
        others = [each for each in self.slices if each.place != drawn.place]
        return replace(self, slices=(*others, replace(drawn, masks=masks)))

    def without_slice(self, place: Place) -> MarkedSlices:
        return replace(self, slices=tuple(each for each in self.slices if each.place != place))

    def without_label(self, label: int) -> MarkedSlices:
        """Slices without any other label are removed."""
        kept = [
            replace(each, masks={other: mask for other, mask in each.masks.items() if other != label})
            for each in self.slices
        ]
        return replace(self, slices=tuple(each for each in kept if each.masks))

    def redrawn(self, label: int, edited_kji: NDArray[np.integer], mask: PackedMask | None) -> MarkedSlices:
        """Marked slices on which an object was corrected by hand follow the correction.

        edited_kji : (N, 3) voxels that were painted or erased
        mask : the object since then
        """
        found = self
        for each in self.slices:
            if label in each.masks and (edited_kji[:, each.axis] == each.index).any():
                found = found.with_slice(MarkedSlice.of_masks(each.place, {label: mask}, self.shape_kji))
        return found

    def indices(self, label: int) -> NDArray[np.intp]:
        """(N, 3) voxels of an object on the slices marked for it; where slices cross, the later one is used."""
        found = np.zeros((0, 3), np.intp)
        for each in self.slices:
            if label not in each.masks:
                continue
            found, mask = found[found[:, each.axis] != each.index], each.masks[label]
            if mask is not None:
                found = np.concatenate([found, np.argwhere(mask.mask_kji) + np.array(mask.box.start_kji)])
        return found

    def drawn_into(self, label: int, mask: PackedMask | None) -> tuple[PackedMask | None, int]:
        """A mask with what the object is on the slices marked for it, and how many voxels that changes."""
        drawn = [each for each in self.slices if label in each.masks]
        parts = [each.masks[label].box for each in drawn if each.masks[label] is not None]
        boxes = parts + ([mask.box] if mask is not None else [])
        if not drawn or not boxes:
            return mask, 0
        box = boxes[0]
        for other in boxes[1:]:
            box = box.union(other)
        before = mask.within(box) if mask is not None else np.zeros(box.shape_kji, bool)
        voxels = before.copy()
        for each in drawn:
            index = each.index - box.start_kji[each.axis]
            if 0 <= index < box.shape_kji[each.axis]:
                np.moveaxis(voxels, each.axis, 0)[index] = False
        voxels[tuple((self.indices(label) - np.array(box.start_kji)).T)] = True
        changed = int(np.count_nonzero(voxels != before))
        if not changed:
            return mask, 0
        return (PackedMask.of_part(voxels, box) if voxels.any() else None), changed

    def annotated(self, names: Mapping[int, str], called: SliceNames) -> tuple[AnnotatedSlice, ...]:
        """The slices in the form for propagation, for some labels together.

        names : label -> name
        called : how slices are named

        Raises
        ------
        InputError : a slice is marked only for some of them, or they overlap on it.
        """
        return tuple(self._annotated(each, names, called) for each in self.slices if each.masks.keys() & names.keys())

    def require_shape(self, shape_kji: Index) -> None:
        """InputError if the image has another shape."""
        if self.slices and tuple(shape_kji) != self.shape_kji:
            raise InputError(f"slices were marked on an image of {self.shape_kji} voxels, not {tuple(shape_kji)}")

    def equals(self, other: MarkedSlices) -> bool:
        if self.shape_kji != other.shape_kji or len(self.slices) != len(other.slices):
            return False
        return all(one.equals(two) for one, two in zip(self.slices, other.slices, strict=True))

    def fields(self) -> dict[str, Any]:
        """What JSON can hold."""
        return {"shape": list(self.shape_kji), "slices": [each.fields() for each in self.slices]}

    @classmethod
    def of_fields(cls, fields: Any) -> MarkedSlices:
        """The slices of ``fields``. InputError if they are invalid."""
        try:
            shape = tuple(int(length) for length in fields["shape"])
            slices = [_slice_of(each, shape) for each in fields["slices"]]
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"these are not marked slices: {type(error).__name__} {error}") from error
        return cls(shape, tuple(slices))

    def _annotated(self, drawn: MarkedSlice, names: Mapping[int, str], called: SliceNames) -> AnnotatedSlice:
        left_out = [name for label, name in names.items() if label not in drawn.masks]
        if left_out:
            known = ", ".join(name for label, name in names.items() if label in drawn.masks)
            raise InputError(
                f"{called.one(drawn.place)} is marked for {known} but not for {', '.join(left_out)}: "
                "mark it for all of them, or propagate one segment at a time"
            )
        box = slice_box(drawn.place, self.shape_kji)
        labels = np.zeros(box.shape_kji, np.uint8)
        for label, name in names.items():
            mask = drawn.masks[label]
            if mask is None:
                continue
            part = labels[mask.box.counted_from(box).slices]
            other = part[mask.mask_kji & (part > 0)]
            if other.size:
                raise InputError(
                    f"{names[int(other[0])]} and {name} overlap on {called.one(drawn.place)} at "
                    f"{counted(other.size, 'pixel', 'pixels')}: propagate one segment at a time"
                )
            part[mask.mask_kji] = label
        return AnnotatedSlice(drawn.axis, drawn.index, labels.squeeze(drawn.axis))


def slice_box(place: Place, shape_kji: Index) -> BoundingBox:
    """All voxels of a slice."""
    axis, index = place
    start, stop = [0, 0, 0], list(shape_kji)
    start[axis], stop[axis] = index, index + 1
    return BoundingBox(start, stop)


def _part(mask: PackedMask | None, box: BoundingBox) -> PackedMask | None:
    if mask is None or not mask.box.overlaps(box):
        return None
    part = mask.within(box)
    return PackedMask.of_part(part, box) if part.any() else None


def _same(one: PackedMask | None, other: PackedMask | None) -> bool:
    return one is other or (one is not None and other is not None and one.equals(other))


def _slice_of(fields: Any, shape_kji: Index) -> MarkedSlice:
    masks: dict[int, PackedMask | None] = {}
    for label, packed in fields["masks"].items():
        if packed is None:
            masks[int(label)] = None
        else:
            box, text = packed
            bits = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
            masks[int(label)] = mask_of(box, bits, shape_kji)
    return MarkedSlice(*_existing((int(fields["axis"]), int(fields["index"])), shape_kji), masks)


def _existing(place: Place, shape_kji: Index) -> Place:
    """InputError if the image has no such slice."""
    axis, index = place
    if not 0 <= index < shape_kji[axis]:
        raise InputError(f"{ByIndex().one(place)} does not exist: the image has 0 to {shape_kji[axis] - 1}")
    return place
