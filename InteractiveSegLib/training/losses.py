"""Losses that are passed to the trainer, and the one of image-specific fine-tuning."""

from collections.abc import Mapping

import torch
from monai.losses import DiceCELoss
from torch import Tensor, nn

from InteractiveSegLib.errors import InputError

_DICE_CE = DiceCELoss(softmax=True, to_onehot_y=True, include_background=False, batch=False)


def dice_cross_entropy(network: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """Soft Dice of the foreground plus cross-entropy, for ``image`` and ``label`` (B, 1, ...), label in {0, 1}."""
    return dice_cross_entropy_of(network(batch["image"]), batch["label"])


def dice_cross_entropy_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Soft Dice of the foreground plus cross-entropy of logits (B, 2, ...) for labels (B, 1, ...) in {0, 1}."""
    return _DICE_CE(logits, labels)


def weighted_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """``-sum_i w_i log p_i(y_i) / sum_i w_i`` (Wang et al., TMI 2018, eq. 8, divided by the weights' sum).

    Parameters
    ----------
    logits : (B, C, ...); labels : (B, ...) int64; weights : (B, ...) float, at least 0

    Raises
    ------
    InputError : no voxel has a weight above 0.
    """
    total = weights.sum()
    if total <= 0:
        raise InputError("no voxel has a weight above 0: there is nothing to learn from")
    losses = nn.functional.cross_entropy(logits, labels, reduction="none")
    return torch.sum(losses * weights) / total
