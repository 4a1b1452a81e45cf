"""How the shipped weights are made: network, data, loss and length by name."""

from dataclasses import dataclass
from pathlib import Path

import torch

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.networks.block_six import BlockSixNetwork
from InteractiveSegLib.networks.checkpoint import save_network
from InteractiveSegLib.networks.pcnet import PCNet
from InteractiveSegLib.networks.pnet import PNet
from InteractiveSegLib.progress import Steps
from InteractiveSegLib.training.losses import dice_cross_entropy
from InteractiveSegLib.training.procedural import BinaryTasks
from InteractiveSegLib.training.trainer import TrainSettings, train


@dataclass(frozen=True)
class Recipe:
    """Width of a network and the length of its training; narrower than the papers', to answer in seconds on a CPU.

    architecture : PNet or PCNet
    channels, compressed : as in ``BlockSixNetwork``
    batch_size, max_voxels : of a batch of crops
    steps : optimiser steps
    learning_rate : of AdamW, at the schedule's height
    """

    architecture: type[BlockSixNetwork]
    channels: int
    compressed: int | None
    batch_size: int
    max_voxels: int
    steps: int
    learning_rate: float

    def network(self, seed: int) -> BlockSixNetwork:
        """The untrained network; its first weights follow from ``seed``."""
        torch.manual_seed(seed)
        return self.architecture(channels=self.channels, compressed=self.compressed)


RECIPES = {
    "pnet": Recipe(PNet, channels=32, compressed=None, batch_size=12, max_voxels=64**2, steps=4200, learning_rate=2e-3),
    "pcnet": Recipe(PCNet, channels=16, compressed=8, batch_size=6, max_voxels=36**3, steps=1300, learning_rate=3e-3),
}


def train_steps(
    name: str, folder: Path, *, steps: int | None, seed: int, workers: int, device: torch.device
) -> Steps[Path]:
    """Train a network from procedural images and write ``<name>.safetensors`` into ``folder``; resumes what lies there.

    Parameters
    ----------
    steps : optimiser steps in all; None takes the recipe's

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
    network = recipe.network(seed)
    tasks = BinaryTasks(network.dimensions, recipe.batch_size, steps, seed, recipe.max_voxels)
    settings = TrainSettings(steps=steps, learning_rate=recipe.learning_rate, workers=workers)
    trained = yield from train(network, tasks, dice_cross_entropy, settings, folder, device)
    path = folder / f"{name}.safetensors"
    facts = {"steps": steps, "seed": seed, "batch_size": recipe.batch_size, "data": "procedural"}
    save_network(trained, path, facts)
    return path
