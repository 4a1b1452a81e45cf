"""The network that sees the prompts: an encoder-decoder that pools across thick slices last."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from monai.networks.blocks import Convolution
from torch import Tensor, nn
from torch.nn import functional as F

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.networks.block_six import BlockSix
from InteractiveSegLib.networks.cues import CHANNELS
from InteractiveSegLib.progress import Progress, Stage, Steps, finish

_SEEN = [index for index, name in enumerate(CHANNELS) if name != "classical answer"]
_ISOTROPIC = 1.5  # slices up to this much thicker than pixels are pooled with them


class PromptedNetwork(nn.Module):
    """U-Net on image and cues; its last block can be fitted to one image.

    The classical answer is the only cue that it does not see: a network that can copy it learns less.

    Slices are along axis k. An axis is pooled once the others have become as coarse as it is, so the same weights
    serve cubes, thick slices and single slices.

    Parameters
    ----------
    widths : feature channels per level, finest first; multiples of 4
    dropout : probability of dropping a channel in the last block, in training only
    """

    takes_prompts = sees_start_masks = True
    dimensions = 3

    def __init__(self, widths: Sequence[int] = (16, 32, 48, 64, 64), dropout: float = 0.1) -> None:
        super().__init__()
        if len(widths) < 2 or any(width < 4 or width % 4 for width in widths):
            raise InputError(f"widths {tuple(widths)} must be at least two multiples of 4")
        self.config: dict[str, Any] = {"widths": list(widths), "dropout": dropout}
        inputs = [len(_SEEN), *widths[:-1]]
        self.down = nn.ModuleList(_Level(a, b) for a, b in zip(inputs, widths, strict=True))
        self.up = nn.ModuleList(_Level(fine + coarse, fine) for fine, coarse in pairwise(widths))
        self.feature_channels = widths[0]
        self.block6 = BlockSix(3, widths[0], widths[0], dropout)
        self.to(memory_format=torch.channels_last_3d)

    @property
    def members(self) -> tuple[PromptedNetwork]:
        return (self,)

    def feature_steps(self, channels: Tensor, spacing_mm: Sequence[float]) -> Steps[Tensor]:
        """Features (B, ``feature_channels``, K, J, I) of encoded prompts (B, C, K, J, I); one report per level.

        Raises
        ------
        InputError : not the channels of ``cues.encode``.
        """
        if channels.ndim != 5 or channels.shape[1] != len(CHANNELS):
            raise InputError(f"expected (B, {len(CHANNELS)}, K, J, I), got {tuple(channels.shape)}")
        x = channels[:, _SEEN].contiguous(memory_format=torch.channels_last_3d)
        total = len(self.down) + len(self.up)
        spacing = [mm / min(spacing_mm) for mm in spacing_mm]
        skips: list[Tensor] = []
        for index, level in enumerate(self.down):
            yield Progress.of(Stage.NETWORK, index, total)
            if index:
                skips.append(x)
                strides = _strides(x.shape[2:], spacing)
                spacing = [mm * stride for mm, stride in zip(spacing, strides, strict=True)]
                x = F.max_pool3d(x, strides, ceil_mode=True)
            x = level(x)
        for index in reversed(range(len(self.up))):
            yield Progress.of(Stage.NETWORK, total - 1 - index, total)
            skip = skips[index]
            x = self.up[index](torch.cat([skip, F.interpolate(x, skip.shape[2:])], dim=1))
        return x

    def forward(self, channels: Tensor, spacing_mm: Sequence[float]) -> Tensor:
        """Two-class logits (B, 2, K, J, I)."""
        return self.block6(finish(self.feature_steps(channels, spacing_mm)))


class _Level(nn.Module):
    """A convolution within the slice and one across slices; on single slices, only the middle part of the latter is
    used.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        parts: dict[str, Any] = {"norm": ("GROUP", {"num_groups": 4}), "act": "LEAKYRELU", "bias": False}
        self.within = Convolution(3, in_channels, out_channels, kernel_size=(1, 3, 3), **parts)
        self.through = Convolution(3, out_channels, out_channels, kernel_size=3, **parts)
        with torch.no_grad():  # slices start without any influence of their neighbours
            self.through.conv.weight[:, :, 0] = 0
            self.through.conv.weight[:, :, 2] = 0

    def forward(self, x: Tensor) -> Tensor:
        x = self.within.adn(_convolved(x, self.within.conv.weight))
        kernel = self.through.conv.weight
        return self.through.adn(_convolved(x, kernel if x.shape[2] > 1 else kernel[:, :, 1:2]))


def _convolved(x: Tensor, kernel: Tensor) -> Tensor:
    """The convolution of ``x`` with a kernel of odd sides, on the grid of ``x``.

    For a batch of one on a CPU, PyTorch does not use oneDNN up to 20,480 channels times slices times rows, and takes up
    to four times as long; oneDNN is therefore called directly if it is available and no gradient is needed.
    """
    padding = [side // 2 for side in kernel.shape[2:]]
    on_cpu = x.device.type == "cpu" and x.dtype == kernel.dtype == torch.float32
    if on_cpu and torch.backends.mkldnn.is_available() and not torch.is_grad_enabled():
        return torch.mkldnn_convolution(x, kernel, None, padding, (1, 1, 1), (1, 1, 1), 1)
    return F.conv3d(x, kernel, padding=padding)


def _strides(shape: Sequence[int], spacing: Sequence[float]) -> list[int]:
    """2 along the axes that are to be pooled, 1 along those that are still coarser or too short."""
    finest = min((mm for mm, n in zip(spacing, shape, strict=True) if n > 2), default=1.0)
    return [2 if n > 2 and mm <= _ISOTROPIC * finest else 1 for n, mm in zip(shape, spacing, strict=True)]
