"""Boxes and scribbles by the mouse, in any view, and by numbers."""

import numpy as np
import pytest
import slicer_balls as balls

from InteractiveSegLib.image.box import BoundingBox

K, J, I = balls.BALLS[0][0]  # noqa: E741 (the names of the axes)


@pytest.fixture
def boxed(person):
    balls.in_scene(person)
    person.add_segment()
    balls.box_round(person, 0)
    return person


def box(person):
    return person.controller.workspace.box(person.parameters.segment)[0]


def drag_handle(person, view, start_kji, stop_kji):
    """Take a handle of the ROI with the mouse and let it go elsewhere."""
    person.look_at((K, J, I))
    person.views.picture(view)  # handles are placed when they are drawn
    person.views.enter(view)
    points = [person.views.display_of(view, person.point(each)) for each in (start_kji, stop_kji)]
    person.views.drag(view, points)
    person.settle()


def sides(person):
    """Middle of each side of the box, as continuous kji: axis -> (low, high)."""
    found = box(person)
    middle = (np.array(found.start_kji) + found.stop_kji - 1) / 2
    low, high = np.array(found.start_kji) - 0.5, np.array(found.stop_kji) - 0.5

    def at(axis, value):
        point = middle.copy()
        point[axis] = value
        return tuple(point)

    return [(at(axis, low[axis]), at(axis, high[axis])) for axis in range(3)]


@pytest.mark.parametrize(("view", "axis"), [("Red", 2), ("Red", 1), ("Green", 0), ("Yellow", 0)])
def test_a_side_of_the_box_is_dragged_with_the_mouse(boxed, view, axis):
    """In the axial view its width and height, in the others its depth."""
    before, (low, _high) = box(boxed), sides(boxed)[axis]
    target = list(low)
    target[axis] -= 2
    drag_handle(boxed, view, low, target)
    after = box(boxed)
    assert before.start_kji[axis] - after.start_kji[axis] in (1, 2, 3)
    for other in range(3):
        assert after.stop_kji[other] == before.stop_kji[other]
        assert other == axis or after.start_kji[other] == before.start_kji[other]
    assert boxed.controller.history.undo_name == "Box of Segment_1"
    boxed.press("undoButton")
    assert box(boxed) == before
    boxed.press("redoButton")
    assert box(boxed) == after


def test_a_dragged_box_is_the_one_that_is_segmented(boxed):
    low, _ = sides(boxed)[2]
    drag_handle(boxed, "Red", low, (low[0], low[1], low[2] + 12))
    boxed.press("segmentButton")
    boxed.wait()
    assert not boxed.status.is_error, boxed.status
    assert np.argwhere(boxed.labelmap())[:, 2].min() >= box(boxed).start_kji[2] > 14


def test_the_first_and_the_last_slice_are_set_by_numbers_or_from_the_slice_that_is_shown(boxed):
    depth = boxed.ui("depthRange")
    assert (depth.minimum, depth.maximum) == (0, balls.SHAPE_KJI[0] - 1)
    depth.setValues(7, 13)
    boxed.settle()
    assert (box(boxed).start_kji[0], box(boxed).stop_kji[0]) == (7, 14)
    assert boxed.controller.history.undo_name == "Depth of Segment_1"
    boxed.look_at((5, J, I))
    boxed.press("firstSliceButton")
    boxed.look_at((15, J, I))
    boxed.press("lastSliceButton")
    assert (box(boxed).start_kji[0], box(boxed).stop_kji[0]) == (5, 16)
    assert (depth.minimumValue, depth.maximumValue) == (5, 15)
    for _ in range(3):
        boxed.press("undoButton")
    assert (depth.minimumValue, depth.maximumValue) == (box(boxed).start_kji[0], box(boxed).stop_kji[0] - 1)
    assert (box(boxed).start_kji[0], box(boxed).stop_kji[0]) != (7, 14)


def test_a_box_drawn_in_the_sagittal_view_has_its_depth_across_it(person):
    balls.in_scene(person)
    person.add_segment()
    person.place_box((5, 12, I), (15, 36, I), view="Yellow")
    person.ui("depthRange").setValues(12, 37)
    person.settle()
    assert (box(person).start_kji[2], box(person).stop_kji[2]) == (12, 38)
    person.look_at((K, J, 14))
    person.press("firstSliceButton")
    assert box(person).start_kji[2] == 14


def test_boxes_are_hidden_and_shown(boxed):
    roi = boxed.controller.workspace.roi(boxed.parameters.segment)
    boxed.ui("boxVisibleBox").click()
    assert not roi.GetDisplayNode().GetVisibility()
    boxed.ui("boxVisibleBox").click()
    assert roi.GetDisplayNode().GetVisibility()


@pytest.mark.parametrize(("sphere", "slices"), [(False, [K]), (True, [K - 1, K, K + 1])])
def test_the_brush_marks_a_disk_or_a_sphere(boxed, sphere, slices):
    boxed.ui("sphereBox").checked = sphere
    boxed.ui("brushSlider").value = 8.0
    boxed.scribble("object", (K, J, I - 4), (K, J, I + 4))
    marks = boxed.controller.workspace.marks().all
    assert sorted(set(marks.indices_kji[:, 0].tolist())) == slices
    assert set(marks.labels.tolist()) == {1}


def test_the_very_first_stroke_can_be_undone(person):
    balls.in_scene(person)
    person.add_segment()
    person.scribble("object", (K, J, I - 4), (K, J, I + 4))
    assert len(person.controller.workspace.marks().all)
    assert person.controller.history.undo_name == "Scribble"
    person.press("undoButton")
    assert len(person.controller.workspace.marks().all) == 0


def test_the_eraser_takes_marks_of_every_label(boxed):
    boxed.scribble("object", (K, J, I - 4), (K, J, I + 4))
    boxed.scribble("background", (K, J - 14, I), (K, J - 14, I + 6))
    kept = boxed.controller.workspace.marks().all
    boxed.ui("brushSlider").value = 4.0
    boxed.scribble("erase", (K, J, I - 5), (K, J, I + 5))
    boxed.scribble("erase", (K, J - 14, I - 1), (K, J - 14, I + 7))
    assert len(kept)
    assert len(boxed.controller.workspace.marks().all) == 0
    boxed.press("undoButton")
    assert len(boxed.controller.workspace.marks().all)


def test_a_box_outside_the_volume_is_cut_to_it(person):
    """Two clicks make a cube, which is deeper than this volume."""
    balls.in_scene(person)
    person.add_segment()
    person.place_box((10, 4, 4), (10, 44, 68))
    assert box(person).intersected(balls.SHAPE_KJI) == box(person)
    assert isinstance(box(person), BoundingBox)


def test_what_was_drawn_in_a_loaded_scene_can_be_segmented_at_once(person, tmp_path):
    import slicer

    balls.in_scene(person)
    person.add_segment()
    person.scribble("object", (10, 24, 20), (10, 24, 28))
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    person.spin(lambda: person.ui("segmentButton").enabled, timeout_s=10)
