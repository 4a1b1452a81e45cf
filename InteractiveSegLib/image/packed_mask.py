"""A mask in compact form: bits within its smallest box."""

from __future__ import annotations

import operator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox


@dataclass(frozen=True, eq=False)
class PackedMask:
    """Voxels of an image, an eighth of a byte each.

    box : contains them; the smallest one if made by ``of``
    bits : (ceil(box.size / 8),) uint8, as for ``np.packbits``
    """

    box: BoundingBox
    bits: NDArray[np.uint8]

    @classmethod
    def of(cls, mask_kji: NDArray) -> PackedMask:
        """The nonzero voxels of a mask of the whole image.

        Raises
        ------
        InputError : not a (K, J, I) array of integers or bool, or empty.
        """
        mask = np.asarray(mask_kji)
        if mask.ndim != 3 or mask.dtype.kind not in "bui":
            raise InputError(f"a mask is a (K, J, I) array of integers or bool, not {mask.dtype} of {mask.shape}")
        return cls.of_part(mask, BoundingBox.whole(mask.shape))

    @classmethod
    def of_part(cls, part_kji: NDArray, part_box: BoundingBox) -> PackedMask:
        """The nonzero voxels of a mask that is given within a box of the image. InputError if there are none."""
        own = BoundingBox.of_mask(part_kji)
        bits = np.packbits(part_kji[own.slices] != 0)
        bits.flags.writeable = False
        start = tuple(map(operator.add, own.start_kji, part_box.start_kji))
        return cls(BoundingBox(start, tuple(map(operator.add, start, own.shape_kji))), bits)

    def equals(self, other: PackedMask) -> bool:
        """Same box and same voxels."""
        return self.box == other.box and np.array_equal(self.bits, other.bits)

    @property
    def voxels(self) -> int:
        """How many belong to the mask."""
        return int(np.unpackbits(self.bits, count=self.box.size).sum())

    @property
    def mask_kji(self) -> NDArray[np.bool_]:
        """(K, J, I) bool, the shape of ``box``."""
        return np.unpackbits(self.bits, count=self.box.size).reshape(self.box.shape_kji).view(bool)

    def at(self, indices_kji: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Which of (N, 3) voxels of the image belong to the mask, as (N,) bool; takes no time for large masks.

        >>> mask = PackedMask.of(np.eye(3, dtype=bool)[None])
        >>> mask.at(np.array([[0, 1, 1], [0, 1, 2], [5, 0, 0]])).tolist()
        [True, False, False]
        """
        found = self.box.contains(indices_kji)
        inside = (indices_kji[found] - np.array(self.box.start_kji)).T
        places = np.ravel_multi_index(tuple(inside), self.box.shape_kji)
        found[found] = (self.bits[places >> 3] >> (7 - (places & 7))) & 1
        return found

    def within(self, box: BoundingBox) -> NDArray[np.bool_]:
        """(K, J, I) bool, the shape of ``box``: the part of the mask that lies there."""
        part = np.zeros(box.shape_kji, bool)
        start = np.maximum(box.start_kji, self.box.start_kji)
        stop = np.minimum(box.stop_kji, self.box.stop_kji)
        if (start < stop).all():
            common = BoundingBox(start.tolist(), stop.tolist())
            part[common.counted_from(box).slices] = self.mask_kji[common.counted_from(self.box).slices]
        return part
