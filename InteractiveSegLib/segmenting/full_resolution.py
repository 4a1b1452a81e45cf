"""From the working grid to the image's own grid: the border is fitted again if the working grid was coarser."""

from collections.abc import Iterator
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import max_pool3d

from InteractiveSegLib.image.working_grid import WorkingGrid
from InteractiveSegLib.progress import Steps
from InteractiveSegLib.segmenting.refine import EnergySettings, minimise_energy_steps

Block = tuple[slice, slice, slice]

_BLOCK = 48  # voxels along each axis: the arrays of a fit stay in the processor's cache
_HALO = 4
_JUST_INSIDE = 0.6


def full_resolution_steps(
    grid: WorkingGrid,
    probability: Tensor,
    labels: Tensor,
    intensities: NDArray[np.float32],
    spacing_kji_mm: tuple[float, float, float],
    settings: EnergySettings,
) -> Steps[NDArray[np.bool_]]:
    """Labels on the crop. Only voxels within about one working voxel of the border are fitted, in blocks.

    Parameters
    ----------
    probability, labels : (K, J, I) on the working grid
    intensities : the crop in [0, 1], its own shape
    spacing_kji_mm : of the image

    Returns
    -------
    (K, J, I) bool, the crop's shape
    """
    if grid.is_full_resolution:
        return labels.cpu().numpy()
    labels = labels.to(probability.device)
    solid, near = _without_border(labels)
    agreeing = torch.where(labels, probability.clamp(min=_JUST_INSIDE), probability.clamp(max=1 - _JUST_INSIDE))
    result = np.zeros(grid.crop.shape_kji, bool)
    for outer, inner in _blocks(grid.crop.shape_kji):
        kept = tuple(slice(i.start - o.start, i.stop - o.start) for i, o in zip(inner, outer, strict=True))
        certain, possible = (_nearest(part, grid, outer) for part in (solid, near))
        if torch.equal(certain[kept], possible[kept]):
            result[inner] = certain[kept].cpu().numpy()
            continue
        fitted = yield from minimise_energy_steps(
            _linear(agreeing, grid, outer),
            torch.from_numpy(intensities[outer]).to(probability.device),
            spacing_kji_mm,
            foreground=certain,
            background=~possible,
            settings=settings,
        )
        result[inner] = fitted[kept].cpu().numpy()
    return result


def _without_border(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Working voxels whose neighbours are all foreground, and those with any foreground neighbour."""
    values = labels.float()[None, None]
    grown = max_pool3d(values, 3, stride=1, padding=1)
    shrunk = -max_pool3d(-values, 3, stride=1, padding=1)
    return shrunk[0, 0] > 0.5, grown[0, 0] > 0.5


def _blocks(shape_kji: tuple[int, int, int]) -> Iterator[tuple[Block, Block]]:
    """Blocks with a halo, and the part of each that is kept."""
    spans = [
        [
            (slice(max(0, start - _HALO), min(start + _BLOCK + _HALO, n)), slice(start, min(start + _BLOCK, n)))
            for start in range(0, n, _BLOCK)
        ]
        for n in shape_kji
    ]
    for k, j, i in product(*spans):
        yield (k[0], j[0], i[0]), (k[1], j[1], i[1])


def _linear(values: Tensor, grid: WorkingGrid, block: Block) -> Tensor:
    """Linear interpolation of working values (K, J, I) to a block of the crop."""
    for axis, (span, full) in enumerate(zip(block, grid.crop.shape_kji, strict=True)):
        count = values.shape[axis]
        centres = torch.arange(span.start, span.stop, device=values.device) + 0.5
        position = (centres * (count / full) - 0.5).clamp(0, count - 1)
        lower = position.long()
        share = (position - lower).reshape([-1 if other == axis else 1 for other in range(3)])
        upper = values.index_select(axis, (lower + 1).clamp(max=count - 1))
        values = torch.lerp(values.index_select(axis, lower), upper, share)
    return values


def _nearest(values: Tensor, grid: WorkingGrid, block: Block) -> Tensor:
    """Working voxels (K, J, I) repeated over a block of the crop."""
    for axis, (span, full) in enumerate(zip(block, grid.crop.shape_kji, strict=True)):
        twice = 2 * torch.arange(span.start, span.stop, device=values.device) + 1
        values = values.index_select(axis, twice * values.shape[axis] // (2 * full))
    return values
