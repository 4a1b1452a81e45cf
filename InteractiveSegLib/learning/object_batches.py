"""Batches for the network that sees prompts: pieces of accepted objects, with a person's prompts or simulated ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from InteractiveSegLib.learning.object_lesson import ObjectLesson
from InteractiveSegLib.learning.replay import Mixture
from InteractiveSegLib.networks.losses import soft_dice_cross_entropy
from InteractiveSegLib.training.prompted_tasks import PROMPTS, first_prompts, session_logits

_PIECES = 2  # of one object; with a single piece, PyTorch's convolutions on one thread take five times as long
_THICK = 3.0  # slices this many times thicker than the pixel width


@dataclass(frozen=True)
class SessionSettings:
    """Contents of a batch: two pieces of one object.

    voxels : maximum of a piece
    simulated : share of the batches with simulated prompts among objects that have a person's prompts
    on_object : share of the pieces centred on the object
    """

    voxels: int = 24_000
    simulated: float = 0.35
    on_object: float = 0.8


class ObjectBatches(Dataset):
    """Numbered batches of two pieces of one object; number n depends only on the objects, the seed and n.

    An item has ``label``, ``weight`` (2, S, P, Q), ``spacing`` and ``seed``, and either ``channels`` (2, C, S, P, Q), a
    person's prompts as the network saw them, or the entries of an item of ``PromptedTasks``.

    Parameters
    ----------
    cases : the objects of every case; the first is the one that was accepted last
    """

    def __init__(
        self,
        cases: Sequence[Sequence[ObjectLesson]],
        mixture: Mixture,
        length: int,
        seed: int,
        settings: SessionSettings | None = None,
    ) -> None:
        self.cases, self.mixture, self.length, self.seed = cases, mixture, length, seed
        self.settings = settings or SessionSettings()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, n: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.seed, n, 79])
        objects = self.cases[self.mixture.draw(len(self.cases), rng)]
        taught = objects[int(rng.integers(len(objects)))]
        real = taught.channels is not None and rng.random() >= self.settings.simulated
        names = ("target", "weight", "channels") if real else ("target", "weight", "image")
        pieces = [self._piece(taught, names, rng) for _ in range(_PIECES)]
        arrays = {name: np.stack([piece[name] for piece in pieces]) for name in names}
        arrays["label"] = arrays.pop("target")
        if not real:
            prompts = [first_prompts(label > 0.5, rng) for label in arrays["label"]]
            arrays |= {name: np.stack(drawn) for name, drawn in zip(PROMPTS, zip(*prompts, strict=True), strict=True)}
        item = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return {**item, "spacing": torch.tensor(taught.spacing_mm), "seed": torch.tensor([self.seed, n])}

    def _piece(self, taught: ObjectLesson, names: Sequence[str], rng: np.random.Generator) -> dict[str, NDArray]:
        """A part of the named arrays, randomly mirrored along rows and columns."""
        window = piece(taught.target, taught.spacing_mm, rng, self.settings)
        mirrored = [axis for axis in (-1, -2) if rng.random() < 0.5]
        arrays = {name: getattr(taught, name)[(..., *window)].astype(np.float32) for name in names}
        return {name: np.flip(array, mirrored) for name, array in arrays.items()}


def piece(
    target: NDArray[np.floating], spacing_mm: Sequence[float], rng: np.random.Generator, settings: SessionSettings
) -> tuple[slice, ...]:
    """A part of an object's surroundings, of about the same length in mm along every axis."""
    shape = piece_shape(target.shape, spacing_mm, settings.voxels)
    inside = np.flatnonzero(target > 0.5)
    if inside.size and rng.random() < settings.on_object:
        middle = np.array(np.unravel_index(inside[rng.integers(inside.size)], target.shape))
    else:
        middle = rng.integers(target.shape)
    start = [int(np.clip(m - size // 2, 0, n - size)) for m, size, n in zip(middle, shape, target.shape, strict=True)]
    return tuple(slice(begin, begin + size) for begin, size in zip(start, shape, strict=True))


def piece_shape(shape: Sequence[int], spacing_mm: Sequence[float], voxels: int) -> tuple[int, ...]:
    """Sides of a piece with a maximum of voxels: everything, whole slices if they are thick, or a cube in mm."""
    if math.prod(shape) <= voxels:
        return tuple(shape)
    plane = math.prod(shape[1:])
    if spacing_mm[0] >= _THICK * max(spacing_mm[1:]) and plane <= voxels:
        return (voxels // plane, *shape[1:])
    low, high = 0.0, max(n * mm for n, mm in zip(shape, spacing_mm, strict=True))

    def sides(length_mm: float) -> tuple[int, ...]:
        return tuple(max(1, min(n, int(length_mm / mm))) for n, mm in zip(shape, spacing_mm, strict=True))

    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if math.prod(sides(middle)) <= voxels else (low, middle)
    return sides(low)


def object_batch_loss(network: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """Soft Dice and cross-entropy with the accepted mask, weighted by voxel."""
    if "channels" in batch:
        logits = network(batch["channels"], batch["spacing"].tolist())
    else:
        logits = session_logits(network, batch)
    targets = torch.stack([1 - batch["label"], batch["label"]], dim=1)
    return soft_dice_cross_entropy(logits, targets, batch["weight"])
