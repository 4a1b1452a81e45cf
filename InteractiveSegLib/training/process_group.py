"""The processes that train together, as started by ``torchrun``; otherwise a single process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from InteractiveSegLib.errors import InputError


@dataclass(frozen=True)
class ProcessGroup:
    """One process among those that train together.

    rank : number of this process, from 0
    size : number of processes
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def joined(cls, device: torch.device) -> ProcessGroup:
        """Join the other processes that ``torchrun`` announces in the environment.

        Raises
        ------
        InputError : this build of torch cannot communicate between processes, or there are fewer GPUs than processes.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        if not distributed.is_available():
            raise InputError("this build of torch cannot train in several processes: start one")
        if device.type == "cuda":
            number, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
            if number >= gpus:
                raise InputError(f"process {number} finds no GPU of its own: there are {gpus} for one process each")
            torch.cuda.set_device(number)
        if not distributed.is_initialized():
            distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def leads(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def share(self, parts: int) -> range:
        """The numbers from 0 to ``parts`` - 1 that belong to this process.

        Raises
        ------
        InputError : the parts cannot be shared evenly.
        """
        if parts % self.size:
            raise InputError(f"{self.size} processes cannot share {parts} batches a step evenly")
        return range(self.rank, parts, self.size)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace every tensor by its sum over the processes."""
        if self.size > 1:
            flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
            distributed.all_reduce(flat)
            for tensor, summed in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
                tensor.copy_(summed.reshape(tensor.shape))

    def wait(self) -> None:
        """Wait for all processes."""
        if self.size > 1:
            distributed.barrier()
