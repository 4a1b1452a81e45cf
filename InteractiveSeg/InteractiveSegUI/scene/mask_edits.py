"""Manual changes of a mask, as marks."""

from __future__ import annotations

import numpy as np

from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.prompts.scribbles import Scribbles


def marks_of_difference(one: PackedMask | None, other: PackedMask | None, label: int) -> Scribbles:
    """Voxels of one mask that the other lacks, as marks."""
    if one is None:
        return Scribbles.none()
    voxels = one.mask_kji if other is None else one.mask_kji & ~other.within(one.box)
    indices = np.argwhere(voxels) + np.array(one.box.start_kji)
    return Scribbles(indices, np.full(len(indices), label))
