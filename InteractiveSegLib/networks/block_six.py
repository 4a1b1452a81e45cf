"""Dilated networks whose sixth block can be fitted to one image while the first five stay frozen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.networks.blocks import Convolution
from torch import Tensor, nn

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.progress import Progress, Stage, Steps, finish

CONVOLUTIONS = (2, 2, 3, 3, 3)
DILATIONS = (1, 2, 4, 8, 16)
_NORM_ACT: dict[str, Any] = {"norm": "BATCH", "act": "RELU", "bias": False}


class BlockSixNetwork(nn.Module):
    """Five dilated blocks at full resolution, concatenated, and a sixth of 1x1 convolutions (Wang et al., TMI 2018).

    The crop round the user's box is the only input; the output is two-class logits (background, foreground).

    Parameters
    ----------
    dimensions : 2 or 3
    channels : feature channels of every block
    compressed : channels each block's output is reduced to before concatenation; None keeps ``channels``
    dropout : probability of dropping a channel in block 6, in training only
    """

    takes_prompts = sees_start_masks = False

    def __init__(self, dimensions: int, channels: int, compressed: int | None, dropout: float) -> None:
        super().__init__()
        if dimensions not in (2, 3):
            raise InputError(f"dimensions must be 2 or 3, not {dimensions}")
        self.dimensions = dimensions
        self.config: dict[str, Any] = {"channels": channels, "compressed": compressed, "dropout": dropout}
        self.blocks = nn.ModuleList()
        self.compressions = nn.ModuleList()
        for index, (count, dilation) in enumerate(zip(CONVOLUTIONS, DILATIONS, strict=True)):
            first = 1 if index == 0 else channels
            layers = [
                Convolution(dimensions, first if layer == 0 else channels, channels, dilation=dilation, **_NORM_ACT)
                for layer in range(count)
            ]
            self.blocks.append(nn.Sequential(*layers))
            self.compressions.append(
                nn.Identity()
                if compressed is None
                else Convolution(dimensions, channels, compressed, kernel_size=1, **_NORM_ACT)
            )
        self.feature_channels = len(DILATIONS) * (compressed or channels)
        self.block6 = BlockSix(dimensions, self.feature_channels, channels, dropout)
        self._layout = torch.channels_last if dimensions == 2 else torch.channels_last_3d
        self.to(memory_format=self._layout)  # an image of one channel has no layout: convolutions follow their weights

    @property
    def members(self) -> tuple[BlockSixNetwork]:
        return (self,)

    def features(self, image: Tensor) -> Tensor:
        """Output of blocks 1-5, concatenated: (B, 1, ...) in [0, 1] to (B, ``feature_channels``, ...)."""
        return finish(self.feature_steps(image))

    def feature_steps(self, image: Tensor, spacing_mm: Sequence[float] = ()) -> Steps[Tensor]:
        """As ``features``, with one report per block, so that a caller can cancel between blocks; independent of the
        voxel size.
        """
        if image.ndim != self.dimensions + 2 or image.shape[1] != 1:
            raise InputError(f"expected a (B, 1, ...) tensor with {self.dimensions} axes, got {tuple(image.shape)}")
        x = image.contiguous(memory_format=self._layout)
        outputs = []
        for index, (block, compression) in enumerate(zip(self.blocks, self.compressions, strict=True)):
            yield Progress.of(Stage.NETWORK, index, len(self.blocks))
            x = block(x)
            outputs.append(compression(x))
        return torch.cat(outputs, dim=1)

    def forward(self, image: Tensor) -> Tensor:
        """Two-class logits (B, 2, ...) of image crops (B, 1, ...) in [0, 1]."""
        return self.block6(self.features(image))


class BlockSix(nn.Sequential):
    """The adaptable head: dropout, 1x1 convolution, ReLU, dropout, 1x1 convolution to two classes."""

    def __init__(self, dimensions: int, in_channels: int, hidden: int, dropout: float) -> None:
        convolution = nn.Conv2d if dimensions == 2 else nn.Conv3d
        spatial_dropout = nn.Dropout2d if dimensions == 2 else nn.Dropout3d
        super().__init__(
            spatial_dropout(dropout),
            convolution(in_channels, hidden, 1),
            nn.ReLU(),
            spatial_dropout(dropout),
            convolution(hidden, 2, 1),
        )

    def on_columns(self, features: Tensor) -> Tensor:
        """Logits (1, 2, N) of the features (F, N) of N arbitrary voxels, without dropout. 1x1 convolutions as matrix
        products, which for adaptation are an order of magnitude faster on a CPU.
        """
        _, first, _, _, second = self
        hidden = torch.addmm(first.bias, features.t(), first.weight.flatten(1).t()).relu_()
        return torch.addmm(second.bias, hidden, second.weight.flatten(1).t()).t()[None]


def inflate(flat: BlockSixNetwork, network: BlockSixNetwork) -> None:
    """Give a 3D network the weights of a 2D one, so that it computes the same, slice by slice (Carreira and Zisserman,
    2017).

    Every 3x3 kernel becomes the middle of a 3x3x3 kernel that is zero elsewhere: a start from which training in 3D
    finds what the neighbouring slices add.

    Parameters
    ----------
    flat : the 2D network
    network : 3D and otherwise the same; changed in place

    Raises
    ------
    InputError : the two differ by more than the dimension.
    """
    if (flat.dimensions, network.dimensions) != (2, 3) or flat.config != network.config:
        raise InputError(
            f"{flat.dimensions}D {flat.config} cannot be inflated to {network.dimensions}D {network.config}"
        )
    source, state = flat.state_dict(), network.state_dict()
    for name, tensor in state.items():
        if tensor.ndim == 5:
            tensor.zero_()
            tensor[:, :, tensor.shape[2] // 2] = source[name]
        else:
            tensor.copy_(source[name])
    network.load_state_dict(state)
