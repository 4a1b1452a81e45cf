"""Binary tasks cut from a scene: an object, its box and a margin; in 3D, or as slices for a 2D network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.intensity import normalised
from InteractiveSegLib.training.procedural.procedural_fields import along_axes, resampling_matrix
from InteractiveSegLib.training.procedural.procedural_images import Scene, check_probability, check_range

Crop = tuple[NDArray[np.float32], NDArray[np.uint8]]
Box = tuple[slice, ...]

_VISIBLE = 2.2  # steps at a border, over what white noise gives there; resampled noise gives up to about 2


@dataclass(frozen=True)
class CropSettings:
    """How objects are cut out.

    margin_voxels : background kept on each side of the object's box, drawn for every side
    margin_part : a margin is at most this fraction of the object's own length along the axis
    region : probability that the crop is instead a region around a voxel of the object, as in the search without a box:
        it may cut the object off, or contain much more
    region_part : sides of a region, as a fraction of the object's mean length
    whole : probability that an object in a group (ring and cavity, touching parts) is replaced by the whole group
    fresh_noise : probability of noise added at the crop's own resolution
    """

    margin_voxels: tuple[int, int] = (0, 10)
    margin_part: float = 0.35
    region: float = 0.0
    region_part: tuple[float, float] = (0.5, 4.0)
    whole: float = 0.3
    fresh_noise: float = 0.25

    def __post_init__(self) -> None:
        check_range("margin_voxels", self.margin_voxels)
        if self.margin_part < 0:
            raise InputError(f"margin_part {self.margin_part} must not be negative")
        check_range("region_part", self.region_part)
        check_probability("region", self.region)
        check_probability("whole", self.whole)
        check_probability("fresh_noise", self.fresh_noise)


def object_crops(
    scene: Scene,
    shape: Sequence[int],
    count: int,
    rng: np.random.Generator,
    settings: CropSettings | None = None,
) -> list[Crop]:
    """Binary tasks: ``count`` random objects, each cut to its box and a margin and resampled to ``shape``.

    The axes j and i are exchanged at random and every axis is flipped at random. Margins end at the scene's border.
    Objects that the image does not show (beyond the window of a CT, in the shadow of a bone) are left out.

    Returns
    -------
    (image, mask) pairs: float32 in [0, 1] and uint8 {0, 1}. Fewer than ``count``, or none, if the scene has no
    visible object of at least 30 (2D) or 100 (3D) voxels.
    """
    if len(shape) != scene.image.ndim or min(shape) < 1:
        raise InputError(f"crops of shape {tuple(shape)} cannot be cut from a scene of shape {scene.image.shape}")
    settings = settings or CropSettings()
    candidates = _Candidates(scene)
    crops: list[Crop] = []
    for _ in range(3 * count if candidates else 0):
        exchange = bool(rng.random() < 0.5)
        task = candidates.draw(_turned(shape, exchange), rng, settings)
        image, mask = _resampled(scene.image[task.outer], task.mask, shape, exchange, rng)
        if mask.any() and _is_visible(image, mask):
            crops.append((_finished(image, rng, settings), mask))
        if len(crops) == count:
            break
    return crops


def object_slices(
    scene: Scene, shape: Sequence[int], count: int, rng: np.random.Generator, settings: CropSettings | None = None
) -> list[Crop]:
    """Slices of 3D crops, as a 2D network gets them: the object off-centre, smaller than the box, or absent.

    Three in four slices are anywhere in the object, most of the others at its ends, about one in twenty beyond them.
    Intensities are mostly scaled over the whole box, as they are when a volume is segmented slice by slice.
    """
    if scene.image.ndim != 3 or len(shape) != 2 or min(shape) < 1:
        raise InputError(f"slices of shape {tuple(shape)} cannot be cut from a scene of shape {scene.image.shape}")
    settings = settings or CropSettings()
    candidates = _Candidates(scene)
    crops: list[Crop] = []
    for _ in range(3 * count if candidates else 0):
        exchange = bool(rng.random() < 0.5)
        task = candidates.draw(_turned(shape, exchange), rng, settings)
        first, last = task.box[0].start, task.box[0].stop - 1
        where = rng.random()
        if where < 0.77:
            k = int(rng.integers(first, last + 1))
        elif where < 0.94:
            k = int(rng.choice([first, min(first + 1, last), max(last - 1, first), last]))
        else:
            k = int(rng.choice([task.outer[0].start, task.outer[0].stop - 1]))
        by_box = rng.random() < 0.75
        image = scene.image[task.outer]
        image = (normalised(image) if by_box else image)[k - task.outer[0].start]
        image, mask = _resampled(image, task.mask[k - task.outer[0].start], shape, exchange, rng)
        if not mask.any() or mask.mean() < 0.02 or _is_visible(image, mask):
            crops.append((np.clip(image, 0, 1) if by_box else _finished(image, rng, settings), mask))
        if len(crops) == count:
            break
    return crops


@dataclass(frozen=True, eq=False)
class _Task:
    """An object to segment: ``box`` its own, ``outer`` the box with its margins, ``mask`` {0, 1} on ``outer``."""

    mask: NDArray[np.float32]
    box: Box
    outer: Box


class _Candidates:
    """The objects of a scene that are large enough to be a task."""

    def __init__(self, scene: Scene) -> None:
        self.labels = scene.labels
        self.boxes: list[Box | None] = [None, *ndimage.find_objects(scene.labels)]
        sizes = np.bincount(scene.labels.ravel(), minlength=len(self.boxes))
        least = 30 if scene.labels.ndim == 2 else 100
        self.numbers = [n for n in range(1, len(self.boxes)) if sizes[n] >= least]
        weights = np.array([sizes[n] for n in self.numbers], dtype=float) ** 0.5
        self.chances = weights / weights.sum() if self.numbers else weights
        self.groups = [g for g in scene.groups if all(n < len(self.boxes) and self.boxes[n] for n in g)]

    def __bool__(self) -> bool:
        return bool(self.numbers)

    def draw(self, shape: Sequence[int], rng: np.random.Generator, settings: CropSettings) -> _Task:
        """Of three random tasks, the one whose box fits ``shape`` best: least stretched and not magnified."""
        tasks = [self._any(rng, settings) for _ in range(3)]
        members, box, outer = min(tasks, key=lambda task: _stretch(task[2], shape))
        wanted = np.zeros(len(self.boxes), bool)
        wanted[list(members)] = True
        own = wanted[self.labels[box]]
        parts, count = ndimage.label(own)
        if count > 1:  # parts cut off by other objects do not belong to the task
            sizes = np.bincount(parts.ravel())
            sizes[0] = 0
            own = (sizes > 0.1 * sizes.max())[parts]
            inner = ndimage.find_objects(own.astype(np.uint8))[0]
            own = own[inner]
            box = tuple(slice(b.start + s.start, b.start + s.stop) for b, s in zip(box, inner, strict=True))
            outer = _with_margin(box, self.labels.shape, rng, settings)
        if settings.region and rng.random() < settings.region:
            outer = _region(own, box, self.labels.shape, rng, settings)
            inner = tuple(slice(max(b.start, o.start), min(b.stop, o.stop)) for b, o in zip(box, outer, strict=True))
            own = own[_counted_from(box, inner)]
            box = inner
        mask = np.zeros([s.stop - s.start for s in outer], np.float32)
        mask[_counted_from(outer, box)] = own
        return _Task(mask, box, outer)

    def _any(self, rng: np.random.Generator, settings: CropSettings) -> tuple[tuple[int, ...], Box, Box]:
        """Labels of an object or a group, its box, the box with margins."""
        number = int(rng.choice(self.numbers, p=self.chances))
        members: tuple[int, ...] = (number,)
        wholes = [g for g in self.groups if number in g]
        if wholes and rng.random() < settings.whole:
            members = wholes[int(rng.integers(len(wholes)))]
        axes = zip(*(self.boxes[n] for n in members), strict=True)
        box = tuple(slice(min(s.start for s in a), max(s.stop for s in a)) for a in axes)
        return members, box, _with_margin(box, self.labels.shape, rng, settings)


def _with_margin(box: Box, shape: Sequence[int], rng: np.random.Generator, settings: CropSettings) -> Box:
    grown = []
    for side, voxels in zip(box, shape, strict=True):
        most = math.ceil(settings.margin_part * (side.stop - side.start))
        low, high = (min(m, most) for m in settings.margin_voxels)
        before, after = (int(m) for m in rng.integers(low, high + 1, 2))
        grown.append(slice(max(0, side.start - before), min(voxels, side.stop + after)))
    return tuple(grown)


def _region(
    own: NDArray[np.bool_], box: Box, shape: Sequence[int], rng: np.random.Generator, settings: CropSettings
) -> Box:
    """Round one of the object's voxels, that nearest to its middle among a few."""
    voxels = np.argwhere(own)
    few = voxels[rng.integers(len(voxels), size=6)]
    mark = few[np.square(few - voxels.mean(axis=0)).sum(axis=1).argmin()] + [side.start for side in box]
    side = np.mean(own.shape) * np.exp(rng.uniform(*np.log(settings.region_part)))
    reaches = np.maximum(2, side / 2 * np.exp(rng.uniform(-0.25, 0.25, len(shape))))
    return tuple(
        slice(max(0, int(place - reach)), min(length, int(place + reach) + 1))
        for place, reach, length in zip(mark, reaches, shape, strict=True)
    )


def _counted_from(outer: Box, inner: Box) -> Box:
    return tuple(slice(i.start - o.start, i.stop - o.start) for i, o in zip(inner, outer, strict=True))


def _stretch(box: Box, shape: Sequence[int]) -> float:
    """How far a box is from its target grid: unequal factors along the last axes of ``shape``, magnification."""
    factors = np.log([(s.stop - s.start) / n for s, n in zip(box[-len(shape) :], shape, strict=True)])
    return float(np.std(factors) + np.clip(-factors, 0, None).mean())


def _turned(shape: Sequence[int], exchange: bool) -> tuple[int, ...]:
    return (*shape[:-2], shape[-1], shape[-2]) if exchange else tuple(shape)


def _resampled(
    image: NDArray[np.float32],
    mask: NDArray[np.float32],
    shape: Sequence[int],
    exchange: bool,
    rng: np.random.Generator,
) -> Crop:
    """Both on a grid of ``shape``, flipped at random, j and i exchanged on request. Coarser voxels are averages."""
    operators: tuple[list, list] = ([], [])
    for length, samples, flip in zip(image.shape, _turned(shape, exchange), rng.random(image.ndim) < 0.5, strict=True):
        for matrices, smoothing in zip(operators, (1.0, 0.5), strict=True):
            matrix = resampling_matrix(length, 0, length, samples, smoothing)
            matrices.append(matrix[::-1] if flip else matrix)
    image = along_axes(image, operators[0])
    mask = (along_axes(mask, operators[1]) >= 0.5).astype(np.uint8)
    if exchange:
        image, mask = image.swapaxes(-1, -2), mask.swapaxes(-1, -2)
    return np.ascontiguousarray(image), np.ascontiguousarray(mask)


def _is_visible(image: NDArray[np.float32], mask: NDArray[np.uint8]) -> bool:
    """Whether the border of the mask shows: steps across it, averaged over 3 blocks per axis, exceed the noise."""
    low, high = np.percentile(image.ravel()[::7], (0.5, 99.5))
    signed = mask.astype(np.float32)
    shown = expected = faces = 0.0
    for axis in range(image.ndim):
        if image.shape[axis] < 6:
            continue
        values, marks = np.moveaxis(image, axis, 0), np.moveaxis(signed, axis, 0)
        step = values[3:] - values[:-3]
        border = marks[2:-1] - marks[1:-2]
        pools = [_blocks(n) for n in step.shape]
        total = along_axes(step * border, pools)
        count = along_axes(np.abs(border), pools)
        shown += float(np.abs(total).sum())
        noise = 1.5 * float(np.median(np.abs(step).ravel()[::5]))  # standard deviation, excluding structures
        expected += 0.8 * noise * float(np.sqrt(count).sum())
        faces += float(count.sum())
    return faces > 0 and shown / faces > 0.02 * (high - low) and shown > _VISIBLE * expected


@lru_cache(maxsize=512)
def _blocks(voxels: int) -> NDArray[np.float32]:
    """(3, voxels): sums over thirds of an axis."""
    return (np.arange(voxels) * 3 // voxels == np.arange(3)[:, None]).astype(np.float32)


def _finished(image: NDArray[np.float32], rng: np.random.Generator, settings: CropSettings) -> NDArray[np.float32]:
    image = normalised(image)
    if rng.random() < settings.fresh_noise:
        image += np.float32(rng.uniform(0, 0.06)) * rng.standard_normal(image.shape, dtype=np.float32)
        image = normalised(image)
    return image
