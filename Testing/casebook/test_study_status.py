"""Where a study stands, and when to stop."""

import json

import numpy as np
import pytest
from casebook_cases import SHAPE_KJI, accepted, box_mask, by_hand, casebook_of, version_in_use

from InteractiveSegLib.casebook.acceptance import accept
from InteractiveSegLib.casebook.effort import STROKE, Event
from InteractiveSegLib.casebook.review import Review, SliceState
from InteractiveSegLib.casebook.starting_masks import keep_starting_mask
from InteractiveSegLib.casebook.study_status import (
    BatchEffort,
    StopSettings,
    changed_part,
    stop_reason,
    study_status,
)
from InteractiveSegLib.cli import main
from InteractiveSegLib.errors import InputError


def batch(seconds, changed=None, cases=5, planned=5):
    return BatchEffort(cases, planned, seconds, changed)


@pytest.mark.parametrize(
    ("batches", "stops"),
    [
        ([], ""),
        ([batch(100)], ""),
        ([batch(100), batch(80)], ""),
        ([batch(100), batch(90)], "levelled off: 90 s after 100 s"),
        ([batch(100), batch(110)], "levelled off: 110 s after 100 s"),
        ([batch(100), batch(89.9)], ""),
        ([batch(100), batch(80), batch(79, cases=4)], ""),  # it is not over yet
        ([batch(100), batch(None), batch(99)], ""),
        ([batch(100, 0.3), batch(50, 0.02)], ""),
        ([batch(None, 0.3), batch(None, 0.0199)], "2.0 % of the voxels were changed in the last batch, fewer than 2 %"),
        ([batch(100, 0.019, cases=1, planned=5)], ""),
    ],
)
def test_when_to_stop(batches, stops):
    reason = stop_reason(batches)
    assert (stops in reason) == (bool(stops) == bool(reason))
    assert stops in reason


def test_other_limits_and_wrong_ones():
    assert "levelled off" in stop_reason([batch(100), batch(60)], StopSettings(fall=0.5))
    with pytest.raises(InputError, match=r"fall 1\.0 and changed 0\.02 must be between 0 and 1"):
        StopSettings(fall=1.0)


def started(casebook, name, moved):
    """Give a case a starting mask that lies so many voxels beside the truth."""
    casebook.name_label(1, "box")
    version_in_use(casebook)
    keep_starting_mask(casebook, casebook.case(name), np.roll(box_mask(), moved, 2), {1: 0.9}, 1)


def worked(casebook, name, seconds):
    """Strokes ``seconds`` apart, long ago."""
    casebook.record(casebook.case(name), [Event(STROKE, at, {}) for at in (1000.0, 1000.0 + seconds)])


def test_what_was_changed_in_a_starting_mask_is_noted_as_far_as_it_was_verified(tmp_path):
    with casebook_of(tmp_path, 3) as casebook:
        started(casebook, "case0", 1)
        started(casebook, "case1", 1)
        accepted(casebook, "case0")
        box = box_mask()
        wrong = np.count_nonzero(box != np.roll(box, 1, 2))  # two planes of 3 x 5
        assert changed_part(casebook.events(casebook.case("case0"))) == wrong / np.count_nonzero(box)
        entry = casebook.begin(casebook.case("case1"))
        review = Review.of_all(entry.image.geometry, [1]).marked(1, SliceState.VERIFIED, [0, 1])
        accept(casebook, entry, by_hand(box, review=review))
        assert changed_part(casebook.events(casebook.case("case1"))) == wrong / np.count_nonzero(box)  # of one slice
        accepted(casebook, "case2")
        assert changed_part(casebook.events(casebook.case("case2"))) is None
        assert changed_part([Event("changed", 1.0, {"changed": "x", "organs": 3})]) is None


def test_a_study_tells_of_its_batches_and_that_it_may_be_over(tmp_path, capsys):
    with casebook_of(tmp_path, 4) as casebook:
        with casebook.database.writing() as rows:
            rows.execute("UPDATE case_ SET split = 'test' WHERE name = 'case3'")
        told = "{} of 1 test case accepted, annotated without help"
        assert study_status(casebook).lines() == ["0 of 3 cases accepted", told.format(0)]
        for number, seconds in enumerate((28, 20, 19)):
            started(casebook, f"case{number}", number)
            worked(casebook, f"case{number}", seconds)
        for name in ("case1", "case3", "case0"):
            accepted(casebook, name)
        status = study_status(casebook, (1, 1))
        assert [round(each.seconds) for each in status.batches] == [20, 28]  # in the order of acceptance
        assert status.batches[1].changed == 0
        assert status.stop.startswith("0.0 % of the voxels were changed")
        assert (status.organs, status.all_organs, status.tested, status.tests) == (2, 2, 1, 1)
        lines = study_status(casebook).lines()
        assert lines[0] == "2 of 3 cases accepted; 2 of their 2 organs verified in every slice"
        assert lines[1] == told.format(1)
        assert lines[2].startswith("batch 1: 2 of 5 cases, median 24 s per case, ")
        assert lines[3] == "continue: the effort still decreases, or is not known yet"
    assert main(["casebook", "status", str(tmp_path / "book")]) == 0
    assert capsys.readouterr().out.splitlines() == lines
    assert main(["casebook", "status", str(tmp_path / "book"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["cases"]["accepted"] == 2
    assert told["batches"][0]["planned"] == 5


def test_an_organ_that_was_looked_at_in_part_is_not_verified(tmp_path):
    with casebook_of(tmp_path, 1) as casebook:
        casebook.name_label(1, "box")
        casebook.name_label(2, "other")
        entry = casebook.begin(casebook.case("case0"))
        review = Review.of_all(entry.image.geometry, [1, 2]).marked(1, SliceState.VERIFIED)
        accept(
            casebook, entry, by_hand(box_mask(), review=review.marked(2, SliceState.ABSENT, range(SHAPE_KJI[0] - 1)))
        )
        status = study_status(casebook)
        assert (status.organs, status.all_organs) == (1, 2)
