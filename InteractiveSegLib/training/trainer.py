"""The trainer: a loop over numbered batches that can be stopped at any step and resumed."""

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
from InteractiveSegLib.networks.checkpoint import replacing_by_torch
from InteractiveSegLib.progress import Progress, Steps
from InteractiveSegLib.system.files import make_folder, replacing
from InteractiveSegLib.system.python_process import spawning_safely
from InteractiveSegLib.training.process_group import ProcessGroup

Batch = Mapping[str, Tensor]
Loss = Callable[[nn.Module, Batch], Tensor]
Schedule = Callable[[float], float]


@dataclass(frozen=True)
class TrainSettings:
    """How long and how fast to learn.

    steps : optimiser steps in total, including earlier runs of the same training
    learning_rate : of AdamW, at the schedule's factor 1
    weight_decay : of AdamW
    gradient_norm : gradients are scaled down to this norm
    averaging : decay of the running average of the weights that is returned
    checkpoint_every : steps between two checkpoints
    workers : processes that create batches; 0 creates them in this process
    accumulated : batches per step; processes started together (``torchrun``) share them, so that their number changes
        only the time
    mixed_precision : matrix products in bfloat16
    """

    steps: int
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    gradient_norm: float = 5.0
    averaging: float = 0.99
    checkpoint_every: int = 50
    workers: int = 0
    accumulated: int = 1
    mixed_precision: bool = False


class TrainingDivergedError(InteractiveSegError):
    """The loss is not a number; the last checkpoint is kept."""


def warm_cosine(fraction_done: float, warmup: float = 0.03) -> float:
    """Factor of the learning rate: linear warm-up, then half a cosine down to 0."""
    if fraction_done < warmup:
        return (fraction_done + 1e-3) / (warmup + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (fraction_done - warmup) / (1 - warmup)))


def steady(fraction_done: float) -> float:
    """Factor of a constant learning rate."""
    return 1.0


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
    batches : numbered batches; number n is always the same, so a stopped run continues as if it had not been stopped
    loss : computed from a network and a batch
    folder : holds ``checkpoint.pt`` and ``losses.csv`` (step, loss); a checkpoint found there is continued
    schedule : factor of the learning rate against the fraction of the steps done

    Raises
    ------
    InputError : the checkpoint in ``folder`` is damaged, belongs to another network or has more than ``steps`` steps;
        there are fewer batches than the steps need; or the batches of a step cannot be shared evenly among the
        processes.
    TrainingDivergedError : the loss is not finite.
    """
    if settings.accumulated < 1:
        raise InputError(f"accumulated {settings.accumulated} must be at least 1")
    needed, count = settings.steps * settings.accumulated, len(batches)  # type: ignore[arg-type]
    if count < needed:
        raise InputError(f"{settings.steps} steps take {needed} batches, but there are only {count}")
    group = ProcessGroup.joined(device)
    mine = group.share(settings.accumulated)
    make_folder(folder)
    network.to(device).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(settings.averaging), use_buffers=True)
    start = _restore(folder / "checkpoint.pt", network, averaged, optimizer, device)
    if start > settings.steps:
        raise InputError(f"the checkpoint in {folder} is of {start} steps, but only {settings.steps} were asked for")
    if group.leads:
        _shorten_log(folder / "losses.csv", start)
    rows: list[str] = []
    numbers = [step * settings.accumulated + part for step in range(start, settings.steps) for part in mine]
    with spawning_safely():
        loader = iter(DataLoader(Subset(batches, numbers), batch_size=None, num_workers=settings.workers))
    for step in range(start, settings.steps):
        for parameters in optimizer.param_groups:
            parameters["lr"] = settings.learning_rate * schedule(step / settings.steps)
        optimizer.zero_grad()
        total = torch.zeros((), device=device)
        for part in mine:
            torch.manual_seed(step * settings.accumulated + part)  # dropout, too, is a function of the batch's number
            batch = {key: tensor.to(device, non_blocking=True) for key, tensor in next(loader).items()}
            # uncached: older versions of torch reuse cast weights from parts of the loss without gradients
            with torch.autocast(device.type, torch.bfloat16, settings.mixed_precision, cache_enabled=False):
                value = loss(network, batch) / settings.accumulated
            value.backward()
            total += value.detach()
        group.add_up([total, *(p.grad for p in network.parameters() if p.grad is not None)])
        if not torch.isfinite(total):
            raise TrainingDivergedError(f"the loss is {total.item()} at step {step}; checkpoint kept in {folder}")
        nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_norm)
        optimizer.step()
        averaged.update_parameters(network)
        rows.append(f"{step},{total.item():.5f}\n")
        if group.leads and ((step + 1) % settings.checkpoint_every == 0 or step + 1 == settings.steps):
            _save(folder, step + 1, network, averaged, optimizer, rows)
            rows.clear()
        yield Progress(step + 1, settings.steps, f"loss {total.item():.3f}")
    group.wait()  # until the last checkpoint is written
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
    with replacing_by_torch(folder / "checkpoint.pt") as temporary:
        torch.save(state, temporary)


def _shorten_log(path: Path, steps: int) -> None:
    """Drop log entries after the last checkpoint: these steps are repeated and logged again."""
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
