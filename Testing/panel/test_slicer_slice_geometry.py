"""Marked slices of volumes anywhere in the patient: the right slice, or refused with a message."""

import numpy as np
import pytest
from drawn_slices import draw, finished, look, mark
from moving_shapes import dice, image_of, wandering_disc
from test_slicer_geometry import moved, under, under_a_bend
from test_slicer_slices import done

from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.progress import finish
from InteractiveSegLib.propagate.annotated_slice import annotated_slices
from InteractiveSegLib.propagate.proxy_mask import PropagateSettings, propagate_steps

SHAPE = (13, 24, 31)


@pytest.fixture
def disc(person, oblique_geometry):
    """A disc that wanders through an oblique, anisotropic, flipped volume; the views are Slicer's usual ones."""
    truth = wandering_disc((13, 40, 37))[:, 8:32, 4:35]
    volume = person.add_volume(image_of(truth), oblique_geometry.ijk_to_ras)
    person.choose(volume)
    for name, orientation in (("Red", "Axial"), ("Green", "Coronal"), ("Yellow", "Sagittal")):
        person.views[name].get_view_node().SetOrientation(orientation)
    person.add_segment()
    return person, volume, truth


def shown(person, view):
    from InteractiveSegUI.scene.slice_views import place_shown

    return place_shown(person.views[view].get_view_node(), person.controller.workspace.geometry())


def in_views(person):
    """Axis -> the view that is aligned with it."""
    from InteractiveSegUI.scene.slice_views import axis_across

    geometry = person.controller.workspace.geometry()
    names = {axis_across(person.views[name].get_view_node(), geometry): name for name in ("Red", "Green", "Yellow")}
    assert sorted(names) == [0, 1, 2]
    return names


def test_a_view_that_cuts_across_slices_is_refused_until_it_is_aligned(disc):
    person, _, truth = disc
    draw(person, truth, (0, 6))
    look(person, (0, 6), "Red")
    person.press("markSliceButton")
    assert person.status.is_error
    assert "the view Red cuts across" in person.status.text
    assert done(person) == []
    person.press("alignViewsButton")
    look(person, (0, 6), in_views(person)[0])
    person.press("markSliceButton")
    assert done(person) == [(0, 6)]
    assert "0 pixels" not in person.status.text


@pytest.mark.parametrize("under_transform", [False, True])
def test_marks_and_masks_lie_right_in_an_oblique_volume(disc, under_transform):
    person, volume, truth = disc
    if under_transform:
        under(volume, moved())
        person.parameters.segmentation.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    person.press("alignViewsButton")
    draw(person, truth, (0, 1), (0, 6), (0, 11), (2, 15))
    views = in_views(person)
    for place in ((0, 1), (0, 6), (0, 11), (2, 15)):
        look(person, place, views[place[0]])
        person.press("markSliceButton")
    assert done(person) == [(0, 1), (0, 6), (0, 11), (2, 15)]
    person.ui("methodBox").currentText = "By shape alone"
    finished(person, "propagateButton")
    labels = truth.astype(np.uint8)
    slices = annotated_slices(labels, 0, (1, 6, 11)) + annotated_slices(labels, 2, (15,))
    expected = finish(propagate_steps(person.controller.workspace.volume(), slices, PropagateSettings("shape")))
    np.testing.assert_array_equal(person.labelmap(), expected.labelmap())
    assert dice(person.labelmap() > 0, truth) > 0.7


def test_marks_follow_a_volume_that_is_moved(disc):
    person, volume, truth = disc
    person.press("alignViewsButton")
    draw(person, truth, (0, 1), (0, 11))
    for index in (1, 11):
        look(person, (0, index), in_views(person)[0])
        person.press("markSliceButton")
    slices = person.controller.recorder.slices
    under(volume, moved())
    person.press("propagateButton")
    assert "lies on another grid" in person.status.text
    person.parameters.segmentation.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    assert person.controller.recorder.slices is slices
    person.ui("sliceTable").selectRow(1)
    person.settle()
    person.press("showSliceButton")
    assert shown(person, in_views(person)[0]) == (0, 11)


@pytest.mark.parametrize("place", [(0, 0), (1, 23), (2, 7)])
def test_going_to_a_slice_turns_the_view_to_it(disc, place):
    import slicer

    person, _, _ = disc
    from InteractiveSegUI.scene.slice_views import show_place

    geometry = person.controller.workspace.geometry()
    before = [person.views[name].get_view_node().GetSliceToRAS() for name in ("Red", "Green", "Yellow")]
    before = [slicer.util.arrayFromVTKMatrix(each).copy() for each in before]
    view = show_place(place, geometry)
    assert shown(person, view.GetName()) == place
    index = ("Red", "Green", "Yellow").index(view.GetName())
    after = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())
    np.testing.assert_allclose(np.linalg.norm(after[:3, :3], axis=0), 1)
    assert (np.sum(after[:3, :3] * before[index][:3, :3], axis=0) > 0.5).all()  # turned by less than 60 degrees


def test_a_bent_volume_is_refused_with_a_message(disc):
    person, volume, _ = disc
    under_a_bend(volume)
    for button in ("markSliceButton", "alignViewsButton"):
        person.controller.say("")
        person.press(button)
        assert person.status.is_error
        assert "bend, which is not linear" in person.status.text


def test_a_view_beside_the_volume_is_refused_with_a_message(person):
    volume = person.add_volume(np.zeros(SHAPE, np.int16), np.diag([1.0, 1.0, 2.0, 1.0]))
    person.choose(volume)
    person.add_segment()
    person.views["Red"].get_view_node().SetSliceOffset(500)
    person.views.enter("Red")
    person.views.move("Red", (200, 200))
    person.press("markSliceButton")
    assert person.status.is_error
    assert "the view Red shows no slice of the volume" in person.status.text


@pytest.mark.parametrize("flip", [(1, 1, 1), (-1, -1, 1), (1, -1, -1)])
def test_slices_are_counted_as_voxels_are_in_flipped_volumes(person, flip):
    geometry = Geometry(SHAPE, np.diag([*np.multiply(flip, (0.7, 0.9, 2.5)), 1.0]))
    person.choose(person.add_volume(np.zeros(SHAPE, np.int16), geometry.ijk_to_ras))
    person.add_segment()
    mark(person, (0, 3), (0, 12), (1, 0), (2, 30))
    assert done(person) == [(0, 3), (0, 12), (1, 0), (2, 30)]
