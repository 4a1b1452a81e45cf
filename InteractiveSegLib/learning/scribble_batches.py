"""Batches of scribbled patches for the trainer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from monai.transforms import Compose, RandAffined, RandFlipd
from torch import Tensor
from torch.utils.data import Dataset

from InteractiveSegLib.learning.image_batches import patch_window
from InteractiveSegLib.learning.scribble_lesson import ScribbleLesson
from InteractiveSegLib.learning.strong_augmentation import AugmentationSettings, augmentation
from InteractiveSegLib.networks.scribble_losses import UNMARKED

_DEGREES = 20.0
STRONG = AugmentationSettings(turned_degrees=30.0, scaled=0.2, shifted=8, inverted=0.0)  # one set, one contrast
LIGHT = replace(STRONG, often=0.4)


@dataclass(frozen=True)
class ScribblePatches:
    """Contents of a batch.

    sides : of a patch in 3D and in 2D, in voxels; multiples of 16
    count : patches per batch in 3D and in 2D
    on_object : share of the patches centred near marks of an object, all objects equally often; the others are centred
        near marks of the background
    augmentation : changes of shape, intensities and resolution; None only mirrors and rotates
    """

    sides: tuple[int, int] = (64, 128)
    count: tuple[int, int] = (2, 4)
    on_object: float = 0.6
    augmentation: AugmentationSettings | None = LIGHT


class ScribbleBatches(Dataset):
    """Numbered batches; number n depends only on the lessons, the seed and n.

    An item has ``image`` (B, 1, ...) in [0, 1], ``marks`` (B, ...) int64, ``known`` (B, 1 + labels) bool, and ``done``,
    the fraction of the batches before it.

    Parameters
    ----------
    axis : of the slices in 2D; None in 3D
    """

    def __init__(
        self, lessons: Sequence[ScribbleLesson], axis: int | None, length: int, seed: int, settings: ScribblePatches
    ) -> None:
        self.lessons, self.axis, self.length, self.seed, self.settings = lessons, axis, length, seed, settings
        self.transform = (
            augmentation(axis, settings.augmentation, "nearest") if settings.augmentation else _turned(axis)
        )
        self.places = [
            {value: np.flatnonzero(lesson.marks == value) for value in np.unique(lesson.marks) if value != UNMARKED}
            for lesson in lessons
        ]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, n: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.seed, n, 26])
        patches = [self._patch(rng) for _ in range(self.settings.count[self.axis is not None])]
        stacked = {name: torch.stack([patch[name] for patch in patches]) for name in patches[0]}
        return {**stacked, "done": torch.tensor(n / self.length)}

    def _patch(self, rng: np.random.Generator) -> dict[str, Tensor]:
        which = int(rng.integers(len(self.lessons)))
        lesson, places = self.lessons[which], self.places[which]
        objects = [value for value in places if value > 0] or [0]
        on_object = rng.random() < self.settings.on_object or 0 not in places
        pool = places[objects[rng.integers(len(objects))] if on_object else 0]
        sides = [self.settings.sides[self.axis is not None]] * 3
        if self.axis is not None:
            sides[self.axis] = 1
        middle = np.array(np.unravel_index(pool[rng.integers(len(pool))], lesson.image.shape))
        middle = middle + [int(rng.integers(-side // 4, side // 4 + 1)) if side > 1 else 0 for side in sides]
        window, padding = patch_window(lesson.image.shape, middle, sides)
        image = np.pad(lesson.image[window], padding, "edge")
        marks = np.pad(lesson.marks[window], padding, constant_values=UNMARKED)
        if self.axis is not None:
            image, marks = image.squeeze(self.axis), marks.squeeze(self.axis)
        self.transform.set_random_state(seed=int(rng.integers(2**31)))
        shifted = torch.from_numpy(marks[None].astype(np.float32) - UNMARKED)  # 0 beyond the border
        made = self.transform({"image": torch.from_numpy(image[None].astype(np.float32)), "marks": shifted})
        return {
            "image": made["image"].as_tensor().clamp(0, 1),
            "marks": made["marks"].as_tensor()[0].round().long() + UNMARKED,
            "known": torch.from_numpy(lesson.known),
        }


def _turned(axis: int | None) -> Compose:
    """Mirrored along any axis of the patch and turned by up to 20 degrees."""
    both, flat = ["image", "marks"], axis is not None
    angle = np.deg2rad(_DEGREES)
    turned = RandAffined(
        both,
        prob=1.0,
        rotate_range=[angle] if flat else [angle] * 3,
        mode=["bilinear", "nearest"],
        padding_mode=["border", "zeros"],
    )
    return Compose([*(RandFlipd(both, 0.5, each) for each in range(2 if flat else 3)), turned])
