"""Objects that annotated slices on either side hold and slices between them do not."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.propagate.annotated_slice import AXIS_NAMES

if TYPE_CHECKING:
    from InteractiveSegLib.propagate.proxy_mask import ProxyMask


def vanished_notes(proxy: ProxyMask, mask_kji: NDArray[np.integer]) -> list[str]:
    """A note for each label and gap in which the propagated mask loses the label, as it does with very small objects.

    mask_kji : of ``proxy.labelmap()``
    """
    notes = []
    for axis, annotated in proxy.annotated.items():
        held = _held(proxy, mask_kji, axis)
        for lower, upper in pairwise(annotated):
            lost = held[lower] & held[upper] & ~held[lower + 1 : upper]
            for label in proxy.labels:
                slices = (np.flatnonzero(lost[:, label]) + lower + 1).tolist()
                if slices:
                    notes.append(_note(label, AXIS_NAMES[axis], lower, upper, slices))
    return notes


def _held(proxy: ProxyMask, mask_kji: NDArray[np.integer], axis: int) -> NDArray[np.bool_]:
    """(n, largest label + 1): which labels each slice of the image along an axis holds."""
    held = np.zeros((mask_kji.shape[axis], max(proxy.labels) + 1), bool)
    slices = np.moveaxis(mask_kji[proxy.box.slices], axis, 0)
    for index, each in enumerate(slices, proxy.box.start_kji[axis]):
        held[index] = np.bincount(each.reshape(-1), minlength=held.shape[1]) > 0
    return held


def _note(label: int, axis: str, lower: int, upper: int, slices: Sequence[int]) -> str:
    listed = ", ".join(map(str, slices[:10])) + (", ..." if len(slices) > 10 else "")
    return (
        f"label {label} is on {axis} slices {lower} and {upper} but vanishes between them, on {listed}: it is too "
        "small or moves too far to be followed there; draw it on one of these"
    )
