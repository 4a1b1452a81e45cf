"""A closed curve in one slice: the object's section there lies within it."""

from __future__ import annotations

import operator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox, Index
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.index_order import in_ijk
from InteractiveSegLib.notes.notes import Labelled, Note
from InteractiveSegLib.prompts.scribbles import BACKGROUND, Scribbles

_SLICES_DEEP = 1.0
_DEEP = 0.5
_LARGEST = 2.0**31


@dataclass(frozen=True, eq=False)
class Lasso:
    """A closed curve of straight sides in the slice ``index`` across the array axis ``axis`` (0 k, 1 j, 2 i).

    outline : (N, 2) float64, continuous array indices along the other two axes in ascending order, voxel centres being
        integers; a point that repeats the one before is dropped, and the last point is joined to the first

    Raises
    ------
    InputError : not an axis, not an index, fewer than 3 points, points that are not finite, or sides that meet.
    """

    axis: int
    index: int
    outline: NDArray[np.float64]

    def __post_init__(self) -> None:
        for name in ("axis", "index"):
            try:
                object.__setattr__(self, name, operator.index(getattr(self, name)))
            except TypeError:
                raise InputError(f"a lasso's {name} is an integer, not {getattr(self, name)!r}") from None
        if self.axis not in (0, 1, 2):
            raise InputError(f"a lasso's axis is 0, 1 or 2 (k, j, i), not {self.axis}")
        outline = _points(self.outline, 2)
        outline = outline[(outline != np.roll(outline, 1, axis=0)).any(axis=1)]
        if len(outline) < 3:
            raise InputError(f"a lasso needs at least 3 different points, not {len(outline)}")
        crossing = crossing_of(outline)
        if crossing is not None:
            where, names = in_ijk(np.round(crossing, 1).tolist()), ", ".join(reversed(self._other_axes))
            raise InputError(f"the lasso crosses itself near {where} ({names})")
        outline.flags.writeable = False
        object.__setattr__(self, "outline", outline)

    @classmethod
    def through(cls, points_kji: NDArray) -> Lasso:
        """Curve through continuous array indices (N, 3), in the slice in which it is flattest.

        Raises
        ------
        InputError : as the class, or the points spread over more than one slice thickness along every axis.
        """
        points = _points(points_kji, 3)
        if len(points) < 3:
            raise InputError(f"a lasso needs at least 3 different points, not {len(points)}")
        low, high = points.min(axis=0), points.max(axis=0)
        axis = int(np.argmin(high - low))
        if high[axis] - low[axis] > _SLICES_DEEP:
            raise InputError(
                f"the lasso is not flat within one slice: it reaches over {high[axis] - low[axis]:.2f} slices along "
                f"{'kji'[axis]}, and more along the other axes; {_SLICES_DEEP:g} is allowed"
            )
        index = int(np.floor((low[axis] + high[axis]) / 2 + 0.5))
        return cls(axis, index, np.delete(points, axis, axis=1))

    def section(self, shape_kji: Index) -> NDArray[np.bool_]:
        """Voxels of the slice whose centres lie within the curve, an array over the other two axes.

        Raises
        ------
        InputError : the curve lies outside the image, or encloses no voxel centre of it.
        """
        rows, columns = np.delete(shape_kji, self.axis).tolist()
        low, high = self.outline.min(axis=0), self.outline.max(axis=0)
        outside = (high < -0.5).any() or (low > np.array([rows, columns]) - 0.5).any()
        if outside or not 0 <= self.index < shape_kji[self.axis]:
            raise InputError(f"{self._place(low, high)} lies outside the image of shape {in_ijk(shape_kji)}")
        flips = np.zeros((rows, columns + 1), bool)
        for one, other in zip(self.outline, np.roll(self.outline, -1, axis=0), strict=True):
            (y0, x0), (y1, x1) = sorted((one.tolist(), other.tolist()))
            lines = np.arange(max(np.ceil(y0), 0), min(np.ceil(y1), rows), dtype=np.int64)
            if lines.size:
                across = x0 + (lines - y0) * ((x1 - x0) / (y1 - y0))
                flips[lines, np.clip(np.ceil(across), 0, columns).astype(np.int64)] ^= True
        section = np.logical_xor.accumulate(flips, axis=1)[:, :columns]
        if not section.any():
            raise InputError(f"{self._place(low, high)} encloses no voxel centre of the image")
        return section

    def marks(self, label: int, geometry: Geometry) -> tuple[Scribbles, BoundingBox, str]:
        """Marks from the lasso for one object: the middle of its section is object, the ring just outside is not.

        The middle is the ridge of the distance to the curve (in mm) where it is at least half as deep as the deepest
        voxel; the ring is one voxel wide, corners included.

        Returns
        -------
        marks : of the slice, ``label`` and ``BACKGROUND``
        extent : smallest box of the voxels within the curve
        note : says that the lasso was cut at the border of the image; otherwise empty

        Raises
        ------
        InputError : as ``section``.
        """
        shape = geometry.shape_kji
        section = self.section(shape)
        pixel_mm = np.delete(geometry.spacing_kji_mm, self.axis)
        depth_mm = ndimage.distance_transform_edt(np.pad(section, 1), pixel_mm)[1:-1, 1:-1]
        ridge = np.zeros_like(section)
        for axis in (0, 1):
            ridge |= depth_mm >= ndimage.maximum_filter1d(depth_mm, 3, axis=axis)
        middle = self._indices(ridge & (depth_mm >= _DEEP * depth_mm.max()))
        ring = self._indices(ndimage.binary_dilation(section, np.ones((3, 3), bool)) & ~section)
        labels = np.repeat([label, BACKGROUND], [len(middle), len(ring)])
        within = self._indices(section)
        extent = BoundingBox(within.min(axis=0).tolist(), (within.max(axis=0) + 1).tolist())
        sides = np.array(section.shape) - 0.5
        cut = (self.outline < -0.5).any() or (self.outline > sides).any()
        note = Note("the lasso of ", Labelled(label), " reached outside the image and was cut at its border")
        return Scribbles(np.concatenate([middle, ring]), labels), extent, note if cut else ""

    @property
    def _other_axes(self) -> str:
        return "kji".replace("kji"[self.axis], "")

    def _indices(self, pixels: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Pixels of the slice as (N, 3) array indices."""
        return np.insert(np.argwhere(pixels), self.axis, self.index, axis=1)

    def _place(self, low: NDArray, high: NDArray) -> str:
        spans = {name: f"{a:.1f} to {b:.1f}" for name, a, b in zip(self._other_axes, low, high, strict=True)}
        spans["kji"[self.axis]] = str(self.index)
        return f"the lasso ({', '.join(f'{name} {spans[name]}' for name in 'ijk')})"


def largest_loop(outline: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """A closed freehand curve (N, 2) without its smaller loops, such as the one where its ends meet.

    Returns
    -------
    outline, left_out : points of the curve that remain, fewer than 3 where no loop does; area of the loops that do not
    """
    left_out = 0.0
    while (sides := _crossing_sides(outline)) is not None:
        one, other = sides
        meeting = _meeting(outline, one, other)
        inner = np.concatenate([outline[one + 1 : other + 1], meeting])
        loops = inner, np.concatenate([outline[: one + 1], meeting, outline[other + 1 :]])
        smaller, outline = sorted(loops, key=area)
        left_out += area(smaller)
    return outline, left_out


def _meeting(outline: NDArray[np.float64], one: int, other: int) -> NDArray[np.float64]:
    """(1, 2) where two sides meet; (0, 2) where they lie on one line."""
    a, b, c, d = (outline[index % len(outline)] for index in (one, one + 1, other, other + 1))
    across = np.column_stack([b - a, c - d])
    if np.linalg.matrix_rank(across) < 2:
        return np.empty((0, 2))
    return (a + np.linalg.solve(across, c - a)[0] * (b - a))[None]


def area(outline: NDArray[np.float64]) -> float:
    """Within a closed curve (N, 2) that does not cross itself."""
    (x, y), (next_x, next_y) = outline.T, np.roll(outline, -1, axis=0).T
    return abs(float((x * next_y - next_x * y).sum())) / 2


def crossing_of(outline: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Start of a side of a closed curve (N, 2) that meets another one, its neighbours aside; None if none does."""
    sides = _crossing_sides(outline)
    return None if sides is None else outline[sides[0]]


def _crossing_sides(outline: NDArray[np.float64]) -> tuple[int, int] | None:
    """The first two sides that meet, ascending, of those that are not neighbours."""
    starts, ends = outline, np.roll(outline, -1, axis=0)
    lows, highs = np.minimum(starts, ends), np.maximum(starts, ends)
    for side in range(len(outline) - 2):
        others = slice(side + 2, len(outline) - (side == 0))
        near = (lows[others] <= highs[side]).all(axis=1) & (highs[others] >= lows[side]).all(axis=1)
        c, d = starts[others][near], ends[others][near]
        a, b = starts[side], ends[side]
        meet = (_turn(a, b, c) * _turn(a, b, d) <= 0) & (_turn(c, d, a) * _turn(c, d, b) <= 0)
        if meet.any():
            return side, side + 2 + int(np.flatnonzero(near)[meet.argmax()])
    return None


def _turn(a: NDArray, b: NDArray, c: NDArray) -> NDArray[np.float64]:
    """Sign of the turn from a to b to c: 0 where they lie on a line."""
    ab, ac = b - a, c - a
    return np.sign(ab[..., 0] * ac[..., 1] - ab[..., 1] * ac[..., 0])


def _points(points: ArrayLike, dimensions: int) -> NDArray[np.float64]:
    try:
        array = np.array(points, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"a lasso's points must be numbers of shape (N, {dimensions}), not {points!r}") from None
    if array.size == 0:
        return np.empty((0, dimensions))
    if array.ndim != 2 or array.shape[1] != dimensions:
        raise InputError(f"a lasso's points must be of shape (N, {dimensions}), not {array.shape}")
    wrong = array[~(np.abs(array) < _LARGEST)]
    if wrong.size:
        raise InputError(f"a lasso's points must be finite array indices, not {wrong[0]}")
    return array
