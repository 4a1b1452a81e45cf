"""Boxes that are drawn with less care than ``robot.jittered_box``: loosely, or on one slice only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.evaluation.users.error_regions import worst_slice
from InteractiveSegLib.evaluation.users.robot import RobotSettings, jittered_box, view_axes
from InteractiveSegLib.image.box import BoundingBox

_LOOSE = (0.1, 0.3)  # of a box's length: how far a loose box's sides lie outside it


def loose_box(truth: NDArray[np.bool_], rng: np.random.Generator) -> BoundingBox:
    """The object's own box (K, J, I), each side moved outwards by a tenth to three tenths of its length there.

    Every share in this range is as likely, each side has its own, at least one voxel, and the image's border stops it.

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
    """What two clicks on a single slice give: a rectangle, and a depth that is only guessed.

    The rectangle is drawn round all of the object that its largest slice shows, in the view with the smallest pixels,
    with the jitter of ``jittered_box``. How far the object reaches across the slices is not known then, but there is no
    prompt without a depth: a box promises that nothing lies outside it. So this box has the depth that 3D Slicer gives
    an ROI of two corners on a slice, which the panel takes over until somebody sets it: the rectangle's shorter side in
    mm, half of it on either side of the slice's middle. Slices whose middle lies within belong to it. Where the object
    reaches farther, the box cuts it off.

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
