"""From the working grid to the image's own grid: the border is fitted again where the working grid was too coarse."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate, max_pool3d

from InteractiveSegLib.progress import Steps
from InteractiveSegLib.refine import EnergySettings, label_steps
from InteractiveSegLib.working_grid import WorkingGrid

_SLAB_VOXELS = 4_000_000
_HALO = 4


def full_resolution_steps(
    grid: WorkingGrid,
    probability: Tensor,
    labels: Tensor,
    intensities: NDArray[np.float32],
    spacing_kji_mm: tuple[float, float, float],
    settings: EnergySettings,
) -> Steps[NDArray[np.bool_]]:
    """Labels on the crop. Only voxels within about one working voxel of the border are fitted, in slabs along k.

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
    solid, near = _without_border(labels, probability.device)
    result = np.zeros(grid.crop.shape_kji, bool)
    for outer, inner in _slabs(grid.crop.shape_kji):
        certain, possible = (_nearest(part, grid, outer) for part in (solid, near))
        if not (possible & ~certain).any():
            result[inner] = certain[inner.start - outer.start : inner.stop - outer.start].cpu().numpy()
            continue
        fitted = yield from label_steps(
            _linear(probability, grid, outer),
            torch.from_numpy(intensities[outer]).to(probability.device),
            spacing_kji_mm,
            foreground=certain,
            background=~possible,
            settings=settings,
        )
        result[inner] = fitted[inner.start - outer.start : inner.stop - outer.start].cpu().numpy()
    return result


def _without_border(labels: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Working voxels whose neighbours all are foreground, and those with any foreground neighbour."""
    values = labels.float()[None, None]
    grown = max_pool3d(values, 3, stride=1, padding=1)
    shrunk = -max_pool3d(-values, 3, stride=1, padding=1)
    return shrunk[0, 0].to(device), grown[0, 0].to(device)


def _slabs(shape_kji: tuple[int, int, int]) -> Iterator[tuple[slice, slice]]:
    """Slabs along k with a halo, and the part of each that is kept."""
    depth = max(1, _SLAB_VOXELS // (shape_kji[1] * shape_kji[2]))
    for start in range(0, shape_kji[0], depth):
        stop = min(start + depth, shape_kji[0])
        yield slice(max(0, start - _HALO), min(stop + _HALO, shape_kji[0])), slice(start, stop)


def _linear(values: Tensor, grid: WorkingGrid, planes: slice) -> Tensor:
    """Linear interpolation of working values (K, J, I) to the planes of the crop."""
    count, full = values.shape[0], grid.crop.shape_kji[0]
    position = ((torch.arange(planes.start, planes.stop, device=values.device) + 0.5) * count / full - 0.5).clamp(
        0, count - 1
    )
    lower = position.floor().long()
    share = (position - lower)[:, None, None]
    along_k = values[lower] * (1 - share) + values[(lower + 1).clamp(max=count - 1)] * share
    return interpolate(along_k[None], size=grid.crop.shape_kji[1:], mode="bilinear")[0]


def _nearest(values: Tensor, grid: WorkingGrid, planes: slice) -> Tensor:
    """Working voxels (K, J, I) repeated over the planes of the crop, as bool."""
    count, full = values.shape[0], grid.crop.shape_kji[0]
    index = (torch.arange(planes.start, planes.stop, device=values.device) + 0.5) * count / full
    return interpolate(values[index.long()][None], size=grid.crop.shape_kji[1:], mode="nearest-exact")[0] > 0.5
