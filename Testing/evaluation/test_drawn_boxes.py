import numpy as np
import pytest

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.users.drawn_boxes import loose_box, slice_box
from InteractiveSegLib.evaluation.users.robot import RobotSettings
from InteractiveSegLib.image.box import BoundingBox

STEADY = RobotSettings(box_jitter=0.0)


def block(shape, start, stop):
    truth = np.zeros(shape, bool)
    truth[tuple(map(slice, start, stop))] = True
    return truth


def test_a_loose_box_leaves_a_tenth_to_three_tenths_on_every_side():
    truth = block((60, 80, 140), (15, 20, 20), (35, 60, 120))  # 20 x 40 x 100
    room = []
    for seed in range(60):
        box = loose_box(truth, np.random.default_rng(seed))
        room.append((*np.subtract((15, 20, 20), box.start_kji), *np.subtract(box.stop_kji, (35, 60, 120))))
        assert box == loose_box(truth, np.random.default_rng(seed))
    room = np.array(room)
    for side, length in enumerate((20, 40, 100) * 2):
        stop = 20 if side in (2, 5) else 0.3 * length  # the image ends 20 voxels beyond the object
        assert 0.1 * length <= room[:, side].min() < 0.13 * length
        assert 0.85 * stop < room[:, side].max() <= stop


def test_a_loose_box_of_a_small_object_has_room_too_and_stays_in_the_image():
    box = loose_box(block((4, 9, 9), (0, 4, 4), (4, 5, 5)), np.random.default_rng(0))
    assert (box.start_kji, box.stop_kji) == ((0, 3, 3), (4, 6, 6))


@pytest.mark.parametrize(
    ("spacing", "axis", "span"),
    [
        ((3.0, 1.0, 1.0), 0, (5, 10)),  # the shorter side of 12 mm: 6 mm to either side of slice 7, two slices
        ((1.0, 1.0, 1.0), 0, (1, 14)),
        ((1.0, 4.0, 1.0), 1, (24, 26)),  # 7 mm of k are the shorter side, 3.5 mm reach no other slice's middle
        ((20.0, 1.0, 1.0), 0, (7, 8)),
    ],
)
def test_a_box_on_one_slice_is_as_deep_as_its_shorter_side(spacing, axis, span):
    truth = block((20, 60, 50), (4, 20, 10), (11, 32, 40))
    truth[7, 20:32, 40:44] = True  # the largest slice across k
    truth[4:11, 24:26, 40:44] = True
    box = slice_box(truth, spacing, np.random.default_rng(0), STEADY)
    if axis == 1:
        span = (box.start_kji[1], box.start_kji[1] + 1)
        assert 24 <= span[0] < 26
        expected = BoundingBox((4, span[0], 10), (11, span[1], 44))
    else:
        expected = BoundingBox((span[0], 20, 10), (span[1], 32, 44))
    assert box == expected


def test_a_box_on_one_slice_is_drawn_as_loosely_as_any_and_stays_in_the_image():
    truth = block((20, 60, 90), (0, 20, 10), (20, 50, 80))
    boxes = [slice_box(truth, (1.0, 1.0, 1.0), np.random.default_rng(seed)) for seed in range(20)]
    assert all(box == box.intersected(truth.shape) for box in boxes)
    assert len({box.start_kji[1:] for box in boxes}) > 5


def test_no_box_is_drawn_of_an_empty_object():
    empty = np.zeros((3, 4, 5), bool)
    with pytest.raises(InputError, match="empty"):
        loose_box(empty, np.random.default_rng(0))
    with pytest.raises(InputError, match="empty"):
        slice_box(empty, (1.0, 1.0, 1.0), np.random.default_rng(0))
