"""A person who puts a starting mask right, or draws all of it by hand, and how long that takes by a stated model."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from InteractiveSegLib.casebook.review import review_axis
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geometry import Geometry

_CROFTON = math.pi / 4
"""Of the length along the sides of pixels: that of a curve, on average over all directions."""


@dataclass(frozen=True)
class EffortModel:
    """What work takes. Nothing of it was measured: it is stated so that ratios of times can be compared.

    drawing_mm_per_s : speed of the pen along a boundary
    click_s : a click, or putting the pen down at another place
    look_s : looking at a slice, whether anything is wrong in it or not
    tolerance_mm : errors are let stand where they are not thicker than this: nowhere, if pixels are larger
    """

    drawing_mm_per_s: float = 10.0
    click_s: float = 1.5
    look_s: float = 2.0
    tolerance_mm: float = 1.5

    def __post_init__(self) -> None:
        if not (self.drawing_mm_per_s > 0 and min(self.click_s, self.look_s, self.tolerance_mm) >= 0):
            raise InputError(
                f"drawing_mm_per_s {self.drawing_mm_per_s} must be above 0, click_s {self.click_s}, look_s "
                f"{self.look_s} and tolerance_mm {self.tolerance_mm} not below"
            )

    def seconds(self, slices: int, clicks: int, drawn_mm: float) -> float:
        return slices * self.look_s + clicks * self.click_s + drawn_mm / self.drawing_mm_per_s


@dataclass(frozen=True, eq=False)
class Corrected:
    """labels : (K, J, I) as the person leaves them. changed : voxels that were put right"""

    labels: NDArray[np.integer]
    slices: int
    clicks: int
    drawn_mm: float
    changed: int


def corrected(
    start: NDArray[np.integer],
    truth: NDArray[np.integer],
    geometry: Geometry,
    model: EffortModel,
    slices: Collection[int] | None = None,
) -> Corrected:
    """The mask after a person has looked at these slices, or at all of them, along the thickest voxels.

    The errors of a slice are put right where they are thicker than the tolerance (their morphological opening): for
    every connected part, the pen is put down and the true boundary in it is drawn, the added path length of Vaassen et
    al. (Phys Imaging Radiat Oncol 2020). Superfluous parts without any take a click. An organ that is not there at all
    is taken out with a click. One more click for every organ says that it is right.

    Raises
    ------
    InputError : the arrays and the geometry are of different shapes.
    """
    if start.shape != truth.shape or truth.shape != geometry.shape_kji:
        raise InputError(f"start {start.shape}, truth {truth.shape} and image {geometry.shape_kji} differ in shape")
    axis = review_axis(geometry)
    pixel = _pixel_mm(geometry, axis)
    block = np.ones([math.floor(model.tolerance_mm / mm + 1e-3) + 1 for mm in pixel], bool)
    chosen = sorted(set(range(truth.shape[axis]) if slices is None else slices))
    labels = start.copy()
    organs = [int(value) for value in np.unique(truth) if value]
    clicks, drawn = len(organs), 0.0
    for number in chosen:
        mine, right = np.moveaxis(labels, axis, 0)[number], np.moveaxis(truth, axis, 0)[number]
        strangers = (mine > 0) & ~np.isin(mine, organs)
        clicks += len(np.unique(mine[strangers]))
        wrong = ndimage.binary_opening(mine != right, block)
        clicks += ndimage.label(wrong)[1]
        drawn += boundary_mm(right, pixel, wrong)
        wrong |= strangers
        mine[wrong] = right[wrong]
    return Corrected(labels, len(chosen), clicks, drawn, int(np.count_nonzero(labels != start)))


def by_hand_s(truth: NDArray[np.integer], geometry: Geometry, model: EffortModel) -> float:
    """Seconds to draw a labelmap (K, J, I) on an empty image: every boundary once, the pen put down for every organ."""
    axis = review_axis(geometry)
    pixel = _pixel_mm(geometry, axis)
    stack = np.moveaxis(truth, axis, 0)
    organs = sum(len(np.unique(each[each > 0])) for each in stack)
    return model.seconds(len(stack), organs, sum(boundary_mm(each, pixel) for each in stack))


def boundary_mm(
    labels: NDArray[np.integer], pixel_mm: tuple[float, float], where: NDArray[np.bool_] | None = None
) -> float:
    """Length of all boundaries between labels of a slice (J, I), those that two organs share once.

    where : (J, I) only boundaries of these pixels; all where None
    """
    total = 0.0
    for axis, other_mm in ((0, pixel_mm[1]), (1, pixel_mm[0])):
        before, after = (slice(None, -1), slice(1, None))
        pair = [tuple(part if each == axis else slice(None) for each in (0, 1)) for part in (before, after)]
        edges = labels[pair[0]] != labels[pair[1]]
        if where is not None:
            edges &= where[pair[0]] | where[pair[1]]
        total += np.count_nonzero(edges) * other_mm
    return float(total * _CROFTON)


def _pixel_mm(geometry: Geometry, axis: int) -> tuple[float, float]:
    first, second = (mm for place, mm in enumerate(geometry.spacing_kji_mm) if place != axis)
    return first, second
