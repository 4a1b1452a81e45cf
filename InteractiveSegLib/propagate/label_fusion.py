"""Labels of a slice from two slices that were carried to it, weighted voxel by voxel by their similarity.

Patch-based label fusion (Coupe et al., NeuroImage 2011; Rousseau et al., IEEE TMI 2011) after registration: each voxel
is compared with both slices, at its own place and the places around it, and a place has more weight the more its patch
resembles the voxel's own. So the image corrects what the registration left, and a side on which the object has ended
wins where this slice looks like that side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from InteractiveSegLib.errors import InputError

_SURE = 0.98  # pixels with levels beyond this on both sides are not refined
_TINY = 1e-12


@dataclass(frozen=True)
class FusionSettings:
    """Lengths are in pixels of the finer axis of the plane, and the same in mm along the other.

    ramp : signed distance over which a label goes from uncertain to certain (a hyperbolic tangent)
    patch : standard deviation of the patch
    search : radius of the search around a voxel's own place
    sharpness : mean squared difference of patches, in intensities from 0 to 1, at which the weight of a place is 1/e
    nearness : standard deviation of the weight by the distance of a place
    """

    ramp: float = 4.0
    patch: float = 1.2
    search: int = 2
    sharpness: float = 0.01
    nearness: float = 1.5

    def __post_init__(self) -> None:
        for name in ("ramp", "patch", "sharpness", "nearness"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be positive, not {getattr(self, name)}")
        if self.search < 0:
            raise InputError(f"search must be 0 or more, not {self.search}")


@dataclass(frozen=True, eq=False)
class Side:
    """An annotated slice, carried to the slice in question.

    image : (H, W), or None for the far side beyond the last annotated slice, of which no image is known
    distances_mm : (C, H, W) signed distance to each label's border, positive inside
    weights : (C,) by nearness along the axis; those of both sides sum to 1
    """

    image: NDArray[np.float32] | None
    distances_mm: NDArray[np.float32]
    weights: NDArray[np.float32]


def fuse(
    image: NDArray[np.float32], sides: Sequence[Side], spacing_mm: Sequence[float], settings: FusionSettings
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Labels of a slice, and where its two sides disagree.

    Returns
    -------
    levels : (C, H, W), from -1 (not this label) over 0 (the border) to 1 (this label)
    disagreement : (C, H, W), half the difference between the results of each side alone, 0 to 1
    """
    fine = min(spacing_mm)
    steps = [fine / mm for mm in spacing_mm]  # pixels of each axis to one of the finer axis
    given = [np.tanh(side.distances_mm / (settings.ramp * fine)) for side in sides]
    weights = [side.weights[:, None, None] for side in sides]
    levels = sum(weight * each for weight, each in zip(weights, given, strict=True))
    apart = np.abs(given[0] - given[1]) / 2
    reach = [round(settings.search * step) for step in steps]
    border = [each + 1 + round(3 * settings.patch * step) for each, step in zip(reach, steps, strict=True)]
    window = _unsure(given, border)
    if window is None:
        return levels, apart
    local = (slice(None), *window)
    near = image[window]
    tallies = [
        None if side.image is None else _asked(near, side.image[window], each[local], reach, steps, settings)
        for side, each in zip(sides, given, strict=True)
    ]
    found = next(tally for tally in tallies if tally is not None)
    # A side without an image is treated as one whose patches differ as much as those of the other side usually do.
    usual = float(np.median(found[1]))
    votes, counts = zip(
        *(
            (each[local] * usual, np.float32(usual)) if tally is None else tally
            for tally, each in zip(tallies, given, strict=True)
        ),
        strict=True,
    )
    total = sum(weight * count for weight, count in zip(weights, counts, strict=True))
    levels[local] = sum(weight * vote for weight, vote in zip(weights, votes, strict=True)) / (total + _TINY)
    alone = [vote / (count + _TINY) for vote, count in zip(votes, counts, strict=True)]
    apart[local] = np.abs(alone[0] - alone[1]) / 2
    return levels, apart


def _unsure(given: Sequence[NDArray[np.float32]], border: Sequence[int]) -> tuple[slice, slice] | None:
    """Box round all pixels at which some label is not certain on both sides."""
    sure = (np.minimum(*given) > _SURE) | (np.maximum(*given) < -_SURE)
    rows, columns = (np.flatnonzero((~sure).any(axis=axes)) for axes in ((0, 2), (0, 1)))
    if not rows.size:
        return None
    shape = sure.shape[1:]
    return tuple(
        slice(max(0, int(hits[0]) - margin), min(length, int(hits[-1]) + 1 + margin))
        for hits, margin, length in zip((rows, columns), border, shape, strict=True)
    )


def _asked(
    image: NDArray[np.float32],
    other: NDArray[np.float32],
    levels: NDArray[np.float32],
    reach: Sequence[int],
    steps: Sequence[float],
    settings: FusionSettings,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Sum of the weighted levels (C, H, W) of all places around each pixel, and the sum of their weights (H, W)."""
    down, across = reach
    height, width = image.shape
    wide = [(down, down), (across, across)]
    other = np.pad(other, wide, mode="edge")
    levels = np.pad(levels, [(0, 0), *wide], mode="edge")
    votes = np.zeros((len(levels), height, width), np.float32)
    counts = np.zeros((height, width), np.float32)
    sigma = [settings.patch * step for step in steps]
    for row in range(2 * down + 1):
        for column in range(2 * across + 1):
            place = (slice(row, row + height), slice(column, column + width))
            apart = ndimage.gaussian_filter((image - other[place]) ** 2, sigma, truncate=2.0)
            pixels = ((row - down) / steps[0]) ** 2 + ((column - across) / steps[1]) ** 2
            weight = np.exp(apart / -settings.sharpness - pixels / (2 * settings.nearness**2))
            votes += weight * levels[(slice(None), *place)]
            counts += weight
    return votes, counts
