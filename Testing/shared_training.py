"""A training that ``torchrun`` starts in several processes, and a reference for tests.

``shared_training.py train FOLDER STOP`` trains, and process 1 is killed after STOP reports; ``recipe FOLDER`` follows a
recipe. "{rank}" in FOLDER stands for the number of the process.
"""

import os
import signal
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import Dataset

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.progress import Steps, finish
from InteractiveSegLib.training.process_group import ProcessGroup
from InteractiveSegLib.training.trainer import TrainSettings, train

CPU = torch.device("cpu")
SETTINGS = TrainSettings(steps=11, checkpoint_every=4, averaging=0.8, accumulated=2)


class Points(Dataset):
    """Numbered batches of points and the plane they lie on, with noise."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(number)
        at = torch.randn(6, 3, generator=generator)
        height = at @ torch.tensor([1.0, -2.0, 0.5]) + 0.1 * torch.randn(6, generator=generator)
        return {"at": at, "height": height}


def squared_error(network: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return (network(batch["at"])[:, 0] - batch["height"]).square().mean()


def perceptron(seed: int = 3) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 1))


def steps_in(folder: Path, settings: TrainSettings = SETTINGS, seed: int = 3) -> Steps[nn.Module]:
    batches = Points(settings.steps * settings.accumulated)
    return train(perceptron(seed), batches, squared_error, settings, folder, CPU)


def recipe_in(folder: Path) -> Path:
    """One step of each stage of the default network's recipe, much smaller."""
    from InteractiveSegLib.networks.prompted import PromptedNetwork
    from InteractiveSegLib.training import recipes
    from InteractiveSegLib.training.procedural.procedural import BinaryTasks
    from InteractiveSegLib.training.prompted_tasks import PromptedTasks

    recipe = recipes.RECIPES["prompted"]
    small = {
        "network": partial(PromptedNetwork, (4, 4)),
        "tasks": lambda count, seed, maps: PromptedTasks(BinaryTasks(2, 1, count, seed, 40**2)),
        "accumulated": 2,
    }
    recipes.RECIPES["tiny"] = replace(recipe, **small, first=replace(recipe.first, **small, steps=1))
    return finish(recipes.train_steps("tiny", folder, steps=1, seed=3, workers=0, device=CPU))


def _train(folder: Path, stop: int, notes: Path) -> None:
    group = ProcessGroup.joined(CPU)
    counts = [torch.full((2, 3), 1 + 10.0**group.rank, dtype=dtype) for dtype in (torch.float64, torch.bfloat16)]
    group.add_up([*counts, torch.tensor(0.5)])
    try:
        finish(steps_in(folder / "refused", replace(SETTINGS, accumulated=3)))
    except InputError as error:
        refusal = str(error)
    averaged = finish(steps_in(folder), lambda progress: _die() if group.rank and progress.done == stop else None)
    state = {"weights": averaged.state_dict(), "counts": counts, "refusal": refusal}
    torch.save(state, notes / f"{group.rank}.pt")


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    torch.set_num_threads(1)
    given = Path(sys.argv[2].format(rank=os.environ["RANK"]))
    if sys.argv[1] == "recipe":
        recipe_in(given)
    else:
        _train(given, int(sys.argv[3]), Path(sys.argv[4]))
