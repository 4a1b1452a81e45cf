"""A robot that scribbles as a person does: where it sees the largest error, in the slices where it sees most of it."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from InteractiveSegLib.errors import MissingPackageError
from InteractiveSegLib.prompts import BACKGROUND, Scribbles


def correct(mask: NDArray[np.bool_], truth: NDArray[np.bool_], label: int) -> Scribbles:
    """Strokes on the largest missed part and on the largest part that is too much.

    In each of the three views, the stroke is the centreline of that part in the slice that shows most of it.

    Parameters
    ----------
    mask, truth : (K, J, I) bool, of one object

    Returns
    -------
    Scribbles of ``label`` and of the background; none where mask and truth agree.

    Raises
    ------
    MissingPackageError : scikit-image is not installed.
    """
    missed, excess = _strokes(truth & ~mask), _strokes(mask & ~truth)
    labels = np.repeat([label, BACKGROUND], [len(missed), len(excess)])
    return Scribbles(np.concatenate([missed, excess]), labels)


def _strokes(error: NDArray[np.bool_]) -> NDArray[np.int64]:
    try:
        from skimage.morphology import skeletonize
    except ImportError as missing:
        raise MissingPackageError("the robot that scribbles", "scikit-image") from missing
    components, count = ndimage.label(error)
    if count == 0:
        return np.empty((0, 3), np.int64)
    largest = components == 1 + np.argmax(np.bincount(components.ravel())[1:])
    strokes = []
    for axis in (axis for axis in range(3) if error.shape[axis] > 1):
        areas = largest.sum(axis=tuple(other for other in range(3) if other != axis))
        index = int(areas.argmax())
        line = np.argwhere(skeletonize(largest.take(index, axis=axis)))
        strokes.append(np.insert(line, axis, index, axis=1))
    return np.concatenate(strokes)
