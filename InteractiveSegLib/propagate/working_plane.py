"""The part of a plane that is processed, and the coarser grid for large planes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.image.box import BoundingBox


@dataclass(frozen=True)
class WorkingPlane:
    """A crop of the slices along one axis.

    rows, columns : (start, stop) in the whole slice
    spacing_mm : of the image, along rows and columns
    largest_side : pixels of the working grid; a longer side is averaged by a whole number of pixels
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    spacing_mm: tuple[float, float]
    largest_side: int

    @property
    def crop(self) -> tuple[slice, slice]:
        return slice(*self.rows), slice(*self.columns)

    @property
    def shape(self) -> tuple[int, int]:
        """Of the crop."""
        return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]

    def box(self, axis: int, along: tuple[int, int]) -> BoundingBox:
        """The crop of the slices from ``along[0]`` up to ``along[1]`` of an axis."""
        spans = [self.rows, self.columns]
        spans.insert(axis, along)
        return BoundingBox(tuple(start for start, _ in spans), tuple(stop for _, stop in spans))

    @property
    def factors(self) -> tuple[int, int]:
        """Pixels of the crop per pixel of the working grid; if one axis is averaged, a finer axis is, too."""
        factors = [math.ceil(side / self.largest_side) for side in self.shape]
        coarse = max(
            (factor * mm for factor, mm in zip(factors, self.spacing_mm, strict=True) if factor > 1), default=0
        )
        factors = [max(factor, int(coarse / mm)) for factor, mm in zip(factors, self.spacing_mm, strict=True)]
        return tuple(min(factor, side) for factor, side in zip(factors, self.shape, strict=True))

    @property
    def working_spacing_mm(self) -> tuple[float, float]:
        return tuple(factor * mm for factor, mm in zip(self.factors, self.spacing_mm, strict=True))

    def averaged(self, planes: NDArray) -> NDArray[np.float32]:
        """Planes (..., rows, columns) on the working grid; cells at the far border repeat the last pixels."""
        down, across = self.factors
        height, width = self.shape
        if (down, across) == (1, 1):
            return np.asarray(planes, np.float32)
        missing = [(0, 0)] * (planes.ndim - 2) + [(0, -height % down), (0, -width % across)]
        padded = np.pad(planes, missing, mode="edge")
        *others, tall, wide = padded.shape
        cells = padded.reshape(*others, tall // down, down, wide // across, across)
        return cells.mean(axis=(-3, -1), dtype=np.float32)

    def interpolated(self, planes: NDArray) -> NDArray[np.float32]:
        """Planes (..., h, w) of the working grid at the pixels of the crop, linearly."""
        if self.factors == (1, 1):
            return np.asarray(planes, np.float32)
        down, across = (
            _linear(length, factor, count)
            for length, factor, count in zip(self.shape, self.factors, planes.shape[-2:], strict=True)
        )
        return down @ planes.astype(np.float32) @ across.T


def _linear(length: int, factor: int, count: int) -> NDArray[np.float32]:
    """Weights (length, count) of the working cells at each pixel."""
    at = np.clip((np.arange(length) + 0.5) / factor - 0.5, 0, count - 1)
    low = np.minimum(at.astype(int), max(count - 2, 0))
    weights = np.zeros((length, count), np.float32)
    weights[np.arange(length), low] = 1 - (at - low)
    if count > 1:
        weights[np.arange(length), low + 1] += at - low
    return weights
