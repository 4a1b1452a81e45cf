"""The result of a round for the user, as plain values that need no PyTorch: masks, probabilities, notes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.image.box import BoundingBox, Index
from InteractiveSegLib.image.geometry import Geometry, kji_to_ras
from InteractiveSegLib.image.packed_mask import PackedMask

if TYPE_CHECKING:
    from InteractiveSegLib.segmenting.rounds import Round


@dataclass(frozen=True, eq=False)
class WorkingProbability:
    """Foreground probability of one object on its working grid, which may be coarser than the image's.

    crop : part of the image that the grid covers; the borders of crop and grid coincide
    values : (K, J, I) float32
    """

    crop: BoundingBox
    values: NDArray[np.float32]

    @property
    def uncertainty(self) -> NDArray[np.float32]:
        """(K, J, I) float32: 1 where the probability is 0.5, 0 where it is 0 or 1."""
        return 1 - np.abs(2 * self.values - 1)

    def geometry(self, image: Geometry) -> Geometry:
        """Grid of the values in patient space, for an overlay that is shown without resampling."""
        ratios = [full / count for full, count in zip(self.crop.shape_kji, self.values.shape, strict=True)]
        first = [start + ratio / 2 - 0.5 for start, ratio in zip(self.crop.start_kji, ratios, strict=True)]
        matrix = image.ijk_to_ras.copy()
        matrix[:3, :3] *= ratios[::-1]
        matrix[:3, 3] = kji_to_ras(np.array([first]), image)[0]
        return Geometry(self.values.shape, matrix)

    def on_crop(self) -> NDArray[np.float32]:
        """Interpolated linearly to the voxels of the crop. Needs PyTorch."""
        import torch

        from InteractiveSegLib.image.working_grid import WorkingGrid

        shape = self.values.shape
        return WorkingGrid(self.crop, shape, (1.0, 1.0, 1.0)).interpolated(torch.tensor(self.values)).numpy()


@dataclass(frozen=True, eq=False)
class SegmentResult:
    """The objects of a round.

    masks : label -> mask; they do not overlap
    probabilities : label -> probability, if requested
    notes : sentences on what was converted, cut or ignored
    seconds : that the round took
    device : that it was computed on
    regions : label -> where the object was searched for, if no prompt shows how large it is
    """

    masks: Mapping[int, PackedMask]
    probabilities: Mapping[int, WorkingProbability] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    device: str = "cpu"
    regions: Mapping[int, BoundingBox] = field(default_factory=dict)

    @classmethod
    def of_round(cls, round_: Round, with_probability: bool, device: str) -> SegmentResult:
        """The values of a round that was computed on a device."""
        found = round_.objects.items()
        return cls(
            {label: PackedMask(mask.grid.crop, mask.bits) for label, mask in found},
            {label: WorkingProbability(mask.grid.crop, mask.probability) for label, mask in found if with_probability},
            round_.notes,
            round_.seconds,
            device,
            {label: mask.region for label, mask in found if mask.region is not None},
        )

    def labelmap(self, shape_kji: Index) -> NDArray[np.uint8]:
        """(K, J, I) on the image's grid, 0 where there is no object."""
        labelmap = np.zeros(shape_kji, np.uint8)
        for label, mask in self.masks.items():
            labelmap[mask.box.slices][mask.within(mask.box)] = label
        return labelmap

    def probability_map(self, shape_kji: Index) -> NDArray[np.float32]:
        """(K, J, I) on the image's grid: the largest probability of an object, 0 outside their crops. Needs PyTorch."""
        largest = np.zeros(shape_kji, np.float32)
        for probability in self.probabilities.values():
            part = largest[probability.crop.slices]
            np.maximum(part, probability.on_crop(), out=part)
        return largest

    def millilitres(self, label: int, geometry: Geometry) -> float:
        """Volume of one object."""
        return self.masks[label].voxels * math.prod(geometry.spacing_kji_mm) / 1000
