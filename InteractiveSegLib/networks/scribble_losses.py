"""Losses for scribbles: of what is marked, and of how the rest agrees with its surroundings."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.networks.losses import marginal_logits

UNMARKED = -1


@dataclass(frozen=True)
class CrfSettings:
    """Which voxels should agree, as in Obukhov et al. (gated CRF loss) and Tian et al. (AttenScribble).

    radius_mm : farthest neighbour
    sigma_mm, sigma_intensity : the weight of a pair falls with its distance, and with the difference of its intensities
        in [0, 1]
    """

    radius_mm: float = 7.5
    sigma_mm: float = 9.0
    sigma_intensity: float = 0.1

    def __post_init__(self) -> None:
        if not (self.radius_mm > 0 and self.sigma_mm > 0 and self.sigma_intensity > 0):
            raise InputError(
                f"radius_mm {self.radius_mm}, sigma_mm {self.sigma_mm} and sigma_intensity {self.sigma_intensity} must "
                "be above 0"
            )


def partial_cross_entropy(logits: Tensor, marks: Tensor, known: Tensor) -> Tensor:
    """Mean of ``-log p`` of the marked class over the marked voxels; 0 where nothing is marked.

    Parameters
    ----------
    logits : (B, C, ...), class 0 is the background
    marks : (B, ...) int64, ``UNMARKED`` or a class
    known : (B, C) bool, the classes that the marks of an image cover; the probability of the others counts to the
        background's: what is marked as background may be one of them
    """
    if not bool((marks != UNMARKED).any()):
        return logits.sum() * 0
    spread = known.reshape(*known.shape, *[1] * (logits.ndim - 2)).expand_as(logits)
    return nn.functional.cross_entropy(marginal_logits(logits, spread), marks, ignore_index=UNMARKED)


def masked_crf(
    probabilities: Tensor, image: Tensor, marks: Tensor, spacing_mm: Sequence[float], settings: CrfSettings
) -> Tensor:
    """``1 / |U| sum_{i in U} sum_{j in N(i)} k_ij (1 - sum_c p_ic p_jc)`` over the unmarked voxels U; 0 if all are
    marked.

    ``k_ij = exp(-(d_ij^2 / sigma_mm^2 + (I_i - I_j)^2 / sigma_intensity^2) / 2)``, and N(i) are the voxels of the image
    within ``radius_mm`` of i, marked or not.

    Parameters
    ----------
    probabilities : (B, C, ...); image : (B, 1, ...) in [0, 1]; marks : (B, ...) int64
    spacing_mm : of the voxels along the axes after C
    """
    return _MaskedCrf.apply(probabilities, image, marks == UNMARKED, tuple(spacing_mm), settings)


def attentive_similarity(probabilities: Tensor, similarity: Tensor, radius: int = 5) -> Tensor:
    """``1 / N sum_i sum_{j in N(i)} s_ij (1 - sum_c p_ic p_jc)`` over the N cells of each image, the mean of the batch.

    Parameters
    ----------
    probabilities : (B, C, ...), averaged over each cell
    similarity : (B, N, N) in [0, 1] of the cells, in the order of the flattened grid; symmetric
    radius : N(i) are the cells within so many cells of i, along each axis
    """
    cells = tuple(probabilities.shape[2:])
    near = neighbours(cells, radius, probabilities.device)
    flat = probabilities.flatten(2)
    agreement = torch.einsum("bci,bcj->bij", flat, flat)
    return (similarity * (1 - agreement) * near).sum() / (len(flat) * flat.shape[2])


def mean_similarity(similarity: Tensor, cells: Sequence[int], radius: int = 5) -> Tensor:
    """Mean of the similarities (B, N, N) of neighbours: 0 and 1 are where nothing is learnt from them any more."""
    near = neighbours(tuple(cells), radius, similarity.device)
    return (similarity.detach() * near).sum() / (len(similarity) * near.sum()).clamp(min=1)


def neighbours(cells: Sequence[int], radius: int, device: torch.device) -> Tensor:
    """(N, N) bool: pairs of different cells within ``radius`` of each other along each axis."""
    places = torch.cartesian_prod(*(torch.arange(n, device=device) for n in cells)).reshape(-1, len(cells))
    apart = (places[:, None] - places[None]).abs().amax(dim=2)
    return (apart <= radius) & (apart > 0)


@functools.cache
def half_offsets(spacing_mm: tuple[float, ...], radius_mm: float) -> tuple[tuple[int, ...], ...]:
    """Steps in voxels to the neighbours within a radius, one of each pair of opposite ones."""
    reach = [math.floor(radius_mm / mm) for mm in spacing_mm]
    steps = itertools.product(*(range(-most, most + 1) for most in reach))
    found = [step for step in steps if step > (0,) * len(reach)]
    return tuple(step for step in found if _length(step, spacing_mm) <= radius_mm * (1 + 1e-9))


class _MaskedCrf(torch.autograd.Function):
    """The gradient is a filter of the probabilities: it comes with the value, without a graph of all pairs.

    With ``w_ij = k_ij ([i in U] + [j in U])`` over pairs and ``G_i = sum_j w_ij p_j``, the sum is
    ``sum_pairs w - 1/2 sum_i p_i . G_i``, and its gradient ``-G``.
    """

    @staticmethod
    def forward(
        ctx: Any,
        probabilities: Tensor,
        image: Tensor,
        unmarked: Tensor,
        spacing_mm: tuple[float, ...],
        settings: CrfSettings,
    ) -> Tensor:
        free = unmarked.to(probabilities.dtype)[:, None]
        pulled = torch.zeros_like(probabilities)
        total = probabilities.new_zeros(())
        for step in half_offsets(spacing_mm, settings.radius_mm):
            here, there = zip(*_overlap(step, probabilities.shape[2:]), strict=True)
            here, there = (..., *here), (..., *there)
            far = _length(step, spacing_mm) / settings.sigma_mm
            apart = ((image[here] - image[there]) / settings.sigma_intensity).square_()
            weight = apart.add_(far**2).mul_(-0.5).exp_().mul_(free[here] + free[there])
            total += weight.sum()
            pulled[here].addcmul_(weight, probabilities[there])
            pulled[there].addcmul_(weight, probabilities[here])
        count = free.sum().clamp(min=1)
        ctx.save_for_backward(pulled, count)
        return (total - 0.5 * (probabilities * pulled).sum()) / count

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        pulled, count = ctx.saved_tensors
        return pulled * (-grads[0] / count), None, None, None, None


def _overlap(step: Sequence[int], sides: Sequence[int]) -> Iterator[tuple[slice, slice]]:
    """Along each axis, the voxels that have a neighbour at this step, and these neighbours."""
    for shift, side in zip(step, sides, strict=True):
        kept = max(side - abs(shift), 0)
        start = max(-shift, 0)
        yield slice(start, start + kept), slice(start + shift, start + shift + kept)


def _length(step: Sequence[int], spacing_mm: Sequence[float]) -> float:
    return math.hypot(*(n * mm for n, mm in zip(step, spacing_mm, strict=True)))
