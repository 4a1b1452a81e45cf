"""What corrections change of a start mask: what contradicts it, with its surroundings. The rest stays as it is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from InteractiveSegLib.image.working_grid import WorkingGrid

_REACH = 0.8  # of the radius of a ball of the mask's volume
_BEYOND = 0.3  # of that radius, from which the background begins
_FIRM = 4.0  # log-odds that a change far away from all contradictions must exceed
_LAYER = 2.0  # thickness of that layer, in sides of voxels, the second shortest
_SUREST = 1e-4  # probabilities are kept this far from 0 and 1


def surroundings(start: Tensor, foreground: Tensor, spacing_mm: Sequence[float]) -> Tensor:
    """A layer (K, J, I) round a start mask in which networks are shown background.

    The object is taken to be about as large as its start mask: the layer begins at 0.3 of the mask's radius, or as far
    away from the mask as the object is marked.

    start : (K, J, I) in [0, 1]. foreground : (K, J, I) bool, marks on the object
    """
    was = start > 0.5
    if not was.any():
        return torch.zeros_like(was)
    away = _distance(was, spacing_mm)
    begins = max(_BEYOND * _radius(was, spacing_mm), _farthest(away, foreground))
    layer = (away > begins) & (away <= begins + _LAYER * sorted(spacing_mm)[1])
    return layer & ~foreground


def changed_part(
    labels: Tensor,
    probability: Tensor,
    start: Tensor,
    foreground: Tensor,
    background: Tensor,
    spacing_mm: Sequence[float],
) -> Tensor:
    """Where (K, J, I) bool an answer replaces the start mask: differences that are connected to a contradicting mark.

    Only these are meant by a correction (Chen et al., FocalClick, CVPR 2022). The farther away a difference is from all
    contradicting marks, the surer the network must be of it. Marks that confirm the mask change nothing.

    Parameters
    ----------
    labels : (K, J, I) bool, the answer
    probability : (K, J, I) of the object
    start : (K, J, I) in [0, 1]
    foreground, background : (K, J, I) bool, marks
    spacing_mm : of the voxels
    """
    was = start > 0.5
    denied = (foreground & ~was) | (background & was)
    if not denied.any():
        return denied
    reach = max(_REACH * _radius(was, spacing_mm), min(spacing_mm))
    if was.any():
        reach = max(reach, _farthest(_distance(was, spacing_mm), foreground))
    firm = _FIRM * (1 - torch.exp(-0.5 * (_distance(denied, spacing_mm) / reach) ** 2))
    odds = probability.logit(_SUREST)
    changed = (labels != was) & (torch.where(labels, odds, -odds) > firm) | denied
    parts, _ = ndimage.label(changed.cpu().numpy())
    kept = np.isin(parts, np.unique(parts[denied.cpu().numpy()]))
    return torch.from_numpy(kept).to(labels.device)


def corrected_mask(
    answer: NDArray[np.bool_], start: NDArray[np.bool_], changed: Tensor, grid: WorkingGrid
) -> NDArray[np.bool_]:
    """The start mask, with the answer where it is changed; all (K, J, I) on the crop of ``grid``.

    changed : (K, J, I) bool, on the working grid. On a coarser one, a voxel more counts as changed all round, as the
        border lies within its voxels
    """
    part = changed.float()[None, None]
    if not grid.is_full_resolution:
        part = torch.nn.functional.max_pool3d(part, 3, stride=1, padding=1)
        part = torch.nn.functional.interpolate(part, size=grid.crop.shape_kji, mode="nearest-exact")
    return np.where(part[0, 0].cpu().numpy() > 0, answer, start)


def corrected_probability(probability: Tensor, start: Tensor, changed: Tensor) -> Tensor:
    """Probability (K, J, I) of the object; where the start mask stays, the answer counts as much as it may."""
    prior = torch.where(start > 0.5, _FIRM, -_FIRM)
    return torch.where(changed, probability, (probability.logit(_SUREST) + prior).sigmoid())


def _radius(mask: Tensor, spacing_mm: Sequence[float]) -> float:
    """Of a ball of the same volume, or on a single slice of a disc of the same area, mm."""
    sides = [mm for mm, n in zip(spacing_mm, mask.shape, strict=True) if n > 1]
    measure = int(mask.sum()) * math.prod(sides)
    return math.sqrt(measure / math.pi) if len(sides) == 2 else (0.75 * measure / math.pi) ** (1 / 3)


def _farthest(away: Tensor, marks: Tensor) -> float:
    """The largest of the distances at marks, mm; 0 if there are none."""
    return float(away[marks].max()) if marks.any() else 0.0


def _distance(mask: Tensor, spacing_mm: Sequence[float]) -> Tensor:
    """(K, J, I) float32, to the nearest voxel of a mask, mm."""
    away = ndimage.distance_transform_edt(~mask.cpu().numpy(), sampling=tuple(spacing_mm))
    return torch.from_numpy(away.astype(np.float32)).to(mask.device)
