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
