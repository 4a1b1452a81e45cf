"""A mask that is kept for long: bits within its smallest box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.prompts import BoundingBox


@dataclass(frozen=True, eq=False)
class PackedMask:
    """Voxels of an image, an eighth of a byte each.

    box : that holds them; of ``of`` the smallest
    bits : (ceil(box.size / 8),) uint8, as of ``np.packbits``
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
        box = BoundingBox.of_mask(mask)
        bits = np.packbits(mask[box.slices] != 0)
        bits.flags.writeable = False
        return cls(box, bits)

    @property
    def voxels(self) -> int:
        """How many belong to the mask."""
        return int(np.unpackbits(self.bits, count=self.box.size).sum())

    def within(self, box: BoundingBox) -> NDArray[np.bool_]:
        """(K, J, I) bool, the shape of ``box``: the part of the mask that lies there."""
        part = np.zeros(box.shape_kji, bool)
        start = np.maximum(box.start_kji, self.box.start_kji)
        stop = np.minimum(box.stop_kji, self.box.stop_kji)
        if (start < stop).all():
            whole = np.unpackbits(self.bits, count=self.box.size).reshape(self.box.shape_kji)
            common = BoundingBox(start.tolist(), stop.tolist())
            part[common.counted_from(box).slices] = whole[common.counted_from(self.box).slices]
        return part
