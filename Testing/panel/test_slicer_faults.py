"""Behaviour of the real application that a more lenient one would not show, as users met these faults there."""

import numpy as np
import pytest
import slicer_balls as balls

from InteractiveSegLib.image.packed_mask import PackedMask

K, J, I = balls.BALLS[0][0]  # noqa: E741 (the names of the axes)
MOVED = np.array([[0.0, -1.0, 0.0, 40.0], [1.0, 0.0, 0.0, -25.0], [0.0, 0.0, 1.0, 12.0], [0.0, 0.0, 0.0, 1.0]])


@pytest.fixture
def ball(person):
    """The two balls, with an empty object as the current one."""
    balls.in_scene(person)
    person.add_segment()
    return person


def paint(person, *points_kji):
    """A stroke of the embedded Segment Editor, whose brush stays active."""
    editor = person.editor
    editor.setActiveEffectByName("Paint")
    editor.activeEffect().setCommonParameter("BrushRelativeDiameter", 3)
    person.look_at(points_kji[0])
    person.views.drag("Red", [person.views.display_of("Red", person.point(point)) for point in points_kji])
    person.settle()


def boxes_in_scene():
    import slicer

    return slicer.util.getNodesByClass("vtkMRMLMarkupsROINode")


@pytest.mark.parametrize("brush", ["of the scribbles", "of the Segment Editor"])
def test_the_scene_is_closed_under_a_brush_that_has_painted(ball, brush):
    """The person fixture fails where the bed would have crashed."""
    import slicer

    if brush == "of the scribbles":
        ball.press("brushButton")
        ball.look_at((K, J, I))
        ball.views.drag("Red", [ball.views.display_of("Red", ball.point((K, J, i))) for i in (20, 28)])
    else:
        paint(ball, (K, J, 20), (K, J, 28))
    slicer.mrmlScene.Clear(False)
    ball.settle()
    assert ball.panel.tools.current is None
    assert ball.status.text == ""
    balls.in_scene(ball)
    ball.add_segment()
    paint(ball, (K, J, 20), (K, J, 28))
    assert ball.labelmap().any()


def test_the_segment_chosen_in_the_segment_editor_is_the_one_that_is_painted_and_worked_on(ball):
    first = ball.parameters.segment
    second = ball.add_segment()
    ball.editor.setCurrentSegmentID(first)
    ball.settle()
    assert ball.parameters.segment == first
    paint(ball, (K, J, 20), (K, J, 28))
    paint(ball, (K, J + 4, 20), (K, J + 4, 28))
    assert set(np.unique(ball.labelmap()).tolist()) == {0, 1}
    ball.parameters.segment = second
    paint(ball, (K, J - 4, 20), (K, J - 4, 28))
    assert np.count_nonzero(ball.labelmap() == 2) > 0


def test_a_segment_removed_elsewhere_takes_box_and_scribbles_along_and_undo_brings_all_back(ball):
    balls.box_round(ball, 0)
    ball.scribble("object", (K, J, 20), (K, J, 28))
    segment, workspace = ball.parameters.segment, ball.controller.workspace
    marks, pose = workspace.marks(), workspace.value(("box", segment))
    workspace.segmentation_node.GetSegmentation().RemoveSegment(segment)
    ball.settle()
    assert ball.parameters.segment == ""
    assert not ball.ui("segmentButton").enabled
    assert not boxes_in_scene()
    assert len(workspace.marks().all) == 0
    ball.press("undoButton")
    assert ball.parameters.segment == segment
    assert workspace.marks().equals(marks)
    assert workspace.value(("box", segment)).equals(pose)


@pytest.mark.parametrize("with_brush", [False, True])
def test_removing_an_object_moves_on_to_its_neighbour_and_can_be_undone(ball, with_brush):
    first, second = ball.parameters.segment, ball.add_segment()
    for segment, number in ((first, 0), (second, 1)):
        ball.put_round({segment: PackedMask.of(balls.inside(number))})
    node = ball.controller.workspace.segmentation_node
    node.GetSegmentation().GetSegment(first).SetName("liver")
    node.GetSegmentation().GetSegment(first).SetColor(0.2, 0.4, 0.6)
    ball.settle()
    before = ball.labelmap()
    ball.parameters.segment = first
    if with_brush:
        ball.press("brushButton")
    ball.press("removeSegmentButton")
    assert ball.parameters.segment == second
    assert ball.controller.history.undo_name == "Remove liver"
    ball.press("undoButton")
    np.testing.assert_array_equal(ball.labelmap(), before)
    assert list(node.GetSegmentation().GetSegmentIDs()) == [first, second]
    assert ball.controller.workspace.name_of(first) == "liver"
    assert node.GetSegmentation().GetSegment(first).GetColor() == pytest.approx((0.2, 0.4, 0.6), abs=0.01)
    ball.press("redoButton")
    assert set(np.unique(ball.labelmap()).tolist()) == {0, 2}


@pytest.mark.parametrize("kind", ["scribbles", "paint"])
def test_what_is_drawn_on_a_volume_under_a_transform_lies_where_it_was_drawn(person, kind):
    import slicer

    volume = balls.in_scene(person)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "turn")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(MOVED))
    volume.SetAndObserveTransformNodeID(transform.GetID())
    person.views.show(volume)
    person.add_segment()
    if kind == "scribbles":
        person.scribble("object", (K, J, 20), (K, J, 28))
        found = person.controller.workspace.marks().drawn.indices_kji
    else:
        paint(person, (K, J, 20), (K, J, 28))
        found = np.argwhere(person.labelmap())
    assert np.abs(found.mean(axis=0) - (K, J, 24)).max() < 1.5
    assert person.controller.workspace.grid().shape_kji == balls.SHAPE_KJI


def test_what_belongs_to_another_segmentation_is_hidden_and_comes_back_with_it(ball):
    balls.box_round(ball, 0)
    ball.scribble("object", (K, J, 20), (K, J, 28))
    workspace, one = ball.controller.workspace, ball.parameters.segmentation
    shown = [one, workspace.scribbles_node, boxes_in_scene()[0]]
    hidden_by_hand = workspace.scribbles_node.GetDisplayNode()
    assert all(node.GetDisplayNode().GetVisibility() for node in shown)
    ball.press("newSegmentationButton")
    assert not any(node.GetDisplayNode().GetVisibility() for node in shown)
    hidden_by_hand.RemoveAttribute("InteractiveSeg.Hidden")  # as if the person had hidden the scribbles before
    ball.parameters.segmentation = one
    assert [bool(node.GetDisplayNode().GetVisibility()) for node in shown] == [True, False, True]


def test_another_patient_s_masks_go_from_the_views_with_his_image(ball):
    segment, one = ball.parameters.segment, ball.parameters.segmentation
    ball.put_round({segment: PackedMask.of(balls.inside(0))})
    first, elsewhere = ball.parameters.volume, balls.geometry().ijk_to_ras.copy()
    elsewhere[:3, 3] = 300.3
    ball.choose(ball.add_volume(balls.two_balls(), elsewhere, "another patient"))
    assert ball.parameters.segmentation is None
    assert not one.GetDisplayNode().GetVisibility()
    ball.choose(first)
    assert ball.parameters.segmentation is one
    assert one.GetDisplayNode().GetVisibility()


def test_scribbles_that_are_put_into_a_fresh_node_look_like_their_object(ball):
    from InteractiveSegUI.actions.session_nodes import KeptSegment, put_session

    ball.scribble("object", (K, J, 20), (K, J, 28))
    prompts, _notes = ball.controller.workspace.prompts()
    put_session(ball.controller, [KeptSegment(1, "liver", (0.9, 0.1, 0.1))], prompts, {})
    drawn = ball.controller.workspace.scribbles_node.GetSegmentation().GetSegment("drawn_1")
    assert drawn.GetName() == "liver"
    colour, blue = np.array(drawn.GetColor()), np.array((0.25, 0.6, 1.0))
    assert np.abs(colour - blue).max() > 0.3  # not the background's
    assert np.abs(colour - (0.9, 0.1, 0.1)).max() > 0.3  # nor that of the mask it lies on


def test_box_and_scribbles_follow_the_name_and_the_colour_of_their_object(ball):
    balls.box_round(ball, 0)
    ball.scribble("object", (K, J, 20), (K, J, 28))
    node = ball.controller.workspace.segmentation_node
    segment = node.GetSegmentation().GetSegment(ball.parameters.segment)
    segment.SetColor(0.9, 0.2, 0.1)
    segment.SetName("liver")
    ball.settle()
    (roi,) = boxes_in_scene()
    assert roi.GetName() == "liver box"
    assert roi.GetDisplayNode().GetSelectedColor() == pytest.approx((0.9, 0.2, 0.1), abs=0.01)
    assert ball.controller.workspace.scribbles_node.GetSegmentation().GetSegment("drawn_1").GetName() == "liver"
    assert ball.controller.history.undo_name == "Scribble"


def test_a_tool_that_slicer_ends_is_shown_as_ended(ball):
    import slicer

    ball.press("brushButton")
    assert ball.ui("brushButton").checked
    interaction = slicer.app.applicationLogic().GetInteractionNode()
    interaction.SetCurrentInteractionMode(interaction.Place)
    ball.settle()
    assert not ball.ui("brushButton").checked
    assert ball.panel.tools.current is None
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)


def test_the_old_box_stays_until_the_new_one_is_whole(ball):
    import slicer

    balls.box_round(ball, 0)
    segment, workspace = ball.parameters.segment, ball.controller.workspace
    before = workspace.value(("box", segment))
    ball.press("boxButton")
    assert ball.ui("boxButton").checked
    ball.views.enter("Red")
    ball.views.click("Red", ball.views.display_of("Red", ball.point((K, 2, 2))))
    ball.views.move("Red", ball.views.display_of("Red", ball.point((K, 9, 9))))
    ball.settle()
    prompts, _notes = workspace.prompts()
    assert workspace.value(("box", segment)).equals(before)  # one click is a preview
    interaction = slicer.app.applicationLogic().GetInteractionNode()
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)  # as Esc in a view does
    ball.settle()
    assert not ball.ui("boxButton").checked
    assert len(boxes_in_scene()) == 1
    assert workspace.prompts()[0].boxes == prompts.boxes
    balls.box_round(ball, 1)
    assert not workspace.value(("box", segment)).equals(before)
    ball.press("undoButton")
    assert workspace.value(("box", segment)).equals(before)


def test_a_box_recreated_by_redo_can_be_dragged_and_is_a_step(ball):
    balls.box_round(ball, 0)
    ball.press("undoButton")
    assert not boxes_in_scene()
    ball.press("redoButton")
    (roi,) = boxes_in_scene()
    roi.SetSize(*(size * 1.2 for size in roi.GetSize()))
    roi.InvokeEvent(roi.PointEndInteractionEvent)
    ball.settle()
    assert len(ball.controller.history._steps) == 2


def test_nodes_of_the_same_volume_have_names_of_their_own(ball):
    import slicer

    ball.scribble("object", (K, J, 20), (K, J, 28))
    ball.press("newSegmentationButton")
    ball.add_segment()
    ball.scribble("object", (K, J, 20), (K, J, 28))
    names = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")]
    assert len(names) == 4
    assert len(set(names)) == 4


def test_the_volume_that_is_shown_is_chosen(person):
    volume = person.add_volume(balls.two_balls(), balls.geometry().ijk_to_ras)
    other = person.add_volume(balls.two_balls(), balls.geometry().ijk_to_ras, "other")
    person.parameters.volume = None
    person.views.show(other)
    person.widget.enter()
    assert person.parameters.volume is other
    person.parameters.volume = volume
    person.widget.enter()
    assert person.parameters.volume is volume


def test_a_volume_that_is_loaded_into_an_empty_scene_is_chosen(person):
    assert person.ui("startFrame").isVisibleTo(person.widget.parent)
    volume = person.add_volume(balls.two_balls(), balls.geometry().ijk_to_ras)
    person.settle()
    assert person.parameters.volume is volume
    assert not person.ui("startFrame").isVisibleTo(person.widget.parent)


def test_a_new_volume_is_looked_at_only_for_the_tool_that_needs_it(ball):
    """A Segment Editor looks at every voxel of its source volume: the brushes of the scribbles do without one."""
    editor = type(ball.editor._qt)
    ball.ui("editorButton").collapsed = True
    looked_at = editor.volumes_looked_at
    balls.in_scene(ball)
    ball.add_segment()
    assert editor.volumes_looked_at == looked_at
    ball.scribble("object", (K, J, 20), (K, J, 28))
    ball.scribble("background", (K, J - 15, 20), (K, J - 15, 28))
    ball.add_segment()
    ball.scribble("object", (K, J, 40), (K, J, 48))
    ball.press("eraseButton")
    assert editor.volumes_looked_at == looked_at
    ball.ui("editorButton").collapsed = False
    ball.settle()
    assert editor.volumes_looked_at == looked_at + 1


def test_drawn_slices_stay_when_a_propagated_mask_is_fine_tuned(ball):
    drawn = balls.inside(0)
    for k in (7, 13):
        part = np.zeros_like(drawn)
        part[k, 10:14, 10:14] = True  # nowhere near what the network finds
        part |= ball.labelmap() > 0
        ball.put_round({ball.parameters.segment: PackedMask.of(part)})
        ball.look_at((k, J, I))
        ball.views.enter("Red")
        ball.press("markSliceButton")
    ball.ui("methodBox").currentText = "By shape alone"
    ball.press("propagateButton")
    ball.wait()
    balls.box_round(ball, 0)
    assert "2 slices marked as done are kept" in ball.ui("segmentButton").toolTip + ball.ui("fineTuneButton").toolTip
    ball.press("segmentButton")
    ball.wait()
    assert not ball.status.is_error, ball.status
    found = ball.labelmap() > 0
    for k in (7, 13):
        assert np.argwhere(found[k]).min() == 10
        assert np.count_nonzero(found[k]) == 16
    assert np.count_nonzero(found[10] & drawn[10]) > 100
    assert "on slices marked as done" in ball.status.text


def test_a_killed_worker_is_reported(ball):
    from InteractiveSegUI.processes import jobs

    balls.box_round(ball, 0)
    ball.press("segmentButton")
    ball.wait()
    (transport,) = jobs._running
    transport.kill()
    ball.spin(lambda: not jobs._running)
    ball.press("segmentButton")
    ball.wait()
    assert "was restarted; nothing was lost" in ball.status.text
    ball.press("segmentButton")
    ball.wait()
    assert "started again" not in ball.status.text


def test_a_long_message_does_not_widen_the_panel(person):
    before = person.widget.parent.minimumSizeHint.width()
    person.controller.say("x" * 400, is_error=True)
    assert person.widget.parent.minimumSizeHint.width() == before
    assert "x" * 400 in person.ui("statusLabel").toolTip


def test_scribbles_leave_the_scene_before_it_closes(ball):
    """Slicer's subject hierarchy logs errors on hidden segmentations that are there while a scene closes."""
    import slicer

    ball.scribble("object", (K, J, 20), (K, J, 28))
    scene, hidden = slicer.mrmlScene, []

    def look(*_args):
        nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        hidden.append([node.GetName() for node in nodes if node.GetHideFromEditors()])

    look()
    tag = scene.AddObserver(scene.StartCloseEvent, look, -1.0)
    scene.Clear(False)
    scene.RemoveObserver(tag)
    assert hidden == [["image segmentation scribbles"], []]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("nothing is left to do. open a casebook", "Nothing is left to do. Open a casebook"),
        ("case_001: accepted", "case_001: accepted"),
    ],
)
def test_a_sentence_begins_with_a_capital_and_a_name_stays_as_it_is(person, said, shown):
    person.controller.say(said)
    assert person.ui("statusLabel").text == shown
