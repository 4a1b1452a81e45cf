"""The trainer: a loop over numbered batches that can be stopped at any step and goes on from there."""

import math
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset, Subset

from InteractiveSegLib.errors import InputError, InteractiveSegError
from InteractiveSegLib.files import replacing
from InteractiveSegLib.progress import Progress, Steps

Batch = Mapping[str, Tensor]
Loss = Callable[[nn.Module, Batch], Tensor]
Schedule = Callable[[float], float]


@dataclass(frozen=True)
class TrainSettings:
    """How long and how fast to learn.

    steps : optimiser steps in all, earlier runs of the same training included
    learning_rate : of AdamW, at the schedule's factor 1
    weight_decay : of AdamW
    gradient_norm : gradients are scaled down to this norm
    averaging : decay of the running average of the weights that is returned
    checkpoint_every : steps between two checkpoints
    workers : processes that make batches; 0 makes them in this one
    """

    steps: int
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    gradient_norm: float = 5.0
    averaging: float = 0.99
    checkpoint_every: int = 50
    workers: int = 0


class TrainingDivergedError(InteractiveSegError):
    """The loss is not a number; the last checkpoint is kept."""


def warm_cosine(fraction_done: float, warmup: float = 0.03) -> float:
    """Factor of the learning rate: linear warm-up, then half a cosine down to 0."""
    if fraction_done < warmup:
        return (fraction_done + 1e-3) / (warmup + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (fraction_done - warmup) / (1 - warmup)))


def train(
    network: nn.Module,
    batches: Dataset[Batch],
    loss: Loss,
    settings: TrainSettings,
    folder: Path,
    device: torch.device,
    schedule: Schedule = warm_cosine,
) -> Steps[nn.Module]:
    """Train ``network`` in place and return its averaged copy, in eval mode.

    Parameters
    ----------
    batches : numbered batches; number n is always the same one, so a run that was stopped goes on as if it was not
    loss : of a network and a batch
    folder : holds ``checkpoint.pt`` and ``losses.csv`` (step, loss); a checkpoint found there is continued
    schedule : factor of the learning rate against the fraction of the steps done

    Raises
    ------
    InputError : the checkpoint in ``folder`` is damaged, belongs to another network or is further than the steps, or
        ``batches`` are fewer than the steps.
    TrainingDivergedError : the loss is not finite.
    """
    count = len(batches)  # type: ignore[arg-type]
    if count < settings.steps:
        raise InputError(f"{settings.steps} steps were asked for, but there are only {count} batches")
    folder.mkdir(parents=True, exist_ok=True)
    network.to(device).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(settings.averaging), use_buffers=True)
    start = _restore(folder / "checkpoint.pt", network, averaged, optimizer, device)
    if start > settings.steps:
        raise InputError(f"the checkpoint in {folder} is of {start} steps, but only {settings.steps} were asked for")
    _shorten_log(folder / "losses.csv", start)
    rows: list[str] = []
    loader = DataLoader(
        Subset(batches, range(start, settings.steps)),
        batch_size=None,
        num_workers=settings.workers,
        persistent_workers=False,
    )
    for step, batch in enumerate(loader, start):
        torch.manual_seed(step)  # dropout is a function of the step, so that a resumed run repeats it
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * schedule(step / settings.steps)
        value = loss(network, {key: tensor.to(device, non_blocking=True) for key, tensor in batch.items()})
        if not torch.isfinite(value):
            raise TrainingDivergedError(f"the loss is {value.item()} at step {step}; checkpoint kept in {folder}")
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_norm)
        optimizer.step()
        averaged.update_parameters(network)
        rows.append(f"{step},{value.item():.5f}\n")
        if (step + 1) % settings.checkpoint_every == 0 or step + 1 == settings.steps:
            _save(folder, step + 1, network, averaged, optimizer, rows)
            rows.clear()
        yield Progress(step + 1, settings.steps, f"loss {value.item():.3f}")
    return averaged.module.eval()


def _save(
    folder: Path, step: int, network: nn.Module, averaged: nn.Module, optimizer: torch.optim.Optimizer, rows: list[str]
) -> None:
    state = {
        "step": step,
        "network": network.state_dict(),
        "averaged": averaged.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    with (folder / "losses.csv").open("a") as file:
        file.writelines(rows)
    with replacing(folder / "checkpoint.pt") as temporary:
        torch.save(state, temporary)


def _shorten_log(path: Path, steps: int) -> None:
    """Drop what was logged after the last checkpoint: these steps are done, and logged, again."""
    rows = path.read_text().splitlines(keepends=True) if path.is_file() else []
    if len(rows) > steps:
        with replacing(path) as temporary:
            temporary.write_text("".join(rows[:steps]))


def _restore(
    path: Path, network: nn.Module, averaged: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device
) -> int:
    if not path.is_file():
        return 0
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise InputError(f"the checkpoint {path} cannot be read: {error}") from error
    try:
        network.load_state_dict(state["network"])
        averaged.load_state_dict(state["averaged"])
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise InputError(f"the checkpoint {path} belongs to another network: {reason}") from error
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])
