"""Where networks run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from InteractiveSegLib.errors import InputError

if TYPE_CHECKING:
    import torch


def device_named(name: str) -> torch.device:
    """``auto`` uses CUDA if available. InputError for ``cuda`` if it is not."""
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("cuda: no CUDA device is available; use the device auto or cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def bfloat16_is_fast(device: torch.device) -> bool:
    """Whether a processor has instructions of its own for products in bfloat16, so that they take less time."""
    import torch

    if device.type != "cpu":
        return False
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # missing from some versions of torch
    return any(getattr(torch.cpu, check, lambda: False)() for check in checks)
