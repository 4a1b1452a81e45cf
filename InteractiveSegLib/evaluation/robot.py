"""A robot that scribbles as a person does: where it sees the largest error, in the slice where it sees most of it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from InteractiveSegLib.predict import slice_axis
from InteractiveSegLib.prompts import BACKGROUND, Scribbles


def correct(
    mask: NDArray[np.bool_], truth: NDArray[np.bool_], label: int, spacing_kji_mm: Sequence[float]
) -> Scribbles:
    """A stroke on the largest missed part and one on the largest part that is too much.

    A stroke is the centreline of the error in the slice, across the thickest axis, where the error is largest.

    Parameters
    ----------
    mask, truth : (K, J, I) bool, of one object

    Returns
    -------
    Scribbles of ``label`` and of the background; none where mask and truth agree.
    """
    axis = slice_axis(mask.shape, spacing_kji_mm)
    missed = _stroke(truth & ~mask, axis)
    excess = _stroke(mask & ~truth, axis)
    labels = np.repeat([label, BACKGROUND], [len(missed), len(excess)])
    return Scribbles(np.concatenate([missed, excess]), labels)


def _stroke(error: NDArray[np.bool_], axis: int) -> NDArray[np.int64]:
    from skimage.morphology import skeletonize

    components, count = ndimage.label(error)
    if count == 0:
        return np.empty((0, 3), np.int64)
    largest = components == 1 + np.argmax(np.bincount(components.ravel())[1:])
    areas = largest.sum(axis=tuple(other for other in range(3) if other != axis))
    index = int(areas.argmax())
    line = skeletonize(largest.take(index, axis=axis))
    points = np.argwhere(line)
    return np.insert(points, axis, index, axis=1)
