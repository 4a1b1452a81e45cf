"""What of a start mask counts as marked once it is corrected."""

import numpy as np
import pytest
from stopwatch import Stopwatch

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import BACKGROUND, Scribbles
from InteractiveSegLib.segmenting.start_core import with_core

SPACING = (2.0, 1.0, 1.0)


def corrected(mask, *marks, boxes=None):
    """Voxels that the copy marks in addition, with their labels."""
    scribbles = Scribbles(np.array([voxel for voxel, _ in marks]).reshape(-1, 3), np.array([n for _, n in marks], int))
    prompts = Prompts(boxes or {}, scribbles, {1: PackedMask.of(mask)})
    dense = with_core(prompts, 1, SPACING).scribbles.to_labelmap(mask.shape)
    return {tuple(v): int(dense[tuple(v)]) for v in np.argwhere(dense != scribbles.to_labelmap(mask.shape)).tolist()}


def bar(length):
    """5 x 9 x length voxels; its deepest line is (3, 6, 6 to length - 1): 5 mm from four sides."""
    mask = np.zeros((8, 14, length + 4), bool)
    mask[1:6, 2:11, 2 : 2 + length] = True
    return mask


def test_without_marks_nothing_is_added():
    assert corrected(bar(9)) == {}


def test_the_deepest_line_counts_as_marked():
    assert corrected(bar(11), ((7, 13, 1), BACKGROUND)) == {(3, 6, i): 1 for i in (6, 7, 8)}


def test_near_what_is_denied_nothing_is_marked_but_elsewhere():
    found = corrected(bar(31), ((3, 6, 10), BACKGROUND))
    assert set(found) == {(3, 6, i) for i in range(6, 29) if abs(i - 10) >= 2.5}


def test_if_all_of_the_deepest_is_denied_the_next_deepest_is_marked():
    found = corrected(bar(9), *(((3, 6, i), BACKGROUND) for i in range(4, 9)))
    assert found
    assert all(bar(9)[voxel] and label == 1 for voxel, label in found.items())


def test_what_is_marked_keeps_its_mark_and_smaller_parts_get_none():
    mask = bar(11)
    mask[3, 12:, 1:4] = True
    found = corrected(mask, ((3, 6, 7), 1), ((3, 6, 6), 2))
    assert (3, 6, 7) not in found
    assert (3, 6, 6) not in found
    assert all(voxel[1] < 11 for voxel in found)


def test_nothing_is_marked_outside_a_drawn_box():
    box = BoundingBox((0, 0, 0), (8, 14, 8))
    assert set(corrected(bar(11), ((1, 1, 1), BACKGROUND), boxes={1: box})) == {(3, 6, 6), (3, 6, 7)}


@pytest.mark.parametrize("label", [1, 2])
def test_a_mask_of_one_voxel_or_wholly_denied_is_no_error(label):
    mask = np.zeros((3, 3, 3), bool)
    mask[1, 1, 1] = True
    assert corrected(mask, ((1, 1, 1), label)) == {}


def test_of_a_large_mask_some_voxels_are_looked_at():
    mask = np.ones((40, 300, 400), bool)
    with Stopwatch() as watch:
        found = corrected(mask, ((0, 0, 0), BACKGROUND))
    assert watch.seconds < 3
    assert all(17 <= k <= 22 and 30 <= j < 270 and 30 <= i < 370 for k, j, i in found)
    assert found
