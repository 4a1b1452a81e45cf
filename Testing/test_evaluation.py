import numpy as np
import pytest

from InteractiveSegLib.evaluation.datasets import DATASETS, Dataset
from InteractiveSegLib.evaluation.metrics import dice
from InteractiveSegLib.evaluation.robot import correct
from InteractiveSegLib.evaluation.tables import markdown_table
from InteractiveSegLib.prompts import BACKGROUND


def test_dice_of_masks_worked_out_by_hand():
    mask = np.zeros((2, 3, 4), bool)
    truth = mask.copy()
    mask[0, 0, :3] = True
    truth[0, 0, 1:] = True
    truth[1, 0, 0] = True
    assert dice(mask, truth) == pytest.approx(2 * 2 / (3 + 4))


def test_dice_of_an_object_that_is_nowhere_is_no_score():
    assert np.isnan(dice(np.zeros((2, 2, 2), bool), np.zeros((2, 2, 2), bool)))


def test_the_robot_scribbles_the_label_on_what_is_missed_and_background_on_what_is_too_much():
    truth = np.zeros((12, 20, 31), bool)
    mask = truth.copy()
    truth[2:7, 3:12, 4:15] = True
    mask[8:11, 14:19, 20:30] = True
    drawn = correct(mask, truth, 7)
    assert set(drawn.labels.tolist()) == {7, BACKGROUND}
    for label, region in ((7, truth), (BACKGROUND, mask)):
        points = drawn.indices_kji[drawn.labels == label]
        assert region[tuple(points.T)].all()
    missed = drawn.indices_kji[drawn.labels == 7]
    assert np.ptp(missed, axis=0).min() > 0  # strokes in all three views


def test_the_robot_corrects_the_largest_error_first():
    truth = np.zeros((12, 20, 31), bool)
    truth[2:4, 2:4, 2:4] = True
    truth[6:11, 6:16, 6:20] = True
    drawn = correct(np.zeros_like(truth), truth, 1)
    assert (drawn.indices_kji >= 6).all()


def test_the_robot_leaves_a_right_mask_alone():
    truth = np.zeros((4, 5, 6), bool)
    truth[1:3, 1:4, 2:5] = True
    assert len(correct(truth, truth, 1)) == 0


def test_cases_for_tuning_are_not_reported(tmp_path):
    dataset = Dataset("toy", "toy", {"thing": (1,)})
    (tmp_path / "toy").mkdir()
    for number in range(9):
        (tmp_path / "toy" / f"case{number}_image.nii.gz").touch()
    reported, tuned = dataset.cases(tmp_path), dataset.cases(tmp_path, tuning=True)
    assert tuned == ["case3", "case7"]
    assert not set(reported) & set(tuned)
    assert len(reported) == 7


def test_objects_that_do_not_occur_are_skipped():
    dataset = Dataset("toy", "toy", {"ring": (2,), "core": (1, 3), "absent": (9,)})
    labelmap = np.array([[[0, 1, 2, 3]]], np.uint8)
    found = {name: mask.ravel().tolist() for _, name, mask in dataset.truths(labelmap)}
    assert found == {"ring": [False, False, True, False], "core": [False, True, False, True]}


def test_a_persons_scribbles_are_read_in_the_librarys_convention(shared_data):
    cine = DATASETS[0]
    case = cine.cases(shared_data)[0]
    volume, _ = cine.load(shared_data, case)
    marks = cine.load_scribbles(shared_data, case, volume)
    assert set(np.unique(marks).tolist()) == {0, 1, 2, 3, 255}
    assert np.count_nonzero(marks) < 0.05 * marks.size


def test_a_table_lines_up():
    assert markdown_table(("a", "long"), [("1", "2")]) == "| a | long |\n|---|------|\n| 1 | 2    |"
