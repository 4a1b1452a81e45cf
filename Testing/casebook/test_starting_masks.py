"""A network's masks of cases that nobody has worked on."""

import numpy as np
import pytest
from casebook_cases import ALL_FOR_TRAINING, accepted, box_mask, by_hand, casebook_of, write_case_image

from InteractiveSegLib.casebook.acceptance import accept, latest
from InteractiveSegLib.casebook.case_rounds import keep_round
from InteractiveSegLib.casebook.case_view import CaseWork
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.checking import check_steps
from InteractiveSegLib.casebook.exporting import export_steps
from InteractiveSegLib.casebook.image_reference import ImageReference
from InteractiveSegLib.casebook.left_work import left_work
from InteractiveSegLib.casebook.provenance import Origin
from InteractiveSegLib.casebook.review import Review, SliceState
from InteractiveSegLib.casebook.starting_masks import keep_starting_mask, starting_mask, starting_masks
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.image_io import read_labelmap
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.progress import finish
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.worker.requests.casebook_actions import act


@pytest.fixture
def study(tmp_path):
    """Four cases, the last of the test split, and a version of a network."""
    with casebook_of(tmp_path, 3, ALL_FOR_TRAINING) as casebook:
        casebook.add(ImageReference.of(write_case_image(tmp_path / "test.nrrd", 9)), "case3", split="test")
        casebook.name_label(1, "liver")
        with casebook.database.writing() as rows:
            rows.execute("INSERT INTO version VALUES (1, 'igniter', NULL, '', 'in use', NULL, '[]', '{}', '', NULL)")
        yield casebook


def started(casebook, name, value=1, confidence=0.75):
    keep_starting_mask(casebook, casebook.case(name), box_mask(value), {1: confidence, 2: 0.0}, 1)


def test_a_starting_mask_is_kept_and_replaced_and_never_accepted(study):
    started(study, "case0", 2)
    started(study, "case0", confidence=0.5)
    found = starting_mask(study, study.case("case0"))
    assert (found.version, dict(found.confidences)) == (1, {1: 0.5, 2: 0.0})
    assert np.array_equal(found.load(study.case("case0")), box_mask())
    assert len(list(found.mask.parent.iterdir())) == 1
    assert list(starting_masks(study)) == [study.case("case0").id]
    assert study.case("case0").state.value == "new"
    assert latest(study, study.case("case0")) is None
    with pytest.raises(InputError, match="no accepted case to export"):
        finish(export_steps(study, study.folder.parent / "out", "nifti"))
    assert finish(check_steps(study)) == []


def test_cases_of_the_test_split_and_cases_that_somebody_worked_on_get_none(study):
    keep_round(study, study.case("case1"), Prompts(), box_mask())
    study.skip(study.case("case2"))
    study.begin(study.case("case0"))
    for name, text in (
        ("case3", "it is in the test split, whose cases are annotated without help"),
        ("case1", "somebody has worked on it"),
        ("case2", "it is skipped"),
        ("case0", "it is in work"),
    ):
        with pytest.raises(InputError, match=f"case '{name}' gets no starting mask: {text}"):
            started(study, name)
    assert not starting_masks(study)


def test_a_case_that_another_program_has_just_taken_gets_none(study):
    entry = study.case("case0")
    with Casebook(study.folder) as other:
        other.work.take(entry.id)
        with pytest.raises(InputError, match="gets no starting mask: another program has it in work"):
            started(study, "case0")


def test_a_case_is_opened_with_its_starting_mask_and_what_is_left_of_it_stays_the_networks(study):
    started(study, "case0")
    opened = act(study.folder, "open", case="case0").opened
    assert opened.reason.endswith("it opens with a starting mask, which is unverified")
    assert "starting mask" not in act(study.folder, "open", case="case1").opened.reason
    assert np.array_equal(opened.masks[1].mask_kji, box_mask()[1:4, 3:8, 5:12] > 0)
    edited = box_mask() > 0
    edited[1, 3, 5] = False
    masks = {1: PackedMask.of(edited)}
    act(study.folder, "accept", CaseWork("case0", opened.revision, masks=masks))
    found = latest(study, study.case("case0"))
    assert found.review.of(1) == (SliceState.VERIFIED, SliceState.EDITED, *[SliceState.VERIFIED] * 4)
    origins = read_labelmap(found.origins, study.case("case0").image.geometry)
    assert (origins == Origin.MODEL).sum() == edited.sum()


def test_later_work_comes_before_the_starting_mask(study):
    started(study, "case0")
    entry = study.begin(study.case("case0"))
    left = left_work(study, entry)
    assert np.array_equal(left.origins == Origin.MODEL, left.labels == 1)
    more = box_mask()
    more[5, 0, 0] = 1
    keep_round(study, entry, Prompts(), more)
    left = left_work(study, entry)
    assert np.array_equal(left.labels, more)
    assert (left.origins == Origin.PERSON).sum() == 1
    accept(study, entry, by_hand(box_mask(2)))
    left = left_work(study, study.case("case0"))
    assert left.labels.max() == 2
    edited = [SliceState.VERIFIED, *[SliceState.EDITED] * 3, *[SliceState.VERIFIED] * 2]
    assert left.accepted[1].of(2) == tuple(edited)
    assert left_work(study, study.case("case1")) is None


def test_a_damaged_starting_mask_is_noted_and_the_case_begins_without(study):
    started(study, "case0")
    path = starting_mask(study, study.case("case0")).mask
    path.write_bytes(path.read_bytes()[:-3])
    assert left_work(study, study.case("case0")) is None
    assert "the starting mask of case 'case0' is damaged" in study.notes[0]
    accepted(study, "case0")
    [finding] = finish(check_steps(study))
    assert "the starting mask of case 'case0' is damaged" in finding.text
    assert finish(check_steps(study, repair=True))[0].is_repaired
    assert starting_mask(study, study.case("case0")) is None
    assert (study.folder / "set-aside" / path.relative_to(study.folder)).exists()


def test_starting_masks_are_exported_under_their_own_name_when_asked_for(study, tmp_path):
    started(study, "case0")
    started(study, "case1")
    accepted(study, "case1")
    exported = finish(export_steps(study, tmp_path / "out", "nifti"))
    assert [path.name for path in exported.files] == ["case1_mask.nii.gz"]
    exported = finish(export_steps(study, tmp_path / "all", "nifti", with_unverified=True))
    assert [path.name for path in exported.files] == ["case1_mask.nii.gz", "case0_starting_mask.nii.gz"]
    assert "nobody verified liver in 6 of 6 slices of case 'case0'" in exported.notes[0]


def test_the_review_of_unfinished_work_is_kept_with_its_rounds(study):
    started(study, "case0")
    entry = study.begin(study.case("case0"))
    opened = left_work(study, entry).review
    assert (opened.known_labels(), list(opened.states)) == ((), [1])
    review = opened.marked(1, SliceState.VERIFIED, [2, 3])
    keep_round(study, entry, Prompts(), box_mask(), review)
    assert left_work(study, entry).review.equals(review)
    with pytest.raises(InputError, match="7 slices along k"):
        keep_round(study, entry, Prompts(), box_mask(), Review(0, 7, {}))
    with study.database.writing() as rows:
        rows.execute("UPDATE round SET review = 'nonsense'")
    assert left_work(study, entry).is_start
    assert "is not a review" in study.notes[-1]


def test_a_case_that_began_without_help_is_accepted_as_a_whole(study):
    accepted(study, "case1")
    study.reopen(study.case("case1"))
    assert left_work(study, study.case("case1")).review is None
    started(study, "case0")
    accepted(study, "case0")
    study.reopen(study.case("case0"))
    assert left_work(study, study.case("case0")).review.is_whole
