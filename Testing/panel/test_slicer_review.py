"""The organs of an open case through the panel: right, not there, skipped, edited, slice by slice."""

import numpy as np
import pytest
import slicer_balls
from slicer_balls import SHAPE_KJI, inside, two_balls

from InteractiveSegLib.casebook.acceptance import latest
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.image_reference import ImageReference
from InteractiveSegLib.casebook.left_work import left_work
from InteractiveSegLib.casebook.review import SliceState
from InteractiveSegLib.casebook.splits import SplitSettings
from InteractiveSegLib.casebook.starting_masks import keep_starting_mask
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.image_io import write_image
from InteractiveSegLib.image.packed_mask import PackedMask

U, V, E, A = SliceState


def start():
    """A starting mask: the first ball is label 1, the second label 2; nothing is label 3."""
    return (inside(0) + 2 * inside(1)).astype(np.uint8)


@pytest.fixture
def study(tmp_path):
    """Two cases with starting masks, and one of the test split that has none."""
    with Casebook.created(tmp_path / "book", SplitSettings(0, 0)) as casebook:
        for label, name in enumerate(("left", "right", "third"), 1):
            casebook.name_label(label, name)
        with casebook.database.writing() as rows:
            rows.execute("INSERT INTO version VALUES (1, 'igniter', NULL, '', 'in use', NULL, '[]', '{}', '', NULL)")
        for number, split in enumerate(("train", "train", "test")):
            path = tmp_path / f"case{number}.nrrd"
            write_image(path, (two_balls() + number).astype(np.int16), slicer_balls.geometry())
            entry = casebook.add(ImageReference.of(path), f"case{number}", split=split)
            if split == "train":
                keep_starting_mask(casebook, entry, start(), {1: 0.9, 2: 0.6, 3: 0.0}, 1)
    return tmp_path / "book"


def idle(person):
    person.spin(lambda: not person.panel.casebook_work.is_busy and not person.controller.is_busy)
    assert not person.status.is_error, person.status


@pytest.fixture
def opened(person, study):
    """The first case, open in the panel; nothing is learnt."""
    person.panel.casebook_work.learning.start = lambda *_: None
    person.panel.casebook_work.open_casebook(study)
    idle(person)
    person.press("openNextButton")
    idle(person)
    person.settle()
    return person


def states(person):
    """Of the list, by name."""
    table = person.ui("organTable")
    return {table.item(row, 0).text(): table.item(row, 1).text() for row in range(table.rowCount)}


def filled(person):
    node = person.parameters.segmentation
    display, ids = node.GetDisplayNode(), node.GetSegmentation().GetSegmentIDs()
    return [bool(display.GetSegmentVisibility2DFill(each)) for each in ids]


def review(person):
    return person.panel.reviewing.review


def show(person, k):
    person.look_at((k, 24, 24))
    person.settle()


def paint(person, *points_kji):
    """With the Segment Editor, which Edit opens."""
    person.press("editButton")
    person.editor.activeEffect().setCommonParameter("BrushRelativeDiameter", 3)
    person.look_at(points_kji[0])
    person.views.drag("Red", [person.views.display_of("Red", person.point(point)) for point in points_kji])
    person.editor.setActiveEffect(None)
    person.settle()


def test_a_case_opens_with_outlines_and_is_accepted_as_far_as_it_is_verified(opened, study):
    person = opened
    assert states(person) == {
        "left": "not verified; 90 % sure",
        "right": "not verified; 60 % sure",
        "third": "not verified; not found",
    }
    assert np.array_equal(person.labelmap(), start())
    assert filled(person) == [False] * 3
    assert not person.ui("segmentsTable").visible
    assert all(person.panel.keys._shortcuts[key].enabled for key in ("Y", "C", "K", "S", "Shift+N", "Shift+S"))
    assert "Nothing is verified yet" in person.ui("acceptButton").toolTip
    person.press("rightButton")
    assert (states(person)["left"], filled(person)) == ("right", [True, False, False])
    assert person.status.text == "left is right in all slices. right comes next."
    person.press("skipOrganButton")
    person.press("rightButton")  # of the third, which the mask does not show
    assert "the mask does not show third" in person.status.text
    person.press("notThereButton")
    assert states(person) == {"left": "right", "right": "skipped", "third": "not there"}
    person.press("acceptButton")
    idle(person)
    assert person.status.text == "case0: accepted; not verified, and not learnt from: right"
    first, tests, batch, stop = person.ui("standingLabel").text.splitlines()
    assert tests == "0 of 1 test case accepted, annotated without help"
    assert first == "1 of 2 cases accepted; 2 of their 3 organs verified in every slice"
    assert batch.startswith("batch 1: 1 of 5 cases, median ")
    assert stop.startswith("continue: ")
    with Casebook(study) as casebook:
        found = latest(casebook, casebook.case("case0"))
    assert (found.labels, found.known_labels) == ((1,), (1, 3))
    assert {found.review.of(label) for label in (1, 2, 3)} == {(V,) * 20, (U,) * 20, (A,) * 20}


def test_a_slice_is_right_for_all_organs_and_undo_takes_it_back(opened):
    person = opened
    show(person, 7)
    person.press("sliceRightButton")
    assert [review(person).of(label)[7] for label in (1, 2, 3)] == [V, V, A]
    assert person.status.text.endswith("is right. 19 slices are left.")
    assert filled(person) == [False] * 3  # the next slice is shown, which nobody looked at
    show(person, 7)
    assert filled(person) == [True] * 3
    assert states(person)["left"] == "right in 1 of 20 slices"
    person.press("undoButton")
    assert (review(person).known_labels(), filled(person)) == ((), [False] * 3)
    person.press("redoButton")
    assert review(person).of(1)[7] is V
    person.ui("organTable").selectRow(1)
    person.press("skipOrganButton")
    person.press("allRightButton")
    assert states(person) == {"left": "right", "right": "skipped", "third": "not there"}
    assert person.status.text == "All slices are right: press Accept case. Not there: third."


def test_painting_makes_slices_edited_and_work_that_was_left_keeps_what_was_said(opened, study):
    person = opened
    person.press("allRightButton")
    person.ui("organTable").selectRow(0)
    paint(person, (10, 24, 30), (10, 24, 36))
    assert [index for index, state in enumerate(review(person).of(1)) if state is E] == [10]
    assert states(person)["left"] == "right, 1 edited"
    assert filled(person) == [True] * 3
    before = review(person)
    person.press("undoButton")
    assert review(person).of(1)[10] is V
    person.press("redoButton")
    person.ui("caseTable").selectRow(1)
    person.settle()
    person.press("openCaseButton")
    idle(person)
    assert states(person)["left"] == "not verified; 90 % sure"
    person.ui("caseTable").selectRow(0)
    person.settle()
    person.press("openCaseButton")
    idle(person)
    assert review(person).equals(before)
    person.press("acceptButton")
    idle(person)
    with Casebook(study) as casebook:
        entry = casebook.case("case0")
        assert latest(casebook, entry).review.of(1)[10] is E
        assert {"opened", "reviewed", "undone", "redone", "edit"} <= {each.kind for each in casebook.events(entry)}


def test_a_stroke_changes_only_slices_that_were_drawn_on_and_none_that_is_right(opened):
    person = opened
    show(person, 8)
    person.press("sliceRightButton")
    person.scribble("object", (10, 22, 24), (10, 26, 24))
    segment = person.parameters.segment
    rules = person.controller.recorder.review_rules
    whole = PackedMask.of(np.ones(SHAPE_KJI, bool))
    changed, held = rules.held_back(segment, whole, by_itself=True)
    assert held == 19
    added = changed.within(BoundingBox.whole(SHAPE_KJI)) & (start() != 1)
    assert np.flatnonzero(added.any(axis=(1, 2))).tolist() == [10]
    changed, held = rules.held_back(segment, whole, by_itself=False)
    assert held == 1  # the slice that is right
    person.put_round({segment: changed})
    assert [review(person).of(1)[index] for index in (7, 8, 10)] == [U, V, U]
    show(person, 10)
    person.press("sliceRightButton")
    assert review(person).of(1)[10] is V


def test_a_slice_that_is_marked_as_done_is_right_for_its_segment(opened):
    person = opened
    show(person, 12)
    person.press("markSliceButton")
    assert [review(person).of(label)[12] for label in (1, 2)] == [V, U]


def test_a_case_of_the_test_split_opens_empty(opened):
    person = opened
    person.ui("caseTable").selectRow(2)
    person.settle()
    person.press("openCaseButton")
    idle(person)
    assert "it is of the test set, which is annotated without help" in person.status.text
    assert not person.labelmap().any()
    assert (review(person), states(person)) == (None, dict.fromkeys(("left", "right", "third"), "empty"))


def test_the_tick_before_an_organ_hides_it(opened):
    from PySide6.QtCore import Qt

    person = opened
    node = person.parameters.segmentation
    first = node.GetSegmentation().GetNthSegmentID(0)
    person.ui("organTable")._qt.item(0, 0).setCheckState(Qt.CheckState.Unchecked)
    assert not node.GetDisplayNode().GetSegmentVisibility(first)
    person.ui("organTable")._qt.item(0, 0).setCheckState(Qt.CheckState.Checked)
    assert node.GetDisplayNode().GetSegmentVisibility(first)


def test_a_case_opens_in_a_layout_without_slice_views(person, study):
    import slicer

    views = slicer.util.getNodesByClass("vtkMRMLSliceNode")
    for view in views:
        view.SetMappedInLayout(False)
    person.panel.casebook_work.open_casebook(study)
    idle(person)
    person.press("openNextButton")
    idle(person)
    assert not person.status.is_error, person.status
    person.press("rightButton")
    assert states(person)["left"] == "right"
    person.press("sliceRightButton")
    assert "no view shows the slices" in person.status.text
    for view in views:
        view.SetMappedInLayout(True)


def test_the_window_that_closes_keeps_the_work_on_the_open_case(opened, study):
    person = opened
    person.press("rightButton")
    person.widget.cleanup()
    person.widget.cleanup = lambda: None
    with Casebook(study) as casebook:
        entry = casebook.case("case0")
        kept = left_work(casebook, entry)
    assert entry.state.value == "new"
    assert kept.review.of(1) == (V,) * 20


def test_edit_says_what_the_brush_paints(opened):
    opened.press("editButton")
    assert opened.status.text == "The brush of the Segment Editor, below, now paints left."


def test_another_volume_takes_the_organs_out_of_reach_until_the_case_is_chosen_again(opened):
    person = opened
    volume, segmentation = person.parameters.volume, person.parameters.segmentation
    person.press("rightButton")
    person.choose(person.add_volume(two_balls(), slicer_balls.geometry().ijk_to_ras, "other"))
    assert "Choose the volume and the segmentation of the case again." in person.ui("rightButton").toolTip
    person.choose(volume)
    person.parameters.segmentation = segmentation
    person.settle()
    assert states(person)["left"] == "right"
