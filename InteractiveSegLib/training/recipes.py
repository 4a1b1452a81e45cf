"""How the shipped weights are made: network, data, loss and length by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
from InteractiveSegLib.training.procedural.procedural import BinaryTasks, CropSettings
from InteractiveSegLib.training.process_group import ProcessGroup
from InteractiveSegLib.training.prompted_tasks import PromptedTasks, session_loss
from InteractiveSegLib.training.trainer import Loss, TrainSettings, train

_WIDE = CropSettings(margin_voxels=(0, 20), margin_part=0.8)  # scribbles alone say less of where the object ends
_OFTEN_CORRECTED = (0.3, 0.25, 0.2, 0.15, 0.1)  # of the batches, from not at all to four times, as scribbles add up


@dataclass(frozen=True)
class Recipe:
    """A network, narrower than the papers' to answer in seconds on a CPU, and its training.

    network : makes it, untrained
    tasks : makes the batches from their number and the seed
    steps : optimiser steps
    learning_rate : of AdamW, at the schedule's height
    accumulated : batches a step, for that many processes at most to share
    slices : training in 2D that comes first, since a crop in 2D costs a fiftieth of one in 3D
    carried : gives the weights of the network trained in slices to this one
    """

    network: Callable[[], Network]
    tasks: Callable[[int, int], Dataset[Any]]
    loss: Loss
    steps: int
    learning_rate: float
    accumulated: int = 1
    slices: Recipe | None = None
    carried: Callable[[Any, Any], None] = inflate


def _boxes(dimensions: int, batch_size: int, voxels: int, count: int, seed: int) -> BinaryTasks:
    return BinaryTasks(dimensions, batch_size, count, seed, voxels)


def _sliced_tasks(count: int, seed: int) -> BinaryTasks:
    return BinaryTasks(2, 8, count, seed, 72**2, crop=_WIDE)


def _sessions_on_slices(count: int, seed: int) -> PromptedTasks:
    return PromptedTasks(_sliced_tasks(count, seed))


def _sessions(count: int, seed: int) -> PromptedTasks:
    """Two batches of volumes for one of slices, which would otherwise be forgotten."""
    volumes = BinaryTasks(3, 2, count, seed, 40**3, crop=_WIDE)
    return PromptedTasks(volumes, volumes, _sliced_tasks(count, seed))


def _copied(trained: nn.Module, network: nn.Module) -> None:
    network.load_state_dict(trained.state_dict())


RECIPES = {
    "pnet": Recipe(partial(PNet, channels=32), partial(_boxes, 2, 12, 64**2), dice_cross_entropy, 4200, 2e-3),
    "pcnet": Recipe(
        partial(PCNet, channels=16, compressed=8),
        partial(_boxes, 3, 6, 30**3),
        dice_cross_entropy,
        steps=400,
        learning_rate=2e-3,
        slices=Recipe(
            partial(PNet, channels=16, compressed=8), partial(_boxes, 2, 12, 64**2), dice_cross_entropy, 4500, 3e-3
        ),
    ),
    "prompted": Recipe(
        PromptedNetwork,
        _sessions,
        partial(session_loss, corrected=_OFTEN_CORRECTED),
        steps=4200,
        learning_rate=1.5e-3,
        accumulated=2,
        slices=Recipe(PromptedNetwork, _sessions_on_slices, session_loss, 1800, 2e-3, accumulated=2),
        carried=_copied,
    ),
}


def train_steps(
    name: str, folder: Path, *, steps: int | None, seed: int, workers: int, device: torch.device
) -> Steps[Path]:
    """Train a network from procedural images and write ``<name>.safetensors`` into ``folder``; resumes what lies there.

    Parameters
    ----------
    steps : optimiser steps; None takes the recipe's. A stage in 2D is shortened or prolonged in proportion

    Returns
    -------
    path of the weights

    Raises
    ------
    InputError : no recipe of that name, or ``steps`` is below 1.
    """
    if name not in RECIPES:
        raise InputError(f"no recipe for {name!r}; there are: {', '.join(RECIPES)}")
    recipe = RECIPES[name]
    steps = recipe.steps if steps is None else steps
    if steps < 1:
        raise InputError(f"steps {steps} must be at least 1")
    facts: dict[str, str | int | float] = {"steps": steps, "seed": seed, "data": "procedural"}
    network = _untrained(recipe, seed)
    if recipe.slices is not None:
        flat_steps = max(1, round(recipe.slices.steps * steps / recipe.steps))
        flat = _untrained(recipe.slices, seed)
        flat = yield from _stage_steps(recipe.slices, flat, folder / "slices", flat_steps, seed, workers, device)
        recipe.carried(flat, network)
        facts["steps_in_slices"] = flat_steps
    trained = yield from _stage_steps(recipe, network, folder, steps, seed, workers, device)
    path = folder / f"{name}.safetensors"
    group = ProcessGroup.joined(device)
    if group.leads:
        save_network(trained, path, facts)
    group.wait()  # until it is written
    return path


def _untrained(recipe: Recipe, seed: int) -> Network:
    torch.manual_seed(seed)
    return recipe.network()


def _stage_steps(
    recipe: Recipe, network: Network, folder: Path, steps: int, seed: int, workers: int, device: torch.device
) -> Steps[Network]:
    settings = TrainSettings(
        steps=steps,
        learning_rate=recipe.learning_rate,
        workers=workers,
        accumulated=recipe.accumulated,
        mixed_precision=device.type == "cuda",
    )
    batches = recipe.tasks(steps * recipe.accumulated, seed)
    return (yield from train(network, batches, recipe.loss, settings, folder, device))
