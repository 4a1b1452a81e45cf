"""Augmentation of patches as if they came from another scanner, contrast and resolution."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.transforms import (
    Compose,
    OneOf,
    Rand2DElasticd,
    Rand3DElasticd,
    RandAdjustContrastd,
    RandAffined,
    RandBiasFieldd,
    RandFlipd,
    RandGaussianNoised,
    RandGaussianSharpend,
    RandGaussianSmoothd,
    RandHistogramShiftd,
    RandLambdad,
    RandomizableTransform,
    RandSimulateLowResolutiond,
)
from torch import Tensor
from torch.utils.data import Dataset

_SIDE = re.compile(r"(?<![a-z])(left|right|links|rechts|sinister|dexter|l|r|[lr][va])(?![a-z])", re.IGNORECASE)
_RAS = 3
ANY_ANGLE = 180.0
_CERTAIN = 0.99  # share of a rotated voxel that must be known for its class to count as known


@dataclass(frozen=True)
class AugmentationSettings:
    """Extent of the changes. Probabilities are per patch.

    turned_degrees : maximum rotation, in 2D in the plane; in 3D a third of it about each axis
    scaled : maximum relative change of size, independently along each axis
    shifted : maximum shift in voxels along each axis, so that objects are not expected only in the middle
    inverted : probability that dark and bright are swapped
    often : factor of the probability of every other change of intensities and resolution
    mirrored : axes of the image, S, A, R, along which it may be mirrored
    """

    turned_degrees: float = 20.0
    scaled: float = 0.25
    shifted: int = 16
    inverted: float = 0.2
    often: float = 1.0
    mirrored: tuple[int, ...] = ()


def mirrored_axes(names: Iterable[str]) -> tuple[int, ...]:
    """The left-right axis, unless an organ is named after its side."""
    return () if any(_SIDE.search(name.replace("_", " ")) for name in names) else (2,)


class AugmentedBatches(Dataset):
    """Batches of ``ImageBatches``, in which each patch is augmented, determined by its number and the seed.

    Parameters
    ----------
    axis : of the slices in 2D; None in 3D
    """

    def __init__(self, batches: Dataset[Any], axis: int | None, settings: AugmentationSettings, seed: int) -> None:
        self.batches, self.seed = batches, seed
        self.transform = augmentation(axis, settings)

    def __len__(self) -> int:
        return len(self.batches)  # type: ignore[arg-type]

    def __getitem__(self, n: int) -> dict[str, Tensor]:
        batch = self.batches[n]
        patches = [self._changed(batch, b, n) for b in range(len(batch["image"]))]
        return {**batch, **{name: torch.stack([patch[name] for patch in patches]) for name in patches[0]}}

    def _changed(self, batch: Mapping[str, Tensor], b: int, n: int) -> dict[str, Tensor]:
        classes = batch["targets"].shape[1]
        marks = torch.cat([batch["targets"][b], batch["known"][b].float(), batch["weight"][b][None]])
        self.transform.set_random_state(seed=int(np.random.default_rng([self.seed, n, b, 83]).integers(2**31)))
        made = self.transform({"image": batch["image"][b], "marks": marks})
        image, marks = (made[name].as_tensor() for name in ("image", "marks"))
        targets, known, weight = marks[:classes].clamp(0, 1), marks[classes:-1] > _CERTAIN, marks[-1]
        known[0] = True
        targets = targets * known
        targets[0] = (1 - targets[1:].sum(dim=0)).clamp(min=0)
        if not weight.any():  # rotated or shifted out of the patch
            return {name: batch[name][b] for name in ("image", "targets", "known", "weight")}
        return {"image": image.clamp(0, 1), "targets": targets, "known": known, "weight": weight}


class _RandAnisotropy(RandomizableTransform):
    """Simulates voxels that are several times longer along one axis, on the same grid."""

    def __init__(self, prob: float, factors: tuple[float, float]) -> None:
        super().__init__(prob)
        self.factors = factors

    def randomize(self, axes: int) -> None:  # type: ignore[override]
        super().randomize(None)
        self.axis, self.factor = int(self.R.randint(axes)), float(self.R.uniform(*self.factors))

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        image = data["image"]
        self.randomize(image.ndim - 1)
        if not self._do_transform:
            return dict(data)
        sides = list(image.shape[1:])
        coarse = [max(1, round(n / self.factor)) if axis == self.axis else n for axis, n in enumerate(sides)]
        mode = "bilinear" if len(sides) == 2 else "trilinear"
        small = torch.nn.functional.interpolate(image[None], coarse, mode="nearest-exact")
        return {**data, "image": torch.nn.functional.interpolate(small, sides, mode=mode)[0]}


def augmentation(axis: int | None, settings: AugmentationSettings, marks_mode: str = "bilinear") -> Compose:
    """For an image (1, ...) and its marks (C, ...): both are moved together first, then only the image is changed.

    axis : of the slices in 2D; None in 3D
    marks_mode : how marks are interpolated; beyond the border they are 0
    """
    both, modes, padding = ["image", "marks"], ["bilinear", marks_mode], ["border", "zeros"]
    flat = axis is not None
    angle = np.deg2rad(settings.turned_degrees) / (1 if flat else _RAS)
    moved: dict[str, Any] = {
        "keys": both,
        "rotate_range": [angle] if flat else [angle] * _RAS,
        "shear_range": [0.1] * (2 if flat else 6),
        "translate_range": [settings.shifted] * (2 if flat else _RAS),
        "scale_range": [settings.scaled] * (2 if flat else _RAS),
        "mode": modes,
        "padding_mode": padding,
    }
    elastic = (
        Rand2DElasticd(prob=1.0, spacing=(24, 24), magnitude_range=(0.5, 2.5), **moved)
        if flat
        else Rand3DElasticd(prob=1.0, sigma_range=(4, 6), magnitude_range=(20, 80), **moved)
    )
    kept = [each for each in range(_RAS) if each != axis]  # axes of a slice
    flips = [RandFlipd(both, 0.5, kept.index(each)) for each in settings.mirrored if each in kept]
    image, often, linear = ["image"], settings.often, "bilinear" if flat else "trilinear"
    return Compose(
        [
            *flips,
            OneOf([RandAffined(prob=0.9, **moved), elastic], weights=[0.7, 0.3]),
            RandLambdad(image, _inverted, prob=settings.inverted),
            RandAdjustContrastd(image, prob=0.5 * often, gamma=(0.5, 2.0)),
            RandHistogramShiftd(image, num_control_points=(4, 8), prob=0.2 * often),
            RandBiasFieldd(image, degree=2, coeff_range=(-0.4, 0.4), prob=0.3 * often),
            RandGaussianSmoothd(image, prob=0.2 * often),
            RandGaussianSharpend(image, alpha=(1.0, 6.0), prob=0.2 * often),
            RandSimulateLowResolutiond(image, prob=0.2 * often, upsample_mode=linear, zoom_range=(0.4, 1.0)),
            _RandAnisotropy(0.2 * often, (1.5, 4.0)),
            RandGaussianNoised(image, prob=0.3 * often, std=0.08),
        ]
    )


def _inverted(image: Any) -> Any:
    return 1 - image
