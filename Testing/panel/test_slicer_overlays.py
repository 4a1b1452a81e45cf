"""Probability and uncertainty over the image: the network's own values, in place, at the chosen opacity."""

import numpy as np
import pytest
import slicer_balls as balls


def composites():
    import slicer

    return slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")


def in_front():
    """The volume in front of the image in all views, None where there is none."""
    import slicer

    (shown,) = {composite.GetForegroundVolumeID() for composite in composites()}
    return slicer.mrmlScene.GetNodeByID(shown) if shown else None


@pytest.fixture
def segmented(person):
    balls.in_scene(person)
    person.add_segment()
    balls.box_round(person, 0)
    person.press("segmentButton")
    person.wait()
    return person


def choose(person, overlay):
    person.show_overlay(overlay)
    person.settle()


def test_probability_and_uncertainty_are_shown_where_they_belong(segmented):
    import slicer

    assert in_front() is None
    choose(segmented, "probability")
    node = in_front()
    probability = slicer.util.arrayFromVolume(node).copy()
    assert probability.min() >= 0
    assert probability.max() <= 1
    choose(segmented, "uncertainty")
    assert in_front() is node
    np.testing.assert_allclose(slicer.util.arrayFromVolume(node), 1 - np.abs(2 * probability - 1), atol=1e-6)

    from InteractiveSegLib.image.geometry import kji_to_ras, ras_to_kji
    from InteractiveSegUI.scene.volume_io import geometry_of

    inside = kji_to_ras(np.array([balls.BALLS[0][0]], float), segmented.controller.workspace.geometry())
    k, j, i = np.rint(ras_to_kji(inside, geometry_of(node))[0]).astype(int)
    assert probability[k, j, i] > 0.9
    corner = kji_to_ras(np.array([[10.0, 13, 13]]), segmented.controller.workspace.geometry())
    k, j, i = np.rint(ras_to_kji(corner, geometry_of(node))[0]).astype(int)
    assert probability[k, j, i] < 0.1


def test_the_slider_sets_the_opacity(segmented):
    choose(segmented, "probability")
    for opacity in (0.5, 0.2, 1.0):
        segmented.ui("opacitySlider").value = opacity
        segmented.settle()
        assert all(composite.GetForegroundOpacity() == pytest.approx(opacity) for composite in composites())


def beside_the_legend(person):
    """The axial view without its right quarter, in which the legend of an overlay is drawn."""
    return person.views.picture("Red")[:, :300].astype(int)


def test_the_picture_of_the_slice_shows_the_overlay(segmented):
    segmented.look_at(balls.BALLS[0][0])
    segmented.parameters.segmentation.GetDisplayNode().SetVisibility(False)
    plain = beside_the_legend(segmented)
    choose(segmented, "probability")
    over = beside_the_legend(segmented)
    segmented.ui("opacitySlider").value = 0.1
    segmented.settle()
    faint = beside_the_legend(segmented)
    assert np.abs(over - plain).sum() > 3 * np.abs(faint - plain).sum() > 0


def test_the_legend_lies_in_the_upper_right_corner(segmented):
    segmented.look_at(balls.BALLS[0][0])
    segmented.ui("opacitySlider").value = 0.0
    segmented.settle()
    plain = segmented.views.picture("Red").astype(int)
    choose(segmented, "probability")
    rows, columns = np.nonzero(np.abs(segmented.views.picture("Red") - plain).sum(axis=2) > 100)
    height, width = plain.shape[:2]
    assert len(rows) > 200
    assert rows.max() < 0.4 * height
    assert columns.min() > 0.75 * width


def test_none_takes_the_overlay_away_and_leaves_what_a_person_put_there(segmented):
    choose(segmented, "probability")
    choose(segmented, "none")
    assert in_front() is None
    other = segmented.add_volume(balls.two_balls(), balls.geometry().ijk_to_ras, "other")
    for composite in composites():
        composite.SetForegroundVolumeID(other.GetID())
    segmented.controller.changed()
    segmented.ui("opacitySlider").value = 0.3
    segmented.settle()
    assert in_front() is other


def test_each_segment_has_its_own_and_a_new_round_replaces_it(segmented):
    import slicer

    first = segmented.parameters.segment
    choose(segmented, "probability")
    before = slicer.util.arrayFromVolume(in_front()).copy()
    segmented.add_segment()
    segmented.settle()
    assert in_front() is None
    segmented.parameters.segment = first
    segmented.settle()
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(in_front()), before)
    segmented.scribble("object", (10, 22, 35), (10, 26, 35))
    segmented.press("segmentButton")
    segmented.wait()
    after = slicer.util.arrayFromVolume(in_front())
    assert after.shape != before.shape or np.abs(after - before).max() > 0.05


def test_another_volume_is_without_overlay(segmented):
    choose(segmented, "probability")
    other = segmented.add_volume(balls.two_balls(), balls.geometry().ijk_to_ras, "other")
    segmented.choose(other)
    assert in_front() is None


def test_after_another_scene_the_overlay_has_a_display_of_its_own(segmented):
    import slicer

    choose(segmented, "probability")
    slicer.mrmlScene.Clear(False)
    segmented.settle()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0
    volume = balls.in_scene(segmented)
    colours = volume.GetDisplayNode().GetColorNodeID()
    segmented.add_segment()
    balls.box_round(segmented, 0)
    choose(segmented, "probability")
    segmented.press("segmentButton")
    segmented.wait()
    assert in_front().GetDisplayNode() is not volume.GetDisplayNode()
    assert volume.GetDisplayNode().GetColorNodeID() == colours
