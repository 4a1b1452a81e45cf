"""Boxes that are drawn with less care than ``robot.jittered_box``: loosely, or on one slice only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.evaluation.users.error_regions import worst_slice
from InteractiveSegLib.evaluation.users.robot import RobotSettings, jittered_box, view_axes
from InteractiveSegLib.image.box import BoundingBox

_LOOSE = (0.1, 0.3)  # fraction of a box's length by which a loose box's sides lie outside it


def loose_box(truth: NDArray[np.bool_], rng: np.random.Generator) -> BoundingBox:
    """The object's own box (K, J, I), each side moved outwards by 10 to 30 % of its length there.

    The fraction is uniformly distributed and drawn for each side; a side moves by at least one voxel, and not beyond
    the image.

    Raises
    ------
    InputError : the object is empty.
    """
    own = BoundingBox.of_mask(truth)
    lengths = np.array(own.shape_kji)
    outwards = np.maximum(1, np.rint(rng.uniform(*_LOOSE, (2, 3)) * lengths)).astype(int)
    start = np.maximum(own.start_kji - outwards[0], 0)
    stop = np.minimum(own.stop_kji + outwards[1], truth.shape)
    return BoundingBox(tuple(start.tolist()), tuple(stop.tolist()))


def slice_box(
    truth: NDArray[np.bool_],
    spacing_kji_mm: Sequence[float],
    rng: np.random.Generator,
    settings: RobotSettings | None = None,
) -> BoundingBox:
    """The box from two clicks on a single slice: a rectangle with a guessed depth.

    The rectangle is drawn around the whole object on its largest slice, in the view with the smallest pixels, with the
    jitter of ``jittered_box``. The extent of the object across the slices is not known then, but a prompt needs a
    depth: a box means that nothing lies outside it. So this box has the depth that 3D Slicer gives an ROI from two
    corners on a slice, and that the panel uses until somebody sets it: the rectangle's shorter side in mm, half of it
    on either side of the slice's middle. Slices whose middle lies within belong to it. If the object extends farther,
    the box cuts it off.

    Parameters
    ----------
    truth : (K, J, I) bool, of one object
    rng : the same state gives the same box

    Raises
    ------
    InputError : the object is empty.
    """
    BoundingBox.of_mask(truth)  # an empty object is refused
    spacing = np.asarray(spacing_kji_mm, np.float64)
    axis = view_axes(truth.shape, spacing)[0]
    index = worst_slice(truth, axis)
    shown = np.zeros_like(truth)
    place = tuple(index if other == axis else slice(None) for other in range(3))
    shown[place] = truth[place]
    rectangle = jittered_box(shown, rng, settings)
    depth_mm = np.delete(rectangle.shape_kji * spacing, axis).min()
    reach = int(depth_mm / 2 / spacing[axis])
    start, stop = list(rectangle.start_kji), list(rectangle.stop_kji)
    start[axis], stop[axis] = max(0, index - reach), min(truth.shape[axis], index + reach + 1)
    return BoundingBox(tuple(start), tuple(stop))
