"""From a few slices to a volume in the panel: marks, propagation by the worker, the next slice, overlays, files."""

import os

import numpy as np
import pytest
import slicer_balls as balls
from drawn_slices import draw, finished, look, mark
from stopwatch import Stopwatch
from warm_worker import warm_command

from InteractiveSegLib.cli import main
from InteractiveSegLib.image.image_io import read_labelmap, read_volume, write_image, write_labelmap
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.notes.notes import note_fields, notes_of
from InteractiveSegLib.prompts.object_roi import object_roi
from InteractiveSegLib.propagate import registration
from InteractiveSegLib.segmenting.segment_result import SegmentResult

needs_elastix = pytest.mark.skipif(not registration.has_elastix(), reason="itk-elastix is not installed")


def done(person):
    return [(each.axis, each.index) for each in person.controller.recorder.slices.slices]


def by_command_line(folder, person, indices, *options):
    """The labelmap of ``interactiveseg propagate`` for what the scene holds on slices along k."""
    volume = person.controller.workspace.volume()
    labels = np.zeros_like(person.labelmap())
    labels[indices] = person.labelmap()[indices]
    write_image(folder / "image.nrrd", volume.array_kji, volume.geometry)
    write_labelmap(folder / "slices.nrrd", labels, volume.geometry)
    annotated = ",".join(map(str, indices))
    arguments = [str(folder / "image.nrrd"), "--slices", str(folder / "slices.nrrd"), "--annotated", annotated]
    assert main(["propagate", *arguments, "-o", str(folder / "mask.nrrd"), "--quiet", *options]) == 0
    return read_labelmap(folder / "mask.nrrd", read_volume(folder / "image.nrrd").geometry)


@pytest.fixture
def ball(person):
    """The first ball drawn on three slices and marked there, and an empty slice beyond it."""
    balls.in_scene(person)
    person.add_segment()
    draw(person, balls.inside(0), (0, 7), (0, 10), (0, 13))
    mark(person, (0, 7), (0, 10), (0, 13), (0, 16))
    return person


@needs_elastix
def test_a_few_slices_become_a_volume_as_by_the_command_line(ball, tmp_path):
    expected = by_command_line(tmp_path, ball, [7, 10, 13, 16])
    drawn = ball.labelmap()
    finished(ball, "propagateButton")
    found = ball.labelmap()
    np.testing.assert_array_equal(found, expected)
    for index in (7, 10, 13, 16):
        np.testing.assert_array_equal(found[index] > 0, balls.inside(0)[index] & (index != 16))
    assert ball.controller.history.undo_name == "Propagate"
    ball.press("undoButton")
    np.testing.assert_array_equal(ball.labelmap(), drawn)
    ball.press("redoButton")
    np.testing.assert_array_equal(ball.labelmap(), found)
    truth = balls.inside(0)
    assert 2 * (truth & (found > 0)).sum() / (truth.sum() + (found > 0).sum()) > 0.9


def test_a_mark_is_of_the_view_that_is_worked_in_and_undo_takes_it_back(person):
    balls.in_scene(person)
    person.add_segment()
    draw(person, balls.inside(0), (0, 10), (1, 24), (2, 24))
    mark(person, (0, 10), (1, 24), (2, 24), (2, 60))
    assert done(person) == [(0, 10), (1, 24), (2, 24), (2, 60)]
    assert person.status.text == "Marked sagittal, L 60 mm as done for Segment_1: empty, the object is absent there."
    assert person.controller.history.undo_name == "Mark sagittal, L 60 mm"
    person.press("undoButton")
    person.press("undoButton")
    assert done(person) == [(0, 10), (1, 24)]
    table = person.ui("sliceTable")
    assert [table.item(row, 0).text() for row in range(table.rowCount)] == ["axial, S 25 mm", "coronal, P 24 mm"]
    person.press("redoButton")
    assert done(person)[-1] == (2, 24)


def test_marks_are_listed_shown_and_removed(ball):
    from InteractiveSegUI.scene.slice_views import place_shown

    red = ball.views["Red"].get_view_node()
    assert not ball.ui("unmarkSliceButton").enabled
    ball.ui("sliceTable").selectRow(1)
    ball.settle()
    ball.press("showSliceButton")
    assert place_shown(red, ball.controller.workspace.geometry()) == (0, 10)
    ball.press("unmarkSliceButton")
    assert done(ball) == [(0, 7), (0, 13), (0, 16)]
    assert ball.labelmap()[10].any()
    ball.press("unmarkAllButton")
    assert done(ball) == []
    assert ball.ui("sliceTable").rowCount == 0
    ball.press("undoButton")
    ball.press("undoButton")
    assert sorted(done(ball)) == [(0, 7), (0, 10), (0, 13), (0, 16)]


def test_a_correction_by_hand_on_a_marked_slice_counts_and_one_beside_it_stays(ball):
    ball.ui("methodBox").currentText = "By shape alone"
    larger = balls.inside(0).copy()
    larger[10, 14:34, 34:38] = larger[12, 20:24, 40:44] = True
    draw(ball, larger, (0, 10), (0, 12))
    assert ball.controller.history.undo_name == "Edit of Segment_1"
    finished(ball, "propagateButton")
    found = ball.labelmap() > 0
    np.testing.assert_array_equal(found[10], larger[10])
    assert found[12, 20:24, 40:44].all()
    assert "voxels were kept as you marked them by hand" in ball.status.text
    ball.press("undoButton")
    ball.press("undoButton")
    finished(ball, "propagateButton")
    np.testing.assert_array_equal(ball.labelmap()[10] > 0, balls.inside(0)[10])


def test_a_network_s_mask_on_a_marked_slice_does_not_change_what_was_marked(ball):
    ball.ui("methodBox").currentText = "By shape alone"
    ball.put_round({ball.parameters.segment: PackedMask.of(balls.inside(1))})
    finished(ball, "propagateButton")
    np.testing.assert_array_equal(ball.labelmap()[10] > 0, balls.inside(0)[10])


def test_several_segments_together_equal_the_command_line(person, tmp_path):
    balls.in_scene(person)
    for number in (0, 1):
        person.add_segment()
        draw(person, balls.inside(number), (0, 7), (0, 10), (0, 13))
    person.ui("everySegmentBox").checked = True
    mark(person, (0, 7), (0, 10), (0, 13))
    expected = by_command_line(tmp_path, person, [7, 10, 13], "--method", "shape")
    person.ui("methodBox").setCurrentText("By shape alone")
    finished(person, "propagateButton")
    np.testing.assert_array_equal(person.labelmap(), expected)
    assert set(np.unique(expected)) == {0, 1, 2}


def test_neighbours_and_completed_segments_are_never_eaten(ball):
    import slicer

    ball.ui("methodBox").currentText = "By shape alone"
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    node = ball.controller.workspace.segmentation_node
    first, second = ball.parameters.segment, ball.add_segment()
    wall = np.zeros(balls.SHAPE_KJI, bool)
    wall[7:14, 20:28, 20:28] = True
    wall[[7, 10, 13]] = False  # the drawn slices are free of it
    ball.put_round({second: PackedMask.of(wall)})
    logic.SetSegmentStatus(node.GetSegmentation().GetSegment(second), logic.Completed)
    before = ball.labelmap() == 2
    ball.parameters.segment = first
    finished(ball, "propagateButton")
    np.testing.assert_array_equal(ball.labelmap() == 2, before)
    assert "voxels were left to Segment_2" in ball.status.text
    assert (ball.labelmap() == 1)[8].any()
    logic.SetSegmentStatus(node.GetSegmentation().GetSegment(first), logic.Completed)
    for button in ("propagateButton", "markSliceButton", "nextSliceButton"):
        ball.press(button)
        assert "Segment_1 is marked as completed" in ball.status.text


def test_a_removed_segment_takes_its_marks_with_it(ball):
    ball.press("removeSegmentButton")
    assert done(ball) == []
    ball.add_segment()
    assert not ball.ui("propagateButton").enabled
    assert "mark it as done" in ball.ui("propagateButton").toolTip


def test_a_slice_marked_for_one_segment_alone_is_named(ball):
    ball.add_segment()
    ball.ui("everySegmentBox").checked = True
    mark(ball, (0, 9))
    ball.press("propagateButton")
    assert ball.status.is_error
    assert "axial, S 17.5 mm is marked for Segment_1 but not for Segment_2" in ball.status.text


def test_notes_speak_of_segments_by_name_and_of_slices_as_the_views_do(person, monkeypatch):
    """A box that scribbles reach out of, one slice alone, and slices that contradict each other."""
    balls.in_scene(person)
    person.add_segment()
    node = person.controller.workspace.segmentation_node
    node.GetSegmentation().GetSegment(person.parameters.segment).SetName("left ventricle")
    balls.box_round(person, 0)
    person.scribble("object", (10, 24, 40), (10, 24, 44))

    def answered(_name, _request, prompts, apply, _failed=None):
        note = object_roi(prompts, 1, balls.geometry())[1]
        person.controller.say(apply(SegmentResult({}, notes=notes_of(note_fields([note])))))

    with monkeypatch.context() as patch:
        patch.setattr(person.controller, "run", answered)
        person.press("segmentButton")
    assert "the box of left ventricle was enlarged to contain its scribbles." in person.status.text
    person.ui("methodBox").currentText = "By shape alone"
    draw(person, balls.inside(0), (0, 10))
    mark(person, (0, 10))
    finished(person, "propagateButton")
    assert "axial, S 25 mm is the only slice with a label along its axis" in person.status.text
    assert "label 1" not in person.status.text


def test_a_segment_marked_on_empty_slices_alone_is_not_propagated(person):
    balls.in_scene(person)
    person.add_segment()
    mark(person, (0, 3), (1, 24))
    for button in ("propagateButton", "nextSliceButton"):
        person.press(button)
        assert person.status.is_error
        assert person.status.text.startswith("all slices that are marked for Segment_1 are empty: draw the object")


@needs_elastix
def test_a_result_for_slices_that_changed_meanwhile_is_dropped_and_cancel_is_quick(ball):
    drawn = ball.labelmap()
    ball.press("propagateButton")
    ball.spin(lambda: ball.status.progress is not None)
    look(ball, (0, 9), "Red")
    ball.panel.marking.mark()
    ball.wait()
    np.testing.assert_array_equal(ball.labelmap(), drawn)
    ball.press("undoButton")
    ball.press("propagateButton")
    ball.spin(lambda: ball.controller.client.status.stage == "busy")
    with Stopwatch() as took:
        ball.press("cancelButton")
        ball.wait()
    assert took.seconds < 1
    assert ball.status.text == "Cancelled."
    np.testing.assert_array_equal(ball.labelmap(), drawn)


def test_the_next_slice_is_shown_with_its_reason_and_never_twice(ball):
    from InteractiveSegUI.scene.slice_views import place_shown

    ball.ui("methodBox").currentText = "By shape alone"
    shown = []
    for _ in range(5):
        ball.press("nextSliceButton")
        ball.wait()
        assert not ball.status.is_error, ball.status
        best = ball.panel.propagating.advice.suggestions[0]
        view = ball.views[("Red", "Green", "Yellow")[best.axis]].get_view_node()
        assert place_shown(view, ball.controller.workspace.geometry()) == (best.axis, best.index)
        called = ("axial, S ", "coronal, P ", "sagittal, L ")[best.axis]
        place_mm = (2.5, 1, 1)[best.axis] * best.index
        assert ball.ui("adviceLabel").text.startswith(f"{called}{place_mm:g} mm: {best.reason}")
        assert f"{called}{place_mm:g} mm" in ball.status.text
        shown.append((best.axis, best.index))
    assert len(set(shown)) == 5
    assert not set(shown) & set(done(ball))


def test_on_a_stack_of_thick_slices_the_next_slice_is_one_that_can_be_drawn_on(person):
    """The same voxels, 10 mm thick: none of the reformatted planes is proposed."""
    thick = balls.geometry().ijk_to_ras.copy()
    thick[:3, 2] = (0, 0, 10)
    person.choose(person.add_volume(balls.two_balls(), thick))
    person.add_segment()
    draw(person, balls.inside(0), (0, 7), (0, 10), (0, 13))
    mark(person, (0, 7), (0, 10), (0, 13))
    person.ui("methodBox").currentText = "By shape alone"
    for _ in range(4):
        finished(person, "nextSliceButton")
        assert person.ui("adviceLabel").text.startswith("axial, S ")


def test_it_is_enough_when_every_slice_is_done(person):
    balls.in_scene(person)
    person.add_segment()
    draw(person, balls.inside(0), *((0, index) for index in range(5, 16)))
    mark(person, *((0, index) for index in range(5, 16)))
    person.ui("methodBox").currentText = "By shape alone"
    finished(person, "nextSliceButton")
    assert "nough" in person.status.text
    assert "enough" in person.ui("adviceLabel").text


def test_the_network_s_rounds_count_for_the_next_slice(ball):
    """Where the network's answer and the propagated mask differ is a reason."""
    from InteractiveSegLib.image.box import BoundingBox
    from InteractiveSegLib.propagate.guidance import FRONT_END
    from InteractiveSegLib.segmenting.segment_result import WorkingProbability

    ball.ui("methodBox").currentText = "By shape alone"
    wrong = np.zeros(balls.SHAPE_KJI, np.float32)
    wrong[5:16] = balls.inside(0)[5:16]
    wrong[8, 5:45, 40:70] = 1
    ball.panel.overlays.show({1: WorkingProbability(BoundingBox.whole(balls.SHAPE_KJI), wrong)})
    finished(ball, "nextSliceButton")
    best = ball.panel.propagating.advice.suggestions[0]
    assert best.reason == FRONT_END
    assert np.take(wrong - balls.inside(0), best.index, best.axis).max() == 1


def test_marks_come_back_with_the_scene(ball, tmp_path):
    import slicer

    ball.ui("methodBox").currentText = "By shape alone"
    finished(ball, "propagateButton")
    before, slices = ball.labelmap(), ball.controller.recorder.slices
    assert slicer.util.saveScene(str(tmp_path / "study.mrb"))
    slicer.mrmlScene.Clear(False)
    assert ball.ui("sliceTable").rowCount == 0
    slicer.util.loadScene(str(tmp_path / "study.mrb"))
    ball.settle()
    assert ball.controller.recorder.slices.equals(slices)
    assert ball.ui("sliceTable").rowCount == 4
    finished(ball, "propagateButton")
    np.testing.assert_array_equal(ball.labelmap(), before)


def test_marks_come_back_after_a_crash(ball, tmp_path):
    from InteractiveSegLib.records.journal import Recoverable
    from InteractiveSegLib.records.session_state import last_state

    slices, drawn = ball.controller.recorder.slices, ball.labelmap()
    journal = ball.panel.journaling._journal
    assert journal.wait(10)
    kept = tmp_path / "kept.journal"
    kept.write_bytes(journal.path.read_bytes())
    ball.panel.journaling.found = [Recoverable(kept, last_state(kept.read_bytes()))]
    ball.controller.changed()
    ball.press("recoverButton")
    ball.spin(lambda: not ball.panel.journaling.found)
    assert ball.controller.recorder.slices.equals(slices)
    np.testing.assert_array_equal(ball.labelmap(), drawn)


def test_each_volume_and_segmentation_has_marks_of_its_own(ball):
    segmentation = ball.parameters.segmentation
    ball.press("newSegmentationButton")
    ball.add_segment()
    assert done(ball) == []
    ball.parameters.segmentation = segmentation
    assert len(done(ball)) == 4


def test_marks_of_an_image_that_was_replaced_are_refused_with_a_message(ball):
    import slicer

    slicer.util.updateVolumeFromArray(ball.parameters.volume, np.zeros((5, 48, 72), np.int16))
    ball.controller.watch()
    assert "slices were marked on an image of (20, 48, 72) voxels" in ball.status.text
    ball.parameters.segmentation.GetSegmentation().RemoveSegment(ball.parameters.segment)
    ball.add_segment()
    ball.press("unmarkAllButton")
    look(ball, (0, 3), "Red")
    ball.press("markSliceButton")
    assert done(ball) == [(0, 3)]


@pytest.fixture
def without_elastix(person, monkeypatch, tmp_path):
    """The worker's Python has an itk without elastix."""
    (tmp_path / "itk").mkdir()
    (tmp_path / "itk" / "__init__.py").write_text("")
    if not hasattr(os, "fork"):
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        return
    from InteractiveSegUI.processes import jobs

    command = warm_command("worker_without", "itk", str(tmp_path), "worker")
    monkeypatch.setattr(jobs, "worker_command", lambda _python: command)


def test_without_elastix_the_panel_offers_shapes(without_elastix, ball):
    assert not ball.ui("shapesButton").isVisibleTo(ball.widget.parent)
    ball.press("propagateButton")
    ball.wait()
    assert ball.status.is_error
    assert "itk-elastix" in ball.status.text
    assert "itk-elastix, which is not installed" in ball.ui("offerLabel").text
    ball.ui("slicesButton").collapsed = False
    assert ball.ui("shapesButton").isVisibleTo(ball.widget.parent)
    finished(ball, "shapesButton")
    assert ball.labelmap()[8].any()
    assert not ball.ui("shapesButton").isVisibleTo(ball.widget.parent)
    assert ball.ui("methodBox").currentText == "By shape alone"


def test_a_person_who_does_not_install_elastix_can_use_shapes(ball, monkeypatch, tmp_path):
    import slicer

    from InteractiveSegUI.processes.packages import Package

    ball.panel.installer.requirements = tmp_path / "requirements.txt"
    ball.panel.installer.requirements.write_text("itk-elastix>=0.20\n")
    monkeypatch.setattr(Package, "installed", property(lambda package: ""))
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda _text, **_options: False)
    ball.press("propagateButton")
    assert "missing: itk-elastix" in ball.status.text
    ball.ui("slicesButton").collapsed = False
    ball.controller.changed()
    finished(ball, "shapesButton")
    assert ball.labelmap()[8].any()
    finished(ball, "propagateButton")


@pytest.mark.parametrize("kind", ["confidence", "residual"])
def test_maps_are_laid_over_the_image_with_a_legend(ball, kind):
    import slicer

    ball.ui("methodBox").currentText = "By shape alone"
    finished(ball, "propagateButton")
    before = right_border(ball)
    ball.show_overlay(kind)
    ball.ui("opacitySlider").value = 0.7
    node = slicer.mrmlScene.GetSingletonNode("InteractiveSegOverlay", "vtkMRMLScalarVolumeNode")
    result = ball.panel.overlays.propagated
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), getattr(result, kind))
    from InteractiveSegUI.scene.volume_io import geometry_of

    assert geometry_of(node).difference_mm(balls.geometry().cropped(result.box)) < 1e-6
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert {each.GetForegroundVolumeID() for each in composites} == {node.GetID()}
    assert {each.GetForegroundOpacity() for each in composites} == {0.7}
    legend = slicer.modules.colors.logic().GetColorLegendDisplayNode(node)
    assert (legend.GetTitleText(), legend.GetLabelFormat()) == ("", "%.0f %%")
    assert (
        node.GetName() == {"confidence": "Confidence of the propagation", "residual": "What drawing would change"}[kind]
    )
    assert np.abs(right_border(ball).astype(int) - before).max() > 100
    ball.show_overlay("none")
    np.testing.assert_array_equal(right_border(ball), before)
    assert {each.GetForegroundVolumeID() for each in composites} == {None}


def right_border(person):
    """Where the axial view draws the legend, beside the object."""
    person.views["Red"].set_render_blocked(False)
    picture = person.views.picture("Red")
    person.views["Red"].set_render_blocked(True)
    return picture[120:280, 375:390]


def test_the_confidence_of_the_slices_is_drawn(ball):
    ball.ui("methodBox").currentText = "By shape alone"
    ball.ui("slicesButton").collapsed = False
    assert not ball.ui("plotLabel").isVisibleTo(ball.widget.parent)
    finished(ball, "propagateButton")
    assert ball.ui("plotLabel").isVisibleTo(ball.widget.parent)
    values = ball.panel.overlays.propagated.slice_confidence[0]
    lowest = f"S {2.5 * np.nanargmin(values):g} mm"
    assert ball.ui("plotCaption").text == f"Confidence of the axial slices, lowest at {lowest}:"
    picture = ball.ui("plotLabel").pixmap.toImage()
    said = np.flatnonzero(~np.isnan(values))
    values = np.asarray(values)[said[0] : said[-1] + 1]
    heights = [
        sum(picture.pixelColor(column, row).alpha() > 0 for row in range(4, 58)) for column in bar_middles(len(values))
    ]
    expected = np.nan_to_num(values) * 54
    assert np.abs(np.array(heights) - expected).max() <= 1.5


def bar_middles(count):
    """Columns of the plot in the middle of each bar."""
    return (14 + (319 - 14) * (np.arange(count) + 0.5) / count).astype(int).tolist()
