"""Simulated sessions: the first prompts of the network, and how it learns from correcting itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from InteractiveSegLib.networks.cues import ShownPrompts, encode
from InteractiveSegLib.networks.losses import dice_cross_entropy_of
from InteractiveSegLib.training.procedural.procedural import BinaryTasks
from InteractiveSegLib.training.simulated_prompts import (
    against,
    draw_box,
    draw_few,
    draw_scribbles,
    error_regions,
    spoiled,
)

_BOX_ALONE, _SCRIBBLES_ALONE = 0.25, 0.35  # the rest have both
_START_MASK, _START_FROM_FOUND = 0.1, 0.4
_CORRECTED = (0.4, 0.35, 0.25)  # fraction of the batches with no, one, two corrections
_EVERY_SLICE = 0.4
_FLAT = 0.6  # a side this short relative to the others is a stack of thick slices
_THICKEST = 8.0
_OTHER_OBJECT = 0.3
_LOOSE_BOX, _BACKGROUND_FIRST = 0.2, 0.4  # of the sessions of few marks
PROMPTS = ("box", "foreground", "background", "other", "start")


class PromptedTasks(Dataset):
    """Binary tasks with the prompts of a session's first round; several kinds of tasks take turns.

    few : fraction of the sessions, for each kind of tasks, in which a person begins and continues with few marks

    Each item is a dictionary of ``image`` and ``label``, float32, and ``box``, ``foreground``, ``background``,
    ``other`` (marks on another object) and ``start``, all (B, K, J, I), of one slice in 2D, and ``spacing`` (3,),
    ``seed`` (2,), ``few`` (B,), bool. Item n depends on the seed and n alone. Slices lie along k.
    """

    def __init__(self, *tasks: BinaryTasks, few: Sequence[float] = ()) -> None:
        self.tasks, self.few = tasks, few or (0.0,) * len(tasks)

    def __len__(self) -> int:
        return min(len(tasks) for tasks in self.tasks)

    def __getitem__(self, n: int) -> dict[str, Tensor]:
        tasks, part = self.tasks[n % len(self.tasks)], self.few[n % len(self.tasks)]
        rng = np.random.default_rng([tasks.seed, n, 77])
        batch = tasks[n]
        image, label = (batch[key].numpy()[:, 0] for key in ("image", "label"))
        if tasks.dimensions == 2:
            image, label = image[:, None], label[:, None]
        else:
            axis = 1 + int(np.argmin(image.shape[1:]))
            image, label = np.moveaxis(image, axis, 1), np.moveaxis(label, axis, 1)
        spacing = _spacing(image.shape[1:], rng)
        few = [bool(part and rng.random() < part) for _ in label]
        prompts = [
            (few_prompts if sparse else first_prompts)(t > 0.5, rng) for t, sparse in zip(label, few, strict=True)
        ]
        item = {
            name: torch.from_numpy(np.stack([prompt[index] for prompt in prompts]))
            for index, name in enumerate(PROMPTS)
        }
        item["image"] = torch.from_numpy(np.ascontiguousarray(image))
        item["label"] = torch.from_numpy(np.ascontiguousarray(label))
        item["spacing"] = torch.tensor(spacing)
        item["few"] = torch.tensor(few)
        item["seed"] = torch.tensor([tasks.seed, n])
        return item


def session_loss(network: nn.Module, batch: Mapping[str, Tensor], corrected: Sequence[float] = _CORRECTED) -> Tensor:
    """Soft Dice and cross-entropy of the first answer, or of one after the network's own errors were corrected.

    corrected : fractions of the batches whose errors are corrected not at all, once, twice and so on
    """
    return dice_cross_entropy_of(session_logits(network, batch, corrected), batch["label"][:, None])


def session_logits(network: nn.Module, batch: Mapping[str, Tensor], corrected: Sequence[float] = _CORRECTED) -> Tensor:
    """Logits (B, 2, K, J, I) of the first answer to an item of ``PromptedTasks``, or of one after corrections."""
    spacing = batch["spacing"].tolist()
    rng = np.random.default_rng([*batch["seed"].tolist(), 78])
    image, box, label, other = batch["image"], batch["box"], batch["label"][:, None], batch["other"]
    foreground, background, start = batch["foreground"], batch["background"], batch["start"]
    few = batch["few"].tolist() if "few" in batch else [False] * len(image)

    def answer() -> Tensor:
        return network(encode(image, spacing, ShownPrompts(box, foreground, background, start, [other])), spacing)

    for _ in range(rng.choice(len(corrected), p=corrected)):
        with torch.no_grad():
            network.eval()
            logits = answer()
            network.train()
        found = (logits[:, 1] > logits[:, 0]) & box
        wrong = zip(found.cpu().numpy(), (label[:, 0] > 0.5).cpu().numpy(), few, strict=True)
        more = [(_few_corrections if sparse else _correction)(mask, truth, rng) for mask, truth, sparse in wrong]
        added = torch.from_numpy(np.stack(more)).to(image.device)
        foreground = foreground | added[:, 0]
        background = (background | added[:, 1]) & ~added[:, 0]
        carried = torch.from_numpy(rng.random(len(image)) < _START_FROM_FOUND).to(image.device)
        start = torch.where(carried[:, None, None, None], found.float(), start)
    return answer()


def first_prompts(truth: NDArray[np.bool_], rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
    """Simulated prompts of a first round, in the order of ``PROMPTS``, of one object (K, J, I)."""
    nothing = np.zeros(truth.shape, bool)
    kind = rng.random()
    box = draw_box(truth, rng) if kind < _BOX_ALONE or kind > _BOX_ALONE + _SCRIBBLES_ALONE else ~nothing
    foreground = background = other = nothing
    if kind > _BOX_ALONE:
        every = truth.shape[0] > 1 and rng.random() < _EVERY_SLICE
        foreground = draw_scribbles(truth, rng, every)
        if box.all() or rng.random() < 0.7:
            for _ in range(int(rng.integers(1, 4))):
                marks = draw_scribbles(against(truth, rng), rng, every)
                if rng.random() < _OTHER_OBJECT:
                    other = other | marks
                else:
                    background = background | marks
    start = spoiled(truth, rng) if rng.random() < _START_MASK else nothing
    other = other & ~foreground
    return box, foreground, background & ~foreground & ~other, other, start.astype(np.float32)


def few_prompts(truth: NDArray[np.bool_], rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
    """As ``first_prompts``, of a person who begins with a click or a stroke, mostly without a box."""
    nothing = np.zeros(truth.shape, bool)
    box = draw_box(truth, rng, inwards=0.15, outwards=0.6) if rng.random() < _LOOSE_BOX else ~nothing
    foreground, background = draw_few(truth, rng), nothing
    if not foreground.any() or rng.random() < _BACKGROUND_FIRST:
        background = draw_few(against(truth, rng), rng)
    return box, foreground, background, nothing, nothing.astype(np.float32)


def _few_corrections(found: NDArray[np.bool_], truth: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Marks on the largest error only."""
    missed, excess = error_regions(found, truth)
    marks = np.zeros((2, *truth.shape), bool)
    if missed.sum() >= excess.sum():
        marks[0] = draw_few(missed, rng)
    else:
        marks[1] = draw_few(excess, rng)
    return marks


def _correction(found: NDArray[np.bool_], truth: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    missed, excess = error_regions(found, truth)
    return np.stack([draw_scribbles(missed, rng), draw_scribbles(excess, rng)])


def _spacing(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[float, float, float]:
    """Thick slices if the stack is short, as if all were cut from cubes."""
    across = float(np.mean(shape[1:]))
    if shape[0] == 1 or shape[0] > _FLAT * across:
        return 1.0, 1.0, 1.0
    return float(np.clip(across / shape[0] * rng.uniform(0.7, 1.4), 1.0, _THICKEST)), 1.0, 1.0
