"""Marked voxels, as plain immutable values in array indices."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox, Index
from InteractiveSegLib.image.index_order import in_ijk

BACKGROUND = 255  # label of a scribble that says: no object here; objects are 1 to 254


@dataclass(frozen=True, eq=False)
class Scribbles:
    """Marked voxels, sparse, sorted by k, j, i, each voxel once.

    indices_kji : (N, 3) int32, in the order of drawing; may lie outside an image (see ``require_inside``)
    labels : (N,) uint8, 1 to 254 for objects, ``BACKGROUND`` (255) for none of them
    contradictions : voxels that the given indices marked more than once with different labels; the last mark is kept

    >>> marks = Scribbles(np.array([[4, 5, 6], [4, 5, 7], [0, 0, 0]]), np.array([1, 1, BACKGROUND]))
    >>> len(marks), marks.object_labels()
    (3, (1,))

    Raises
    ------
    InputError : not integers, not matching in length, or a label other than 1 to 255.
    """

    indices_kji: NDArray[np.int32]
    labels: NDArray[np.uint8]
    contradictions: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        indices = _integers(self.indices_kji, (-1, 3), "indices_kji", np.iinfo(np.int32).min, np.iinfo(np.int32).max)
        labels = _integers(self.labels, (-1,), "scribble labels", 1, BACKGROUND)
        if len(indices) != len(labels):
            raise InputError(f"scribbles have {len(indices)} indices_kji but {len(labels)} labels")
        order = np.lexsort(indices.T[::-1])  # stable: marks on one voxel stay in the order of drawing
        indices, labels = indices[order], labels[order]
        same_as_next = (indices[1:] == indices[:-1]).all(axis=1)
        last = np.append(~same_as_next, True)[: len(indices)]
        clashes = np.flatnonzero(same_as_next & (labels[1:] != labels[:-1]))
        voxel_of = np.cumsum(np.append(True, ~same_as_next)[: len(indices)])
        object.__setattr__(self, "contradictions", len(np.unique(voxel_of[clashes])))
        for name, array in (("indices_kji", indices[last].astype(np.int32)), ("labels", labels[last].astype(np.uint8))):
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @classmethod
    def none(cls) -> Scribbles:
        return cls(np.empty((0, 3), np.int32), np.empty(0, np.uint8))

    @classmethod
    def from_labelmap(cls, array_kji: NDArray) -> Scribbles:
        """Marks of a (K, J, I) array of whole numbers 0 (unmarked) to 255; floating types are fine.

        Raises
        ------
        InputError : another shape, or values that are not whole numbers from 0 to 255.
        """
        array_kji = np.asarray(array_kji)
        if array_kji.ndim != 3 or array_kji.dtype.kind not in "buif":
            raise InputError(
                f"a scribble labelmap is a real (K, J, I) array, not {array_kji.dtype} of {array_kji.shape}"
            )
        indices = np.argwhere(array_kji)
        labels = array_kji[tuple(indices.T)]
        with np.errstate(invalid="ignore"):
            wrong = np.unique(labels[~((labels >= 0) & (labels <= BACKGROUND) & (labels == np.floor(labels)))])
        if wrong.size:
            listed = ", ".join(str(value) for value in wrong[:5].tolist()) + (", ..." if wrong.size > 5 else "")
            raise InputError(f"a scribble labelmap holds whole numbers from 0 to 255, not {listed}")
        return cls(indices, labels.astype(np.uint8))

    @classmethod
    def from_edits(cls, before_kji: NDArray, after_kji: NDArray) -> Scribbles:
        """Marks where a labelmap was edited: painted voxels get their new label, erased ones ``BACKGROUND``.

        before_kji, after_kji : (K, J, I) integers or bool, 0 where there is no object

        Raises
        ------
        InputError : not integers of one shape, or painted with a value other than 1 to 254.
        """
        before, after = np.asarray(before_kji), np.asarray(after_kji)
        if before.ndim != 3 or before.shape != after.shape or {before.dtype.kind, after.dtype.kind} - set("bui"):
            raise InputError(
                "an edit is the difference of two (K, J, I) labelmaps of integers, not of "
                f"{before.dtype} {before.shape} and {after.dtype} {after.shape}"
            )
        changed = np.flatnonzero(before != after)
        painted = after.reshape(-1)[changed]
        wrong = painted[(painted < 0) | (painted >= BACKGROUND)]
        if wrong.size:
            raise InputError(f"an edited labelmap holds 0 and the labels 1 to 254, not {wrong[0]}")
        labels = np.where(painted == 0, BACKGROUND, painted).astype(np.uint8)
        return cls(np.stack(np.unravel_index(changed, after.shape), axis=1), labels)

    def to_labelmap(self, shape_kji: Index) -> NDArray[np.uint8]:
        """Dense array of marks, 0 where there is none. InputError if marks lie outside."""
        self.require_inside(shape_kji)
        array = np.zeros(shape_kji, np.uint8)
        array[tuple(self.indices_kji.T)] = self.labels
        return array

    def merged(self, later: Scribbles) -> Scribbles:
        """A copy with later marks on top; ``contradictions`` counts the voxels that change their label."""
        return Scribbles(np.concatenate([self.indices_kji, later.indices_kji]), np.append(self.labels, later.labels))

    def object_labels(self) -> tuple[int, ...]:
        return tuple(np.unique(self.labels[self.labels != BACKGROUND]).tolist())

    def for_label(self, label: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Foreground (n, 3) and background (m, 3) indices for one object; marks of the others are background."""
        foreground = self.labels == object_label(label)
        return self.indices_kji[foreground], self.indices_kji[~foreground]

    def without(self, label: int) -> Scribbles:
        """All but the marks of one label."""
        kept = self.labels != label
        return Scribbles(self.indices_kji[kept], self.labels[kept])

    def within(self, box: BoundingBox) -> Scribbles:
        """The marks in the box, counted from its corner; the others are left out."""
        inside = box.contains(self.indices_kji)
        return Scribbles(self.indices_kji[inside] - np.array(box.start_kji), self.labels[inside])

    def require_inside(self, shape_kji: Index) -> None:
        """InputError if marks lie outside an image of this shape."""
        outside = self.indices_kji[~BoundingBox.whole(shape_kji).contains(self.indices_kji)]
        if len(outside):
            raise InputError(
                f"{len(outside)} of {len(self)} scribble voxels lie outside the image of shape {in_ijk(shape_kji)}, "
                f"the first at {in_ijk(outside[0].tolist())} (i, j, k)"
            )

    def equals(self, other: Scribbles) -> bool:
        """Same voxels with the same labels."""
        return np.array_equal(self.indices_kji, other.indices_kji) and np.array_equal(self.labels, other.labels)

    def __len__(self) -> int:
        return len(self.labels)


def object_label(label: int) -> int:
    value = operator.index(label) if hasattr(label, "__index__") else 0
    if not 1 <= value < BACKGROUND:
        raise InputError(f"an object label is an integer from 1 to 254, not {label!r}")
    return value


def _integers(values: ArrayLike, shape: tuple[int, ...], name: str, low: int, high: int) -> NDArray[np.integer]:
    """Array of a shape in which -1 is any length, with every value from ``low`` to ``high``."""
    array = np.asarray(values)
    if array.size == 0:
        return np.empty([max(length, 0) for length in shape], np.int64)
    fits = array.ndim == len(shape) and all(want in (-1, have) for want, have in zip(shape, array.shape, strict=True))
    if not fits or array.dtype.kind not in "iu":
        raise InputError(f"{name} must be integers of shape {shape} (-1: any), not {array.dtype} of {array.shape}")
    if array.min() < low or array.max() > high:
        wrong = array[(array < low) | (array > high)][0]
        raise InputError(f"{name} must lie between {low} and {high}, not {wrong}")
    return array
