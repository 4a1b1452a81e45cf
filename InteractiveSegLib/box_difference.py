"""What of a box is not yet there."""

from __future__ import annotations

from collections.abc import Iterable

from InteractiveSegLib.prompts import BoundingBox


def remainder(box: BoundingBox, held: Iterable[BoundingBox]) -> list[BoundingBox]:
    """Disjoint boxes that make up the part of ``box`` that none of the held ones covers."""
    parts = [box]
    for other in held:
        parts = [rest for part in parts for rest in _without(part, other)]
    return parts


def slabs(box: BoundingBox, most_voxels: int) -> list[BoundingBox]:
    """The box in pieces of at most so many voxels, cut along k first, then along j; a row is never cut."""
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
    """Up to two boxes an axis: what lies before and behind the other; what remains is cut along the next axis."""
    start, stop = list(box.start_kji), list(box.stop_kji)
    if any(a >= d or b <= c for a, b, c, d in zip(start, stop, other.start_kji, other.stop_kji, strict=True)):
        return [box]
    parts = []
    for axis in range(3):
        low, high = other.start_kji[axis], other.stop_kji[axis]
        if start[axis] < low:
            parts.append(BoundingBox(tuple(start), tuple(_replaced(stop, axis, low))))
            start[axis] = low
        if high < stop[axis]:
            parts.append(BoundingBox(tuple(_replaced(start, axis, high)), tuple(stop)))
            stop[axis] = high
    return parts


def _replaced(values: list[int], axis: int, value: int) -> list[int]:
    return [value if each == axis else old for each, old in enumerate(values)]
