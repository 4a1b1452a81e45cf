"""The search region of an object without a box: a faint outline that appears and disappears with its mask."""

import itertools

import numpy as np
import pytest
import slicer_balls as balls

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.segmenting.segment_result import SegmentResult

K, J, I = balls.BALLS[0][0]  # noqa: E741 (the names of the axes)
SMALL, LARGE = BoundingBox((5, 10, 12), (16, 39, 37)), BoundingBox((2, 4, 7), (18, 44, 70))
BOTH = balls.inside(0) | balls.inside(1)


def outline():
    """The node of the outline, None where there is none."""
    import slicer

    return slicer.mrmlScene.GetSingletonNode("InteractiveSegRegion", "vtkMRMLModelNode")


@pytest.fixture
def drawing(person):
    """An empty object on the two balls, with the point tool, and the outline asked for."""
    balls.in_scene(person)
    person.add_segment()
    person.show_overlay("region")
    person.press("pointButton")
    return person


@pytest.fixture
def worker(drawing, monkeypatch):
    """Requests wait for an answer that the test gives."""
    return balls.rounds_asked_for(drawing, monkeypatch)


def answer(person, worker, mask, region, label=1):
    """Segment, and what comes of it."""
    person.press("segmentButton")
    regions = {label: region} if region is not None else {}
    bits = np.packbits(mask)
    worker[-1].callbacks.result(
        SegmentResult({label: PackedMask(BoundingBox.whole(mask.shape), bits)}, regions=regions)
    )
    person.settle()
    assert not person.status.is_error, person.status


def assert_round(person, box):
    """The outline runs along the outer borders of these voxels, in the patient."""
    import slicer
    import vtk

    from InteractiveSegLib.image.geometry import kji_to_ras

    borders = np.array([box.start_kji, box.stop_kji]) - 0.5
    wanted = kji_to_ras(np.array(list(itertools.product(*borders.T))), person.controller.workspace.geometry())
    to_world, points = vtk.vtkGeneralTransform(), vtk.vtkPoints()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(outline().GetParentTransformNode(), None, to_world)
    to_world.TransformPoints(outline().GetPolyData().GetPoints(), points)
    drawn = np.array([points.GetPoint(n) for n in range(points.GetNumberOfPoints())])
    apart = np.linalg.norm(wanted[:, None] - drawn[None], axis=2)
    assert apart.min(axis=0).max() < 1e-3
    assert apart.min(axis=1).max() < 1e-3


def test_a_click_is_answered_with_the_outline_of_its_region_and_one_undo_takes_back_all(drawing, monkeypatch):
    from InteractiveSegUI.actions.region_outline import RegionOutline

    kept, keep = [], RegionOutline.keep
    monkeypatch.setattr(RegionOutline, "keep", lambda self, regions: kept.append(regions) or keep(self, regions))
    drawing.ui("updateBox").checked = True
    drawing.click((K, J, I))
    drawing.spin(lambda: drawing.controller.is_updating)
    drawing.wait()
    (regions,) = kept
    assert regions[1].contains(np.array([[K, J, I]])).all()
    assert_round(drawing, regions[1])
    drawing.press("undoButton")
    assert outline() is None
    drawing.press("redoButton")
    assert_round(drawing, regions[1])


def test_it_is_shown_only_on_request(drawing, worker):
    drawing.click((K, J, I))
    for other in ("none", "probability"):
        drawing.show_overlay(other)
        answer(drawing, worker, balls.inside(0), SMALL)
        assert outline() is None
    drawing.show_overlay("region")
    assert_round(drawing, SMALL)


def test_it_is_in_place_on_an_oblique_volume_and_follows_its_transform(drawing, worker, oblique_geometry):
    import slicer
    import vtk

    from InteractiveSegLib.prompts.scribbles import Scribbles
    from InteractiveSegUI.scene.history import StepKind
    from InteractiveSegUI.scene.prompt_nodes import Marks

    volume = drawing.add_volume(balls.two_balls(), oblique_geometry.ijk_to_ras, "oblique")
    drawing.choose(volume)
    drawing.controller.workspace.new_segmentation()
    drawing.add_segment()
    click = Marks(Scribbles(np.array([[K, J, I]]), np.array([1])), Scribbles.none())  # no view shows one slice of it
    drawing.controller.change(StepKind.SCRIBBLE, "Point", {("marks",): click})
    answer(drawing, worker, balls.inside(0), SMALL)
    assert_round(drawing, SMALL)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    moved = vtk.vtkTransform()
    moved.Translate(12, -7, 31)
    moved.RotateX(30)
    transform.SetMatrixTransformToParent(moved.GetMatrix())
    volume.SetAndObserveTransformNodeID(transform.GetID())
    drawing.controller.changed()
    assert_round(drawing, SMALL)
    moved.Scale(1.5, 1.0, 0.8)
    moved.RotateZ(20)
    transform.SetMatrixTransformToParent(moved.GetMatrix())
    assert_round(drawing, SMALL)


def test_undo_and_redo_bring_back_the_one_that_belongs_to_the_mask(drawing, worker):
    drawing.click((K, J, I))
    answer(drawing, worker, balls.inside(0), SMALL)
    drawing.click((K, J, 50))
    answer(drawing, worker, BOTH, LARGE)
    assert_round(drawing, LARGE)
    drawing.press("undoButton")
    assert_round(drawing, SMALL)
    drawing.press("undoButton")  # the second click: the mask is that of the first
    assert_round(drawing, SMALL)
    drawing.press("undoButton")
    assert outline() is None
    drawing.press("redoButton")
    assert_round(drawing, SMALL)
    drawing.press("redoButton")
    drawing.press("redoButton")
    assert_round(drawing, LARGE)


def test_an_object_that_was_not_found_shows_where_it_was_not_found(drawing, worker):
    drawing.click((K, J, I))
    answer(drawing, worker, balls.inside(0) & False, SMALL)
    assert_round(drawing, SMALL)
    drawing.press("undoButton")
    assert outline() is None


def test_a_drawn_box_takes_its_place_and_is_no_outline(drawing, worker):
    drawing.click((K, J, I))
    answer(drawing, worker, balls.inside(0), SMALL)
    balls.box_round(drawing, 0)
    assert outline() is None
    answer(drawing, worker, BOTH, None)
    assert outline() is None
    drawing.press("removeBoxButton")
    assert outline() is None  # the mask is the one that was found in the box
    answer(drawing, worker, balls.inside(0), LARGE)
    assert_round(drawing, LARGE)


def test_a_mask_painted_by_hand_was_not_found_there(drawing, worker):
    drawing.click((K, J, I))
    answer(drawing, worker, balls.inside(0), SMALL)
    drawing.editor.setActiveEffectByName("Erase")
    drawing.look_at((K, J, I))
    drawing.views.drag("Red", [drawing.views.display_of("Red", drawing.point((K, J, i))) for i in (20, 24)])
    drawing.settle()
    assert drawing.controller.history.undo_name.startswith("Edit")
    assert outline() is None
    drawing.press("undoButton")
    assert_round(drawing, SMALL)


def test_it_is_that_of_the_object_in_hand_and_goes_with_it(drawing, worker):
    drawing.click((K, J, I))
    answer(drawing, worker, balls.inside(0), SMALL)
    first = drawing.parameters.segment
    drawing.add_segment()
    assert outline() is None
    drawing.click((K, J, 50))
    answer(drawing, worker, balls.inside(1), LARGE, label=2)
    assert_round(drawing, LARGE)
    drawing.parameters.segment = first
    assert_round(drawing, SMALL)
    drawing.parameters.segmentation.GetSegmentation().GetSegment(first).SetColor(0.1, 0.9, 0.2)
    drawing.controller.changed()
    np.testing.assert_allclose(outline().GetDisplayNode().GetColor(), (0.1, 0.9, 0.2))
    drawing.press("removeSegmentButton")
    assert_round(drawing, LARGE)
    drawing.press("undoButton")
    drawing.parameters.segment = first
    assert_round(drawing, SMALL)
    drawing.controller.workspace.new_segmentation()
    assert outline() is None


def test_a_round_that_leaves_the_mask_of_a_loaded_scene_as_it_was_has_its_outline(drawing, worker, tmp_path):
    import slicer

    drawing.click((K, J, I))
    answer(drawing, worker, balls.inside(0), SMALL)
    models = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLModelNode")
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(False)
    assert outline() is None
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    drawing.spin(lambda: drawing.ui("segmentButton").enabled)
    assert outline() is None  # it is not saved
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLModelNode") == models - 1
    answer(drawing, worker, balls.inside(0), SMALL)
    assert "did not change" in drawing.status.text
    assert_round(drawing, SMALL)


def test_it_is_no_prompt_and_is_listed_nowhere(drawing, worker):
    import slicer

    drawing.click((K, J, I))
    answer(drawing, worker, balls.inside(0), SMALL)
    prompts, _notes = drawing.controller.workspace.prompts()
    assert not prompts.boxes
    assert not slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsNode")
    assert outline().GetHideFromEditors()
    assert not outline().GetSelectable()


def test_the_scene_is_closed_and_the_next_one_has_an_outline_of_its_own(drawing, worker):
    import slicer

    drawing.click((K, J, I))
    answer(drawing, worker, balls.inside(0), SMALL)
    slicer.mrmlScene.Clear(False)
    drawing.settle()
    assert outline() is None
    balls.in_scene(drawing)
    drawing.add_segment()
    drawing.show_overlay("region")
    assert outline() is None
    drawing.press("pointButton")
    drawing.click((K, J, I))
    answer(drawing, worker, balls.inside(0), LARGE)
    assert_round(drawing, LARGE)
    assert outline().GetDisplayNode() is not None


def test_the_picture_of_the_slice_shows_a_thin_faint_line(drawing, worker):
    drawing.click((K, J, I))
    answer(drawing, worker, balls.inside(0), SMALL)
    drawing.look_at((K, J, I))
    drawing.parameters.segmentation.GetDisplayNode().SetVisibility(False)
    drawing.show_overlay("none")
    plain = drawing.views.picture("Red").astype(int)
    drawing.show_overlay("region")
    changed = np.abs(drawing.views.picture("Red") - plain).max(axis=2)
    rows, columns = np.nonzero(changed > 10)
    assert changed.max() < 170  # of 255: the image shows through it
    at = [drawing.views.display_of("Red", drawing.point((K, j - 0.5, i - 0.5))) for j, i in ((10, 12), (39, 37))]
    width, height = np.abs(np.subtract(*at))
    assert abs(np.ptp(columns) - width) < 4
    assert abs(np.ptp(rows) - height) < 4
    assert width + height < len(rows) < 7 * (width + height)
