"""Update after every stroke: what starts a round automatically, what replaces it, and what Undo reverts."""

import numpy as np
import pytest
import slicer_balls as balls
from scene_by_command import by_command_line

from InteractiveSegLib.image.packed_mask import PackedMask

K, J, I = balls.BALLS[0][0]  # noqa: E741 (the names of the axes)
PAUSE_S = 0.5  # longer than that after which a round starts
SETTING = "InteractiveSeg/UpdateAfterEveryStroke"


@pytest.fixture
def drawing(person):
    """An empty object on the two balls, with the point tool, and the box ticked."""
    balls.in_scene(person)
    person.add_segment()
    person.ui("updateBox").checked = True
    person.press("pointButton")
    return person


@pytest.fixture
def asked(drawing, monkeypatch):
    """The rounds that are asked for; none is computed."""
    return balls.rounds_asked_for(drawing, monkeypatch)


def pause(person):
    """Let pass what a person waits for an answer to begin."""
    import time

    end = time.monotonic() + PAUSE_S
    person.spin(lambda: time.monotonic() > end)


def answered(person):
    person.spin(lambda: person.controller.is_updating)
    person.wait()
    assert not person.status.is_error, person.status


def marked(person):
    return person.controller.workspace.marks().all


def test_a_click_is_answered_without_a_button_and_one_undo_takes_back_both(drawing, tmp_path):
    drawing.click((K, J, I))
    answered(drawing)
    mask = drawing.labelmap()
    assert mask[K, J, I]
    np.testing.assert_array_equal(mask, by_command_line(tmp_path, drawing, "--no-adapt"))
    assert drawing.status.text.startswith("Update: done.")
    assert drawing.controller.history.undo_name == "Point"
    drawing.press("undoButton")
    assert not len(marked(drawing))
    assert not drawing.labelmap().any()
    assert not drawing.controller.history.undo_name
    drawing.press("redoButton")
    assert marked(drawing).indices_kji.tolist() == [[K, J, I]]
    np.testing.assert_array_equal(drawing.labelmap(), mask)
    pause(drawing)
    assert not drawing.controller.is_busy  # neither Undo nor Redo is a stroke


def test_a_click_in_air_or_at_the_border_is_answered_by_its_surroundings(person):
    array = balls.two_balls()
    array[:, :, :10] = 0  # air, without noise
    person.choose(person.add_volume(array, balls.geometry().ijk_to_ras))
    person.add_segment()
    person.ui("updateBox").checked = True
    person.press("pointButton")
    for view, place in (("Red", (K, J, 4)), ("Green", (0, 10, 30)), ("Red", (19, 47, 71))):
        person.click(place, view)
        answered(person)
        mask = person.labelmap() == 1
        assert mask[place]
        assert max(mask[balls.inside(ball)].mean() for ball in (0, 1)) < 0.05
        person.press("undoButton")
        assert not person.labelmap().any()


def test_a_stroke_in_the_middle_of_a_round_takes_its_place(drawing, tmp_path):
    drawing.click((K, J, I))
    drawing.spin(lambda: drawing.controller.client.status.stage == "busy")
    drawing.click((K, J, I + 3))
    assert not drawing.controller.is_updating
    assert not drawing.status.is_error
    answered(drawing)
    assert len(marked(drawing)) == 2
    mask = drawing.labelmap()
    np.testing.assert_array_equal(mask, by_command_line(tmp_path, drawing, "--no-adapt"))
    drawing.press("undoButton")
    assert (len(marked(drawing)), drawing.labelmap().any()) == (1, False)
    drawing.press("redoButton")
    np.testing.assert_array_equal(drawing.labelmap(), mask)
    drawing.press("undoButton")
    drawing.press("undoButton")
    assert not drawing.controller.history.undo_name


def test_three_clicks_without_a_pause_are_one_round(drawing, asked):
    for i in (0, 1, 2):
        drawing.click((K, J, I + i))
    pause(drawing)
    assert len(asked) == 1
    assert [drawing.controller.history._steps[n].name for n in range(3)] == ["Point"] * 3


def test_three_hundred_clicks_are_all_kept_and_answered_in_the_end(drawing, asked):
    places = [(K, 2 + n // 20, 4 + n % 20) for n in range(300)]
    for place in places:
        drawing.click(place)
    pause(drawing)
    assert sorted(map(tuple, marked(drawing).indices_kji.tolist())) == sorted(places)
    assert asked[-1] is drawing.controller._job
    assert len(drawing.controller.client.prompts.scribbles) == 300
    drawing.press("undoButton")
    assert len(marked(drawing)) == 299


def test_a_stroke_of_the_brush_and_an_erased_mark_start_a_round_each(drawing, asked):
    drawing.press("brushButton")
    drawing.scribble("object", (K, J, I - 4), (K, J, I + 4))
    pause(drawing)
    drawing.ui("brushSlider").value = 4.0
    drawing.scribble("erase", (K, J, I - 5), (K, J, I - 3))
    pause(drawing)
    assert len(asked) == 2
    drawing.scribble("erase", (K, J, I - 6), (K, J, I + 6))
    pause(drawing)
    assert not len(marked(drawing))
    assert (len(asked), drawing.status.text) == (2, "")  # nothing is left to compute from


def test_a_box_starts_one_round_and_its_depth_another(drawing, asked):
    balls.box_round(drawing, 0)
    pause(drawing)
    assert len(asked) == 1
    drawing.ui("depthRange").setValues(7, 13)
    drawing.settle()
    pause(drawing)
    assert len(asked) == 2
    assert not drawing.ui("depthRange").tracking  # one step a drag, not one for every slice


def test_a_box_that_is_being_dragged_waits_for_the_hand(drawing, asked):
    balls.box_round(drawing, 0)
    pause(drawing)
    workspace, views = drawing.controller.workspace, drawing.views
    found = workspace.box(drawing.parameters.segment)[0]
    middle = (np.array(found.start_kji) + found.stop_kji - 1) / 2
    side = (K, middle[1], found.start_kji[2] - 0.5)
    drawing.look_at((K, J, I))
    views.picture("Red")  # handles are placed when they are drawn
    views.enter("Red")
    at = views.display_of("Red", drawing.point(side))
    views.move("Red", at)
    views._event("Red", at, "LeftButtonPressEvent")
    for step in (4, 8, 12):
        views.move("Red", (at[0] - step, at[1]))
        pause(drawing)
    assert drawing.controller.recorder.is_box_held
    assert len(asked) == 1
    views._event("Red", (at[0] - 12, at[1]), "LeftButtonReleaseEvent")
    drawing.settle()
    assert not drawing.controller.recorder.is_box_held
    pause(drawing)
    assert len(asked) == 2


def test_a_stroke_just_before_a_box_is_taken_hold_of_is_answered_after_it(drawing, asked):
    balls.box_round(drawing, 0)
    pause(drawing)
    roi = drawing.controller.workspace.roi(drawing.parameters.segment)
    drawing.press("pointButton")
    drawing.click((K, J, I))
    roi.InvokeEvent(roi.PointStartInteractionEvent)
    pause(drawing)
    assert len(asked) == 1
    roi.InvokeEvent(roi.PointEndInteractionEvent)
    pause(drawing)
    assert len(asked) == 2


def test_the_box_of_another_object_updates_that_one(drawing, asked):
    first = drawing.parameters.segment
    balls.box_round(drawing, 0)
    pause(drawing)
    drawing.add_segment()
    roi = drawing.controller.workspace.roi(first)
    roi.SetSize(*(np.array(roi.GetSize()) + 4))
    roi.InvokeEvent(roi.PointEndInteractionEvent)
    pause(drawing)
    assert len(asked) == 2
    assert list(drawing.controller.client.prompts.boxes) == [1]


def test_fine_tune_need_not_wait_for_an_update(drawing, asked):
    drawing.click((K, J, I))
    pause(drawing)
    assert drawing.controller.is_updating
    drawing.press("fineTuneButton")
    pause(drawing)
    assert [job.request.adapt for job in asked] == [False, True]
    assert not drawing.controller.is_updating
    assert not drawing.ui("fineTuneButton").enabled


def test_a_click_in_the_middle_of_fine_tuning_takes_its_place(drawing, asked):
    drawing.click((K, J, I))
    pause(drawing)
    drawing.press("fineTuneButton")
    drawing.click((K, J, I + 3))
    assert drawing.status.text == "Cancelled."
    pause(drawing)
    assert [job.request.adapt for job in asked] == [False, True, False]
    assert drawing.controller.is_updating


def test_undo_in_the_middle_of_an_update_leaves_it_off(drawing):
    drawing.click((K, J, I))
    drawing.spin(lambda: drawing.controller.client.status.stage == "busy")
    drawing.press("undoButton")
    assert drawing.status.text == "Undone: Point"
    assert not drawing.controller.is_busy
    drawing.spin(lambda: drawing.controller.client.status.stage == "ready")
    pause(drawing)
    assert not drawing.labelmap().any()
    assert drawing.status.text == "Undone: Point"


def test_the_tick_box_turns_it_off_and_is_remembered(drawing, asked):
    import qt

    drawing.ui("updateBox").checked = False
    drawing.click((K, J, I))
    pause(drawing)
    assert not asked
    drawing.reload()
    assert not drawing.ui("updateBox").checked
    qt.QSettings().remove(SETTING)
    drawing.reload()
    assert drawing.ui("updateBox").checked  # as it comes


def test_ticking_the_box_answers_what_was_drawn_last(drawing, asked):
    drawing.ui("updateBox").checked = False
    drawing.click((K, J, I))
    pause(drawing)
    drawing.ui("updateBox").checked = True
    pause(drawing)
    assert len(asked) == 1


def test_background_alone_is_no_error(drawing, asked):
    drawing.press("backgroundButton")
    for i in (2, 3):
        drawing.click((K, J, i))
        pause(drawing)
        assert drawing.status.text == "Only background is marked so far: mark the object, too."
        assert not drawing.status.is_error
    assert not asked


def test_a_completed_object_is_left_alone_and_said_quietly(drawing, asked):
    import slicer

    logic = slicer.vtkSlicerSegmentationsModuleLogic
    segment = drawing.parameters.segmentation.GetSegmentation().GetSegment(drawing.parameters.segment)
    logic.SetSegmentStatus(segment, logic.Completed)
    drawing.click((K, J, I))
    pause(drawing)
    assert "Segment_1 is marked as completed" in drawing.status.text
    assert not drawing.status.is_error
    assert not asked


def test_a_propagated_mask_is_not_replaced_without_a_button(drawing, asked, monkeypatch):
    from InteractiveSegUI.actions.segmenting import Segmenting

    monkeypatch.setattr(Segmenting, "warning", "This replaces the propagated mask.")
    drawing.click((K, J, I))
    pause(drawing)
    assert drawing.status.text == "The propagated mask is kept; press Segment to replace it."
    assert not asked


def test_missing_packages_are_no_question_at_every_stroke(drawing, asked, monkeypatch):
    import slicer

    questions = []
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *text, **_: questions.append(text))
    monkeypatch.setattr(drawing.panel.updating, "_can_compute", lambda: False)
    drawing.click((K, J, I))
    pause(drawing)
    assert "press Segment to install them" in drawing.status.text
    assert not questions
    assert not asked


def test_a_worker_that_cannot_be_started_is_not_tried_at_every_stroke(person, monkeypatch, tmp_path):
    from InteractiveSegUI.processes.jobs import QProcessTransport

    starts, start = [], QProcessTransport.start
    monkeypatch.setattr(QProcessTransport, "start", lambda self, events: starts.append(1) or start(self, events))
    monkeypatch.setenv("PATH", str(tmp_path))
    balls.in_scene(person)
    person.add_segment()
    person.ui("updateBox").checked = True
    person.press("pointButton")
    for i in range(6):
        person.click((K, J, I + i))
        pause(person)
        person.wait()
    assert person.status.is_error
    assert "PythonSlicer" in person.status.text
    assert len(starts) <= 3
    assert len(marked(person)) == 6


def test_two_labels_on_one_voxel_the_latest_counts_and_is_reported(drawing, asked):
    drawing.ui("updateBox").checked = False
    drawing.click((K, J, I))
    drawing.press("backgroundButton")
    drawing.click((K, J, I))
    assert marked(drawing).labels.tolist() == [255]
    said = "1 voxel was marked differently before; the latest mark is used."
    assert drawing.status.text == said
    drawing.ui("updateBox").checked = True
    pause(drawing)
    assert drawing.status.text == f"Only background is marked so far: mark the object, too. {said}"


def test_painting_in_the_mask_starts_no_round(drawing, asked):
    drawing.put_round({drawing.parameters.segment: PackedMask.of(balls.inside(0))})
    drawing.editor.setActiveEffectByName("Erase")
    drawing.look_at((K, J, I))
    drawing.views.drag("Red", [drawing.views.display_of("Red", drawing.point((K, J, i))) for i in (20, 24)])
    drawing.settle()
    assert drawing.controller.history.undo_name.startswith("Edit")
    pause(drawing)
    assert not asked


def test_after_an_update_the_worker_looks_ahead_only_at_boxes(drawing, monkeypatch):
    asked, submit = [], drawing.controller.client.submit

    def noted(request, *callbacks):
        asked.append(request)
        return submit(request, *callbacks)

    monkeypatch.setattr(drawing.controller.client, "submit", noted)
    drawing.click((K, J, I))
    answered(drawing)
    pause(drawing)
    drawing.spin(lambda: drawing.controller.client.status.stage != "busy")
    assert [request.kind for request in asked if request.kind == "segment" or request.round.adapt] == ["segment"]
    balls.box_round(drawing, 0)
    drawing.spin(lambda: asked[-1].kind == "prepare" and asked[-1].round.adapt)
    drawing.press("fineTuneButton")
    drawing.wait()
    assert not drawing.status.is_error, drawing.status
