"""A mask that was there before anything was drawn on it is corrected by strokes, not replaced."""

import numpy as np
import pytest
import slicer_balls as balls
from scene_by_command import by_command_line

from InteractiveSegLib.image.metrics import dice
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.records.session_state import last_state

BALL = balls.inside(0)
SPILT = np.zeros(balls.SHAPE_KJI, bool)
SPILT[8:13, 36:46, 18:30] = True
LINE = ((10, 40, 20), (10, 40, 28))


@pytest.fixture
def started(person):
    """A segment whose mask, a ball and what was spilt beside it, comes from elsewhere."""
    from InteractiveSegUI.actions.session_nodes import KeptSegment, put_session

    balls.in_scene(person)
    person.ui("updateBox").checked = True
    put_session(person.controller, [KeptSegment(1, "ball")], Prompts(), {1: PackedMask.of(BALL | SPILT)})
    person.settle()
    return person


def answered(person):
    person.spin(lambda: person.controller.is_updating)
    person.wait()
    assert not person.status.is_error, person.status


def starts(person):
    return dict(person.controller.workspace.prompts()[0].start_masks)


def test_a_stroke_of_background_alone_corrects_it_and_one_undo_takes_back_both(started, tmp_path):
    before = started.labelmap()
    started.scribble("background", *LINE)
    answered(started)
    mask = started.labelmap() == 1
    assert dice(mask, BALL) > max(0.9, dice(before == 1, BALL))
    assert not mask[10, 40, 20:29].any()
    np.testing.assert_array_equal(mask, by_command_line(tmp_path, started, "--no-adapt") == 1)
    started.press("undoButton")
    np.testing.assert_array_equal(started.labelmap(), before)
    started.scribble("object", (10, 22, 20), (10, 22, 26))
    answered(started)
    assert starts(started)[1].equals(PackedMask.of(BALL | SPILT))


def test_background_beside_it_corrects_nothing(started):
    started.scribble("background", (10, 4, 40), (10, 4, 50))
    started.settle()
    assert not starts(started)
    assert not started.controller.is_busy
    assert not started.ui("segmentButton").enabled


def test_a_mask_that_the_module_made_is_no_start(person):
    balls.in_scene(person)
    person.add_segment()
    balls.box_round(person, 0)
    person.press("segmentButton")
    person.wait()
    assert person.labelmap().any()
    assert not starts(person)


def test_an_emptied_mask_is_no_longer_a_start_until_undo(started):
    segment = started.parameters.segment
    from InteractiveSegUI.scene.segment_io import write_mask
    from InteractiveSegUI.scene.workspace import start_key

    write_mask(started.parameters.segmentation, segment, None, started.controller.workspace.grid())
    started.settle()
    assert started.controller.recorder.known(start_key(segment)) is None
    started.press("undoButton")
    assert started.controller.recorder.known(start_key(segment)) is not None
    assert started.controller.workspace.starts.get(segment) is not None


def test_after_a_scene_was_loaded_again_corrections_start_from_the_saved_mask(started, tmp_path):
    import slicer

    started.scribble("background", *LINE)
    answered(started)
    saved = started.controller.recorder.masks()[started.parameters.segment]
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(path)
    started.settle()
    assert started.controller.workspace.starts.get(started.parameters.segment).equals(saved)


def test_the_journal_keeps_it(started):
    started.scribble("background", *LINE)
    answered(started)
    journal = started.panel.journaling._journal
    assert journal.wait(10)
    state = last_state(journal.path.read_bytes())
    assert state.prompts.start_masks[1].equals(starts(started)[1])


def test_every_object_at_once_leaves_alone_what_nobody_corrects(started):
    started.add_segment()
    balls.box_round(started, 1)
    started.parameters.every_segment = True
    prompts, _ = started.controller.workspace.prompts()
    assert prompts.labels == (2,)
    assert not prompts.start_masks
