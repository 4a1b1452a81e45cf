import numpy as np
import pytest

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.users.robot import RobotSettings, jittered_box
from InteractiveSegLib.image.box import BoundingBox


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("jitter", [0.0, 0.05, 0.4])
def test_a_jittered_box_lies_in_the_image_and_holds_most_of_the_object(seed, jitter):
    rng = np.random.default_rng(seed)
    truth = np.zeros((10, 40, 61), bool)
    for _ in range(2):
        start = rng.integers(0, (9, 39, 60))
        stop = np.minimum(start + rng.integers(1, (10, 30, 50)), truth.shape)
        truth[tuple(map(slice, start, stop))] = True
    box = jittered_box(truth, rng, RobotSettings(box_jitter=jitter))
    assert box == box.intersected(truth.shape)
    assert np.count_nonzero(truth[box.slices]) >= 0.9 * np.count_nonzero(truth)
    own = BoundingBox.of_mask(truth)
    shift = np.abs(np.subtract((box.start_kji, box.stop_kji), (own.start_kji, own.stop_kji)))
    assert (shift <= (np.maximum(1, np.rint(jitter * np.array(own.shape_kji))) if jitter else 0)).all()


def test_a_jittered_box_keeps_an_object_that_lies_in_one_side_of_its_box():
    truth = np.zeros((30, 40, 61), bool)
    truth[5, 5:35, 5:55] = True
    truth[5:25, 20, 20] = True
    for seed in range(40):
        box = jittered_box(truth, np.random.default_rng(seed), RobotSettings(box_jitter=0.2))
        assert box.start_kji[0] <= 5


def test_a_jittered_box_is_mostly_larger_and_not_always_the_same():
    truth = np.zeros((60, 80, 100), bool)
    truth[15:45, 20:60, 20:80] = True
    boxes = [jittered_box(truth, np.random.default_rng(seed), RobotSettings()) for seed in range(40)]
    shifts = np.array(
        [(*np.subtract((15, 20, 20), b.start_kji), *np.subtract(b.stop_kji, (45, 60, 80))) for b in boxes]
    )
    assert shifts.min() < 0 < shifts.max()
    assert (shifts > 0).sum() > 2 * (shifts < 0).sum()
    assert jittered_box(truth, np.random.default_rng(3)) == boxes[3]


def test_an_empty_object_has_no_box():
    with pytest.raises(InputError, match="empty"):
        jittered_box(np.zeros((3, 4, 5), bool), np.random.default_rng(0), RobotSettings())
