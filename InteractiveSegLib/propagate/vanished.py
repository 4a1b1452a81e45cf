"""Objects that are on the annotated slices on either side but vanish between them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.notes.notes import Labelled, Note, Slices

if TYPE_CHECKING:
    from InteractiveSegLib.propagate.proxy_mask import ProxyMask

_MOST_RUNS = 5


def vanished_notes(proxy: ProxyMask, mask_kji: NDArray[np.integer]) -> list[Note]:
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
                    notes.append(_note(label, axis, lower, upper, slices))
    return notes


def _held(proxy: ProxyMask, mask_kji: NDArray[np.integer], axis: int) -> NDArray[np.bool_]:
    """(n, largest label + 1): which labels each slice of the image along an axis holds."""
    held = np.zeros((mask_kji.shape[axis], max(proxy.labels) + 1), bool)
    slices = np.moveaxis(mask_kji[proxy.box.slices], axis, 0)
    for index, each in enumerate(slices, proxy.box.start_kji[axis]):
        held[index] = np.bincount(each.reshape(-1), minlength=held.shape[1]) > 0
    return held


def _note(label: int, axis: int, lower: int, upper: int, lost: Sequence[int]) -> Note:
    runs = _runs(axis, lost)
    listed = [part for run in runs[:_MOST_RUNS] for part in (run, ", ")][:-1]
    return Note(
        Labelled(label),
        " is on ",
        Slices.at((axis, lower)),
        " and ",
        Slices.at((axis, upper)),
        " but vanishes between them, on ",
        *listed,
        ", ..." if len(runs) > _MOST_RUNS else "",
        ": it is too small or moves too far to be followed there; draw it on one of these",
    )


def _runs(axis: int, indices: Sequence[int]) -> list[Slices]:
    """Neighbours put together; indices ascend."""
    runs: list[Slices] = []
    for index in indices:
        if runs and runs[-1].last == index - 1:
            runs[-1] = Slices(axis, runs[-1].first, index)
        else:
            runs.append(Slices.at((axis, index)))
    return runs
