"""Endless procedural training data: scenes, crops around their objects, batches of binary tasks.

A network that is to segment whatever fills a box learns this from boxes around meaningless shapes, with random
intensities, textures and scanners. Everything is a function of a seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.training.procedural.mapped_scenes import LabelMapFolder
from InteractiveSegLib.training.procedural.procedural_crops import Crop, CropSettings, object_crops, object_slices
from InteractiveSegLib.training.procedural.procedural_images import Scene, SceneSettings, generate_scene

__all__ = ["BinaryTasks", "CropSettings", "Scene", "SceneSettings", "generate_scene", "object_crops", "object_slices"]

_ATTEMPTS = 100  # scenes drawn for one batch before the settings are blamed


class BinaryTasks(Dataset):
    """Batches of binary tasks. Item n depends on ``(seed, n)`` alone, so runs resume exactly and workers can share the
    batches.

    Parameters
    ----------
    dimensions : 2, or 3
    batch_size : crops per batch
    length : batches in the data set
    seed : of the whole data set
    max_voxels : upper bound of the voxels of one crop
    scenes_per_batch : number of scenes for the crops of a batch
    scene, crop : settings of the drawing
    maps : real label maps for the shapes; without them, shapes are meaningless

    Each item is a dictionary of ``image`` and ``label``, float32 of (B, 1, *S); S is drawn for each batch. In 3D the
    sides are 20-56 in steps of 4 and one batch in four is flat (8-16 slices); in 2D they are 40-128 in steps of 4, and
    half of the crops are slices of 3D objects, a few of them without the object. In plane
    no side is over twice the other.
    """

    def __init__(
        self,
        dimensions: int,
        batch_size: int,
        length: int,
        seed: int,
        max_voxels: int | None = None,
        *,
        scenes_per_batch: int = 2,
        scene: SceneSettings | None = None,
        crop: CropSettings | None = None,
        maps: LabelMapFolder | None = None,
    ) -> None:
        if dimensions not in (2, 3):
            raise InputError(f"dimensions {dimensions} must be 2 or 3")
        for name, value in (("batch_size", batch_size), ("length", length), ("scenes_per_batch", scenes_per_batch)):
            if value < 1:
                raise InputError(f"{name} {value} must be at least 1")
        if seed < 0:
            raise InputError(f"seed {seed} must not be negative")
        least = 20**3 if dimensions == 3 else 40**2
        max_voxels = (40**3 if dimensions == 3 else 128**2) if max_voxels is None else max_voxels
        if max_voxels < least:
            raise InputError(f"max_voxels {max_voxels} is below the smallest crop, {least}")
        self.dimensions, self.batch_size, self.length, self.seed = dimensions, batch_size, length, seed
        self.max_voxels, self.scenes_per_batch = max_voxels, scenes_per_batch
        self.scene, self.crop, self.maps = scene or SceneSettings(), crop or CropSettings(), maps

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, n: int) -> dict[str, torch.Tensor]:
        if not 0 <= n < self.length:
            raise IndexError(f"item {n} of {self.length}")
        rng = np.random.default_rng([self.seed, n, self.dimensions])
        shape = self._crop_shape(rng)
        if self.dimensions == 3:
            crops = self._collect(self.batch_size, shape, rng, sliced=False)
        else:
            flat = self.batch_size // 2 + int(rng.integers(0, 2)) * (self.batch_size % 2)
            crops = self._collect(flat, shape, rng, sliced=False)
            crops += self._collect(self.batch_size - flat, shape, rng, sliced=True)
        return {
            "image": torch.from_numpy(np.stack([image for image, _ in crops])[:, None]),
            "label": torch.from_numpy(np.stack([mask for _, mask in crops])[:, None].astype(np.float32)),
        }

    def _crop_shape(self, rng: np.random.Generator) -> tuple[int, ...]:
        if self.dimensions == 2:
            return _plane(self.max_voxels, 40, 128, rng)
        if rng.random() < 0.25:
            slices = int(rng.choice([8, 12, 16]))
            left = self.max_voxels // slices
            shape = (slices, *_plane(left, 20 if left < 40**2 else 36, 56, rng))
            if rng.random() < 0.9:  # slices are thick along k, as from scanners, except in a few rotated volumes
                return shape
        else:
            depth = 4 * int(rng.integers(5, min(56, self.max_voxels // 20**2) // 4 + 1))
            shape = (depth, *_plane(self.max_voxels // depth, 20, 56, rng))
        return tuple(shape[axis] for axis in rng.permutation(3))

    def _collect(self, count: int, shape: tuple[int, ...], rng: np.random.Generator, sliced: bool) -> list[Crop]:
        """``count`` crops; scenes are about one and a half times as long as a crop, so objects keep their own scale."""
        scenes = max(1, self.scenes_per_batch // 2) if self.dimensions == 2 else self.scenes_per_batch
        each = math.ceil(count / scenes)
        crops: list[Crop] = []
        attempts = 0
        while len(crops) < count:
            attempts += 1
            if attempts > _ATTEMPTS:
                raise InputError(f"{_ATTEMPTS} scenes show {len(crops)} objects: the settings {self.scene} hide them")
            wanted = min(each, count - len(crops))
            if sliced:
                in_plane = [int(np.clip(n * rng.uniform(1.0, 1.6), 48, 112)) for n in shape]
                scene = self._scene((int(rng.integers(10, 33)), *in_plane), rng)
                crops += object_slices(scene, shape, wanted, rng, self.crop)
            else:
                zoom = rng.uniform(1.35, 1.8) if self.dimensions == 3 else rng.uniform(1.3, 2.2)
                scene = self._scene([int(max(8, n * zoom)) for n in shape], rng)
                crops += object_crops(scene, shape, wanted, rng, self.crop)
        return crops

    def _scene(self, shape: Sequence[int], rng: np.random.Generator) -> Scene:
        if self.maps is None:
            return generate_scene(shape, rng, self.scene)
        return self.maps.scene(shape, rng, self.scene)


def _plane(pixels: int, low: int, high: int, rng: np.random.Generator) -> tuple[int, int]:
    """Two sides between ``low`` and ``high``, multiples of 4, one at most twice the other, in any order."""
    first = 4 * int(rng.integers(low // 4, min(high, pixels // low, math.isqrt(2 * pixels)) // 4 + 1))
    most = min(high, 2 * first, pixels // first) // 4
    second = 4 * int(rng.integers(min(max(low // 4, math.ceil(first / 8)), most), most + 1))
    return (first, second) if rng.random() < 0.5 else (second, first)
