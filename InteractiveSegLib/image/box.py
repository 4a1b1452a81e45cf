"""Boxes of voxels, by indices of the array."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.index_order import in_ijk

Index = tuple[int, int, int]


@dataclass(frozen=True)
class BoundingBox:
    """Half-open box of voxels: ``start_kji`` belongs to it, ``stop_kji`` does not. It may reach outside an image.

    Raises
    ------
    InputError : not three integers each, or no voxel between start and stop.
    """

    start_kji: Index
    stop_kji: Index

    def __post_init__(self) -> None:
        for name in ("start_kji", "stop_kji"):
            object.__setattr__(self, name, three_integers(getattr(self, name), f"box {name}"))
        if any(stop <= start for start, stop in zip(self.start_kji, self.stop_kji, strict=True)):
            raise InputError(f"the box {self} holds no voxel: each end must be larger than its start")

    def __str__(self) -> str:
        return f"{in_ijk(self.start_kji)} to {in_ijk(self.stop_kji)} (i, j, k; half-open)"

    @classmethod
    def from_ijk(cls, i0: int, j0: int, k0: int, i1: int, j1: int, k1: int) -> BoundingBox:
        """Box from i0, j0, k0 up to, but not including, i1, j1, k1.

        >>> BoundingBox.from_ijk(60, 70, 30, 140, 150, 90).shape_kji
        (60, 80, 80)
        """
        return cls((k0, j0, i0), (k1, j1, i1))

    @classmethod
    def whole(cls, shape_kji: Index) -> BoundingBox:
        """Box of all voxels of an array."""
        return cls((0, 0, 0), shape_kji)

    @classmethod
    def of_mask(cls, mask_kji: NDArray) -> BoundingBox:
        """Smallest box that holds the nonzero voxels of a (K, J, I) mask. InputError if there are none."""
        spans = []
        for other_axes in ((1, 2), (0, 2), (0, 1)):
            hits = np.flatnonzero(mask_kji.any(axis=other_axes))
            if hits.size == 0:
                raise InputError(f"the mask of shape {mask_kji.shape} is empty: it has no bounding box")
            spans.append((int(hits[0]), int(hits[-1]) + 1))
        return cls(tuple(start for start, _ in spans), tuple(stop for _, stop in spans))

    @property
    def shape_kji(self) -> Index:
        return tuple(stop - start for start, stop in zip(self.start_kji, self.stop_kji, strict=True))

    @property
    def size(self) -> int:
        """Voxels in the box."""
        k, j, i = self.shape_kji
        return k * j * i

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index into a (K, J, I) array; meaningful for a box inside it (negative indices would count from the end)."""
        return tuple(slice(start, stop) for start, stop in zip(self.start_kji, self.stop_kji, strict=True))

    def intersected(self, shape_kji: Index) -> BoundingBox:
        """The part inside an image of this shape. InputError if nothing remains."""
        start = tuple(max(s, 0) for s in self.start_kji)
        stop = tuple(min(s, n) for s, n in zip(self.stop_kji, shape_kji, strict=True))
        if any(b <= a for a, b in zip(start, stop, strict=True)):
            raise InputError(f"the box {self} lies outside the image of shape {in_ijk(shape_kji)}")
        return BoundingBox(start, stop)

    def clipped(self, shape_kji: Index) -> BoundingBox | None:
        """The part inside an image of this shape; None if nothing remains."""
        try:
            return self.intersected(shape_kji)
        except InputError:
            return None

    def expanded(self, margin_kji: Index) -> BoundingBox:
        """Larger by a margin in voxels on each side (smaller where negative); not clipped to any image."""
        margin = three_integers(margin_kji, "margin_kji")
        return BoundingBox(
            tuple(s - m for s, m in zip(self.start_kji, margin, strict=True)),
            tuple(s + m for s, m in zip(self.stop_kji, margin, strict=True)),
        )

    def union(self, other: BoundingBox) -> BoundingBox:
        """Smallest box that holds both."""
        return BoundingBox(
            tuple(map(min, self.start_kji, other.start_kji)), tuple(map(max, self.stop_kji, other.stop_kji))
        )

    def overlaps(self, other: BoundingBox) -> bool:
        """Whether they share a voxel."""
        return all(
            max(a, b) < min(c, d)
            for a, b, c, d in zip(self.start_kji, other.start_kji, self.stop_kji, other.stop_kji, strict=True)
        )

    def counted_from(self, other: BoundingBox) -> BoundingBox:
        """The same box with indices that start at the corner of another."""
        return BoundingBox(
            tuple(map(operator.sub, self.start_kji, other.start_kji)),
            tuple(map(operator.sub, self.stop_kji, other.start_kji)),
        )

    def contains(self, indices_kji: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Which of (N, 3) indices lie in the box, as (N,) bool."""
        return ((indices_kji >= self.start_kji) & (indices_kji < self.stop_kji)).all(axis=1)


def three_integers(values: ArrayLike, name: str) -> Index:
    """Three Python integers. InputError, naming ``name``, if they are not."""
    try:
        k, j, i = (operator.index(value) for value in values)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be three integers (k, j, i), not {values!r}") from None
    return k, j, i


def remainder(box: BoundingBox, held: Iterable[BoundingBox]) -> list[BoundingBox]:
    """Disjoint boxes that make up the part of ``box`` that none of the held ones covers."""
    parts = [box]
    for other in held:
        parts = [rest for part in parts for rest in _without(part, other)]
    return parts


def slabs(box: BoundingBox, most_voxels: int) -> list[BoundingBox]:
    """The box in pieces of at most this many voxels, cut along k first, then along j; a row is never cut."""
    _, j, i = box.shape_kji
    deep = max(1, most_voxels // (j * i))
    high = j if deep > 1 or j * i <= most_voxels else max(1, most_voxels // i)
    (k0, j0, i0), (k1, j1, i1) = box.start_kji, box.stop_kji
    return [
        BoundingBox((a, b, i0), (min(a + deep, k1), min(b + high, j1), i1))
        for a in range(k0, k1, deep)
        for b in range(j0, j1, high)
    ]


def _without(box: BoundingBox, other: BoundingBox) -> list[BoundingBox]:
    """Up to two boxes per axis: the parts before and behind the other box; the rest is cut along the next axis."""
    start, stop = list(box.start_kji), list(box.stop_kji)
    if any(a >= d or b <= c for a, b, c, d in zip(start, stop, other.start_kji, other.stop_kji, strict=True)):
        return [box]
    parts = []
    for axis in range(3):
        low, high = other.start_kji[axis], other.stop_kji[axis]
        if start[axis] < low:
            parts.append(BoundingBox(tuple(start), tuple(_with_value_at(stop, axis, low))))
            start[axis] = low
        if high < stop[axis]:
            parts.append(BoundingBox(tuple(_with_value_at(start, axis, high)), tuple(stop)))
            stop[axis] = high
    return parts


def _with_value_at(values: list[int], axis: int, value: int) -> list[int]:
    return [value if each == axis else old for each, old in enumerate(values)]
