"""The whole workflow in the panel: box and scribbles by mouse, masks by the worker, undo, several segments, files."""

import numpy as np
import pytest
import slicer_balls as balls
from scene_by_command import by_command_line


def test_box_scribbles_undo_second_segment_save_and_reload(person, tmp_path):
    import slicer

    balls.in_scene(person)
    first = person.add_segment()
    balls.box_round(person, 0)
    assert person.controller.history.undo_name == "Box of Segment_1"
    person.press("segmentButton")
    assert not person.ui("segmentButton").enabled
    assert person.ui("cancelButton").enabled
    person.wait()
    assert not person.status.is_error, person.status
    by_box = person.labelmap()
    np.testing.assert_array_equal(by_box, by_command_line(tmp_path, person, "--no-adapt"))

    person.scribble("object", (10, 22, 35), (10, 26, 35))
    person.scribble("background", (10, 20, 15), (10, 28, 15))
    assert person.controller.history.undo_name == "Scribble"
    person.press("fineTuneButton")
    person.wait()
    tuned = person.labelmap()
    np.testing.assert_array_equal(tuned, by_command_line(tmp_path, person))

    person.press("undoButton")
    np.testing.assert_array_equal(person.labelmap(), by_box)
    marks = person.controller.workspace.marks().all
    person.press("undoButton")
    assert set(person.controller.workspace.marks().all.labels.tolist()) == {1}
    person.press("redoButton")
    assert person.controller.workspace.marks().all.equals(marks)
    person.press("redoButton")
    np.testing.assert_array_equal(person.labelmap(), tuned)

    person.add_segment()
    balls.box_round(person, 1)
    person.press("segmentButton")
    person.wait()
    both = person.labelmap()
    np.testing.assert_array_equal(both == 1, tuned == 1)
    assert np.count_nonzero(both == 2) > 500

    path = tmp_path / "study.mrb"
    prompts, _ = person.controller.workspace.prompts()
    assert slicer.util.saveScene(str(path))
    slicer.mrmlScene.Clear(False)
    assert person.parameters.volume is None
    slicer.util.loadScene(str(path))
    person.settle()
    np.testing.assert_array_equal(person.labelmap(), both)
    again, _ = person.controller.workspace.prompts()
    assert dict(again.boxes) == dict(prompts.boxes)
    assert again.scribbles.equals(prompts.scribbles)
    person.parameters.segment = first
    person.press("segmentButton")
    person.wait()
    assert not person.status.is_error, person.status


def test_segments_computed_together_equal_the_command_line(person, tmp_path):
    balls.in_scene(person)
    for ball in (0, 1):
        person.add_segment()
        balls.box_round(person, ball)
    person.ui("everySegmentBox").checked = True
    person.press("segmentButton")
    person.wait()
    np.testing.assert_array_equal(person.labelmap(), by_command_line(tmp_path, person, "--no-adapt"))


def test_a_result_for_prompts_that_changed_meanwhile_is_dropped(person):
    balls.in_scene(person)
    person.add_segment()
    balls.box_round(person, 0)
    person.press("segmentButton")
    person.spin(lambda: person.status.progress is not None)
    person.scribble("object", (10, 20, 22), (10, 27, 26))
    person.wait()
    assert not person.labelmap().any()
    assert person.controller.history.undo_name == "Scribble"
    person.press("segmentButton")
    person.wait()
    assert person.labelmap().any()


@pytest.mark.parametrize("missing", ["volume", "prompts"])
def test_what_is_missing_is_reported(person, missing):
    if missing == "volume":
        for name in ("addSegmentButton", "segmentButton", "brushButton"):
            assert not person.ui(name).enabled
            assert "Choose a volume first." in person.ui(name).toolTip
        return
    balls.in_scene(person)
    person.add_segment()
    assert not person.ui("segmentButton").enabled
    assert "Place a box or mark the object first." in person.ui("segmentButton").toolTip


def test_closing_the_scene_in_the_middle_of_a_run_is_clean(person):
    import slicer

    balls.in_scene(person)
    person.add_segment()
    balls.box_round(person, 0)
    person.press("segmentButton")
    person.spin(lambda: person.status.progress is not None)
    slicer.mrmlScene.Clear(False)
    person.wait()
    assert person.parameters.volume is None
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    balls.in_scene(person)
    person.add_segment()
    balls.box_round(person, 0)
    person.press("segmentButton")
    person.wait()
    assert person.labelmap().any()
