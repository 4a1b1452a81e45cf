"""Scenes with shapes from real label maps; their intensities are drawn at random as for any scene.

Real shapes, with any meaning and appearance, also show a network what no procedure draws: organs in organs, thin
shells, neighbours that differ little (Billot et al., SynthSeg, Medical Image Analysis 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.image_io import read_volume
from InteractiveSegLib.training.procedural.procedural_canvas import AIR, LabelMap
from InteractiveSegLib.training.procedural.procedural_fields import Array, smooth_noise
from InteractiveSegLib.training.procedural.procedural_images import Scene, SceneSettings, painted

_ENDINGS = (".nii", ".nii.gz", ".nrrd", ".mha")
_MOST_LABELS = 255
_THICKEST = 8.0


@dataclass(frozen=True)
class MappedSceneSettings:
    """How a part of a label map is turned into a scene. Pairs are ranges.

    step : length of a scene's finest voxels, in voxels of the map, drawn log-uniformly
    uneven : standard deviation of the logarithm of the length of each axis
    turned : standard deviation of the angles of rotation, degrees; axes are also exchanged and flipped
    bent : largest displacement, as a fraction of the scene's longest side
    merged : probability that adjacent labels are merged, applied repeatedly
    tissue : probability that voxels without a label are tissue rather than air
    whole : maximum number of labels that together form one more object
    """

    step: tuple[float, float] = (0.8, 2.5)
    uneven: float = 0.12
    turned: float = 12.0
    bent: float = 0.05
    merged: float = 0.5
    tissue: float = 0.6
    whole: int = 6


class LabelMapFolder:
    """Scenes drawn from the label maps in a folder and its subfolders; each file is read once, when it is needed.

    Raises
    ------
    InputError : not a folder, or one without label maps.
    """

    def __init__(self, folder: Path, settings: MappedSceneSettings | None = None) -> None:
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder of label maps")
        self.paths = sorted(path for path in folder.rglob("*") if path.name.endswith(_ENDINGS))
        if not self.paths:
            raise InputError(f"the folder {folder} holds no label maps ({', '.join(_ENDINGS)})")
        self.settings = settings or MappedSceneSettings()

    def scene(self, shape: Sequence[int], rng: np.random.Generator, settings: SceneSettings) -> Scene:
        """A part of a random map, as ``shape`` (J, I) or (K, J, I) voxels; a short axis has thick slices.

        Raises
        ------
        InputError : a file that cannot be read as a label map, or without any label.
        """
        labels, spacing = _read(self.paths[int(rng.integers(len(self.paths)))])
        return painted(_drawn(labels, spacing, shape, rng, self.settings), settings, rng)


@cache
def _read(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Labels (K, J, I), 0 for none and 1..n, and the sides of the voxels in units of the finest."""
    volume = read_volume(path)
    values, numbers = np.unique(volume.array_kji, return_inverse=True)
    if not (values == np.rint(values)).all() or values[0] < 0:
        raise InputError(f"the label map {path} holds values that are not labels, such as {values[0]}")
    if values[-1] == 0 or len(values) > _MOST_LABELS:
        raise InputError(f"the label map {path} has {len(values) - (values[0] == 0)} labels, not 1 to {_MOST_LABELS}")
    if values[0] != 0:
        numbers = numbers + 1
    spacing = np.array(volume.geometry.spacing_kji_mm)
    return numbers.reshape(volume.array_kji.shape).astype(np.uint8), spacing / spacing.min()


def _drawn(
    labels: NDArray[np.uint8],
    spacing: NDArray[np.float64],
    shape: Sequence[int],
    rng: np.random.Generator,
    settings: MappedSceneSettings,
) -> LabelMap:
    classes = _part(labels, spacing, shape, rng, settings)
    while classes.max() > 2 and rng.random() < settings.merged:
        pairs = _borders(classes)
        pairs[0] = pairs[:, 0] = 0
        if not pairs.any():
            break
        one, other = np.unravel_index(rng.choice(pairs.size, p=(pairs / pairs.sum()).ravel()), pairs.shape)
        classes = _renumbered(np.where(classes == max(one, other), min(one, other), classes))
    count = int(classes.max())
    # either of two neighbours may be drawn first
    classes = np.array([0, *(1 + rng.permutation(count))], np.int16)[classes]
    borders = _borders(classes)
    near = [int(borders[number, :number].argmax()) for number in range(1, count + 1)]
    groups = tuple(group for _ in range(count // 2) if len(group := _group(borders, rng, settings.whole)) > 1)
    tissues = int(rng.integers(1, 5)) if rng.random() < settings.tissue else 0
    classes = np.where(classes == AIR, _tissue(classes.shape, tissues, rng), classes + tissues)
    near = [n + tissues if n != AIR else int(tissues > 0 and rng.random() < 0.5) for n in near]
    numbers = [np.arange(1, count + 1), near, np.full(count, -1)]
    others = (0, -1, -1)
    return LabelMap(
        classes.astype(np.int16),
        *(np.array([*[other] * (1 + tissues), *own], np.int16) for own, other in zip(numbers, others, strict=True)),
        groups,
    )


def _part(
    labels: NDArray[np.uint8],
    spacing: NDArray[np.float64],
    shape: Sequence[int],
    rng: np.random.Generator,
    settings: MappedSceneSettings,
) -> NDArray[np.int16]:
    """Classes of ``shape`` 0 for none, 1..n, around a random voxel of a random label; rotated and deformed."""
    sides = np.array((1, *shape) if len(shape) == 2 else shape)
    steps = np.exp(rng.uniform(*np.log(settings.step)) + settings.uneven * rng.standard_normal(3))
    longest = sides.max()
    thick = sides < longest / 3
    steps[thick] *= np.clip(longest / sides[thick] * rng.uniform(0.5, 1.0), 1, _THICKEST)
    present = np.flatnonzero(np.bincount(labels.ravel(), minlength=2)[1:]) + 1
    voxels = np.flatnonzero(labels.ravel() == rng.choice(present))
    centre = np.array(np.unravel_index(rng.choice(voxels), labels.shape)) * spacing
    turn = _rotation(np.deg2rad(settings.turned) * rng.standard_normal(3))
    turn = turn[rng.permutation(3)] * rng.choice([-1, 1], 3)[:, None]
    centre = centre + turn.T @ (rng.uniform(-0.25, 0.25, 3) * sides * steps)
    offsets = np.ix_(
        *((np.arange(n, dtype=np.float32) - (n - 1) / 2) * step for n, step in zip(sides, steps, strict=True))
    )
    bend = rng.uniform(0, settings.bent) * float((sides * steps).max()) / 2
    found = np.zeros(sides, np.int64)
    for axis in range(3):
        place = sum(np.float32(turn[other, axis]) * offsets[other] for other in range(3)) + np.float32(centre[axis])
        place = place + np.float32(bend) * smooth_noise(sides, rng.uniform(1.5, 3.5), rng)
        index = np.rint(place / np.float32(spacing[axis])).astype(np.int64).clip(0, labels.shape[axis] - 1)
        found = found * labels.shape[axis] + index
    return _renumbered(labels.ravel()[found].astype(np.int16).reshape(shape))


def _rotation(angles: Array) -> NDArray[np.float64]:
    turn = np.eye(3)
    for axis, angle in enumerate(angles):
        one, other = (n for n in range(3) if n != axis)
        step = np.eye(3)
        step[[one, other], [one, other]] = np.cos(angle)
        step[one, other], step[other, one] = -np.sin(angle), np.sin(angle)
        turn = turn @ step
    return turn


def _renumbered(classes: NDArray[np.int16]) -> NDArray[np.int16]:
    """The occurring labels renumbered as 1..n; 0 is unchanged."""
    occurs = np.bincount(classes.ravel(), minlength=1) > 0
    occurs[0] = False
    return (np.cumsum(occurs) * occurs).astype(np.int16)[classes]


def _borders(classes: NDArray[np.int16]) -> NDArray[np.int64]:
    """(n, n) faces between the voxels of each two classes."""
    count = int(classes.max()) + 1
    faces = np.zeros(count**2, np.int64)
    for axis in range(classes.ndim):
        values = np.moveaxis(classes, axis, 0)
        faces += np.bincount((values[1:].astype(np.int64) * count + values[:-1]).ravel(), minlength=count**2)
    both = faces.reshape(count, count)
    both = both + both.T
    np.fill_diagonal(both, 0)
    return both


def _tissue(shape: Sequence[int], count: int, rng: np.random.Generator) -> NDArray[np.int16]:
    """Classes 1..count all over ``shape``; air where the count is 0."""
    classes = np.full(shape, min(count, 1), np.int16)
    for number in range(2, count + 1):
        classes[smooth_noise(shape, rng.uniform(2, 7), rng) > rng.uniform(0.2, 1.3)] = number
    return classes


def _group(borders: NDArray[np.int64], rng: np.random.Generator, most: int) -> tuple[int, ...]:
    """Adjacent labels, from a random one outwards."""
    members = [int(rng.integers(1, len(borders)))]
    for _ in range(int(rng.integers(1, most))):
        beside = borders[members].sum(axis=0)
        beside[[0, *members]] = 0
        if not beside.any():
            break
        members.append(int(rng.choice(len(beside), p=beside / beside.sum())))
    return tuple(members)
