"""Which slice to annotate next, why, and when to stop.

Residual maps show where a mask still moves (Tian, Chen and Gao, arXiv 2312.06072): between two rounds of the model (the
back end) and between the propagated mask and the model (the front end). They are combined with the model's uncertainty
and the disagreement of the two sides from which a slice was propagated.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.notes.slice_names import Place, SliceNames

if TYPE_CHECKING:
    from InteractiveSegLib.propagate.proxy_mask import ProxyMask

SIDES = "the two sides disagree"
CHANGE = "largest change in the last round"
FRONT_END = "the propagated mask and the model disagree"
UNSURE = "the model is unsure"

_WRONG_OF_SIDES = 0.7  # ratio of wrong voxels to the sum of the map, measured on five kinds of objects
_WRONG_OF_DOUBT = 0.15  # of the model's uncertainty, likewise
_GOING_THERE = 0.25  # of the mean outline
_ROUNDING = 1 + 1e-4  # of spacings in file headers


@dataclass(frozen=True)
class GuidanceSettings:
    """What is suggested.

    count : maximum number of slices
    axes : 0, 1, 2 for k, j, i; None for those with slices that a person can draw on (``drawable_axes``)
    coarsest : longer side of a pixel, in finest voxel spacings of the image, on which a person can still draw
    enough : gain of the best slice, as a fraction of the object, below which no more annotation is needed
    reach : maximum number of slices on either side that an annotated slice is assumed to correct
    """

    count: int = 3
    axes: tuple[int, ...] | None = None
    coarsest: float = 2.5
    enough: float = 0.005
    reach: int = 8

    def __post_init__(self) -> None:
        for name in ("count", "reach"):
            if not isinstance(getattr(self, name), int):
                raise InputError(f"{name} is an integer, not {getattr(self, name)!r}")
        if self.count < 1:
            raise InputError(f"count {self.count} must be at least 1")
        if self.axes is not None and (not self.axes or not set(self.axes) <= {0, 1, 2}):
            raise InputError(f"axes must be of 0, 1, 2 (k, j, i), not {self.axes}")
        if not self.coarsest >= 1:
            raise InputError(f"coarsest must be 1 or more, not {self.coarsest}")
        if not self.enough >= 0:
            raise InputError(f"enough must be 0 or more, not {self.enough}")
        if self.reach < 1:
            raise InputError(f"reach {self.reach} must be at least 1")


@dataclass(frozen=True, eq=False)
class Evidence:
    """A map of where the mask may be wrong.

    expected : (K, J, I) in the box, for each voxel the probability that annotating it would change it
    reason : in words
    """

    box: BoundingBox
    expected: NDArray[np.floating]
    reason: str


@dataclass(frozen=True)
class Suggestion:
    """A slice to annotate.

    gain : voxels that it is expected to correct, here and on its neighbours, as a fraction of the object
    """

    axis: int
    index: int
    gain: float
    reason: str

    @property
    def place(self) -> Place:
        return self.axis, self.index

    def said(self, called: SliceNames) -> str:
        """The slice, the reason and the gain, for the user."""
        return f"{called.one(self.place)}: {self.reason} (about {100 * self.gain:.1f} % of the object)"


@dataclass(frozen=True)
class Advice:
    """The next slices, best first, and whether annotating them is worthwhile.

    enough : no slice is expected to gain much
    text : a sentence that says so
    """

    suggestions: tuple[Suggestion, ...]
    enough: bool
    text: str


def drawable_axes(
    geometry: Geometry, annotated: Mapping[int, Collection[int]], settings: GuidanceSettings
) -> tuple[int, ...]:
    """Axes along which slices are suggested if none are named.

    If the image is sampled coarsely along another axis, the planes across a finely sampled axis are reformatted, with
    elongated pixels on which nobody can draw. The axes kept are the one with the largest spacing, whose slices have the
    finest pixels; those whose pixels are within ``coarsest``; and those along which slices are annotated anyway.
    """
    spacing = geometry.spacing_kji_mm
    longest = {axis: max(mm for other, mm in enumerate(spacing) if other != axis) for axis in range(3)}
    return tuple(
        axis
        for axis in range(3)
        if annotated.get(axis)
        or longest[axis] <= settings.coarsest * min(spacing) * _ROUNDING
        or spacing[axis] * _ROUNDING >= max(spacing)
    )


def residual(one: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.float32]:
    """Absolute difference (K, J, I) of two soft masks, 0 to 1. InputError if their shapes differ."""
    if one.shape != other.shape:
        raise InputError(f"soft masks of the shapes {one.shape} and {other.shape} cannot be compared")
    return np.abs(one.astype(np.float32) - other.astype(np.float32))


def uncertainty(probability: NDArray[np.floating]) -> NDArray[np.float32]:
    """``1 - |2 p - 1|``: 1 where p is a half, 0 where it is 0 or 1."""
    return 1 - np.abs(2 * probability.astype(np.float32) - 1)


def from_proxy(proxy: ProxyMask) -> Evidence:
    """Where the two sides of the propagated mask disagree and the border is unsure, of any label."""
    expected = np.zeros_like(proxy.disagreement)
    for k in np.flatnonzero(proxy.disagreement.any(axis=(1, 2))):  # slice by slice, for large images
        each = proxy.probabilities[:, k].astype(np.float32)
        unsure = np.maximum(uncertainty(each).max(axis=0), uncertainty(each.sum(axis=0)))
        expected[k] = _WRONG_OF_SIDES * unsure * proxy.disagreement[k]
    return Evidence(proxy.box, expected, SIDES)


def from_rounds(before: NDArray[np.floating], after: NDArray[np.floating]) -> Evidence:
    """Where the model's probabilities (K, J, I) of the whole image changed from one round to the next (back end)."""
    return Evidence(BoundingBox.whole(after.shape), residual(before, after), CHANGE)


def from_front_end(proxy: ProxyMask, prediction: NDArray[np.floating]) -> Evidence:
    """Where the propagated mask and the model's foreground probability (K, J, I) of the whole image differ."""
    proxied = np.zeros(proxy.geometry.shape_kji, np.float32)
    proxied[proxy.box.slices] = proxy.probabilities.sum(axis=0, dtype=np.float32)
    return Evidence(BoundingBox.whole(proxied.shape), residual(proxied, prediction) / 2, FRONT_END)


def from_prediction(prediction: NDArray[np.floating]) -> Evidence:
    """Where the model's foreground probability (K, J, I) of the whole image is near a half."""
    return Evidence(BoundingBox.whole(prediction.shape), _WRONG_OF_DOUBT * uncertainty(prediction), UNSURE)


def suggest(
    evidence: Sequence[Evidence],
    geometry: Geometry,
    annotated: Mapping[int, Collection[int]],
    object_voxels: float,
    settings: GuidanceSettings | None = None,
    proposed: Collection[tuple[int, int]] = (),
    outlines: Mapping[int, NDArray[np.floating]] | None = None,
) -> Advice:
    """Rank slices by the ratio of what annotating them is expected to correct to what must be drawn.

    An annotated slice corrects itself completely, and its neighbours less, the nearer they are to previously annotated
    slices (or to ``reach``). In a gap where all slices are equally wrong, the middle one comes first. After each
    choice, what it corrects is subtracted before the next choice.

    Parameters
    ----------
    geometry : of the image
    annotated : axis -> indices that are annotated
    object_voxels : of all labels together
    proposed : (axis, index) of slices that were proposed before; like annotated slices they are not suggested again
    outlines : axis -> (n,) pixels to be drawn on each slice (``expected_outlines``); without it all slices cost the
        same

    Raises
    ------
    InputError : no evidence, or an object without a voxel.
    """
    settings = settings or GuidanceSettings()
    if not evidence:
        raise InputError("no evidence to rank slices by")
    if not object_voxels > 0:
        raise InputError(f"an object of {object_voxels} voxels has no slices to rank")
    axes, shape = settings.axes or drawable_axes(geometry, annotated, settings), geometry.shape_kji
    costs = {axis: _costs(axis, shape[axis], outlines) for axis in axes}
    left = {axis: np.stack([_profile(each, axis, shape[axis]) for each in evidence]) for axis in axes}
    drawn = {axis: set(annotated.get(axis, ())) for axis in axes}
    taken = {(axis, index) for axis in drawn for index in drawn[axis]} | set(proposed)
    chosen: list[Suggestion] = []
    while len(chosen) < settings.count:
        best = _best(left, drawn, taken, costs, settings.reach)
        if best is None:
            break
        gain, axis, index, shares = best
        strongest = int(np.argmax(left[axis] @ shares))
        chosen.append(Suggestion(axis, index, gain / object_voxels, evidence[strongest].reason))
        taken.add((axis, index))
        drawn[axis].add(index)
        for other in left:
            before = left[other].sum()
            left[other] *= 1 - shares if other == axis else max(0.0, 1 - gain / max(before, 1e-9))
    enough = not chosen or chosen[0].gain < settings.enough
    return Advice(tuple(chosen), enough, _verdict(chosen, enough))


def expected_outlines(proxy: ProxyMask) -> dict[int, NDArray[np.float64]]:
    """Axis -> (n,) pixels on the outlines of the propagated labels, slice by slice."""
    labels = proxy.labelmap()
    inside = labels[proxy.box.slices]
    found = {}
    for axis, span in enumerate(proxy.box.slices):
        others = [other for other in range(3) if other != axis]
        found[axis] = np.zeros(labels.shape[axis])
        found[axis][span] = _edges(inside, others).sum(axis=tuple(others))
    return found


def _edges(labels: NDArray[np.integer], axes: Iterable[int]) -> NDArray[np.bool_]:
    """Voxels of a label with another value beside them along one of the axes; beyond the array there is none."""
    edge = np.zeros(labels.shape, bool)
    for axis in axes:
        along, found = np.moveaxis(labels, axis, 0), np.moveaxis(edge, axis, 0)
        steps = along[1:] != along[:-1]
        found[1:] |= steps
        found[:-1] |= steps
        found[[0, -1]] = True
    return edge & (labels > 0)


def _costs(axis: int, length: int, outlines: Mapping[int, NDArray[np.floating]] | None) -> NDArray[np.float64]:
    """The cost of a slice: its outline, plus a fixed cost for going there, a quarter of the mean outline."""
    if outlines is None or not (outlines[axis] > 0).any():
        return np.ones(length)
    return outlines[axis] + _GOING_THERE * outlines[axis][outlines[axis] > 0].mean()


def _verdict(chosen: Sequence[Suggestion], enough: bool) -> str:
    if not chosen:
        return "enough: no other slice is expected to change anything"
    gain = f"{100 * chosen[0].gain:.1f} % of the object"
    if enough:
        return f"enough: even the best next slice is expected to change only {gain}"
    return f"the best next slice is expected to change {gain}"


def _profile(evidence: Evidence, axis: int, length: int) -> NDArray[np.float64]:
    """(n,) sum of the map over each slice of the image."""
    whole = np.zeros(length)
    others = tuple(other for other in range(3) if other != axis)
    span = evidence.box.slices[axis]
    whole[span] = evidence.expected.sum(axis=others, dtype=np.float64)
    return whole


def _best(
    left: Mapping[int, NDArray[np.float64]],
    drawn: Mapping[int, Collection[int]],
    taken: Collection[tuple[int, int]],
    costs: Mapping[int, NDArray[np.float64]],
    reach: int,
) -> tuple[float, int, int, NDArray[np.float64]] | None:
    """Gain, axis and index of the best remaining slice, and the fraction of each slice of its axis that it corrects."""
    best, best_rate = None, 0.0
    for axis, profiles in left.items():
        total = profiles.sum(axis=0)
        touched = np.flatnonzero(total)
        if not touched.size:
            continue
        borders = sorted({int(touched[0]) - 1, int(touched[-1]) + 1, *drawn[axis]})
        for index in touched.tolist():
            if (axis, index) in taken:
                continue
            shares = _settled(index, borders, len(total), reach)
            gain = float(total @ shares)
            rate = gain / costs[axis][index]
            if best is None or rate > best_rate:
                best, best_rate = (gain, axis, index, shares), rate
    return best


def _settled(index: int, borders: Sequence[int], length: int, reach: int) -> NDArray[np.float64]:
    """(n,) fraction of the error on each slice that annotating one corrects: all of it there, nothing at the borders.

    An error is assumed to grow from the border of a gap to its middle as the product of the distances to both borders.
    The fraction is the decrease of that product when the gap is split in two.
    """
    lower = max([border for border in borders if border < index] + [index - reach])
    upper = min([border for border in borders if border > index] + [index + reach])
    share = np.zeros(length)
    for start, stop in ((lower, index), (upper, index)):
        others = np.arange(max(0, min(start, stop)), min(length, max(start, stop) + 1))
        far = upper if start == lower else lower
        kept = (others - stop) * (far - start) / ((start - stop) * (far - others))
        share[others] = 1 - kept
    return share
