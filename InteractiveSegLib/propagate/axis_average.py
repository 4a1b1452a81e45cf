"""The results of all axes, averaged into one soft mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.progress import Progress, Steps
from InteractiveSegLib.propagate.annotated_slice import AnnotatedSlice
from InteractiveSegLib.propagate.axis_stack import AxisLabels

_TEXT = "putting slices together"
_LEAST_WEIGHT = 0.05
_LEAST_TRUST = 0.5  # of a slice that no registration reaches
_OBJECT = 0.05  # probability or disagreement from which an object may be there


@dataclass(frozen=True, eq=False)
class SoftMask:
    """Fields as in ``ProxyMask``."""

    box: BoundingBox
    probabilities: NDArray[np.float16]
    confidence: NDArray[np.float16]
    disagreement: NDArray[np.float16]


def average_steps(
    geometry: Geometry, annotated: Sequence[AnnotatedSlice], labels: tuple[int, ...], found: Sequence[AxisLabels]
) -> Steps[SoftMask]:
    """Mean over the axes, weighted by confidence and by nearness to an annotated slice of the axis.

    Where the axes differ, twice their standard deviation is the disagreement. Annotated slices are then restored.
    """
    boxes = [_box(each, [a.index for a in annotated if a.axis == each.axis]) for each in found]
    box = boxes[0]
    for other in boxes[1:]:
        box = box.union(other)
    shape = (len(labels), *box.shape_kji)
    soft = SoftMask(box, *(np.zeros(each, np.float16) for each in (shape, shape[1:], shape[1:])))
    if len(found) == 1:
        for done, index in enumerate(found[0].levels):
            yield Progress(done, len(found[0].levels), _TEXT)
            place = _place(found[0], index, box)
            soft.probabilities[place], soft.confidence[place[1:]], soft.disagreement[place[1:]] = _said(found[0], index)
    else:
        yield from _average_several(geometry, annotated, found, soft)
    _restore(annotated, labels, soft)
    return soft


def slice_confidence_steps(
    geometry: Geometry, soft: SoftMask, annotated: Mapping[int, Sequence[int]]
) -> Steps[dict[int, NDArray]]:
    """Axis -> (n,) mean confidence of each slice where an object may be; 1 if annotated, nan if there is none."""
    said = [np.zeros(n) for n in soft.box.shape_kji]
    weight = [np.zeros(n) for n in soft.box.shape_kji]
    for k in range(soft.box.shape_kji[0]):
        yield Progress(k, soft.box.shape_kji[0], "weighing slices")
        shares = np.maximum(soft.probabilities[:, k].sum(axis=0, dtype=np.float32), soft.disagreement[k])
        shares[shares < _OBJECT] = 0
        for totals, values in ((said, shares * soft.confidence[k]), (weight, shares)):
            totals[0][k] += values.sum()
            totals[1] += values.sum(axis=1)
            totals[2] += values.sum(axis=0)
    result = {}
    for axis, (start, stop) in enumerate(zip(soft.box.start_kji, soft.box.stop_kji, strict=True)):
        whole = np.full(geometry.shape_kji[axis], np.nan)
        np.divide(said[axis], weight[axis], out=whole[start:stop], where=weight[axis] > 0)
        whole[list(annotated.get(axis, ()))] = 1.0
        result[axis] = whole
    return result


def _box(found: AxisLabels, indices: Sequence[int]) -> BoundingBox:
    """The slices for which an axis has a result, including its annotated slices."""
    covered = [*found.levels, *indices]
    return found.plane.box(found.axis, (min(covered), max(covered) + 1))


def _place(found: AxisLabels, index: int, box: BoundingBox) -> tuple[slice | int, ...]:
    """Index of a slice's crop into (L, K, J, I) arrays of the box."""
    place: list[slice | int] = list(found.plane.box(found.axis, (index, index + 1)).counted_from(box).slices)
    place[found.axis] = index - box.start_kji[found.axis]
    return (slice(None), *place)


def _said(found: AxisLabels, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Probabilities (L, H, W), confidence and disagreement (H, W) of a slice that was filled."""
    each = (1 + found.plane.interpolated(found.levels[index])) / 2
    if len(each) > 1:
        *single, together = each
        total = np.sum(single, axis=0)
        each = np.stack(single) * (together / np.maximum(total, 1e-6))
    apart = found.plane.interpolated(found.apart[index])
    trust = _LEAST_TRUST + (1 - _LEAST_TRUST) * found.quality[index]
    return each, (1 - apart) * trust, apart


def _average_several(
    geometry: Geometry, annotated: Sequence[AnnotatedSlice], found: Sequence[AxisLabels], soft: SoftMask
) -> Steps[None]:
    shape = soft.probabilities.shape
    mean, square = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    total, sure, apart = (np.zeros(shape[1:], np.float32) for _ in range(3))
    for each in found:
        drawn = np.array([a.index for a in annotated if a.axis == each.axis])
        step_mm = geometry.spacing_kji_mm[each.axis]
        for done, index in enumerate(each.levels):
            yield Progress(done, len(each.levels), _TEXT)
            place = _place(each, index, soft.box)
            probabilities, confidence, differ = _said(each, index)
            distance_mm = step_mm * (np.abs(drawn - index).min() + 0.5)
            weight = (_LEAST_WEIGHT + confidence) / distance_mm
            mean[place] += weight * probabilities
            square[place] += weight * probabilities**2
            total[place[1:]] += weight
            sure[place[1:]] += weight * confidence
            apart[place[1:]] += weight * differ
    for k in range(len(total)):  # slab by slab, for large images
        yield Progress(k, len(total), _TEXT)
        said = total[k] > 0
        for array in (mean[:, k], square[:, k], sure[k], apart[k]):
            np.divide(array, total[k], out=array, where=said)
        spread = 2 * np.sqrt(np.maximum(square[:, k] - mean[:, k] ** 2, 0)).max(axis=0)
        soft.probabilities[:, k] = mean[:, k]
        soft.disagreement[k] = np.maximum(apart[k], np.minimum(spread, 1))
        soft.confidence[k] = np.where(said, np.minimum(sure[k], 1 - soft.disagreement[k]), 0)


def _restore(annotated: Sequence[AnnotatedSlice], labels: tuple[int, ...], soft: SoftMask) -> None:
    """Annotated slices as they were drawn, the later ones over the earlier ones."""
    for each in annotated:
        place: list[slice | int] = [slice(0, n) for n in soft.box.shape_kji]
        place[each.axis] = each.index - soft.box.start_kji[each.axis]
        crop = [slice(a, b) for a, b in zip(soft.box.start_kji, soft.box.stop_kji, strict=True)]
        del crop[each.axis]
        drawn = each.labels[tuple(crop)]
        for channel, label in enumerate(labels):
            soft.probabilities[(channel, *place)] = drawn == label
        soft.confidence[tuple(place)] = 1
        soft.disagreement[tuple(place)] = 0
