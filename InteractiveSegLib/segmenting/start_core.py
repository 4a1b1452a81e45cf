"""What of a start mask counts as marked once it is corrected: networks ignore one that few marks contradict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import Scribbles

_DEEPEST = 0.97  # of the greatest depth
_NEAR = 0.5  # of the depth
_SEARCHED_VOXELS = 1_000_000  # in a larger mask, every second voxel is looked at along its longest axis, and so on


def with_core(prompts: Prompts, label: int, spacing_kji_mm: Sequence[float]) -> Prompts:
    """A copy in which what lies deepest in the largest part of an object's start mask is marked as the object.

    Nothing is marked near to where somebody says otherwise, that is, closer than half the depth, nor what is marked
    already, nor what lies outside a drawn box. If nothing is marked, that stays so.

    label : of an object that has a start mask
    """
    foreground, background = prompts.scribbles.for_label(label)
    if not len(foreground) and not len(background):
        return prompts
    indices = _core(prompts.start_masks[label], background, foreground, spacing_kji_mm)
    if label in prompts.boxes:
        indices = indices[prompts.boxes[label].contains(indices)]
    core = Scribbles(indices, np.full(len(indices), label))
    return replace(prompts, scribbles=core.merged(prompts.scribbles))


def _core(
    start: PackedMask, denied: NDArray[np.int64], marked: NDArray[np.int64], spacing_kji_mm: Sequence[float]
) -> NDArray[np.int64]:
    """(N, 3) voxels of the image, perhaps none."""
    whole = start.mask_kji
    step = np.ones(3, int)
    while np.prod(-(-np.array(whole.shape) // step)) > _SEARCHED_VOXELS:
        step[np.argmax(whole.shape // step)] += 1
    mask = np.pad(whole[tuple(slice(None, None, each) for each in step)], 1)  # depth counts from the mask's sides, too
    corner, spacing = np.array(start.box.start_kji) - step, step * spacing_kji_mm
    parts, _ = ndimage.label(mask)
    if not parts.any():
        return np.zeros((0, 3), int)
    depth = ndimage.distance_transform_edt(mask, sampling=spacing)
    core = parts == np.bincount(parts[mask]).argmax()
    others = _within((denied - corner) // step, mask.shape)
    if others.any():
        core &= ndimage.distance_transform_edt(~others, sampling=spacing) >= _NEAR * depth
    core &= depth >= _DEEPEST * depth[core].max(initial=0)
    core &= ~_within((marked - corner) // step, mask.shape)
    return np.argwhere(core) * step + corner


def _within(indices: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """(K, J, I) bool, true at those of the indices that lie within the shape."""
    found = np.zeros(shape, bool)
    inside = indices[((indices >= 0) & (indices < shape)).all(axis=1)]
    found[tuple(inside.T)] = True
    return found
