"""A scene while it is painted, and the resulting label map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.training.procedural.procedural_fields import Array, smooth_noise

Mask = NDArray[np.bool_]
Window = tuple[slice, ...]

AIR = 0  # class of the air round a body; further background classes follow


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Classes of a scene and their properties, all indexed by class.

    classes : int16, the scene
    object_of : object number of each class, 0 for background
    near : class that surrounded each class when it was drawn, -1 for background
    kin : class that each class resembles in intensity, -1 for none
    groups : tuples of objects that form a whole, such as a ring and its cavity
    """

    classes: NDArray[np.int16]
    object_of: NDArray[np.int16]
    near: NDArray[np.int16]
    kin: NDArray[np.int16]
    groups: tuple[tuple[int, ...], ...]


class Canvas:
    """The scene while it is painted."""

    def __init__(self, shape: Sequence[int], rng: np.random.Generator) -> None:
        self.rng = rng
        self.classes = np.zeros(shape, np.int16)
        sides = np.array(shape, float)
        sides[sides < sides.max() / 3] = np.median(sides)  # thick slices: few, and as long as the others together
        self.ends = np.exp(rng.uniform(-0.2, 0.2, len(shape))) * (sides / np.exp(np.log(sides).mean())) ** 0.6
        self.axes = [np.linspace(-a, a, n, dtype=np.float32) for a, n in zip(self.ends, shape, strict=True)]
        self.voxel = float(min(2 * self.ends / shape))
        self.background_only = False
        self.object_of, self.near, self.kin = [0], [-1], [-1]
        self.groups: list[tuple[int, ...]] = []
        self.painted = [0]  # voxels by object, before later objects covered some
        self.host: dict[int, int] = {}

    def background_class(self) -> int:
        return self._add(0, -1, -1)

    def _add(self, owner: int, near: int, kin: int) -> int:
        self.object_of.append(owner)
        self.near.append(near)
        self.kin.append(kin)
        return len(self.object_of) - 1

    def paint(
        self, window: Window, mask: Mask, kin: int = -1, patches: float = 0.2, rim: Array | None = None
    ) -> tuple[int, int] | None:
        """Add an object; returns (object, class), or None if no part of it is in the scene.

        ``patches`` : probability of parts of another intensity (necrosis, cysts); ``rim`` : where they are likelier
        """
        view = self.classes[window]
        if self.background_only:
            mask = mask & (np.array(self.object_of) == 0)[view]
        below = np.bincount(view[mask], minlength=1)
        voxels = int(below.sum())
        if voxels == 0:
            return None
        near = int(below.argmax())
        number = len(self.painted)
        self.painted.append(voxels)
        if self.object_of[near] and below[near] > 0.9 * voxels:
            self.host[number] = self.object_of[near]
        made = self._add(number, near, kin)
        view[mask] = made
        if self.rng.random() < patches:
            other = self._add(number, made, -1)
            noise = smooth_noise(mask.shape, self.rng.uniform(2, 7), self.rng)
            if rim is not None:
                noise += np.float32(self.rng.uniform(1, 4)) * (rim - rim[mask].mean())
            view[mask & (noise > self.rng.uniform(0.5, 1.6))] = other
        return number, made

    def window(self, centre: Array, reach: Array) -> Window:
        """Voxels within ``reach`` of ``centre`` along each axis, at least two."""
        slices = []
        for end, n, c, r in zip(self.ends, self.classes.shape, centre, reach, strict=True):
            voxels = (n - 1) / (2 * end)
            start = min(max(math.ceil((c - r + end) * voxels), 0), n - 2)
            slices.append(slice(start, min(max(math.floor((c + r + end) * voxels) + 1, start + 2), n)))
        return tuple(slices)

    def offsets(self, window: Window, centre: Array) -> list[Array]:
        """Coordinates from ``centre``, one open-grid array per axis."""
        return list(np.ix_(*(axis[s] - c for axis, s, c in zip(self.axes, window, centre, strict=True))))

    def place(self, radius: float) -> Array:
        """Random centre; bodies of ``radius`` mostly stay inside the scene."""
        ends = np.clip(self.ends - 0.85 * radius, 0.15, None)
        return (self.rng.uniform(-1, 1, len(self.axes)) * ends).astype(np.float32)
