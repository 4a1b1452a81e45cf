"""Batches for the automatic network: patches of accepted images, and its loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from InteractiveSegLib.learning.image_lesson import ImageLesson
from InteractiveSegLib.learning.replay import Mixture
from InteractiveSegLib.networks.losses import partial_dice_cross_entropy
from InteractiveSegLib.training.trainer import Loss


@dataclass(frozen=True)
class PatchSettings:
    """Contents of a batch.

    sides : of a patch in 3D and in 2D, multiples of 4; smaller images are padded
    count : patches per batch in 3D and in 2D
    on_object : share of the patches centred on an object
    contrast, brightness : maximum by which intensities are scaled and shifted
    """

    sides: tuple[int, int] = (32, 96)
    count: tuple[int, int] = (2, 8)
    on_object: float = 0.7
    contrast: float = 0.2
    brightness: float = 0.1


class ImageBatches(Dataset):
    """Numbered batches; number n depends only on the images, the seed and n.

    An item has ``image`` (B, 1, ...), ``targets`` (B, 1 + labels, ...), of background and labels, ``known``
    (B, 1 + labels, ...) bool, the classes known at each voxel, ``weight`` (B, ...), and ``dark``
    (B, 1 + labels, ...), earlier logits, with ``remembered`` (B, 1 + labels) bool.

    Parameters
    ----------
    images : the first is that of the latest case
    labels : of the network, in its order
    axis : of the slices in 2D; None in 3D
    """

    def __init__(
        self,
        images: Sequence[ImageLesson],
        labels: Sequence[int],
        axis: int | None,
        mixture: Mixture,
        length: int,
        seed: int,
        settings: PatchSettings | None = None,
    ) -> None:
        self.images, self.labels, self.axis, self.mixture = images, tuple(labels), axis, mixture
        self.length, self.seed, self.settings = length, seed, settings or PatchSettings()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, n: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.seed, n, 82])
        flat = self.axis is not None
        patches = [
            self._patch(self.images[self.mixture.draw(len(self.images), rng)], rng)
            for _ in range(self.settings.count[flat])
        ]
        return {name: torch.from_numpy(np.stack([patch[name] for patch in patches])) for name in patches[0]}

    def _patch(self, taught: ImageLesson, rng: np.random.Generator) -> dict[str, np.ndarray]:
        settings, flat = self.settings, self.axis is not None
        sides = [settings.sides[flat]] * 3
        if flat:
            sides[self.axis] = 1
        foreground = np.flatnonzero(taught.targets.sum(axis=0) > 0.5)
        if foreground.size and rng.random() < settings.on_object:
            middle = np.array(np.unravel_index(foreground[rng.integers(foreground.size)], taught.image.shape))
            middle = middle + [int(rng.integers(-side // 4, side // 4 + 1)) if side > 1 else 0 for side in sides]
        elif taught.known is None:
            middle = rng.integers(taught.image.shape)
        else:  # avoid patches in which nothing is known
            counted = np.flatnonzero(taught.weight)
            middle = np.array(np.unravel_index(counted[rng.integers(counted.size)], taught.image.shape))
        window, padding = patch_window(taught.image.shape, middle, sides)

        def cut(array: np.ndarray, mode: str = "constant") -> np.ndarray:
            lead = array.ndim - 3
            part = np.pad(array[(..., *window)], [(0, 0)] * lead + padding, mode).astype(np.float32)
            return part.squeeze(lead + self.axis) if flat else part

        weight = cut(taught.weight)  # 0 beyond the image
        targets = np.zeros((1 + len(self.labels), *weight.shape), np.float32)
        known = np.zeros(targets.shape, bool)
        known[0] = True
        for place, label in enumerate(taught.labels):
            targets[1 + self.labels.index(label)] = cut(taught.targets[place])
            known[1 + self.labels.index(label)] = True if taught.known is None else cut(taught.known[place]) > 0
        targets[0] = 1 - targets[1:].sum(axis=0)
        dark, remembered = np.zeros_like(targets), np.zeros(len(targets), bool)
        if taught.dark is not None:
            dark[: len(taught.dark)], remembered[: len(taught.dark)] = cut(taught.dark), True
        image = cut(taught.image, "edge")[None]
        image = image * np.float32(1 + settings.contrast * rng.uniform(-1, 1))
        image = image + np.float32(settings.brightness * rng.uniform(-1, 1))
        return {
            "image": image,
            "targets": targets,
            "known": known,
            "weight": weight,
            "dark": dark,
            "remembered": remembered,
        }


def patch_window(
    shape: Sequence[int], middle: np.ndarray, sides: Sequence[int]
) -> tuple[tuple[slice, ...], list[tuple[int, int]]]:
    """A part of the image, and the padding on both sides of each axis that makes it a patch."""
    window, padding = [], []
    for n, m, side in zip(shape, middle, sides, strict=True):
        if n <= side:
            before = (side - n) // 2
            window.append(slice(0, n))
            padding.append((before, side - n - before))
        else:
            start = int(np.clip(m - side // 2, 0, n - side))
            window.append(slice(start, start + side))
            padding.append((0, 0))
    return tuple(window), padding


def patch_loss(dark_share: float) -> Loss:
    """Soft Dice and cross-entropy, and the squared distance to the remembered logits.

    Where a class is not known, its probability is added to that of the background, since it may be present.
    """

    def loss(network: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        logits = network(batch["image"]).float()
        value = partial_dice_cross_entropy(logits, batch["targets"], batch["known"], batch["weight"])
        remembered = batch["remembered"]
        if dark_share and bool(remembered.any()):
            mask = remembered.reshape(*remembered.shape, *[1] * (logits.ndim - 2)) * (batch["weight"] > 0)[:, None]
            distance = ((logits - batch["dark"]).square() * mask).sum() / mask.sum().clamp(min=1)
            value = value + dark_share * distance
        return value

    return loss
