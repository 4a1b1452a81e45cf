"""Volumes, segmentations and boxes anywhere in the patient: handled correctly, or refused with a message."""

import numpy as np
import pytest

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import kji_to_ras


def moved(degrees=30.0, translation=(5.0, -7.0, 11.0)):
    """A turn about the z axis and a shift, (4, 4)."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    matrix = np.eye(4)
    matrix[:2, :2] = (c, -s), (s, c)
    matrix[:3, 3] = translation
    return matrix


def under(node, matrix):
    """Put a node under a linear transform."""
    import slicer

    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(transform.GetID())
    return transform


def under_a_bend(node):
    import slicer
    import vtk

    spline = vtk.vtkThinPlateSplineTransform()
    spline.SetBasisToR()
    points = vtk.vtkPoints()
    for corner in ((0, 0, 0), (50, 0, 0), (0, 50, 0), (0, 0, 50)):
        points.InsertNextPoint(corner)
    bent = vtk.vtkPoints()
    bent.DeepCopy(points)
    bent.SetPoint(1, 60, 5, 5)
    spline.SetSourceLandmarks(points)
    spline.SetTargetLandmarks(bent)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "bend")
    transform.SetAndObserveTransformToParent(spline)
    node.SetAndObserveTransformNodeID(transform.GetID())


@pytest.fixture
def oblique(person, oblique_geometry):
    """An oblique, anisotropic, flipped volume, chosen in the panel."""
    array = np.arange(np.prod(oblique_geometry.shape_kji), dtype=np.int16).reshape(oblique_geometry.shape_kji)
    volume = person.add_volume(array, oblique_geometry.ijk_to_ras)
    person.choose(volume)
    return volume


def test_an_oblique_volume_keeps_its_grid(person, oblique, oblique_geometry):
    volume = person.controller.workspace.volume()
    assert volume.geometry.difference_mm(oblique_geometry) < 1e-9
    assert volume.array_kji[9, 19, 30] == np.prod(oblique_geometry.shape_kji) - 1


def test_a_linear_parent_transform_moves_the_grid(person, oblique, oblique_geometry):
    under(oblique, moved())
    corner = kji_to_ras(np.array([[9, 0, 30]]), person.controller.workspace.geometry())[0]
    expected = moved() @ np.append(kji_to_ras(np.array([[9, 0, 30]]), oblique_geometry)[0], 1)
    np.testing.assert_allclose(corner, expected[:3])


def test_a_bent_volume_is_refused_with_a_message(person, oblique):
    person.add_segment()
    under_a_bend(oblique)
    person.press("boxButton")
    assert person.status.is_error
    assert "bend, which is not linear" in person.status.text


def test_a_colour_volume_is_refused_with_a_message(person):
    import slicer
    import vtk

    from InteractiveSegUI.scene.volume_io import geometry_of

    image = vtk.vtkImageData()
    image.SetDimensions(4, 5, 6)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "photo")
    node.SetAndObserveImageData(image)
    with pytest.raises(InputError, match="photo has 3 components"):
        geometry_of(node)


@pytest.mark.parametrize("with_transform", [False, True])
def test_a_mask_comes_back_from_the_scene_unchanged(person, oblique, with_transform):
    import slicer

    from InteractiveSegLib.image.packed_mask import PackedMask
    from InteractiveSegUI.scene.segment_io import read_mask, write_mask

    if with_transform:
        under(oblique, moved())
    segment_id = person.add_segment()
    workspace = person.controller.workspace
    mask = np.zeros(workspace.geometry().shape_kji, bool)
    mask[2:5, 3:11, 7:29] = np.random.default_rng(1).random((3, 8, 22)) > 0.5
    write_mask(workspace.segmentation_node, segment_id, PackedMask.of(mask), workspace.grid())
    read = read_mask(workspace.segmentation_node, segment_id, workspace.grid())
    np.testing.assert_array_equal(read.within(BoundingBox.whole(mask.shape)), mask)
    by_slicer = slicer.util.arrayFromSegmentBinaryLabelmap(workspace.segmentation_node, segment_id, oblique)
    np.testing.assert_array_equal(by_slicer, mask)


def test_a_box_put_round_voxels_holds_exactly_these(person, oblique):
    from InteractiveSegUI.scene.roi_nodes import box_of, place_roi

    segment_id = person.add_segment()
    workspace = person.controller.workspace
    roi = workspace.required_roi(segment_id)
    for transform in (None, moved()):
        if transform is not None:
            under(roi, transform)
        box = BoundingBox((1, 4, 9), (8, 17, 30))
        place_roi(roi, box, workspace.geometry())
        assert box_of(roi, workspace.geometry()) == (box, "")


def test_a_rotated_box_becomes_its_enclosing_box_with_a_note(person, oblique):
    from InteractiveSegUI.scene.roi_nodes import box_of, place_roi

    segment_id = person.add_segment()
    workspace = person.controller.workspace
    roi = workspace.required_roi(segment_id)
    inner = BoundingBox((4, 8, 12), (6, 12, 18))
    place_roi(roi, inner, workspace.geometry())
    centre = np.array(roi.GetCenterWorld())
    turn = moved(20.0, (0, 0, 0))
    turn[:3, 3] = centre - turn[:3, :3] @ centre
    under(roi, turn)
    box, note = box_of(roi, workspace.geometry())
    assert "rotated" in note
    assert box.union(inner) == box != inner


def test_masks_on_another_grid_are_refused_with_a_message(person, oblique):
    segment_id = person.add_segment()
    workspace = person.controller.workspace
    from InteractiveSegLib.image.packed_mask import PackedMask
    from InteractiveSegUI.scene.segment_io import write_mask

    mask = np.zeros(workspace.geometry().shape_kji, bool)
    mask[3:5, 3:9, 4:9] = True
    write_mask(workspace.segmentation_node, segment_id, PackedMask.of(mask), workspace.grid())
    under(oblique, moved())
    with pytest.raises(InputError, match="lies on another grid than the volume image"):
        workspace.grid()
    person.parameters.segmentation.SetAndObserveTransformNodeID(oblique.GetTransformNodeID())
    assert workspace.grid().difference_mm(workspace.geometry()) > 1


def test_a_segmentation_with_an_empty_segment_is_welcome_on_any_grid(person, oblique):
    person.add_segment()
    other = person.add_volume(np.zeros((5, 6, 7), np.int16), np.diag([2.0, 2.0, 2.0, 1.0]), "other")
    person.choose(other)
    assert person.controller.workspace.grid().shape_kji == (5, 6, 7)


def test_a_segmentation_of_surfaces_is_refused_with_a_message(person, oblique):
    import slicer
    import vtk

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "from STL")
    node.CreateDefaultDisplayNodes()
    sphere = vtk.vtkSphereSource()
    sphere.Update()
    node.SetSourceRepresentationToClosedSurface()
    node.AddSegmentFromClosedSurfaceRepresentation(sphere.GetOutput(), "ball", (1.0, 0.0, 0.0))
    from InteractiveSegUI.scene.segment_io import require_grid

    with pytest.raises(InputError, match="from STL consists of surfaces"):
        require_grid(node, oblique)


def test_scribbles_follow_their_volume_under_a_transform(person, oblique):
    person.add_segment()
    workspace = person.controller.workspace
    person.look_at((5, 10, 15))
    from InteractiveSegLib.prompts.scribbles import Scribbles
    from InteractiveSegUI.scene.prompt_nodes import Marks
    from InteractiveSegUI.scene.workspace import MARKS

    marks = Marks(Scribbles(np.array([[1, 2, 3], [9, 19, 30]]), np.array([1, 255])), Scribbles.none())
    workspace.restore({MARKS: marks})
    under(oblique, moved())
    assert workspace.marks().equals(marks)


def test_each_volume_has_scribbles_of_its_own(person, oblique):
    from InteractiveSegLib.prompts.scribbles import Scribbles
    from InteractiveSegUI.scene.prompt_nodes import Marks
    from InteractiveSegUI.scene.workspace import MARKS

    person.add_segment()
    workspace = person.controller.workspace
    workspace.restore({MARKS: Marks(Scribbles(np.array([[1, 2, 3]]), np.array([1])), Scribbles.none())})
    other = person.add_volume(np.zeros((12, 13, 14), np.int16), np.eye(4), "other")
    person.choose(other)
    assert len(workspace.marks().all) == 0
    person.choose(oblique)
    assert len(workspace.marks().all) == 1


def test_an_image_replaced_by_a_smaller_one_makes_old_prompts_an_error(person):
    import slicer

    volume = person.add_volume(np.zeros((20, 30, 40), np.int16), np.eye(4))
    person.choose(volume)
    segment_id = person.add_segment()
    from InteractiveSegUI.scene.roi_nodes import place_roi

    workspace = person.controller.workspace
    roi = workspace.required_roi(segment_id)
    place_roi(roi, BoundingBox((15, 20, 30), (19, 28, 39)), workspace.geometry())
    slicer.util.updateVolumeFromArray(volume, np.zeros((5, 6, 7), np.int16))
    with pytest.raises(InputError, match="the box of Segment_1 lies outside the volume image"):
        workspace.prompts()
