"""The result of a propagation for the user, as plain values that need no PyTorch: masks, maps to overlay, notes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.propagate.guidance import from_proxy
from InteractiveSegLib.propagate.vanished import vanished_notes

if TYPE_CHECKING:
    from InteractiveSegLib.propagate.proxy_mask import ProxyMask

SHADES = 100
"""Value of the maps for 1: they are in percent."""


@dataclass(frozen=True, eq=False)
class PropagateResult:
    """Annotated slices carried to all others.

    masks : label -> mask; they do not overlap; a label that occurs nowhere is missing
    box : region with a result
    confidence : (K, J, I) uint8 in the box, 0 to ``SHADES``
    residual : (K, J, I) uint8 in the box, the same: how likely annotating a voxel would change it
    slice_confidence : axis -> (n,) float64, one per slice of the image; nan where there is no result
    notes : on anything unusual
    seconds : duration
    """

    masks: Mapping[int, PackedMask]
    box: BoundingBox
    confidence: NDArray[np.uint8]
    residual: NDArray[np.uint8]
    slice_confidence: Mapping[int, NDArray[np.float64]]
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @classmethod
    def of_proxy(cls, proxy: ProxyMask, seconds: float) -> PropagateResult:
        labels = proxy.labelmap()
        masks = {label: labels == label for label in proxy.labels}
        return cls(
            {label: PackedMask.of(mask) for label, mask in masks.items() if mask.any()},
            proxy.box,
            _shades(proxy.confidence),
            _shades(from_proxy(proxy).expected),
            proxy.slice_confidence,
            (*proxy.notes, *vanished_notes(proxy, labels)),
            seconds,
        )

    def geometry(self, image: Geometry) -> Geometry:
        """Grid of the maps in patient space."""
        return image.cropped(self.box)


def _shades(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    shades = np.empty(values.shape, np.uint8)
    for k, plane in enumerate(values):  # slice by slice, for large images
        shades[k] = np.rint(np.clip(plane.astype(np.float32), 0, 1) * SHADES)
    return shades
