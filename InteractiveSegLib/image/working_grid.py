"""The bounded grid on which a box is worked on, and the way back to the image's own grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from numpy.typing import NDArray
from torch import Tensor

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry


@dataclass(frozen=True)
class GridSettings:
    """How large the grid may be.

    max_voxels : maximum number of voxels of the working grid; the finest axes are made coarser first, until voxels are
        cubes
    margin_voxels : margin around the box, in working voxels of the finest axis
    """

    max_voxels: int = 64**3
    margin_voxels: float = 5.0


@dataclass(frozen=True)
class WorkingGrid:
    """A crop of the image and the grid it is resampled to. Voxel edges of crop and grid coincide at the crop's border.

    crop : the box and its margin, within the image
    shape_kji : voxels of the working grid, along each axis at most those of the crop
    spacing_kji_mm : of the working grid
    """

    crop: BoundingBox
    shape_kji: tuple[int, int, int]
    spacing_kji_mm: tuple[float, float, float]

    @property
    def is_full_resolution(self) -> bool:
        """The working grid is the crop itself."""
        return self.shape_kji == self.crop.shape_kji

    def averaged(self, values: Tensor) -> Tensor:
        """Values on the crop, (K, J, I) float, averaged into the voxels of the working grid."""
        if self.is_full_resolution:
            return values
        return torch.nn.functional.adaptive_avg_pool3d(values[None, None], self.shape_kji)[0, 0]

    def working_indices(self, indices_kji: NDArray) -> tuple[Tensor, Tensor, Tensor]:
        """Working voxels that hold the centres of the voxels (N, 3) of the image; all must lie in the crop."""
        twice_local = torch.from_numpy(2 * (indices_kji - self.crop.start_kji) + 1).long()
        sizes = zip(self.shape_kji, self.crop.shape_kji, strict=True)
        return tuple(twice_local[:, axis] * count // (2 * full) for axis, (count, full) in enumerate(sizes))  # type: ignore[return-value]

    def inside(self, box: BoundingBox) -> Tensor:
        """(K, J, I) bool on the working grid: the voxel's centre lies in ``box``, a box on the image's grid."""
        spans = zip(self._centres(), box.start_kji, box.stop_kji, strict=True)
        axes = [(centre > start) & (centre < stop) for centre, start, stop in spans]
        return axes[0][:, None, None] & axes[1][None, :, None] & axes[2][None, None, :]

    def interpolated(self, values: Tensor) -> Tensor:
        """Values on the working grid, (K, J, I) float, interpolated linearly to the crop."""
        if self.is_full_resolution:
            return values
        return torch.nn.functional.interpolate(values[None, None], size=self.crop.shape_kji, mode="trilinear")[0, 0]

    def resampled(self, values: Tensor, onto: WorkingGrid) -> Tensor:
        """Values on the working grid, (..., K, J, I) float, interpolated linearly at the voxel centres of another grid
        of the same image. Beyond the outermost centres, the nearest value counts.
        """
        if onto == self:
            return values
        for axis, (own, other) in enumerate(zip(self._centres(), onto._centres(), strict=True)):
            place = ((other - own[0]) / (own[1] - own[0] if len(own) > 1 else 1)).clamp(0, len(own) - 1)
            before = place.floor().long().clamp(max=max(len(own) - 2, 0))
            share = (place - before).to(values.dtype).to(values.device)
            along = axis - 3
            low, high = (
                values.index_select(along, index.to(values.device))
                for index in (before, (before + 1).clamp(max=len(own) - 1))
            )
            values = low.lerp(high, share.reshape(-1, *[1] * (2 - axis)))
        return values

    def _centres(self) -> list[Tensor]:
        """Of the voxels along each axis, in voxels of the image."""
        edges = zip(self.crop.start_kji, self.crop.shape_kji, self.shape_kji, strict=True)
        return [start + (torch.arange(count) + 0.5) * (full / count) for start, full, count in edges]


def working_grid(box: BoundingBox, geometry: Geometry, settings: GridSettings = GridSettings()) -> WorkingGrid:
    """The grid for a box that lies within the image.

    Axes coarser than the working spacing keep their own voxels, so thick slices are never resampled.
    """
    spacing = geometry.spacing_kji_mm
    fine, coarse = min(spacing), max(a * b for a, b in zip(spacing, geometry.shape_kji, strict=True))
    if _voxels(_grid_at(fine, box, geometry, settings).shape_kji) <= settings.max_voxels:
        return _grid_at(fine, box, geometry, settings)
    for _ in range(40):
        middle = math.sqrt(fine * coarse)
        if _voxels(_grid_at(middle, box, geometry, settings).shape_kji) <= settings.max_voxels:
            coarse = middle
        else:
            fine = middle
    return _grid_at(coarse, box, geometry, settings)


def _grid_at(working_mm: float, box: BoundingBox, geometry: Geometry, settings: GridSettings) -> WorkingGrid:
    spacing = geometry.spacing_kji_mm
    working = tuple(max(own, working_mm) for own in spacing)
    margin_mm = settings.margin_voxels * min(working)
    crop = box.expanded(tuple(math.ceil(margin_mm / own) for own in spacing)).intersected(geometry.shape_kji)
    shape = tuple(
        max(1, round(voxels * own / work)) for voxels, own, work in zip(crop.shape_kji, spacing, working, strict=True)
    )
    actual = tuple(voxels * own / count for voxels, own, count in zip(crop.shape_kji, spacing, shape, strict=True))
    return WorkingGrid(crop, shape, actual)  # type: ignore[arg-type]


def _voxels(shape: Sequence[int]) -> int:
    return math.prod(shape)
