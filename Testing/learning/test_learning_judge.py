import numpy as np
import pytest

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.learning.judge import JudgeSettings, judged


def test_without_validation_cases_the_candidate_is_used_and_it_is_reported():
    verdict = judged({}, {})
    assert (verdict.good, "without a check" in verdict.reason) == (True, True)
    assert judged({1: {1: float("nan")}}, {1: {1: 0.5}}).good


def test_a_single_validation_case_suffices_to_refuse():
    verdict = judged({7: {1: 0.80, 2: 0.9}}, {7: {1: 0.95, 2: 0.88}})
    assert (verdict.good, verdict.reason) == (False, "refused: label 2 lost 0.020 Dice on 1 validation case")
    verdict = judged({7: {1: 0.80, 2: 0.9}}, {7: {1: 0.82, 2: 0.895}})
    assert verdict.good
    assert verdict.reason == "not worse on 1 validation case: label 1 0.820 (+0.020), label 2 0.895 (-0.005)"


def test_the_reason_calls_labels_by_their_names():
    names = {1: "liver", 3: "spleen"}
    verdict = judged({7: {1: 0.80, 2: 0.9}}, {7: {1: 0.82, 2: 0.895}}, names=names)
    assert verdict.reason == "not worse on 1 validation case: liver 0.820 (+0.020), label 2 0.895 (-0.005)"
    verdict = judged({7: {1: 0.8}, 8: {1: 0.8}}, {7: {1: 0.5}, 8: {1: 0.5}}, names=names)
    assert verdict.reason == "refused: liver lost 0.300 Dice on 2 validation cases"


def test_pairs_are_compared_and_not_means_of_different_cases():
    before, after = {1: {1: 0.9}, 2: {1: 0.5}}, {2: {1: 0.55}, 3: {1: 0.1}}
    assert judged(before, after).good


def test_a_small_loss_on_nearly_all_cases_is_a_loss():
    before = {case: {1: 0.8} for case in range(8)}
    after = {case: {1: 0.8 - 0.002 - 0.0001 * case} for case in range(8)}
    verdict = judged(before, after)
    assert (verdict.good, "lost on most of 8 validation cases (p = 0.004)" in verdict.reason) == (False, True)
    mixed = {case: {1: 0.8 + 0.002 * (-1) ** case} for case in range(8)}
    assert judged(before, mixed).good
    assert judged(before, before).good


def test_labels_that_only_one_of_them_knows_do_not_count():
    assert judged({1: {1: 0.5}}, {1: {1: 0.5, 2: 0.0}}).good
    assert not judged({1: {1: 0.5, 2: 0.9}}, {1: {1: 0.5, 2: 0.0}}).good


@pytest.mark.parametrize("wrong", [{"tolerance": -0.1}, {"level": 0.0}, {"cases": 0}, {"tolerance": np.nan}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match=str(next(iter(wrong.values())))):
        JudgeSettings(**wrong)
