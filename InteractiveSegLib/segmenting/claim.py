"""Log-odds of objects, and which of two objects a voxel belongs to."""

import math

from torch import Tensor

from InteractiveSegLib.image.box import BoundingBox

_SUREST = 1e-4  # probabilities of a network are kept this far from 0 and 1


def log_odds(probability: Tensor) -> Tensor:
    """Those of a network's probabilities, bounded: no network is as sure as its probability of 0 or 1 says."""
    return probability.logit(_SUREST)


def claim(odds: Tensor, box: BoundingBox) -> Tensor:
    """Log-odds of an object at voxels, less the logarithm of the size of its box.

    Of two objects, the one with the larger claim has a voxel. Networks see one object at a time, and that of a small
    box within a large one is the more likely at the same log-odds.
    """
    return odds - math.log(box.size)
