"""Manual edits count as hard marks; results respect masking, overwrite mode and completed segments."""

import numpy as np
import pytest
import slicer_balls as balls

from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.prompts.scribbles import BACKGROUND

BLOCK = (slice(5, 15), slice(10, 30), slice(10, 30))


@pytest.fixture
def two_segments(person):
    """The first segment has a block as its mask; the second, which is worked on, is empty."""
    balls.in_scene(person)
    first = person.add_segment()
    write(person, first, block_mask(BLOCK))
    second = person.add_segment()
    return person, first, second


def block_mask(block):
    mask = np.zeros(balls.SHAPE_KJI, bool)
    mask[block] = True
    return PackedMask.of(mask)


def write(person, segment_id, mask):
    """As a result of the module, not by hand."""
    person.put_round({segment_id: mask})


def by_hand(person, effect, *points_kji):
    """A stroke with a tool of the embedded Segment Editor."""
    editor = person.editor
    editor.setActiveEffectByName(effect)
    editor.activeEffect().setCommonParameter("BrushRelativeDiameter", 3)
    person.look_at(points_kji[0])
    person.views.drag("Red", [person.views.display_of("Red", person.point(point)) for point in points_kji])
    editor.setActiveEffect(None)
    person.settle()


def fit(person, results, marks=None):
    """What is written of results: segment id -> mask of the whole image, bool."""
    from InteractiveSegUI.scene.overwriting import settled

    workspace = person.controller.workspace
    own = {segment_id: (marks or {}).get(segment_id, np.empty((0, 3), int)) for segment_id in results}
    found = settled(
        results,
        person.controller.recorder.masks(),
        own,
        workspace.segmentation_node,
        person.controller.editor_node,
        workspace.volume().array_kji,
        workspace.grid(),
    )
    whole = {}
    for segment_id, mask in found.masks.items():
        whole[segment_id] = np.zeros(balls.SHAPE_KJI, bool)
        if mask is not None:
            whole[segment_id][mask.box.slices] = mask.mask_kji
    return whole, found.notes


def test_paint_and_erase_in_the_segment_editor_become_hard_marks(two_segments):
    person, first, _ = two_segments
    person.parameters.segment = first
    before = person.labelmap() == 1
    by_hand(person, "Paint", (10, 20, 40), (10, 24, 44))
    assert person.controller.history.undo_name == "Edit of Segment_1"
    by_hand(person, "Erase", (10, 20, 15), (10, 20, 18))
    after = person.labelmap() == 1
    marks = person.controller.workspace.marks()
    dense = marks.all.to_labelmap(balls.SHAPE_KJI)
    np.testing.assert_array_equal(dense == 1, after & ~before)
    np.testing.assert_array_equal(dense == BACKGROUND, before & ~after)
    assert len(marks.drawn) == 0
    person.press("undoButton")
    person.press("undoButton")
    np.testing.assert_array_equal(person.labelmap() == 1, before)
    assert len(person.controller.workspace.marks().all) == 0
    person.press("redoButton")
    assert set(person.controller.workspace.marks().all.labels.tolist()) == {1}


def test_painting_over_a_neighbour_by_hand_marks_the_voxels_for_the_new_owner(two_segments):
    person, _, _ = two_segments
    by_hand(person, "Paint", (10, 20, 20), (10, 22, 22))
    dense = person.controller.workspace.marks().all.to_labelmap(balls.SHAPE_KJI)
    np.testing.assert_array_equal(dense == 2, person.labelmap() == 2)
    assert not (dense == BACKGROUND).any()
    assert (dense == 2).any()


def test_a_scribble_replaces_the_mark_of_an_edit(two_segments):
    person, first, _ = two_segments
    person.parameters.segment = first
    by_hand(person, "Paint", (10, 20, 40), (10, 24, 44))
    person.ui("brushSlider").value = 6.0
    person.scribble("background", (10, 20, 40), (10, 24, 44))
    assert set(person.controller.workspace.marks().all.labels.tolist()) == {BACKGROUND}


def test_the_module_s_own_results_are_no_edits(two_segments):
    person, first, _ = two_segments
    write(person, first, block_mask((slice(5, 8), slice(10, 30), slice(10, 30))))
    person.settle()
    assert person.controller.history.undo_name == "Segment"
    assert len(person.controller.workspace.marks().all) == 0


def test_only_one_brush_is_active_at_a_time(two_segments):
    person, _, _ = two_segments
    person.press("brushButton")
    person.editor.setActiveEffectByName("Paint")
    assert person.panel.tools.current is None
    assert not person.ui("brushButton").checked
    person.press("backgroundButton")
    assert person.ui("brushButton").checked
    assert person.editor.activeEffect() is None


def test_a_mask_that_another_undo_brings_back_is_not_taken_for_drawing(two_segments):
    """The module Segment Editor, in whose history this module's rounds do not stand, has an Undo of its own."""
    person, first, _ = two_segments
    from InteractiveSegUI.scene.segment_io import write_mask

    before, workspace = person.labelmap(), person.controller.workspace
    earlier = person.controller.recorder.masks()[first]
    write(person, first, block_mask((slice(5, 8), slice(10, 30), slice(10, 30))))
    write_mask(workspace.segmentation_node, first, earlier, workspace.grid())
    person.settle()
    np.testing.assert_array_equal(person.labelmap(), before)
    assert len(workspace.marks().all) == 0
    person.press("undoButton")
    assert np.count_nonzero(person.labelmap() == 1) == 3 * 20 * 20


def test_a_new_segment_never_eats_a_finished_neighbour(two_segments):
    person, first, second = two_segments
    grown = (slice(5, 15), slice(10, 30), slice(20, 50))
    whole, notes = fit(person, {second: block_mask(grown)})
    assert first not in whole
    np.testing.assert_array_equal(np.argwhere(whole[second])[:, 2].min(), 30)
    assert notes == ("2000 voxels were left to Segment_1",)


def test_marked_voxels_are_taken_from_a_neighbour_unless_it_is_completed(two_segments):
    import slicer

    person, first, second = two_segments
    grown = (slice(5, 15), slice(10, 30), slice(20, 50))
    marks = {second: np.array([[10, 20, 25], [10, 20, 40]])}
    whole, notes = fit(person, {second: block_mask(grown)}, marks)
    assert whole[second][10, 20, 25]
    assert not whole[first][10, 20, 25]
    assert whole[first].sum() == 10 * 20 * 20 - 1
    assert "1 marked voxel was taken from Segment_1" in notes
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    node = person.controller.workspace.segmentation_node
    logic.SetSegmentStatus(node.GetSegmentation().GetSegment(first), logic.Completed)
    whole, _ = fit(person, {second: block_mask(grown)}, marks)
    assert first not in whole
    assert not whole[second][10, 20, 25]


def test_a_completed_segment_is_not_computed(two_segments):
    import slicer

    person, _, second = two_segments
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    node = person.controller.workspace.segmentation_node
    logic.SetSegmentStatus(node.GetSegmentation().GetSegment(second), logic.Completed)
    balls.box_round(person, 0)
    person.press("segmentButton")
    assert "Segment_2 is marked as completed" in person.status.text


def test_where_overlap_is_allowed_segments_overlap(two_segments):
    person, first, second = two_segments
    editor = person.controller.editor_node
    editor.SetOverwriteMode(editor.OverwriteNone)
    grown = (slice(5, 15), slice(10, 30), slice(20, 50))
    whole, notes = fit(person, {second: block_mask(grown)})
    assert first not in whole
    assert whole[second].sum() == 10 * 20 * 30
    assert notes == ()


def test_the_masking_of_the_segment_editor_holds_for_results(two_segments):
    import slicer

    person, first, second = two_segments
    editor, modes = person.controller.editor_node, slicer.vtkMRMLSegmentationNode
    editor.SetOverwriteMode(editor.OverwriteNone)
    grown = (slice(5, 15), slice(10, 30), slice(20, 50))
    editor.SetMaskMode(modes.EditAllowedInsideSingleSegment)
    editor.SetMaskSegmentID(first)
    whole, _ = fit(person, {second: block_mask(grown)})
    assert whole[second].sum() == 10 * 20 * 10
    editor.SetMaskMode(modes.EditAllowedOutsideAllSegments)
    whole, _ = fit(person, {second: block_mask(grown)})
    assert whole[second].sum() == 10 * 20 * 20
    editor.SetMaskMode(modes.EditAllowedEverywhere)
    editor.SourceVolumeIntensityMaskOn()
    editor.SetSourceVolumeIntensityMaskRange(100.0, 400.0)
    whole, _ = fit(person, {second: block_mask(grown)})
    bright = np.zeros(balls.SHAPE_KJI, bool)
    bright[grown] = (balls.two_balls() >= 100)[grown]
    np.testing.assert_array_equal(whole[second], bright)


def test_outside_the_masking_area_a_segment_keeps_what_it_had(two_segments):
    import slicer

    person, first, second = two_segments
    write(person, second, block_mask((slice(5, 15), slice(10, 30), slice(40, 50))))
    editor = person.controller.editor_node
    editor.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment)
    editor.SetMaskSegmentID(first)
    editor.SetOverwriteMode(editor.OverwriteNone)
    whole, _ = fit(person, {second: None})
    assert whole[second].sum() == 10 * 20 * 10
