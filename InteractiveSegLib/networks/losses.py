"""The losses for the trainer, and the loss of image-specific fine-tuning."""

from collections.abc import Mapping

import torch
from monai.losses import DiceCELoss
from torch import Tensor, nn

from InteractiveSegLib.errors import InputError

_EXCLUDED = -1e4
_DICE_CE = DiceCELoss(softmax=True, to_onehot_y=True, include_background=False, batch=False)


def dice_cross_entropy(network: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """Soft Dice of the foreground plus cross-entropy, for ``image`` and ``label`` (B, 1, ...), label in {0, 1}."""
    return dice_cross_entropy_of(network(batch["image"]), batch["label"])


def dice_cross_entropy_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Soft Dice of the foreground plus cross-entropy of logits (B, 2, ...) for labels (B, 1, ...) in {0, 1}."""
    return _DICE_CE(logits, labels)


def soft_dice_cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Soft Dice of the objects plus cross-entropy, for soft targets and weighted voxels.

    Both are over the voxels of each item: ``-sum_i w_i sum_c t_ic log p_ic / sum_i w_i``, and the mean over the objects
    that occur of ``1 - 2 sum_i w_i t_ic p_ic / sum_i w_i (t_ic + p_ic)``. An object with less than half a voxel in an
    item is left out of the item's Dice.

    Parameters
    ----------
    logits : (B, C, ...), class 0 is the background
    targets : (B, C, ...) in [0, 1], 1 in sum over C
    weights : (B, ...) at least 0

    Raises
    ------
    InputError : no voxel has a weight above 0.
    """
    total = weights.sum()
    if total <= 0:
        raise InputError("no voxel has a weight above 0: there is nothing to learn from")
    log_probabilities = logits.log_softmax(dim=1)
    cross_entropy = -(weights * (targets * log_probabilities).sum(dim=1)).sum() / total
    return cross_entropy + soft_dice(log_probabilities.exp(), targets, weights)


def soft_dice(probabilities: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """The second term of ``soft_dice_cross_entropy``; 0 if no object occurs."""
    found, wanted = ((values[:, 1:] * weights[:, None]).flatten(2) for values in (probabilities, targets))
    both = (found * targets[:, 1:].flatten(2)).sum(dim=2)
    size = wanted.sum(dim=2)
    dice = 2 * both / (size + found.sum(dim=2)).clamp(min=1e-6)
    occurs = (targets[:, 1:].flatten(2).sum(dim=2) >= 0.5).float()
    return ((1 - dice) * occurs).sum() / occurs.sum().clamp(min=1)


def partial_dice_cross_entropy(logits: Tensor, targets: Tensor, known: Tensor, weights: Tensor) -> Tensor:
    """``soft_dice_cross_entropy`` of masks that do not speak of every class in every voxel.

    The probability of classes that are not known in a voxel counts to the background's (the marginal loss of Fang and
    Yan, IEEE TMI 2020): what is not known to be there may be. Voxels of weight 0 carry no loss at all.

    Parameters
    ----------
    targets : (B, C, ...) as there, 0 for classes that are not known
    known : (B, C, ...) bool; the background always is
    weights : (B, ...) at least 0

    Raises
    ------
    InputError : no voxel has a weight above 0.
    """
    return soft_dice_cross_entropy(marginal_logits(logits, known), targets, weights)


def marginal_logits(logits: Tensor, known: Tensor) -> Tensor:
    """Logits (B, C, ...) in which unknown classes are part of the background (class 0) and have no probability left.

    known : (B, C, ...) bool
    """
    if bool(known.all()):
        return logits
    own = torch.zeros_like(known)
    own[:, 0] = True
    background = logits.masked_fill(known & ~own, _EXCLUDED).logsumexp(dim=1)
    rest = logits.masked_fill(~known, _EXCLUDED)
    return torch.cat([background[:, None], rest[:, 1:]], dim=1)


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
