"""Boxes and scribbles drawn at random on known objects, as varied as those of people."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
Stroke = Callable[[Mask, NDArray[np.float32], np.random.Generator], Mask]

_MOST_SLICES = 4
_IMPORTANT_PART = 0.5  # of the largest component; people rarely scribble on smaller ones


def draw_box(truth: Mask, rng: np.random.Generator, inwards: float = 0.1, outwards: float = 0.2) -> Mask:
    """The object's box (K, J, I), each side moved by up to these fractions of its length, mostly by little.

    In a slice beyond the object's ends, the box is arbitrary.
    """
    box = np.zeros(truth.shape, bool)
    if not truth.any():
        truth = ~ndimage.binary_dilation(box, _cross(box), border_value=1, iterations=int(rng.integers(2, 8)))
    if not truth.any():
        return ~box
    spans = []
    for axis, size in enumerate(truth.shape):
        hits = np.flatnonzero(truth.any(axis=tuple(other for other in range(3) if other != axis)))
        length = hits[-1] + 1 - hits[0]
        moved = np.rint(rng.triangular(-inwards, 0.0, outwards, 2) * length).astype(int)
        spans.append(slice(max(0, hits[0] - moved[0]), min(size, max(hits[-1] + 1 + moved[1], hits[0] + 1))))
    box[tuple(spans)] = True
    return box


def draw_scribbles(region: Mask, rng: np.random.Generator, everywhere: bool = False) -> Mask:
    """Marks on a region (K, J, I), in a few slices, or with ``everywhere`` in every slice along k that shows it.

    In a slice the mark is a dot, a straight or bent line, the middle line or a curve along the border, whole or broken,
    one or two pixels thick, and lies within the region.
    """
    marks = np.zeros(region.shape, bool)
    if not region.any():
        return marks
    axes = [axis for axis in range(3) if region.shape[axis] > 1] if region.shape[0] > 1 else [0]
    if everywhere:
        chosen = [(0, index) for index in np.flatnonzero(region.any(axis=(1, 2)))]
    else:
        chosen = []
        for axis in rng.choice(axes, size=int(rng.integers(1, _MOST_SLICES)) if len(axes) > 1 else 1):
            areas = region.sum(axis=tuple(other for other in range(3) if other != axis)).astype(float)
            if rng.random() < 0.5:
                areas = (areas >= areas.max()) | (rng.random(len(areas)) < 0.02) * (areas > 0)
            chosen.append((int(axis), int(rng.choice(len(areas), p=areas / areas.sum()))))
    for axis, index in chosen:
        view = np.moveaxis(marks, axis, 0)[index]
        view |= _in_slice(np.moveaxis(region, axis, 0)[index], rng)
    return marks


def draw_few(region: Mask, rng: np.random.Generator) -> Mask:
    """One to three clicks, or one stroke of at least a few voxels, on a region (K, J, I), as people begin."""
    marks = np.zeros(region.shape, bool)
    if not region.any():
        return marks
    depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1, 1:-1]
    kind = rng.random()
    if kind < 0.6:
        for least in (rng.uniform(0.7, 1.0), *rng.uniform(0.2, 1.0, int(rng.integers(1, 3)) if kind < 0.2 else 0)):
            deep = np.argwhere(depth >= least * depth.max())
            marks[tuple(deep[rng.integers(len(deep))])] = True
        return marks
    axis = int(rng.choice([axis for axis in range(3) if region.shape[axis] > 1])) if region.shape[0] > 1 else 0
    areas = region.sum(axis=tuple(other for other in range(3) if other != axis))
    wide = np.flatnonzero(areas >= rng.uniform(0.5, 1.0) * areas.max())
    index = int(rng.choice(wide))
    part = _largest(np.moveaxis(region, axis, 0)[index])
    stroke = _LINES[int(rng.integers(len(_LINES)))](part, _depth(part), rng)
    if kind < 0.8:  # short
        ends = np.argwhere(stroke)
        near = np.square(np.argwhere(part) - ends[rng.integers(len(ends))]).sum(axis=1) if len(ends) else np.zeros(0)
        short = np.zeros(part.shape, bool)
        short[tuple(np.argwhere(part)[near <= rng.uniform(1.0, 5.0) ** 2].T)] = True
        stroke = stroke & short
    if not stroke.any():
        stroke = _dot(part, _depth(part), rng)
    np.moveaxis(marks, axis, 0)[index] = stroke
    return marks


def error_regions(found: Mask, truth: Mask) -> tuple[Mask, Mask]:
    """The largest missed part and the largest superfluous part, (K, J, I) each."""
    return _largest(truth & ~found), _largest(found & ~truth)


def against(truth: Mask, rng: np.random.Generator) -> Mask:
    """Where a person would mark the background: near the object, in a hole of it, or anywhere."""
    outside = ~truth
    kind = rng.random()
    if kind < 0.35:
        near = ndimage.binary_dilation(truth, _cross(truth), iterations=int(rng.integers(3, 9)))
        band = near & ~ndimage.binary_dilation(truth, _cross(truth), iterations=2)
        return band if band.any() else outside
    if kind < 0.7:
        parts, count = ndimage.label(outside)
        if count > 1:
            return parts == rng.integers(1, count + 1)
    return outside


def spoiled(truth: Mask, rng: np.random.Generator) -> Mask:
    """The object as another method might have segmented it: enlarged, shrunk, moved, cut or with a superfluous part."""
    mask = truth.copy()
    kind = rng.integers(4)
    steps = int(rng.integers(1, 4))
    if kind == 0:
        mask = ndimage.binary_dilation(mask, _cross(truth), iterations=steps)
    elif kind == 1:
        shrunk = ndimage.binary_erosion(mask, _cross(truth), iterations=steps)
        mask = shrunk if shrunk.any() else mask
    elif kind == 2:
        shift = [int(rng.integers(-2, 3)) if size > 8 else 0 for size in truth.shape]
        mask = ndimage.shift(mask.astype(np.uint8), shift, order=0).astype(bool)
    blob = _blob(truth.shape, rng)
    return mask | blob if rng.random() < 0.5 else mask & ~blob


def _blob(shape: tuple[int, ...], rng: np.random.Generator) -> Mask:
    centre = [rng.uniform(0, size) for size in shape]
    radius = [max(1.0, rng.uniform(0.08, 0.3) * size) for size in shape]
    axes = np.ogrid[tuple(slice(0, size) for size in shape)]
    return sum(((x - c) / r) ** 2 for x, c, r in zip(axes, centre, radius, strict=True)) < 1


def _cross(mask: Mask) -> NDArray[np.bool_]:
    """Neighbours within a slice of thin stacks, in all directions otherwise."""
    cross = ndimage.generate_binary_structure(3, 1)
    if mask.shape[0] < 0.5 * min(mask.shape[1:]):
        cross[[0, 2]] = False
    return cross


def _largest(region: Mask) -> Mask:
    parts, count = ndimage.label(region)
    if count < 2:
        return region
    return parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])


def _in_slice(region: Mask, rng: np.random.Generator) -> Mask:
    """Strokes on a region (J, I) of one slice."""
    parts, count = ndimage.label(region)
    if count == 0:
        return region
    sizes = np.bincount(parts.ravel())[1:]
    marks = np.zeros(region.shape, bool)
    for number in np.flatnonzero(sizes >= _IMPORTANT_PART * sizes.max())[:3] + 1:
        part = parts == number
        depth = _depth(part)
        stroke = _STROKES[int(rng.choice(len(_STROKES), p=_SHARES))](part, depth, rng)
        if rng.random() < 0.4:
            stroke &= _broken(region.shape, rng)
        if rng.random() < 0.4:
            stroke = ndimage.binary_dilation(stroke) & part
        if not stroke.any():
            stroke = _dot(part, depth, rng)
        marks |= stroke
    return marks


def _depth(part: Mask) -> NDArray[np.float32]:
    """Distance (J, I) to the nearest pixel outside it."""
    return ndimage.distance_transform_edt(np.pad(part, 1))[1:-1, 1:-1].astype(np.float32)


def _dot(part: Mask, depth: NDArray[np.float32], rng: np.random.Generator) -> Mask:
    """One pixel, mostly deep inside."""
    deep = np.argwhere(depth >= rng.uniform(0.2, 1.0) * depth.max())
    marks = np.zeros(part.shape, bool)
    marks[tuple(deep[rng.integers(len(deep))])] = True
    return marks


def _line(part: Mask, depth: NDArray[np.float32], rng: np.random.Generator) -> Mask:
    """A bent line between two pixels, as far as it lies within the part."""
    inside = np.argwhere(depth >= min(1.5, depth.max()))
    ends = inside[rng.integers(len(inside), size=2)]
    middle = ends.mean(axis=0) + rng.normal(0, 0.15, 2) * np.linalg.norm(ends[1] - ends[0])
    t = np.linspace(0, 1, 2 * int(np.abs(ends[1] - ends[0]).max()) + 3)[:, None]
    curve = np.rint((1 - t) ** 2 * ends[0] + 2 * t * (1 - t) * middle + t**2 * ends[1]).astype(int)
    curve = curve[((curve >= 0) & (curve < part.shape)).all(axis=1)]
    marks = np.zeros(part.shape, bool)
    marks[tuple(curve.T)] = True
    return marks & part


def _middle(part: Mask, depth: NDArray[np.float32], rng: np.random.Generator) -> Mask:
    """The ridge of the depth: roughly the middle line; for a ring, the whole circle."""
    padded = np.pad(depth, 1)
    rows = (depth >= padded[:-2, 1:-1]) & (depth > padded[2:, 1:-1])
    columns = (depth >= padded[1:-1, :-2]) & (depth > padded[1:-1, 2:])
    return part & (rows | columns) & (depth >= rng.uniform(0.4, 0.9) * depth.max())


def _along_border(part: Mask, depth: NDArray[np.float32], rng: np.random.Generator) -> Mask:
    """A curve at one depth."""
    level = rng.uniform(1.0, max(1.0, 0.8 * depth.max()))
    return part & (np.abs(depth - level) <= 0.6)


def _broken(shape: tuple[int, ...], rng: np.random.Generator) -> Mask:
    """Where a hand touches: smooth noise above a threshold."""
    coarse = rng.random([max(2, size // int(rng.integers(6, 16))) for size in shape])
    zoom = [size / n for size, n in zip(shape, coarse.shape, strict=True)]
    return ndimage.zoom(coarse, zoom, order=1)[: shape[0], : shape[1]] > rng.uniform(0.3, 0.6)


_STROKES: tuple[Stroke, ...] = (_dot, _line, _middle, _along_border)
_SHARES = (0.1, 0.35, 0.3, 0.25)
_LINES: tuple[Stroke, ...] = (_line, _middle)
