"""The connected parts of an image in which a mask is wrong, and the slices that show them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from InteractiveSegLib.evaluation.users.strokes import middle_of_deepest
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.prompts.scribbles import BACKGROUND

_Box = tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class ErrorRegion:
    """A connected part: voxels that share faces.

    owner : the object that lacks them or has them in excess
    label : with which they should be marked
    mask : (k, j, i) bool, of their bounding box
    corner_kji : (3,) the box's first voxel in the image
    size : number of voxels
    """

    owner: int
    label: int
    mask: NDArray[np.bool_]
    corner_kji: NDArray[np.int64]
    size: int


def largest_errors(found: NDArray[np.uint8], truth: NDArray[np.uint8]) -> list[ErrorRegion]:
    """For each object in one of two labelmaps (K, J, I), the largest missed part and the largest superfluous part.

    Missed parts are labelled as the object. Superfluous is what is found where the truth has no object at all.
    """
    parts = []
    own, others = object_boxes(truth), object_boxes(found)
    for label in sorted({*own, *others}):
        if box := own.get(label):
            parts.append(_largest((truth[box] == label) & (found[box] != label), label, label, box))
        if box := others.get(label):
            parts.append(_largest((found[box] == label) & (truth[box] == 0), label, BACKGROUND, box))
    return [part for part in parts if part.size]


def object_itself(truth: NDArray[np.uint8], label: int) -> ErrorRegion:
    """The largest part of an object of a labelmap (K, J, I). KeyError if it does not occur."""
    box = object_boxes(truth)[label]
    return _largest(truth[box] == label, label, label, box)


def object_boxes(labelmap: NDArray[np.uint8]) -> dict[int, _Box]:
    """Bounding boxes of the objects that occur in a labelmap (K, J, I), by label."""
    return {label: box for label, box in enumerate(ndimage.find_objects(labelmap), 1) if box}


def worst_slice(mask: NDArray[np.bool_], axis: int) -> int:
    """The slice across an axis that shows most of it; of several, the one nearest to their mean."""
    areas = np.count_nonzero(mask, axis=tuple(other for other in range(3) if other != axis))
    return int(middle_of_deepest(areas.astype(float))[0])


def largest_piece(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest piece of a slice; pixels that share a corner are connected, as they appear to the eye."""
    pieces, count = ndimage.label(region, np.ones((3, 3)))
    return region if count == 1 else pieces == 1 + np.bincount(pieces.ravel())[1:].argmax()


def _largest(mask: NDArray[np.bool_], owner: int, label: int, box: _Box) -> ErrorRegion:
    """The largest part of a mask that was cut out of an image at a box; of size 0 if there is none."""
    if not mask.any():
        return ErrorRegion(owner, label, mask, np.zeros(3, int), 0)
    around = BoundingBox.of_mask(mask)
    corner = np.add([side.start for side in box], around.start_kji)
    mask = mask[around.slices]
    components, count = ndimage.label(mask)
    if count > 1:
        mask = components == np.bincount(components[mask]).argmax()
        inner = BoundingBox.of_mask(mask)
        mask = mask[inner.slices]
        corner += inner.start_kji
    return ErrorRegion(owner, label, mask, corner, int(np.count_nonzero(mask)))
