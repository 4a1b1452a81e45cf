"""A small image of known truth, segmented to see whether an installation works. Needs no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.image.metrics import dice
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import BACKGROUND, Scribbles
from InteractiveSegLib.segmenting.segment_result import SegmentResult

REQUIRED_DICE = 0.9
_SHAPE_KJI, _SPACING_IJK_MM = (24, 64, 72), (0.9, 0.9, 2.5)
_CENTRE_KJI, _RADII_KJI = (12, 30, 34), (6.0, 13.0, 16.0)
_NEIGHBOUR_KJI = (12, 34, 64)
_SEED = 20


@dataclass(frozen=True, eq=False)
class SelfTestCase:
    """An ellipsoid beside another of the same brightness, under noise and a slope of intensities.

    volume : int16, thick slices
    prompts : a box round the object, a scribble on it and one on its neighbour
    truth_kji : (K, J, I) bool, the object with the label 1
    """

    volume: Volume
    prompts: Prompts
    truth_kji: NDArray[np.bool_]

    @classmethod
    def drawn(cls) -> SelfTestCase:
        """The same every time."""
        truth, neighbour = _ellipsoid(_CENTRE_KJI), _ellipsoid(_NEIGHBOUR_KJI) & ~_ellipsoid(_CENTRE_KJI)
        noise = np.random.default_rng(_SEED).normal(0, 12, _SHAPE_KJI)
        slope = np.linspace(0, 40, _SHAPE_KJI[2])
        array = (60 + 80 * (truth | neighbour) + slope + noise).round().astype(np.int16)
        geometry = Geometry(_SHAPE_KJI, np.diag([*_SPACING_IJK_MM, 1.0]))
        k, j, i = _CENTRE_KJI
        dk, dj, di = (round(radius) + 2 for radius in _RADII_KJI)
        box = BoundingBox((k - dk, j - dj, i - di), (k + dk, j + dj, i + di))
        on_object = [(k, j, i + step) for step in range(-8, 9)]
        on_neighbour = [(k, j + step, i + di - 2) for step in range(8, 13)]
        labels = np.array([1] * len(on_object) + [BACKGROUND] * len(on_neighbour))
        return cls(
            Volume(array, geometry, "self-test"),
            Prompts({1: box}, Scribbles(np.array(on_object + on_neighbour), labels)),
            truth,
        )

    @property
    def mask(self) -> PackedMask:
        """The truth, as a segment has it."""
        return PackedMask.of(self.truth_kji)

    def dice(self, result: SegmentResult) -> float:
        """Of a result for the prompts, with the truth."""
        return dice(result.labelmap(_SHAPE_KJI) == 1, self.truth_kji)


def _ellipsoid(centre_kji: tuple[int, ...]) -> NDArray[np.bool_]:
    axes = np.ogrid[tuple(slice(n) for n in _SHAPE_KJI)]
    return sum(((x - c) / r) ** 2 for x, c, r in zip(axes, centre_kji, _RADII_KJI, strict=True)) <= 1
