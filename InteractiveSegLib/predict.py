"""The network on the working grid: features once an image, probabilities as often as block 6 changes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from InteractiveSegLib.networks.block_six import BlockSix, BlockSixNetwork
from InteractiveSegLib.progress import Progress, Steps

_SLICES_AT_ONCE = 8


def slice_axis(shape_kji: Sequence[int], spacing_mm: Sequence[float]) -> int:
    """The axis along which slices lie: of a single slice its own, else that of the thickest, the first among equals."""
    if 1 in shape_kji:
        return list(shape_kji).index(1)
    return max(range(3), key=lambda axis: (spacing_mm[axis], -axis))


@torch.no_grad()
def feature_steps(network: BlockSixNetwork, image: Tensor, spacing_mm: Sequence[float]) -> Steps[Tensor]:
    """Features (F, K, J, I) of an image (K, J, I) in [0, 1]; a 2D network sees it slice by slice."""
    if network.dimensions == 3:
        features = yield from network.feature_steps(image[None, None])
        return features[0]
    axis = slice_axis(image.shape, spacing_mm)
    slices = image.movedim(axis, 0)[:, None]
    parts = []
    for start in range(0, slices.shape[0], _SLICES_AT_ONCE):
        yield Progress(start, slices.shape[0], "looking at the image")
        parts.append(network.features(slices[start : start + _SLICES_AT_ONCE]))
    return torch.cat(parts).movedim(1, 0).movedim(1, axis + 1)


@torch.no_grad()
def foreground_probability(head: BlockSix, features: Tensor) -> Tensor:
    """Foreground probability (K, J, I) that block 6 gives to features (F, K, J, I)."""
    return head.on_columns(features.flatten(1)).softmax(dim=1)[0, 1].reshape(features.shape[1:])
