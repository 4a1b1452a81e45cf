"""Everything the user draws on one image, as plain immutable values in array indices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.prompts.scribbles import BACKGROUND, Scribbles, object_label

_BY_LABEL = ("boxes", "start_masks", "lasso_boxes")


@dataclass(frozen=True, eq=False)
class Prompts:
    """Everything drawn on one image. Methods return changed copies.

    boxes : label (1 to 254) -> box
    scribbles : marks of all objects together
    start_masks : label -> mask to start from
    lasso_boxes : label -> smallest box of what was lassoed
    """

    boxes: Mapping[int, BoundingBox] = field(default_factory=dict)
    scribbles: Scribbles = field(default_factory=Scribbles.none)
    start_masks: Mapping[int, PackedMask] = field(default_factory=dict)
    lasso_boxes: Mapping[int, BoundingBox] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in _BY_LABEL:
            given = {object_label(label): value for label, value in getattr(self, name).items()}
            object.__setattr__(self, name, MappingProxyType(given))

    @property
    def labels(self) -> tuple[int, ...]:
        """Objects with a prompt of their own, ascending."""
        return tuple(sorted({*self.boxes, *self.scribbles.object_labels(), *self.start_masks, *self.lasso_boxes}))

    @property
    def is_empty(self) -> bool:
        return not self.labels and not len(self.scribbles)

    def with_box(self, label: int, box: BoundingBox) -> Prompts:
        """A box for this object, in place of the one it had."""
        return replace(self, boxes={**self.boxes, label: box})

    def for_object(self, label: int) -> Prompts:
        """The prompts of one object; marks of the others become background."""
        label = object_label(label)
        labels = np.where(self.scribbles.labels == label, label, BACKGROUND).astype(np.uint8)
        kept = {name: {label: getattr(self, name)[label]} for name in _BY_LABEL if label in getattr(self, name)}
        return Prompts(scribbles=Scribbles(self.scribbles.indices_kji, labels), **kept)

    def with_scribbles(self, later: Scribbles) -> Prompts:
        """A copy with further marks on top of the existing ones."""
        return replace(self, scribbles=self.scribbles.merged(later))

    def with_start(self, label: int, mask: PackedMask) -> Prompts:
        """A mask from which this object starts, in place of the one it had."""
        return replace(self, start_masks={**self.start_masks, label: mask})

    def with_lasso(self, label: int, marks: Scribbles, extent: BoundingBox) -> Prompts:
        """A copy with marks and extent of a lasso (``Lasso.marks``) on top of the existing ones."""
        lasso_boxes = {**self.lasso_boxes, label: extent.union(self.lasso_boxes.get(label, extent))}
        return replace(self.with_scribbles(marks), lasso_boxes=lasso_boxes)
