"""A robot that draws like a person: a box around the object, and strokes on the largest errors."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.users import strokes
from InteractiveSegLib.evaluation.users.error_regions import (
    ErrorRegion,
    largest_errors,
    largest_piece,
    object_boxes,
    object_itself,
    worst_slice,
)
from InteractiveSegLib.image.box import BoundingBox, Index
from InteractiveSegLib.prompts.scribbles import BACKGROUND, Scribbles

Style = Literal["careful", "sloppy", "click"]

_BOX_OUTWARDS = 0.8  # fraction of a box's sides that move outwards
_TELLING_PART = 0.1  # of an object: a mark on less says little about its position
_BOX_KEEPS = 0.9  # minimum fraction of the object within a jittered box
_LEAST_ARC_VOXELS = 4.0  # any nearer, an arc is almost the outline
_SEARCHED_VOXELS = 1_000_000  # the deepest point of a larger part is searched for on every second voxel, third, ...
_WAVELENGTH_THICKNESSES = 8.0  # an unsteady hand swings once over about this many brush diameters


@dataclass(frozen=True)
class RobotSettings:
    """How the robot draws. Lengths are in voxels of the slice drawn on, along the finer of its two axes.

    style : "careful" draws lines that stay in the part to correct; "sloppy" ones wander, break off and spill over its
        border; "click" sets a single dot at the deepest point of that part
    thickness_voxels : diameter of the round brush, which paints only within its slice
    share : fraction of the centreline that is drawn, around its middle
    longest_voxels : of a stroke
    views : number of the three views in which it draws lines, starting with the smallest pixels
    one_error : whether each object gets one mark per round, on its largest error, missed or superfluous; the first one
        is on the object itself. Otherwise both errors are marked
    arc_share : distance from an object of an arc half round it, on the slice of its first mark, as a fraction of the
        longer side of the object there, at least 4 voxels; 0 draws none
    smallest_voxels : parts of fewer voxels (of the volume) are ignored, unless there is no larger one anywhere
    wander_voxels : sloppy: 95 % of a line's displacement; in parts narrower than that, half their width
    spill_voxels : sloppy: how far beyond the part the brush may paint
    lift_every_voxels, lift_voxels : sloppy: how often on average, and for how long, the brush is lifted
    box_jitter : largest shift of a box's side, as a fraction of the box's length there; at least one voxel

    Raises
    ------
    InputError : another style, or a number outside its range.
    """

    style: Style = "careful"
    thickness_voxels: float = 2.0
    share: float = 0.8
    longest_voxels: float = 100.0
    views: int = 3
    one_error: bool = False
    arc_share: float = 0.0
    smallest_voxels: int = 3
    wander_voxels: float = 2.0
    spill_voxels: float = 2.0
    lift_every_voxels: float = 30.0
    lift_voxels: float = 4.0
    box_jitter: float = 0.05

    def __post_init__(self) -> None:
        if self.style not in get_args(Style):
            raise InputError(f"the robot's style is one of {', '.join(get_args(Style))}, not {self.style!r}")
        for name in ("thickness_voxels", "longest_voxels", "lift_every_voxels"):
            if not 0 < getattr(self, name) < np.inf:
                raise InputError(f"the robot's {name} must be positive, not {getattr(self, name)}")
        for name in ("smallest_voxels", "wander_voxels", "spill_voxels", "lift_voxels"):
            if not 0 <= getattr(self, name) < np.inf:
                raise InputError(f"the robot's {name} must be 0 or more, not {getattr(self, name)}")
        if self.views not in (1, 2, 3):
            raise InputError(f"the robot's views must be 1, 2 or 3, not {self.views}")
        for name in ("share", "arc_share", "box_jitter"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"the robot's {name} must lie between 0 and 1, not {getattr(self, name)}")


@dataclass(frozen=True, eq=False)
class Correction:
    """What the robot drew in one round.

    strokes : how often the brush was put down; dots count
    length_mm : along the middle of the lines; a dot counts with its diameter
    """

    scribbles: Scribbles
    strokes: int
    length_mm: float


def jittered_box(
    truth: NDArray[np.bool_], rng: np.random.Generator, settings: RobotSettings | None = None
) -> BoundingBox:
    """The object's own box as a person draws it: each side moved at random, mostly outwards.

    Parameters
    ----------
    truth : (K, J, I) bool, of one object
    rng : the same state gives the same box

    Returns
    -------
    a box within the image that contains at least 90 % of the object; sides that cut off more are reset to the object's
    own

    Raises
    ------
    InputError : the object is empty.
    """
    settings = settings or RobotSettings()
    own = BoundingBox.of_mask(truth)
    lengths = np.array(own.shape_kji)
    reach = np.maximum(np.rint(settings.box_jitter * lengths), 1).astype(int) if settings.box_jitter else 0 * lengths
    outwards = np.where(rng.random((2, 3)) < _BOX_OUTWARDS, 1, -1) * rng.integers(0, reach + 1, (2, 3))
    start = np.maximum(own.start_kji - outwards[0], 0)
    stop = np.minimum(own.stop_kji + outwards[1], truth.shape)
    inside = tuple(slice(low, high) for low, high in zip(start, stop, strict=True))
    if np.count_nonzero(truth[inside]) < _BOX_KEEPS * np.count_nonzero(truth[own.slices]):
        start, stop = np.minimum(start, own.start_kji), np.maximum(stop, own.stop_kji)
    return BoundingBox(tuple(start.tolist()), tuple(stop.tolist()))


def correct(
    found: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    spacing_kji_mm: Sequence[float],
    rng: np.random.Generator,
    settings: RobotSettings | None = None,
    scribbled: Scribbles | None = None,
    shown: Collection[int] = (),
) -> Correction:
    """One round of strokes on the errors.

    For every object, the largest missed part gets its label, and the largest superfluous part gets the background's.
    What one object wrongly takes from another is the other's missed part, so marks never contradict each other. In each
    view, the slice that shows most of a part gets one stroke along the part's centreline; images of one slice have one
    view. A part that the strokes would fill gets a dot of one voxel. An object without any mark yet, and with little or
    nothing missed, gets one stroke or dot in its own middle: a tool that grows from seeds must be shown where it is. A
    robot that marks one error at a time draws this instead of the object's largest error.

    Parameters
    ----------
    found, truth : (K, J, I) whole numbers, 0 for background and 1 to 254 for objects
    spacing_kji_mm : (3,) positive
    rng : used by the sloppy style and for arcs only; the same state gives the same strokes
    scribbled : marks of earlier rounds; None if there are none
    shown : objects that the method was shown otherwise, so they need no mark in their middle

    Raises
    ------
    InputError : labelmaps of different shapes, with other values or not (K, J, I), or a spacing that is not positive.
    MissingPackageError : scikit-image is not installed.
    """
    settings = settings or RobotSettings()
    spacing = _checked(found, truth, spacing_kji_mm)
    scribbled = scribbled or Scribbles.none()
    parts = largest_errors(found, truth)
    large = [part for part in parts if part.size >= settings.smallest_voxels]
    parts = large or sorted(parts, key=lambda part: -part.size)[:1]
    if settings.one_error:
        parts = list({part.owner: part for part in sorted(parts, key=lambda part: part.size)}.values())
    pen = _Pen(truth.shape, spacing, rng, settings)
    counts = np.bincount(truth.ravel(), minlength=256)
    objects, before = object_boxes(truth).keys(), {*scribbled.object_labels(), *shown}
    marked = {*before, *(p.label for p in parts if p.size >= _TELLING_PART * counts[p.label])}
    unmarked = [object_itself(truth, label) for label in sorted(objects - marked)]
    if settings.one_error:
        parts = [part for part in parts if part.owner in marked or part.owner not in objects]
    drawn = [stroke for part in parts for stroke in pen.strokes(part, pen.views)]
    drawn += [stroke for part in unmarked for stroke in pen.strokes(part, pen.views[:1])]
    if settings.arc_share:
        first = [part for part in (*parts, *unmarked) if part.label == part.owner and part.label not in before]
        drawn += [stroke for part in first for stroke in pen.arc(part, truth)]
    length_mm = float(sum(stroke.length_mm for stroke in drawn))
    return Correction(_merged(drawn, scribbled, truth.shape), len(drawn), length_mm)


def view_axes(shape_kji: Index, spacing_kji_mm: NDArray[np.float64]) -> list[int]:
    """Axes across which the slices of an image are viewed, those with the smallest pixels first."""
    shape = np.array(shape_kji)
    axes = [axis for axis in range(3) if np.delete(shape, axis).min() > 1] or [int(shape.argmin())]
    return sorted(axes, key=lambda axis: -spacing_kji_mm[axis])


@dataclass(frozen=True, eq=False)
class _Stroke:
    """indices_kji : (N, 3). ``inside``: (N,) bool, which of them lie in the part to correct."""

    label: int
    indices_kji: NDArray[np.int64]
    inside: NDArray[np.bool_]
    length_mm: float


class _Pen:
    """Draws on parts of one image.

    views : axes across which slices are viewed; the first has the smallest pixels
    """

    def __init__(
        self, shape_kji: Index, spacing_kji_mm: NDArray[np.float64], rng: np.random.Generator, settings: RobotSettings
    ) -> None:
        self.shape = np.array(shape_kji)
        self.spacing = spacing_kji_mm
        self.rng = rng
        self.settings = settings
        self.views = view_axes(shape_kji, spacing_kji_mm)[: settings.views]

    def strokes(self, part: ErrorRegion, views: Sequence[int]) -> list[_Stroke]:
        if self.settings.style == "click":
            drawn = [self._dot(part, self.settings.thickness_voxels)]
        else:
            drawn = [stroke for axis in views for stroke in self._lines(part, axis)]
        marks = np.concatenate([stroke.indices_kji[stroke.inside] for stroke in drawn])
        if len(np.unique(marks, axis=0)) < part.size:
            return drawn
        return [self._dot(part, 1.0)]

    def arc(self, part: ErrorRegion, truth: NDArray[np.uint8]) -> list[_Stroke]:
        """An arc half round an object, on the slice of its first mark, on background; none if there is no room."""
        axis, plane = self.views[0], np.delete(self.spacing, self.views[0])
        voxel = plane.min()
        index = worst_slice(part.mask, axis) + int(part.corner_kji[axis])
        section = truth.take(index, axis)
        region = largest_piece(section == part.label)
        longer_mm = max((np.ptp(pixels) + 1) * mm for pixels, mm in zip(np.nonzero(region), plane, strict=True))
        distance_mm = max(self.settings.arc_share * longer_mm, _LEAST_ARC_VOXELS * voxel)
        line = strokes.arc_round(region, section == 0, plane, distance_mm, self.rng)
        if not len(line):
            return []
        pixels = strokes.painted(line, plane, self.settings.thickness_voxels * voxel)
        pixels = pixels[((pixels >= 0) & (pixels < section.shape)).all(axis=1)]
        pixels = pixels[section[tuple(pixels.T)] == 0]
        indices = np.insert(pixels, axis, index, axis=1)
        length = max(strokes.length_mm(line), self.settings.thickness_voxels * voxel)
        return [_Stroke(BACKGROUND, indices, np.ones(len(indices), bool), length)]

    def _dot(self, part: ErrorRegion, thickness_voxels: float) -> _Stroke:
        axis = self.views[0]
        every = int(np.ceil(np.cbrt(part.mask.size / _SEARCHED_VOXELS)))
        coarse = part.mask[::every, ::every, ::every]
        if not coarse.any():
            every, coarse = 1, part.mask
        at = every * strokes.middle_of_deepest(strokes.depth_mm(coarse, every * self.spacing, self.shape > 1))
        plane = np.delete(self.spacing, axis)
        point = np.delete(at, axis)[None] * plane
        return self._painted(part, axis, int(at[axis]), point, thickness_voxels * plane.min(), 0.0)

    def _lines(self, part: ErrorRegion, axis: int) -> list[_Stroke]:
        settings, plane = self.settings, np.delete(self.spacing, axis)
        voxel = plane.min()
        thickness = settings.thickness_voxels * voxel
        index = worst_slice(part.mask, axis)
        region = largest_piece(part.mask.take(index, axis))
        line = strokes.centreline(region, plane)
        total = strokes.length_mm(line)
        length = min(settings.share * total, settings.longest_voxels * voxel)
        line = strokes.between(line, (total - length) / 2, (total + length) / 2, voxel / 2)
        pieces, spill = [line], 0.0
        if settings.style == "sloppy":
            spill = settings.spill_voxels * voxel
            swing = min(settings.wander_voxels * voxel, strokes.depth_mm(region, plane).max())
            line = strokes.wandering(line, swing, _WAVELENGTH_THICKNESSES * thickness, self.rng)
            often, lifted = settings.lift_every_voxels * voxel, settings.lift_voxels * voxel
            pieces = strokes.with_breaks(line, often, lifted, voxel / 2, self.rng)
        drawn = [self._painted(part, axis, index, piece, thickness, spill) for piece in pieces]
        return [stroke for stroke in drawn if stroke.inside.any()] or [self._dot(part, settings.thickness_voxels)]

    def _painted(
        self, part: ErrorRegion, axis: int, index: int, line: strokes.Line, thickness_mm: float, spill_mm: float
    ) -> _Stroke:
        """The stroke on slice ``index`` of the part, cut where it is farther than ``spill_mm`` outside the part."""
        plane = np.delete(self.spacing, axis)
        margin = int(spill_mm / plane.min())
        region = np.pad(part.mask.take(index, axis), margin)
        pixels = strokes.painted(line, plane, thickness_mm)
        pixels = pixels[((pixels + margin >= 0) & (pixels + margin < region.shape)).all(axis=1)]
        at = tuple((pixels + margin).T)
        allowed = (
            region[at] if margin == 0 else ndimage.distance_transform_edt(~region, plane)[at] <= spill_mm * (1 + 1e-9)
        )
        indices = np.insert(pixels, axis, index, axis=1) + part.corner_kji
        allowed &= ((indices >= 0) & (indices < self.shape)).all(axis=1)
        length = max(strokes.length_mm(line), thickness_mm)
        return _Stroke(part.label, indices[allowed], region[at][allowed], length)


def _merged(drawn: list[_Stroke], scribbled: Scribbles, shape: Index) -> Scribbles:
    """All strokes. What spills over never paints over a mark: neither one of an earlier round nor a correct one."""
    if not drawn:
        return Scribbles.none()
    labels = np.repeat([stroke.label for stroke in drawn], [len(stroke.inside) for stroke in drawn])
    indices = np.concatenate([stroke.indices_kji for stroke in drawn])
    inside = np.concatenate([stroke.inside for stroke in drawn])
    voxels = np.ravel_multi_index(tuple(indices.T), shape)
    earlier = scribbled.indices_kji[BoundingBox.whole(shape).contains(scribbled.indices_kji)]
    taken = np.append(voxels[inside], np.ravel_multi_index(tuple(earlier.T), shape))
    spilt = np.flatnonzero(~inside & ~np.isin(voxels, taken))
    spilt = spilt[np.unique(voxels[spilt], return_index=True)[1]]
    kept = np.append(np.flatnonzero(inside), spilt)
    return Scribbles(indices[kept], labels[kept])


def _checked(
    found: NDArray[np.uint8], truth: NDArray[np.uint8], spacing_kji_mm: Sequence[float]
) -> NDArray[np.float64]:
    for name, labelmap in (("found", found), ("truth", truth)):
        if labelmap.ndim != 3 or labelmap.dtype.kind not in "ui" or labelmap.size == 0:
            raise InputError(
                f"{name} must be a (K, J, I) labelmap of integers, not {labelmap.dtype} of {labelmap.shape}"
            )
        if labelmap.min() < 0 or labelmap.max() >= BACKGROUND:
            raise InputError(f"{name} must hold 0 to 254, not {labelmap.min()} to {labelmap.max()}")
    if found.shape != truth.shape:
        raise InputError(f"found has the shape {found.shape}, but truth {truth.shape} (k, j, i)")
    spacing = np.asarray(spacing_kji_mm, np.float64)
    if spacing.shape != (3,) or not (np.isfinite(spacing) & (spacing > 0)).all():
        raise InputError(f"spacing_kji_mm must be three positive lengths, not {spacing_kji_mm!r}")
    return spacing
