"""A user at work on one image: how long they continue, what they draw, and what is scored."""

import math
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from blobs import SHAPE_KJI, blob_volume, ellipsoid

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.data.datasets import Case, Dataset
from InteractiveSegLib.evaluation.prompted import trial as trial_module
from InteractiveSegLib.evaluation.prompted.methods import Segmentation
from InteractiveSegLib.evaluation.prompted.trial import ROBOTS, TrialSettings, trial
from InteractiveSegLib.evaluation.users.robot import correct
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.image_io import write_image
from InteractiveSegLib.image.metrics import dice
from InteractiveSegLib.prompts.scribbles import BACKGROUND

SPACING = (3.0, 1.0, 1.0)
SMALL = (slice(1, 4), slice(1, 4), slice(1, 4))  # 27 voxels
every_robot = pytest.mark.parametrize("user", ROBOTS)


def truth():
    labels = ellipsoid().astype(np.uint8)
    labels[SMALL] = 2
    return labels


def case(scribbles=(), name="one"):
    return Case("blobs", name, blob_volume(SPACING), truth(), {1: "blob", 2: "cube"}, tuple(scribbles))


def eroded(labels, planes):
    """Without the first planes of the blob."""
    found = labels.copy()
    found[: 3 + planes][found[: 3 + planes] == 1] = 0
    return found


@pytest.fixture
def answers(monkeypatch):
    """Play a method that gives these labelmaps in turn, the last one for ever; returns the prompts that it met."""

    def answers(*labelmaps, **more):
        met = []

        class Scripted:
            def segment(self, prompts):
                met.append(prompts)
                return Segmentation(labelmaps[min(len(met), len(labelmaps)) - 1], stages={"a": 0.5, "b": 0.25}, **more)

        monkeypatch.setattr(trial_module, "segmenter", lambda *_: Scripted())
        return met

    return answers


def rounds(scores):
    return sorted({score.round for score in scores})


@every_robot
def test_a_robot_makes_every_round_even_where_the_mask_is_right(answers, user):
    met = answers(truth())
    scores, labelmap = trial(case(), "any", user, 0, TrialSettings(rounds=2, cap=2))
    assert [(score.round, score.object) for score in scores] == [(n, o) for n in range(3) for o in ("blob", "cube")]
    assert all(score.dice == score.surface_dice == 1 and score.hd95_mm == 0 for score in scores)
    assert len(met) == 2  # nothing is drawn on a mask that is right, so there is nothing to answer
    np.testing.assert_array_equal(labelmap, truth())


def test_without_rounds_there_is_the_box_alone(answers):
    met = answers(truth() * 0)
    scores, _ = trial(case(), "any", "robot", 0, TrialSettings(rounds=0, cap=0))
    assert rounds(scores) == [0]
    assert len(met[0].scribbles) == scores[0].strokes == scores[0].length_mm == 0


def test_a_robot_gives_up_at_the_cap(answers):
    met = answers(eroded(truth(), 4))
    scores, _ = trial(case(), "any", "robot", 0, TrialSettings(rounds=1, cap=4))
    assert rounds(scores) == [0, 1, 2, 3, 4]
    assert len(met) == 5


def test_beyond_the_rounds_a_robot_stops_once_every_object_is_good_enough(answers):
    only_blob, nearly, good = truth(), eroded(truth(), 3), eroded(truth(), 1)
    only_blob[SMALL] = 0
    poor = 2 * np.sum(nearly == 1) / (np.sum(nearly == 1) + ellipsoid().sum())
    assert poor < 0.9
    answers(truth(), only_blob, nearly, good, truth())
    scores, labelmap = trial(case(), "any", "robot", 0, TrialSettings(rounds=1, cap=8))
    assert rounds(scores) == [0, 1, 2, 3]
    dice = {(score.round, score.object): score.dice for score in scores}
    assert dice[0, "blob"] == dice[1, "blob"] == 1
    assert dice[1, "cube"] == 0
    assert dice[2, "blob"] == poor
    assert 0.9 <= dice[3, "blob"] < 1
    np.testing.assert_array_equal(labelmap, only_blob)  # after the rounds, which all methods make


def test_a_dice_of_the_very_goal_is_enough(answers):
    found = truth()
    found[1, 1, 1:4] = found[1, 2, 1:4] = 0  # 21 of 27 voxels: 42 / 48
    for goal, last in ((0.875, 1), (0.88, 3)):
        answers(found)
        scores, _ = trial(case(), "any", "robot", 0, TrialSettings(rounds=1, cap=3, enough=goal))
        assert max(rounds(scores)) == last


def test_what_is_scored_is_worked_out_by_hand(answers):
    found = np.zeros(SHAPE_KJI, np.uint8)
    found[1:4, 1:4, 2:4] = 2  # 18 of 27 voxels; the face at i = 1 is 1 mm off, which NSD at 2 mm forgives
    sure = np.zeros(SHAPE_KJI, np.float32)
    sure[SMALL] = 0.75
    answers(found, probabilities={2: sure})
    scores, _ = trial(case(), "any", "robot", 0, TrialSettings(rounds=0, cap=0))
    blob, cube = scores
    assert (cube.dataset, cube.case, cube.object) == ("blobs", "one", "cube")
    assert (cube.method, cube.user, cube.person) == ("any", "robot", 0)
    assert (cube.dice, cube.surface_dice, cube.hd95_mm) == (pytest.approx(0.8), 1.0, 1.0)
    assert (cube.seconds, cube.stages) == (0.75, "a=0.5000;b=0.2500")
    assert (blob.dice, blob.surface_dice) == (0, 0)
    assert math.isnan(blob.calibration_error)


def test_calibration_is_measured_in_the_box_that_was_drawn(answers):
    sure = np.full(SHAPE_KJI, 0.25, np.float32)
    met = answers(truth(), probabilities={2: sure})
    scores, _ = trial(case(), "any", "robot", 0, TrialSettings(rounds=0, cap=0))
    box = met[0].boxes[2]
    inside = np.count_nonzero(truth()[box.slices] == 2)
    assert scores[1].calibration_error == pytest.approx(abs(inside / box.size - 0.25))


@every_robot
def test_every_method_meets_the_same_boxes_and_the_same_strokes(answers, user):
    wrong = eroded(truth(), 3)
    met = []
    for method in ("grow", "pnet"):
        met.append(answers(wrong))
        trial(case(), method, user, 0, TrialSettings(rounds=2, cap=2))
    for one, other in zip(*met, strict=True):
        assert one.boxes == other.boxes
        assert one.scribbles.equals(other.scribbles)
    # the draws of a round do not hang on what the method did in the rounds before it
    met = answers(truth() * 0, wrong)
    trial(case(), "other", user, 0, TrialSettings(rounds=2, cap=2))
    rng = np.random.default_rng([0, trial_module.zlib.crc32(f"blobs/one/{user}".encode()), 1])
    second = correct(wrong, truth(), SPACING, rng, ROBOTS[user], met[1].scribbles)
    assert met[2].scribbles.equals(met[1].scribbles.merged(second.scribbles))


def test_another_case_another_user_and_another_seed_draw_another_box(answers):
    def box(name="one", user="robot", seed=0):
        met = answers(truth())
        trial(case(name=name), "any", user, 0, TrialSettings(rounds=0, cap=0, seed=seed))
        return met[0].boxes[1]

    boxes = [box(), box(name="two"), box(user="sloppy"), box(seed=1)]
    assert len({(b.start_kji, b.stop_kji) for b in boxes}) == 4
    assert box() == boxes[0]


@every_robot
def test_a_trial_is_the_same_twice(user):
    settings = TrialSettings(rounds=2, cap=2)
    (one, first), (other, second) = (trial(case(), "geodesic", user, 0, settings) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    kept = [(s.round, s.object, s.dice, s.surface_dice, s.hd95_mm, s.strokes, s.length_mm) for s in one]
    assert kept == [(s.round, s.object, s.dice, s.surface_dice, s.hd95_mm, s.strokes, s.length_mm) for s in other]


def test_strokes_and_millimetres_add_up_over_the_rounds(answers):
    wrong, drawn = eroded(truth(), 3), []

    def watched(*words):
        drawn.append(correct(*words))
        return drawn[-1]

    met = answers(wrong)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial_module, "correct", watched)
        scores, _ = trial(case(), "any", "robot", 0, TrialSettings(rounds=3, cap=3))
    assert len(drawn) == 3  # none after the last round
    strokes = [0, *np.cumsum([correction.strokes for correction in drawn])]
    lengths = [0, *np.cumsum([correction.length_mm for correction in drawn])]
    assert [score.strokes for score in scores] == [count for count in strokes for _ in range(2)]
    assert [score.length_mm for score in scores] == pytest.approx([mm for mm in lengths for _ in range(2)])
    assert strokes[1] > 0
    assert lengths[1] > strokes[1]  # lines, not dots
    for before, after in pairwise(met):
        assert set(map(tuple, before.scribbles.indices_kji)) <= set(map(tuple, after.scribbles.indices_kji))


@pytest.mark.parametrize("method", ["grow", "geodesic", "mixtures", "walker"])
def test_scribbles_improve_what_the_box_alone_gives(method):
    scores, _ = trial(case(), method, "robot", 0, TrialSettings(rounds=1, cap=1))
    blob = [score.dice for score in scores if score.object == "blob"]
    assert blob[0] < 0.65  # a box round an ellipsoid: pi / 6 of it is filled
    assert blob[1] > 0.8


def person(*lines):
    marks = np.zeros(SHAPE_KJI, np.uint8)
    for label, k, j, first, last in lines:
        marks[k, j, first:last] = label
    return marks


def test_a_persons_scribbles_are_replayed_once_and_without_a_box(answers):
    drawn = [person((1, 6, 10, 9, 18)), person((1, 6, 8, 9, 18), (BACKGROUND, 6, 2, 3, 20))]
    for number in range(2):
        met = answers(truth())
        scores, labelmap = trial(case(drawn), "any", "human", number, TrialSettings(rounds=3, cap=9))
        assert [(score.round, score.person, score.object) for score in scores] == [
            (0, number, "blob"),
            (0, number, "cube"),
        ]
        assert len(met) == 1
        assert not met[0].boxes
        np.testing.assert_array_equal(met[0].scribbles.to_labelmap(SHAPE_KJI), drawn[number])
        np.testing.assert_array_equal(labelmap, truth())


def test_without_a_box_calibration_is_measured_round_the_object(answers):
    answers(truth(), probabilities={2: np.full(SHAPE_KJI, 0.25, np.float32)})
    scores, _ = trial(case([person((2, 2, 2, 1, 4))]), "any", "human", 0, TrialSettings())
    assert scores[1].calibration_error == pytest.approx(0.75)  # the cube fills its box


def test_a_person_who_drew_nothing_is_refused_whatever_the_method():
    drawn = [person((1, 6, 10, 9, 18)), person((BACKGROUND, 6, 2, 3, 20)), person()]
    for method in ("box", "grabcut", "grow"):
        for number in (1, 2):
            with pytest.raises(InputError, match=f"person {number} mark no object"):
                trial(case(drawn), method, "human", number, TrialSettings())
        with pytest.raises(InputError, match="scribbles of 3 people, not of person 3"):
            trial(case(drawn), method, "human", 3, TrialSettings())


def test_a_label_that_is_not_in_the_truth_is_neither_drawn_nor_scored(tmp_path, answers):
    grid = Geometry(SHAPE_KJI, np.eye(4))
    write_image(tmp_path / "a_image.nii.gz", truth(), grid)
    write_image(tmp_path / "a_label.nii.gz", np.where(truth() == 1, 0, truth()), grid)
    loaded = Dataset("set", ".", {"blob": (1,), "cube": (2,)}).load(tmp_path, "a")
    met = answers(truth())
    scores, _ = trial(loaded, "any", "robot", 0, TrialSettings(rounds=1, cap=1))
    assert {score.object for score in scores} == {"cube"}
    assert set(met[0].boxes) == {2}
    assert 1 not in met[1].scribbles.object_labels()
    assert BACKGROUND in met[1].scribbles.labels  # the blob is too much


def test_a_box_holds_nearly_all_of_its_object(answers):
    met = answers(truth())
    trial(case(), "any", "robot", 0, TrialSettings(rounds=0, cap=0))
    for label, box in met[0].boxes.items():
        own = BoundingBox.of_mask(truth() == label)
        assert np.abs(np.subtract(box.start_kji, own.start_kji)).max() <= 1
        assert np.count_nonzero(truth()[box.slices] == label) >= 0.9 * np.count_nonzero(truth() == label)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_the_peak_of_the_memory_is_that_of_the_round(monkeypatch):
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("this system does not let the peak be counted anew")

    class Hungry:
        def __init__(self):
            self.sizes = [200, 0]

        def segment(self, _):
            np.ones(self.sizes.pop(0) * 2**17).sum()  # 8 bytes each: that many MiB
            return Segmentation(truth())

    monkeypatch.setattr(trial_module, "segmenter", lambda *_: Hungry())
    scores, _ = trial(case(), "any", "robot", 0, TrialSettings(rounds=1, cap=1))
    first, second = (next(score.peak_mb for score in scores if score.round == number) for number in range(2))
    assert 20 < second < 5000
    assert first > second + 100


@pytest.mark.parametrize(("rounds", "cap"), [(-1, 3), (4, 3)])
def test_rounds_beyond_the_cap_or_below_none_are_refused(rounds, cap):
    with pytest.raises(InputError, match=f"rounds {rounds} must lie between 0 and the cap of {cap}"):
        TrialSettings(rounds, cap)


@every_robot
def test_without_a_box_the_first_round_marks_the_objects_themselves(answers, user):
    met = answers(truth() * 0, eroded(truth(), 3))
    scores, labelmap = trial(case(), "any", user, 0, TrialSettings(rounds=2, cap=2), "none")
    assert rounds(scores) == [1, 2]
    assert {score.prompted for score in scores} == {"none"}
    assert all(not prompts.boxes for prompts in met)
    assert set(met[0].scribbles.object_labels()) == {1, 2}
    for label in (1, 2):
        own = met[0].scribbles.indices_kji[met[0].scribbles.labels == label]
        assert (truth()[tuple(own.T)] == label).mean() > 0.7  # a sloppy hand spills
    np.testing.assert_array_equal(labelmap, eroded(truth(), 3))


def test_every_click_is_one_voxel_for_each_object_with_an_error(answers):
    met = answers(truth() * 0, eroded(truth(), 3), eroded(truth(), 3))
    scores, _ = trial(case(), "any", "clicks", 0, TrialSettings(rounds=3, cap=3), "none")
    assert [score.strokes for score in scores if score.object == "blob"] == [2, 4, 5]  # the cube is right in the end
    assert [len(prompts.scribbles) for prompts in met] == [2, 2, 3]  # where an answer is the same, so is the click


def test_only_strokes_without_a_box_come_with_an_arc(answers):
    def labels(prompted):
        met = answers(truth() * 0)
        trial(case(), "any", "strokes", 0, TrialSettings(rounds=1, cap=1), prompted)
        return set(met[-1].scribbles.labels.tolist())

    assert labels("none") == {1, 2, BACKGROUND}
    assert labels("box") == labels("loose-box") == labels("slice-box") == {1, 2}


def test_a_mask_is_scored_as_it_is_and_its_errors_are_marked_first(answers):
    met = answers(truth())
    scores, kept = trial(case(), "any", "strokes", 0, TrialSettings(rounds=2, cap=2), "mask")
    assert len(met) == 1  # there is nothing left to correct
    start = np.zeros_like(truth())
    for label, mask in met[0].start_masks.items():
        start[mask.box.slices][mask.mask_kji] = label
    assert {score.dice for score in scores if score.round == 0} == {dice(start == n, truth() == n) for n in (1, 2)}
    assert all(0.4 < score.dice < 1 for score in scores if score.round == 0)
    assert not met[0].boxes
    marks = met[0].scribbles
    assert len(marks)
    assert (start[tuple(marks.indices_kji.T)] != marks.labels % BACKGROUND).all()
    assert (truth()[tuple(marks.indices_kji.T)] == marks.labels % BACKGROUND).all()
    assert np.array_equal(kept, truth())


def test_a_session_without_an_error_left_keeps_its_dice(answers):
    met = answers(truth() * 0, truth())
    scores, _ = trial(case(), "any", "clicks", 0, TrialSettings(rounds=5, cap=5), "none")
    assert len(met) == 2
    assert [score.dice for score in scores if score.object == "blob"] == [0, 1, 1, 1, 1]
    assert [score.seconds for score in scores if score.object == "blob"] == [0.75, 0.75, 0, 0, 0]


def test_loose_boxes_hold_the_usual_ones_room_and_boxes_on_a_slice_do_not(answers):
    def boxes(prompted):
        met = answers(truth())
        scores, _ = trial(case(), "any", "robot", 0, TrialSettings(rounds=0, cap=0), prompted)
        assert {score.prompted for score in scores} == {prompted}
        return met[0].boxes

    own = BoundingBox.of_mask(truth() == 1)
    assert own.union(boxes("loose-box")[1]) == boxes("loose-box")[1] != own
    sliced = boxes("slice-box")[1]
    assert sliced.shape_kji[0] == 3 < own.shape_kji[0]  # slices of 3 mm, and a shorter side of less than 12
    assert boxes("box") == boxes("box")
