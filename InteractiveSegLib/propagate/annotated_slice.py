"""Slices annotated by the user."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.notes.notes import Note, Slices
from InteractiveSegLib.notes.slice_names import AXIS_NAMES, ByIndex
from InteractiveSegLib.wording.counting import counted


@dataclass(frozen=True, eq=False)
class AnnotatedSlice:
    """A slice on which every pixel is correct.

    axis : 0, 1, 2 for a slice across k, j, i
    index : along that axis
    labels : (rows, columns) integers in the order of the two other axes; 0 where there is no object. A slice of zeros
        says that every object has ended there.

    Raises
    ------
    InputError : another axis, labels that are not a 2D array of integers or bool, or a negative one.
    """

    axis: int
    index: int
    labels: NDArray[np.integer]

    def __post_init__(self) -> None:
        for name in ("axis", "index"):
            try:
                object.__setattr__(self, name, operator.index(getattr(self, name)))
            except TypeError:
                raise InputError(f"the {name} of a slice is an integer, not {getattr(self, name)!r}") from None
        if self.axis not in (0, 1, 2):
            raise InputError(f"axis must be 0, 1 or 2 (k, j, i), not {self.axis!r}")
        labels = np.asarray(self.labels)
        if labels.ndim != 2 or labels.dtype.kind not in "bui":
            raise InputError(f"{self.name} needs labels (rows, columns) of integers, not {labels.dtype} {labels.shape}")
        if labels.dtype.kind == "b":
            labels = labels.astype(np.uint8)
        if labels.size and labels.min() < 0:
            raise InputError(f"{self.name} holds the negative label {labels.min()}")
        object.__setattr__(self, "labels", labels)

    @property
    def name(self) -> str:
        return ByIndex().one((self.axis, self.index))

    @property
    def place(self) -> tuple[slice | int, ...]:
        """Index of the slice into a (K, J, I) array."""
        return tuple(self.index if axis == self.axis else slice(None) for axis in range(3))


def annotated_slices(
    labels_kji: NDArray[np.integer], axis: int, indices: Iterable[int] | None = None
) -> list[AnnotatedSlice]:
    """Slices of a labelmap along an axis: those named, or all that contain a label.

    >>> labels = np.zeros((9, 4, 4), np.uint8)
    >>> labels[[2, 6], 1:3, 1:3] = 1
    >>> [each.index for each in annotated_slices(labels, 0)]
    [2, 6]

    Raises
    ------
    InputError : an index outside the labelmap, or no slice that contains a label.
    """
    along = np.moveaxis(labels_kji, axis, 0)
    if indices is None:
        indices = np.flatnonzero(along.any(axis=(1, 2))).tolist()
        if not indices:
            raise InputError(f"no slice of the labels {labels_kji.shape} holds a label: there is nothing to propagate")
    wrong = [index for index in indices if not 0 <= index < len(along)]
    if wrong:
        raise InputError(f"{AXIS_NAMES[axis]} slice {wrong[0]} does not exist: the image has 0 to {len(along) - 1}")
    return [AnnotatedSlice(axis, index, along[index]) for index in indices]


def likely_axis(labels_kji: NDArray[np.integer]) -> int:
    """Axis along which a labelmap seems to be annotated: k, unless all neighbours along k hold labels while along
    another axis only separate slices do.
    """
    held = [np.flatnonzero(labels_kji.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    apart = [axis for axis in range(3) if len(held[axis]) and np.ptp(held[axis]) >= len(held[axis])]
    if 0 in apart or len(held[0]) < 2 or not apart:
        return 0
    return min(apart, key=lambda axis: len(held[axis]))


def require_fitting(annotated: Sequence[AnnotatedSlice], geometry: Geometry) -> tuple[tuple[int, ...], list[str]]:
    """The labels that occur, ascending, and notes on contradictions and on axes with a single slice.

    Raises
    ------
    InputError : no slice, one of another shape or outside the image, one given twice, or none that holds a label.
    """
    if not annotated:
        raise InputError("no annotated slice: there is nothing to propagate")
    seen = set()
    for each in annotated:
        shape = tuple(n for axis, n in enumerate(geometry.shape_kji) if axis != each.axis)
        if each.labels.shape != shape:
            raise InputError(f"{each.name} has the shape {each.labels.shape}, but the image {shape} there")
        if not 0 <= each.index < geometry.shape_kji[each.axis]:
            raise InputError(f"{each.name} does not exist: the image has 0 to {geometry.shape_kji[each.axis] - 1}")
        if (each.axis, each.index) in seen:
            raise InputError(f"{each.name} is annotated twice")
        seen.add((each.axis, each.index))
    labels = sorted({int(label) for each in annotated for label in np.unique(each.labels)} - {0})
    if not labels:
        names = ", ".join(each.name for each in annotated)
        raise InputError(f"no annotated slice holds a label ({names}): there is nothing to propagate")
    notes = []
    for axis in sorted({axis for axis, _ in seen}):
        filled = [each for each in annotated if each.axis == axis and each.labels.any()]
        if len(filled) == 1 and geometry.shape_kji[axis] > 1:
            only = Slices.at((axis, filled[0].index))
            why = " is the only slice with a label along its axis: annotate a second one for more reliable ends"
            notes.append(Note(only, why))
    return tuple(labels), notes + _contradictions(annotated)


def _contradictions(annotated: Sequence[AnnotatedSlice]) -> list[str]:
    """A sentence for each pair of crossing slices that differ where they cross."""
    notes = []
    for number, later in enumerate(annotated):
        for earlier in annotated[:number]:
            if earlier.axis == later.axis:
                continue
            differ = np.count_nonzero(_line(earlier, later) != _line(later, earlier))
            if differ:
                first, second = (Slices.at((each.axis, each.index)) for each in (earlier, later))
                where = f" contradict each other at {counted(differ, 'voxel', 'voxels')}: "
                notes.append(Note(first, " and ", second, where, second, ", the later one, is used"))
    return notes


def _line(of: AnnotatedSlice, crossing: AnnotatedSlice) -> NDArray[np.integer]:
    """Labels of a slice where another one crosses it."""
    axes = [axis for axis in range(3) if axis != of.axis]
    return of.labels.take(crossing.index, axis=axes.index(crossing.axis))
