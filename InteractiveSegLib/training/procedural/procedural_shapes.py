"""Random label maps: organs, rings, vessels, sheets and touching parts over several background tissues.

Lengths are in half-scenes: every axis runs from about -1 to 1 whatever its number of voxels, so a flat grid is a scene
of thick slices. Each *class* has one intensity; an object owns one class or more (a tumour and its necrosis).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from InteractiveSegLib.training.procedural.procedural_canvas import AIR, Canvas, LabelMap, Mask, Window
from InteractiveSegLib.training.procedural.procedural_fields import Array, smooth_noise


@dataclass(frozen=True, eq=False)
class _Solid:
    """An implicit body on a window of the canvas: ``value`` < 1 inside, ``first`` its long coordinate (-1..1)."""

    window: Window
    value: Array
    first: Array


def _solid(canvas: Canvas, centre: Array, radius: float, slender: float = 1.0, rough: float | None = None) -> _Solid:
    """Rotated, bent ellipsoid or rounded box with a noisy surface. ``slender`` > 1 allows longer bodies."""
    rng, rank = canvas.rng, len(canvas.axes)
    radii = radius * np.exp(rng.uniform(-0.35, 0.25, rank))
    radii[0] *= rng.uniform(1, slender)
    rotation = np.linalg.qr(rng.standard_normal((rank, rank)))[0]
    rough = rng.choice([0.04, 0.1, 0.2, 0.3]) * rng.uniform(0.5, 1.2) if rough is None else rough
    bend = rng.uniform(-0.6, 0.6) if rng.random() < 0.4 else 0.0
    reach = np.sqrt(((rotation * radii[:, None]) ** 2).sum(0)) * (1.05 + 2 * rough + abs(bend) * 0.7)
    window = canvas.window(centre, reach)
    offsets = canvas.offsets(window, centre)
    local = []
    for row, r in zip(rotation, radii, strict=True):
        coordinate = np.float32(row[0] / r) * offsets[0]
        for weight, offset in zip(row[1:], offsets[1:], strict=True):
            coordinate = coordinate + np.float32(weight / r) * offset
        local.append(coordinate)
    if bend:
        local[1] += np.float32(bend) * (local[0] ** 2 - np.float32(0.4))
    squares = [c * c for c in local]
    value = np.sqrt(np.sqrt(sum(s * s for s in squares)) if rng.random() < 0.25 else sum(squares))
    cells = 2.2 * rng.uniform(0.7, 2.0) * np.maximum(1, reach / radius)
    value += np.float32(rough) * smooth_noise(value.shape, cells, rng)
    if rng.random() < 0.4:  # a second octave
        value += np.float32(rough * rng.uniform(0.15, 0.4)) * smooth_noise(value.shape, 3 * cells, rng)
    return _Solid(window, value, local[0])


def _blob(canvas: Canvas, radius: float) -> None:
    """An organ or a tumour, sometimes in a capsule of fat."""
    rng = canvas.rng
    solid = _solid(canvas, canvas.place(radius), radius, slender=2.2)
    if rng.random() < 0.25:
        view = canvas.classes[solid.window]
        view[solid.value < 1 + rng.uniform(0.05, 0.2)] = canvas.background_class()
    rim = (1 if rng.random() < 0.3 else -1) * solid.value
    canvas.paint(solid.window, solid.value < 1, patches=0.3, rim=rim)


def _shell(canvas: Canvas, radius: float) -> None:
    """Ring and cavity, sometimes cut open, with a layer outside and a neighbour that hugs it."""
    rng, centre = canvas.rng, canvas.place(1.2 * radius)
    if rng.random() < 0.5:
        direction = rng.standard_normal(len(canvas.axes))
        aside = (centre + direction / np.linalg.norm(direction) * radius * rng.uniform(0.7, 1.1)).astype(np.float32)
        hugging = _solid(canvas, aside, radius * rng.uniform(0.7, 1.1))
        canvas.paint(hugging.window, hugging.value < 1)
    solid = _solid(canvas, centre, radius, slender=1.6, rough=rng.uniform(0.02, 0.1))
    outer = solid.value < 1
    if rng.random() < 0.35:
        outer &= solid.first < rng.uniform(0.2, 0.8)
    core = solid.value < rng.uniform(0.5, 0.86) + np.float32(rng.uniform(0, 0.1)) * smooth_noise(
        outer.shape, rng.uniform(1, 3), rng
    )
    ring = canvas.paint(solid.window, outer, patches=0)
    if ring is None or rng.random() < 0.1:
        return
    inside = canvas.paint(solid.window, outer & core, patches=0.4, rim=solid.value)
    if inside is not None:
        canvas.host.pop(inside[0], None)
        canvas.groups.append((ring[0], inside[0]))
        if rng.random() < 0.25:
            kernel = canvas.paint(solid.window, outer & (solid.value < rng.uniform(0.25, 0.5)))
            if kernel is not None:
                canvas.host.pop(kernel[0], None)
                canvas.groups += [(inside[0], kernel[0]), (ring[0], inside[0], kernel[0])]


def _parts(canvas: Canvas, radius: float) -> None:
    """A body in touching parts of similar intensity."""
    rng = canvas.rng
    solid = _solid(canvas, canvas.place(radius), radius, slender=1.8)
    whole = solid.value < 1
    split = solid.first + np.float32(rng.uniform(0.05, 0.3)) * smooth_noise(whole.shape, 3, rng)
    cuts = np.sort(rng.uniform(-0.7, 0.7, rng.integers(1, 4)))
    if rng.random() < 0.4:
        split, cuts = smooth_noise(whole.shape, rng.uniform(1, 2.5), rng), np.sort(rng.uniform(-0.8, 0.8, len(cuts)))
    members, kin = [], -1
    for low, high in itertools.pairwise([-np.inf, *cuts, np.inf]):
        made = canvas.paint(solid.window, whole & (split >= low) & (split < high), kin, patches=0)
        if made is not None:
            members.append(made[0])
            kin = made[1] if rng.random() < 0.7 else kin
    if len(members) > 1:
        canvas.groups.append(tuple(members))


def _union(canvas: Canvas, radius: float) -> None:
    """Lobes and processes: several solids grown together, one sometimes carved out."""
    rng, centre = canvas.rng, canvas.place(1.2 * radius)
    mask = np.zeros(canvas.classes.shape, bool)
    for n in range(rng.integers(2, 5)):
        aside = (centre + rng.standard_normal(len(canvas.axes)) * radius * (0.6 if n else 0)).astype(np.float32)
        solid = _solid(canvas, aside, radius * rng.uniform(0.35, 0.8), slender=2.0, rough=0.08)
        if n and rng.random() < 0.25:
            mask[solid.window] &= solid.value >= 1
        else:
            mask[solid.window] |= solid.value < 1
    canvas.paint(tuple(slice(0, n) for n in mask.shape), mask)


def _tree(canvas: Canvas, radius: float) -> None:
    """A vessel, sometimes branching, as capsules along a random walk."""
    rng, rank = canvas.rng, len(canvas.axes)
    mask = np.zeros(canvas.classes.shape, bool)
    calibre = max(radius * rng.uniform(0.1, 0.35), 1.3 * canvas.voxel)
    start, heading = canvas.place(0.4), rng.standard_normal(rank)
    ends = [(start, heading / np.linalg.norm(heading), calibre, int(rng.integers(5, 12)))]
    wander, budget = rng.uniform(0.1, 0.5), 24
    while ends and budget:
        point, heading, calibre, steps = ends.pop()
        for _ in range(min(steps, budget)):
            budget -= 1
            heading = heading + wander * rng.standard_normal(rank)
            heading /= np.linalg.norm(heading)
            length = radius * rng.uniform(0.2, 0.35)
            middle = (point + heading * length / 2).astype(np.float32)
            window = canvas.window(middle, np.full(rank, length / 2 + calibre))
            offsets = canvas.offsets(window, middle)
            along = sum(np.float32(h) * o for h, o in zip(heading, offsets, strict=True))
            excess = np.clip(along, -length / 2, length / 2)
            square = sum(o * o for o in offsets) + excess * (excess - 2 * along)
            mask[window] |= square < calibre * calibre
            point = point + heading * length
            calibre = max(calibre * rng.uniform(0.9, 1.02), 1.1 * canvas.voxel)
            if rng.random() < 0.12:
                turn = heading + 0.8 * rng.standard_normal(rank)
                ends.append((point, turn / np.linalg.norm(turn), calibre * 0.8, int(rng.integers(3, 7))))
    canvas.paint(tuple(slice(0, n) for n in mask.shape), mask, patches=0)


def _sheet(canvas: Canvas, radius: float) -> None:
    rng = canvas.rng
    solid = _solid(canvas, canvas.place(radius), radius * 1.2)
    height = solid.first + np.float32(rng.uniform(0.1, 0.4)) * smooth_noise(solid.value.shape, 2.5, rng)
    half = max(rng.uniform(0.06, 0.2), 1.2 * canvas.voxel / radius)
    canvas.paint(solid.window, (solid.value < 1) & (np.abs(height) < half), patches=0)


_KINDS: tuple[tuple[Callable[[Canvas, float], None], float], ...] = (
    (_blob, 0.36),
    (_shell, 0.22),
    (_parts, 0.14),
    (_union, 0.14),
    (_tree, 0.08),
    (_sheet, 0.06),
)


def _tissues(canvas: Canvas, air: bool) -> Mask | None:
    """Background: smooth fields compete for every voxel; folds in some scenes; a body with a rim of fat in air.

    Returns what lies outside the body, where there is one.
    """
    rng, shape = canvas.rng, canvas.classes.shape
    cells = rng.uniform(1.5, 7)
    best: Array | None = None
    for n in range(rng.integers(2, 6)):
        made = canvas.background_class()
        field = smooth_noise(shape, cells * canvas.ends, rng) + np.float32(rng.normal(0, 0.4) if n else 0.6)
        if best is None:
            canvas.classes[:] = made
            best = field
        else:
            canvas.classes[field > best] = made
            np.maximum(best, field, out=best)
    if rng.random() < 0.3:  # folds: two tissues in bands, as in a brain
        field = smooth_noise(shape, rng.uniform(5, 12) * canvas.ends, rng)
        where = canvas.classes == rng.integers(1, len(canvas.object_of))
        for low in (-0.5, 0.35):
            canvas.classes[where & (field > low)] = canvas.background_class()
    if air:
        size = rng.uniform(0.75, 1.1)
        body = _solid(canvas, canvas.place(1.2), size, rough=0.05)
        inside = np.zeros(shape, bool)
        inside[body.window] = body.value < 1
        rim = np.zeros(shape, bool)
        rim[body.window] = body.value > 1 - rng.uniform(0, 0.2)
        canvas.classes[inside & rim] = canvas.background_class()
        canvas.classes[~inside] = AIR


def draw_labels(
    shape: Sequence[int], rng: np.random.Generator, objects: tuple[int, int], distractors: tuple[int, int], air: float
) -> LabelMap:
    """Draw a scene's classes. The arguments are those of ``SceneSettings``."""
    canvas = Canvas(shape, rng)
    outside = _tissues(canvas, rng.random() < air)
    count = int(rng.integers(objects[0], objects[1] + 1))
    radii = np.sort(np.exp(rng.uniform(np.log(0.12), np.log(0.55), count)))[::-1]
    radii[0] = rng.uniform(0.4, 0.75)
    chances = np.array([chance for _, chance in _KINDS])
    picks = rng.choice(len(_KINDS), count, p=chances / chances.sum())
    for pick, radius in zip(picks, radii, strict=True):  # the large ones first, so that they do not bury the small ones
        if len(canvas.painted) > count:  # compound shapes count as several
            break
        _KINDS[pick][0](canvas, float(radius))
    named = len(canvas.painted)
    canvas.background_only = bool(rng.random() < 0.7)
    for _ in range(rng.integers(distractors[0], distractors[1] + 1)):  # look like objects and belong to none
        if rng.random() < 0.2:
            (_tree, _sheet)[int(rng.integers(2))](canvas, rng.uniform(0.1, 0.3))
        else:
            solid = _solid(canvas, canvas.place(0.0), rng.uniform(0.03, 0.14), slender=1.8)
            canvas.paint(solid.window, solid.value < 1, int(rng.integers(1, len(canvas.object_of))), patches=0)
    if outside is not None and rng.random() < 0.8:
        canvas.classes[outside] = AIR
    return _finished(canvas, named)


def _finished(canvas: Canvas, named: int) -> LabelMap:
    """Objects numbered 1..n without a gap; one that is mostly covered by others becomes background."""
    owners = np.array(canvas.object_of, np.int16)
    seen = np.bincount(canvas.classes.ravel(), minlength=len(owners))
    visible = np.zeros(len(canvas.painted), int)
    np.add.at(visible, owners, seen)
    nested = {part for group in canvas.groups for part in group}
    number = np.zeros(len(canvas.painted), np.int16)
    for n in range(1, named):
        if visible[n] and (n in nested or visible[n] > 0.55 * canvas.painted[n]):
            number[n] = number.max() + 1
    groups = [tuple(int(number[n]) for n in g) for g in canvas.groups]
    groups += [(int(number[host]), int(number[part])) for part, host in canvas.host.items()]
    return LabelMap(
        canvas.classes,
        number[owners],
        np.array(canvas.near, np.int16),
        np.array(canvas.kin, np.int16),
        tuple(g for g in groups if all(g)),
    )
