import numpy as np
import pytest
from casebook_cases import accepted, box_mask, by_hand, casebook_of

from InteractiveSegLib.casebook.acceptance import AcceptedMask, accept, latest, load_accepted, stream
from InteractiveSegLib.casebook.case_rounds import ROUNDS_KEPT, keep_round, last_round
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.entries import ConflictError
from InteractiveSegLib.casebook.provenance import Origin, traced
from InteractiveSegLib.casebook.states import State
from InteractiveSegLib.casebook.worklist import next_case
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import Scribbles


def some_prompts():
    scribbles = Scribbles(np.array([[1, 4, 6], [0, 0, 0]]), np.array([1, 255]))
    box = BoundingBox((1, 2, 3), (5, 9, 13))
    return Prompts({1: box}, scribbles, {2: PackedMask.of(box_mask())}, {3: box})


def test_what_was_accepted_comes_back_unchanged(tmp_path):
    with casebook_of(tmp_path) as casebook:
        labels = box_mask()
        labels[5, 0, 0] = 7
        origins = np.where(labels > 0, Origin.MODEL, 0).astype(np.uint8)
        origins[5, 0, 0], origins[0] = Origin.PERSON, Origin.PERSON
        first = {1: np.random.default_rng(0).random(labels.shape).astype(np.float32)}
        entry = casebook.begin(casebook.case("case1"))
        accept(casebook, entry, AcceptedMask(labels, origins, some_prompts(), first))
    with Casebook(tmp_path / "book") as casebook:
        [found] = stream(casebook)
        assert (found.labels, found.known_labels, casebook.labels()) == ((1, 7), (1, 7), {1: "label 1", 7: "label 7"})
        entry = casebook.case_of_id(found.case_id)
        assert (entry.name, entry.state) == ("case1", State.ACCEPTED)
        loaded = load_accepted(entry, found)
        assert np.array_equal(loaded.labels, labels)
        assert np.array_equal(loaded.origins, origins)
        assert np.abs(loaded.first[1] - first[1]).max() <= 0.5 / 255 + 1e-6
        drawn = some_prompts()
        assert loaded.prompts.scribbles.equals(drawn.scribbles)
        assert (dict(loaded.prompts.boxes), dict(loaded.prompts.lasso_boxes)) == (
            dict(drawn.boxes),
            dict(drawn.lasso_boxes),
        )
        whole = BoundingBox.whole(labels.shape)
        assert np.array_equal(loaded.prompts.start_masks[2].within(whole), drawn.start_masks[2].within(whole))


@pytest.mark.parametrize(
    ("way", "refused"),
    [
        ("", "accept"),
        ("", "reopen"),
        ("", "give_back"),
        ("begin accept", "skip"),
        ("begin accept", "begin"),
        ("skip", "begin"),
        ("skip", "accept"),
        ("begin accept reopen", "give_back"),
    ],
)
def test_steps_that_make_no_sense_are_refused_and_change_nothing(tmp_path, way, refused):
    def step(casebook, name):
        entry = casebook.case("case0")
        return accept(casebook, entry, by_hand(box_mask())) if name == "accept" else getattr(casebook, name)(entry)

    with casebook_of(tmp_path) as casebook:
        for name in way.split():
            step(casebook, name)
        before = casebook.case("case0")
        with pytest.raises(InputError, match=f"'case0' is {before.state.value} and cannot become"):
            step(casebook, refused)
        assert casebook.case("case0").state is before.state
        assert len(list((tmp_path / "book").rglob("mask-*"))) == way.count("accept")


def test_a_reopened_case_keeps_what_was_accepted_until_it_is_accepted_again(tmp_path):
    with casebook_of(tmp_path) as casebook:
        accepted(casebook, "case0")
        accepted(casebook, "case1")
        entry = casebook.reopen(casebook.case("case0"))
        assert [found.case_id for found in stream(casebook)] == [2]
        kept = latest(casebook, entry)
        assert np.array_equal(load_accepted(entry, kept).labels, box_mask())
        accept(casebook, entry, by_hand(box_mask(2)))
        assert [(found.case_id, found.labels) for found in stream(casebook)] == [(2, (1,)), (1, (2,))]


def test_two_programs_cannot_accept_the_same_case(tmp_path):
    with casebook_of(tmp_path) as one, Casebook(tmp_path / "book") as other:
        entry = one.begin(one.case("case0"))
        same = other.case("case0")
        accept(one, entry, by_hand(box_mask(1)))
        with pytest.raises(ConflictError, match=r"'case0' was changed by another program .* in work and is acc"):
            accept(other, same, by_hand(box_mask(2)))
        [found] = stream(other)
        assert np.array_equal(load_accepted(other.case("case0"), found).labels, box_mask(1))
        assert len(list((tmp_path / "book").rglob("mask-*"))) == 1
        assert sorted(other.labels()) == [1]


def test_an_empty_mask_is_accepted_only_where_it_is_meant(tmp_path):
    with casebook_of(tmp_path) as casebook:
        entry, nothing = casebook.begin(casebook.case("case0")), box_mask(0)
        with pytest.raises(InputError, match="'case0' is empty: say that the image shows no object, or skip"):
            accept(casebook, entry, by_hand(nothing))
        with pytest.raises(InputError, match=r"marked as showing no object, but its mask contains \[1\]"):
            accept(casebook, entry, by_hand(box_mask(), absent=True))
        accept(casebook, entry, by_hand(nothing, absent=True))
        [found] = stream(casebook)
        assert load_accepted(casebook.case("case0"), found).absent


@pytest.mark.parametrize(
    ("accepted_mask", "text"),
    [
        (by_hand(box_mask()[:5]), r"shape \(5, 12, 17\), but its image has \(6, 12, 17\)"),
        (AcceptedMask(box_mask(), np.zeros((6, 12, 17), np.uint8)), "105 labelled voxels .* no origin"),
        (AcceptedMask(box_mask(), box_mask(4)), "no origin"),
        (by_hand(box_mask(255)), "integers from 0 to 254"),
        (by_hand(box_mask().astype(np.float32)), "integers from 0 to 254"),
        (by_hand(box_mask(), first={1: np.zeros((1, 2, 3), np.float32)}), r"first answer for label 1 .* \(1, 2, 3\)"),
    ],
)
def test_masks_that_do_not_fit_are_refused_before_anything_is_written(tmp_path, accepted_mask, text):
    with casebook_of(tmp_path) as casebook:
        entry = casebook.begin(casebook.case("case0"))
        with pytest.raises(InputError, match=text):
            accept(casebook, entry, accepted_mask)
        assert not list((tmp_path / "book").rglob("*.nrrd"))


def test_a_label_that_comes_late_is_not_known_to_earlier_masks(tmp_path):
    with casebook_of(tmp_path) as casebook:
        accepted(casebook, "case0", box_mask(1))
        accepted(casebook, "case1", box_mask(5))
        assert [found.known_labels for found in stream(casebook)] == [(1,), (1, 5)]


def test_work_is_resumed_where_it_was_left_and_old_rounds_are_dropped(tmp_path):
    with casebook_of(tmp_path) as casebook:
        entry = casebook.begin(casebook.case("case0"))
        assert last_round(casebook, entry) is None
        for number in range(ROUNDS_KEPT + 3):
            keep_round(casebook, entry, some_prompts(), box_mask(1 + number))
        casebook.give_back(entry)
    with Casebook(tmp_path / "book") as casebook:
        found = last_round(casebook, casebook.case("case0"))
        assert found.labels.max() == ROUNDS_KEPT + 3
        assert found.prompts.labels == some_prompts().labels
        kept = list((tmp_path / "book").rglob("round-*"))
        assert len(kept) == 2 * ROUNDS_KEPT


def test_origins_tell_the_person_from_propagation_and_model():
    labels = np.array([[[1, 1, 1, 2, 0, 0]]])
    person = np.array([[[True, False, False, False, True, False]]])
    propagated = np.array([[[2, 1, 0, 1, 1, 1]]])
    model = np.array([[[1, 1, 1, 1, 0, 0]]])
    expected = [Origin.PERSON, Origin.PROPAGATED, Origin.MODEL, Origin.PERSON, Origin.PERSON, Origin.NOBODY]
    assert traced(labels, person, propagated, model)[0, 0].tolist() == expected


def test_the_next_case_is_named_with_its_reason(tmp_path):
    with casebook_of(tmp_path, 4) as casebook:
        assert next_case(casebook).entry.name == "case0"
        assert "added first; 4 of 4 cases are left" in next_case(casebook).reason
        after = [next_case(casebook, after=f"case{number}") for number in (1, 3)]
        assert [each.entry.name for each in after] == ["case2", "case0"]
        assert after[0].reason == "it comes next; 4 of 4 cases are left"
        uncertainties = {"case1": 0.2, "case3": 0.7, "gone": 1.0}
        assert next_case(casebook, "uncertain", uncertainties, "case3").entry.name == "case1"
        found = next_case(casebook, "uncertain", uncertainties)
        assert (found.entry.name, "most uncertain about it (uncertainty 0.70, of 2 cases)" in found.reason) == (
            "case3",
            True,
        )
        assert "no network has predicted" in next_case(casebook, "uncertain").reason
        drawn = {next_case(casebook, "random").entry.name for _ in range(3)}
        assert len(drawn) == 1
        casebook.begin(casebook.case("case0"))
        assert next_case(casebook).entry.name == "case1"
        casebook.reopen(casebook.skip(casebook.case("case2")))
        assert (next_case(casebook).entry.name, next_case(casebook).reason) == (
            "case2",
            "it was reopened to be corrected",
        )
        assert next_case(casebook, after="case2").entry.name == "case1"
        with pytest.raises(InputError, match="'best'"):
            next_case(casebook, "best")
        for name in ("case1", "case2", "case3"):
            casebook.skip(casebook.case(name))
        assert next_case(casebook) is None
