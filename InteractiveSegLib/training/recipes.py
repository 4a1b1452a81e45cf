"""How the shipped weights are trained: network, data, loss and length, by name."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.networks.block_six import inflate
from InteractiveSegLib.networks.checkpoint import save_network
from InteractiveSegLib.networks.losses import dice_cross_entropy
from InteractiveSegLib.networks.network import Network
from InteractiveSegLib.networks.pcnet import PCNet
from InteractiveSegLib.networks.pnet import PNet
from InteractiveSegLib.networks.prompted import PromptedNetwork
from InteractiveSegLib.progress import Steps
from InteractiveSegLib.training.procedural.mapped_scenes import LabelMapFolder
from InteractiveSegLib.training.procedural.procedural import BinaryTasks, CropSettings
from InteractiveSegLib.training.process_group import ProcessGroup
from InteractiveSegLib.training.prompted_tasks import PromptedTasks, session_loss
from InteractiveSegLib.training.trainer import Loss, TrainSettings, train
from InteractiveSegLib.wording.counting import counted

_WIDE = CropSettings(margin_voxels=(0, 20), margin_part=0.8)  # scribbles alone say less about where the object ends
_REGION = replace(_WIDE, region=0.85)
_OFTEN_CORRECTED = (0.3, 0.25, 0.2, 0.15, 0.1)  # of the batches, from not at all to four times, as scribbles add up


@dataclass(frozen=True)
class Recipe:
    """A network, narrower than in the papers so that it answers in seconds on a CPU, and its training.

    network : creates it, untrained
    tasks : creates the batches from their number, the seed and the label maps that provide the shapes
    steps : optimiser steps
    learning_rate : of AdamW, at the maximum of the schedule
    accumulated : batches per step, which at most that many processes can share
    first : preceding training
    carried : transfers the weights of the network trained first to this one
    kept : weight of these in the mean with the weights learnt afterwards; the mean is the result, and forgets less
        (Wortsman et al., CVPR 2022)
    stage : name of its steps in the card of the weights, and of its folder if it comes first
    """

    network: Callable[[], Network]
    tasks: Callable[[int, int, LabelMapFolder | None], Dataset[Any]]
    loss: Loss
    steps: int
    learning_rate: float
    accumulated: int = 1
    first: Recipe | None = None
    carried: Callable[[Any, Any], None] = inflate
    kept: float = 0.0
    stage: str = "slices"


def _boxes(
    dimensions: int, batch_size: int, voxels: int, count: int, seed: int, maps: LabelMapFolder | None
) -> BinaryTasks:
    return BinaryTasks(dimensions, batch_size, count, seed, voxels, maps=maps)


def _on_slices(count: int, seed: int, crop: CropSettings = _WIDE, maps: LabelMapFolder | None = None) -> BinaryTasks:
    return BinaryTasks(2, 8, count, seed, 72**2, crop=crop, maps=maps)


def _on_volumes(count: int, seed: int, crop: CropSettings = _WIDE, maps: LabelMapFolder | None = None) -> BinaryTasks:
    return BinaryTasks(3, 2, count, seed, 40**3, crop=crop, maps=maps)


def _sessions_on_slices(count: int, seed: int, maps: LabelMapFolder | None) -> PromptedTasks:
    return PromptedTasks(_on_slices(count, seed))


def _sessions(count: int, seed: int, maps: LabelMapFolder | None) -> PromptedTasks:
    """Two batches of volumes for one of slices, which would otherwise be forgotten."""
    volumes = _on_volumes(count, seed)
    return PromptedTasks(volumes, volumes, _on_slices(count, seed))


def _sessions_of_few_marks(count: int, seed: int, maps: LabelMapFolder | None) -> PromptedTasks:
    """Regions around few marks alternate with boxes and scribbles, and real shapes with drawn ones."""
    seed += 1  # different images from those of the preceding stages
    kinds = [
        (_on_volumes(count, seed, _REGION, maps), 0.85),
        (_on_volumes(count, seed), 0.3),
        (_on_volumes(count, seed, _REGION), 0.85),
        (_on_volumes(count, seed, _WIDE, maps), 0.3),
        (_on_slices(count, seed, _REGION, maps), 0.85),
        (_on_volumes(count, seed, _REGION, maps), 0.85),
        (_on_volumes(count, seed), 0.3),
        (_on_slices(count, seed), 0.0),
    ]
    tasks, few = zip(*kinds, strict=True)
    return PromptedTasks(*tasks, few=few)


def _copied(trained: nn.Module, network: nn.Module) -> None:
    network.load_state_dict(trained.state_dict())


_IN_SLICES = Recipe(PromptedNetwork, _sessions_on_slices, session_loss, 1800, 2e-3, accumulated=2)
_IN_VOLUMES = Recipe(
    PromptedNetwork,
    _sessions,
    partial(session_loss, corrected=_OFTEN_CORRECTED),
    steps=4200,
    learning_rate=1.5e-3,
    accumulated=2,
    first=_IN_SLICES,
    carried=_copied,
    stage="volumes",
)

RECIPES = {
    "pnet": Recipe(partial(PNet, channels=32), partial(_boxes, 2, 12, 64**2), dice_cross_entropy, 4200, 2e-3),
    "pcnet": Recipe(
        partial(PCNet, channels=16, compressed=8),
        partial(_boxes, 3, 6, 30**3),
        dice_cross_entropy,
        steps=400,
        learning_rate=2e-3,
        first=Recipe(
            partial(PNet, channels=16, compressed=8), partial(_boxes, 2, 12, 64**2), dice_cross_entropy, 4500, 3e-3
        ),
    ),
    "prompted": _IN_VOLUMES,
}
WITH_LABEL_MAPS = {
    "prompted": Recipe(
        PromptedNetwork,
        _sessions_of_few_marks,
        partial(session_loss, corrected=_OFTEN_CORRECTED),
        steps=1000,
        learning_rate=1e-3,
        accumulated=2,
        first=_IN_VOLUMES,
        carried=_copied,
        kept=0.5,
    ),
}


def train_steps(
    name: str,
    folder: Path,
    *,
    steps: int | None,
    seed: int,
    workers: int,
    device: torch.device,
    label_maps: Path | None = None,
) -> Steps[Path]:
    """Train a network from procedural images and write ``<name>.safetensors`` into ``folder``; resumes a training found
    there.

    With label maps, the training continues on shapes from these and with sessions of few marks.

    Parameters
    ----------
    steps : optimiser steps; None takes the recipe's. The preceding stages are scaled in proportion
    label_maps : their folder; None trains like the shipped weights

    Returns
    -------
    path of the weights

    Raises
    ------
    InputError : no recipe of that name, or one without a use for label maps; ``steps`` is below 1; no label maps in
        the folder, or one that cannot be read.
    """
    if name not in RECIPES:
        raise InputError(f"no recipe for {name!r}; there are: {', '.join(RECIPES)}")
    if label_maps is not None and name not in WITH_LABEL_MAPS:
        raise InputError(f"{name} learns from procedural images alone, not from the label maps in {label_maps}")
    recipe = (RECIPES if label_maps is None else WITH_LABEL_MAPS)[name]
    steps = recipe.steps if steps is None else steps
    if steps < 1:
        raise InputError(f"steps {steps} must be at least 1")
    maps = None if label_maps is None else LabelMapFolder(label_maps)
    facts: dict[str, str | int | float] = {"steps": steps, "seed": seed, "data": "procedural"}
    if maps is not None:
        facts["data"] = f"procedural, and the shapes of {counted(len(maps.paths), 'label map', 'label maps')}"
    trained = yield from _trained_steps(recipe, folder, steps, seed, workers, device, maps, facts)
    path = folder / f"{name}.safetensors"
    group = ProcessGroup.joined(device)
    if group.leads:
        save_network(trained, path, facts)
    group.wait()  # until it is written
    return path


def _trained_steps(
    recipe: Recipe,
    folder: Path,
    steps: int,
    seed: int,
    workers: int,
    device: torch.device,
    maps: LabelMapFolder | None,
    facts: dict[str, str | int | float],
) -> Steps[Network]:
    """A network trained by the recipe; the steps of the preceding stages are added to ``facts``."""
    network = _untrained(recipe, seed)
    if recipe.first is not None:
        before = max(1, round(recipe.first.steps * steps / recipe.steps))
        inner = folder / recipe.first.stage
        first = yield from _trained_steps(recipe.first, inner, before, seed, workers, device, maps, facts)
        recipe.carried(first, network)
        facts[f"steps_in_{recipe.first.stage}"] = before
    started = deepcopy(network.state_dict()) if recipe.kept else {}
    settings = TrainSettings(
        steps=steps,
        learning_rate=recipe.learning_rate,
        workers=workers,
        accumulated=recipe.accumulated,
        mixed_precision=device.type == "cuda",
    )
    batches = recipe.tasks(steps * recipe.accumulated, seed, maps)
    trained = yield from train(network, batches, recipe.loss, settings, folder, device)
    learnt = trained.state_dict()
    for name, value in started.items():
        learnt[name].lerp_(value, recipe.kept)
    return trained


def _untrained(recipe: Recipe, seed: int) -> Network:
    torch.manual_seed(seed)
    return recipe.network()
