"""Point and lasso by the mouse in the slice views."""

import numpy as np
import pytest
import slicer_balls as balls

from InteractiveSegLib.prompts.scribbles import BACKGROUND

K, J, I = balls.BALLS[0][0]  # noqa: E741 (the names of the axes)


@pytest.fixture
def drawing(person):
    """An empty object on the two balls, with the point tool."""
    balls.in_scene(person)
    person.add_segment()
    person.press("pointButton")
    return person


def marked(person):
    """(k, j, i) -> label."""
    marks = person.controller.workspace.marks().all
    return dict(zip(map(tuple, marks.indices_kji.tolist()), marks.labels.tolist(), strict=True))


def circle(radius=8.0, turns=1.0, centre=(J, I)):
    angles = np.linspace(0, 2 * np.pi * turns, 25)
    return [(K, centre[0] + radius * np.sin(angle), centre[1] + radius * np.cos(angle)) for angle in angles]


def draw_round(person, points, view="Red"):
    person.press("lassoButton")
    person.look_at(points[0])
    person.views.drag(view, [person.views.display_of(view, person.point(point)) for point in points])
    person.settle()


@pytest.mark.parametrize(
    ("view", "place"), [("Red", (K, J, I)), ("Green", (7, 20, 30)), ("Yellow", (0, 0, 0)), ("Red", (19, 47, 71))]
)
def test_a_click_marks_the_one_voxel_under_it_also_at_the_border(drawing, view, place):
    drawing.click(place, view)
    assert marked(drawing) == {place: 1}
    assert drawing.controller.history.undo_name == "Point"


def test_a_hand_that_trembles_marks_one_voxel(drawing):
    drawing.look_at((K, J, I))
    at = drawing.views.display_of("Red", drawing.point((K, J, I)))
    drawing.views.drag("Red", [at, (at[0] + 3, at[1] + 2)])
    drawing.settle()
    assert marked(drawing) == {(K, J, I): 1}


def test_a_click_outside_the_image_marks_nothing_and_says_so(drawing):
    drawing.click((K, -6, I))
    assert marked(drawing) == {}
    assert drawing.status.text == "The click was outside the image and marked nothing."
    assert not drawing.status.is_error
    assert not drawing.controller.history.undo_name


def test_background_and_another_object_are_marked_by_the_same_tool(drawing):
    drawing.press("backgroundButton")
    assert drawing.panel.tools.current == "point"
    drawing.click((K, 2, 2))
    drawing.panel.tools.switch()
    drawing.click((K, J, I))
    drawing.press("backgroundButton")
    drawing.add_segment()
    assert drawing.panel.tools.current == "point"
    assert not drawing.panel.tools.is_background
    drawing.click((K, J, 50))
    assert marked(drawing) == {(K, 2, 2): BACKGROUND, (K, J, I): 1, (K, J, 50): 2}


def test_a_click_replaces_an_edit_by_hand(drawing):
    from InteractiveSegLib.prompts.scribbles import Scribbles
    from InteractiveSegUI.scene.history import StepKind
    from InteractiveSegUI.scene.prompt_nodes import Marks

    edited = Marks(Scribbles.none(), Scribbles(np.array([[K, J, I], [K, J, I + 1]]), np.array([BACKGROUND] * 2)))
    drawing.controller.change(StepKind.EDIT, "Edit", {("marks",): edited})
    drawing.click((K, J, I))
    assert marked(drawing) == {(K, J, I): 1, (K, J, I + 1): BACKGROUND}


def test_the_mouse_is_taken_by_one_tool_and_given_back(drawing):
    import slicer
    from slicer_host.slice_widgets import _SliceView

    assert set(_SliceView.cursors) == {"Red", "Green", "Yellow"}
    assert drawing.ui("pointButton").checked
    drawing.press("brushButton")
    assert drawing.panel.pointing.tool is None
    assert not _SliceView.cursors
    drawing.press("lassoButton")
    assert drawing.panel.scribbling.brush is None
    drawing.press("boxButton")
    assert drawing.panel.tools.current == "box"
    assert drawing.panel.pointing.tool is None
    drawing.press("pointButton")
    assert drawing.panel.tools.current == "point"
    interaction = slicer.app.applicationLogic().GetInteractionNode()
    interaction.SetCurrentInteractionMode(interaction.Place)
    drawing.settle()
    assert drawing.panel.tools.current is None
    assert not drawing.ui("pointButton").checked
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)
    drawing.click((K, J, I))
    assert marked(drawing) == {}


def test_a_tool_of_the_segment_editor_takes_the_mouse_from_a_point(drawing):
    drawing.editor.setActiveEffectByName("Paint")
    drawing.settle()
    assert drawing.panel.tools.current is None
    drawing.press("pointButton")
    assert drawing.editor.activeEffect() is None


def test_another_layout_leaves_the_tool_in_hand(drawing):
    import slicer

    slicer.app.layoutManager().setLayout(21)
    drawing.click((K, J, I))
    assert marked(drawing) == {(K, J, I): 1}
    assert drawing.controller.history.undo_name == "Point"
    drawing.press("undoButton")
    assert not drawing.controller.history.undo_name  # it was one click
    drawing.press("pointButton")
    slicer.app.layoutManager().setLayout(3)
    drawing.click((K, J, I))
    assert marked(drawing) == {}


def test_clicks_with_a_key_held_are_the_views_own(drawing):
    interactor = drawing.views["Red"].interactor()
    at = drawing.views.display_of("Red", drawing.point((K, J, I)))
    for event in ("LeftButtonPressEvent", "LeftButtonReleaseEvent"):
        interactor.SetEventInformation(at[0], at[1], 0, 1, chr(0), 0, None)
        interactor.InvokeEvent(event)
    drawing.settle()
    assert marked(drawing) == {}


def test_the_scene_is_closed_with_the_tool_in_hand(drawing):
    import slicer

    drawing.click((K, J, I))
    slicer.mrmlScene.Clear(False)
    drawing.settle()
    assert drawing.panel.tools.current is None
    balls.in_scene(drawing)
    drawing.press("pointButton")  # makes the first object, too
    drawing.click((K, J, I))
    assert marked(drawing) == {(K, J, I): 1}


@pytest.mark.parametrize("turns", [1.0, 1.08, 0.93])
def test_a_lasso_marks_the_middle_as_object_and_the_ring_as_background(drawing, turns):
    draw_round(drawing, circle(turns=turns))
    found = marked(drawing)
    within = np.array([place for place, label in found.items() if label == 1])
    around = np.array([place for place, label in found.items() if label == BACKGROUND])
    assert set(within[:, 0]) == set(around[:, 0]) == {K}
    assert np.hypot(*(within[:, 1:] - (J, I)).T).max() < 6
    assert np.hypot(*(around[:, 1:] - (J, I)).T).min() > 6
    prompts, _notes = drawing.controller.workspace.prompts()
    extent = prompts.lasso_boxes[1]
    assert np.abs(np.array(extent.shape_kji) - (1, 17, 17)).max() <= 2
    assert drawing.status.text == ""  # ends that overlap are nothing to speak of


def test_a_lasso_is_one_step_and_kept_with_the_scene(drawing, tmp_path):
    import slicer

    draw_round(drawing, circle())
    workspace = drawing.controller.workspace
    prompts, _notes = workspace.prompts()
    drawing.press("undoButton")
    assert marked(drawing) == {}
    assert not workspace.prompts()[0].lasso_boxes
    drawing.press("redoButton")
    assert dict(workspace.prompts()[0].lasso_boxes) == dict(prompts.lasso_boxes)
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    drawing.settle()
    again, _notes = workspace.prompts()
    assert dict(again.lasso_boxes) == dict(prompts.lasso_boxes)
    assert again.scribbles.equals(prompts.scribbles)


def test_lassos_of_a_scene_that_cannot_be_read_are_said(drawing):
    from InteractiveSegLib.errors import InputError

    draw_round(drawing, circle())
    workspace = drawing.controller.workspace
    for broken in ("[1]", "{1", '{"1": 5}', '{"x": [[0, 0, 0], [1, 1, 1]]}'):
        workspace.scribbles_node.SetAttribute("InteractiveSeg.Lassoed", broken)
        with pytest.raises(InputError, match=r"the lassos in .* cannot be read"):
            workspace.marks()


def test_a_lasso_goes_with_its_marks_and_its_object(drawing):
    from InteractiveSegUI.actions.session_nodes import KeptSegment, put_session

    draw_round(drawing, circle())
    workspace = drawing.controller.workspace
    prompts, _notes = workspace.prompts()
    put_session(drawing.controller, [KeptSegment(1, "ball")], prompts, {})
    assert dict(workspace.prompts()[0].lasso_boxes) == dict(prompts.lasso_boxes)
    drawing.press("removeSegmentButton")
    assert not workspace.prompts()[0].lasso_boxes
    drawing.press("undoButton")
    assert dict(workspace.prompts()[0].lasso_boxes) == dict(prompts.lasso_boxes)
    drawing.ui("brushSlider").value = 20.0
    drawing.scribble("erase", (K, J, I - 6), (K, J, I + 6))
    assert not workspace.prompts()[0].lasso_boxes


@pytest.mark.parametrize(
    ("points", "said"),
    [
        (circle()[:1], "Draw round the object with the mouse button held down."),
        (circle(centre=(-20, I)), "The lasso contains no voxel of the image and marked nothing."),
    ],
)
def test_a_lasso_round_nothing_is_no_error(drawing, points, said):
    draw_round(drawing, points)
    assert marked(drawing) == {}
    assert (drawing.status.text, drawing.status.is_error) == (said, False)


def test_a_lasso_of_two_loops_says_which_counts(drawing):
    eight = [(J - 4, I), (J + 4, I + 8), (J - 4, I + 8), (J + 4, I), (J + 9, I - 9), (J - 4, I - 9)]
    draw_round(drawing, [(K, *point) for point in eight])
    assert drawing.status.text == "The lasso crosses itself; only its largest loop is used."


def test_a_lasso_in_a_view_that_cuts_across_slices_is_refused(drawing):
    import slicer
    import vtk

    view = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
    kept, turned = vtk.vtkMatrix4x4(), vtk.vtkTransform()
    kept.DeepCopy(view.GetSliceToRAS())
    turned.SetMatrix(kept)
    turned.RotateX(30)
    view.GetSliceToRAS().DeepCopy(turned.GetMatrix())
    view.UpdateMatrices()
    draw_round(drawing, circle())
    view.GetSliceToRAS().DeepCopy(kept)
    view.UpdateMatrices()
    assert "press Align views" in drawing.status.text
    assert drawing.status.is_error
    assert marked(drawing) == {}


def test_a_lasso_always_marks_the_object(drawing):
    drawing.press("backgroundButton")
    draw_round(drawing, circle())
    assert drawing.ui("objectButton").checked
    assert 1 in marked(drawing).values()
