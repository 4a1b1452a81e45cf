import math

import numpy as np
import pytest

from InteractiveSegLib.evaluation.statistics import mean_interval, paired_p

NAN = math.nan


def test_the_interval_of_two_values_runs_from_one_to_the_other():
    # a quarter of the resampled pairs is (0, 0), a quarter (1, 1), half has the mean 1/2
    assert mean_interval([0.0, 1.0]) == (0.5, 0.0, 1.0)
    assert mean_interval([0.0, 1.0], level=0.4) == (0.5, 0.5, 0.5)


def test_the_interval_of_many_values_is_that_of_the_normal_approximation():
    values = np.linspace(0, 1, 101)
    mean, low, high = mean_interval(values)
    reach = 1.96 * values.std() / math.sqrt(len(values))  # 0.0569
    assert mean == pytest.approx(0.5)
    assert (low, high) == pytest.approx((0.5 - reach, 0.5 + reach), abs=0.005)


def test_the_more_values_the_narrower_the_interval():
    widths = [high - low for _, low, high in (mean_interval([0.6, 0.9] * count) for count in (2, 8, 32))]
    assert widths[0] > 1.5 * widths[1] > 1.5**2 * widths[2] > 0


def test_a_single_value_and_equal_values_have_no_spread():
    assert mean_interval([0.75]) == (0.75, 0.75, 0.75)
    assert mean_interval([0.75] * 9) == (0.75, 0.75, 0.75)


def test_nan_are_left_out_of_the_mean_and_its_interval():
    assert mean_interval([NAN, 0.2, NAN, 0.4, 0.9]) == mean_interval([0.2, 0.4, 0.9])
    assert mean_interval([NAN, 0.75]) == (0.75, 0.75, 0.75)


@pytest.mark.parametrize("values", [[], [NAN, NAN]])
def test_without_values_there_is_no_mean(values):
    assert all(math.isnan(number) for number in mean_interval(values))


def test_the_interval_is_the_same_every_time():
    values = np.random.default_rng(3).random(20)
    assert mean_interval(values) == mean_interval(values)


@pytest.mark.parametrize(("count", "p"), [(1, 1.0), (3, 0.25), (5, 0.0625), (6, 0.03125), (8, 0.0078125)])
def test_p_of_differences_of_one_sign_is_that_of_as_many_heads(count, p):
    # all ranks on one side: 2 of the 2^n equally likely signs are as extreme
    better = [0.5 + 0.01 * 2**step for step in range(count)]
    assert paired_p(better, [0.5] * count) == pytest.approx(p)
    assert paired_p([0.5] * count, better) == pytest.approx(p)


def test_p_counts_ranks_and_not_signs():
    # -1, 2, 3, 4: of 16 signs two give a rank sum of 1 or less on the negative side, two on the positive: p = 4/16
    assert paired_p([-1.0, 2.0, 3.0, 4.0], [0.0] * 4) == pytest.approx(0.25)
    # -4, 1, 2, 3: a rank sum of 4 or less occurs for {}, {1}, {2}, {3}, {4}, {1, 2}, {1, 3}: p = 14/16
    assert paired_p([-4.0, 1.0, 2.0, 3.0], [0.0] * 4) == pytest.approx(0.875)


def test_pairs_with_a_nan_are_left_out_of_the_test():
    first, second = [1.0, 2.0, 4.0, 8.0, 16.0, NAN, 7.0], [0.0, 0.0, 0.0, 0.0, 0.0, 3.0, NAN]
    assert paired_p(first, second) == pytest.approx(0.0625)


def test_equal_pairs_do_not_differ_and_no_pairs_tell_nothing():
    assert paired_p([0.5, 0.7], [0.5, 0.7]) == 1.0
    assert math.isnan(paired_p([], []))
    assert math.isnan(paired_p([NAN], [0.5]))
