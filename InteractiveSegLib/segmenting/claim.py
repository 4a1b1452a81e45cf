"""Which of two objects a voxel belongs to."""

import math

from torch import Tensor

from InteractiveSegLib.image.box import BoundingBox


def claim(odds: Tensor, box: BoundingBox) -> Tensor:
    """Log-odds of an object at voxels, less the logarithm of the size of its box.

    Of two objects, the one with the larger claim has a voxel. Networks see one object at a time, and that of a small
    box within a large one is the more likely at the same log-odds.
    """
    return odds - math.log(box.size)
