"""Masks with errors, which a simulated person corrects."""

import numpy as np
import pytest

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.users.flawed_masks import flawed_mask
from InteractiveSegLib.image.metrics import dice


def ball(radius, shape=(40, 40, 40)):
    return sum((axis - side // 2) ** 2 for axis, side in zip(np.indices(shape), shape, strict=True)) <= radius**2


@pytest.mark.parametrize("radius", [5, 12])
def test_masks_of_small_and_of_large_objects_are_about_equally_good(radius):
    scores = [dice(flawed_mask(ball(radius), (1, 1, 1), np.random.default_rng(n)), ball(radius)) for n in range(8)]
    assert 0.6 < np.mean(scores) < 0.85
    assert max(scores) < 0.95


def test_there_are_errors_on_both_sides_and_the_same_state_repeats_them():
    truth = ball(12)
    one, again, other = (flawed_mask(truth, (1, 1, 1), np.random.default_rng(n)) for n in (0, 0, 1))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert min(np.sum(one & ~truth), np.sum(truth & ~one)) > 100


@pytest.mark.parametrize("shape", [(1, 40, 40), (4, 40, 40)])
def test_single_and_few_slices_are_no_obstacle(shape):
    truth = np.zeros(shape, bool)
    truth[:, 12:28, 12:28] = True
    assert 0.5 < dice(flawed_mask(truth, (8, 1, 1), np.random.default_rng(0)), truth) < 1


def test_a_voxel_is_kept_and_nothing_is_refused():
    truth = np.zeros((5, 5, 5), bool)
    with pytest.raises(InputError, match="the object is empty"):
        flawed_mask(truth, (1, 1, 1), np.random.default_rng(0))
    truth[2, 2, 2] = True
    for n in range(5):
        assert flawed_mask(truth, (1, 1, 1), np.random.default_rng(n)).any()
