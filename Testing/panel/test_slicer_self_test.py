"""The self-test says whether the installation works, and does not touch the user's work."""

import numpy as np
import slicer_balls as balls

from InteractiveSegLib.segmenting.segment_result import SegmentResult
from InteractiveSegLib.segmenting.self_test import SelfTestCase


def nodes():
    """Everything in the scene, with the time of its last change."""
    import slicer

    scene = slicer.mrmlScene
    return {node.GetID(): node.GetMTime() for node in map(scene.GetNthNode, range(scene.GetNumberOfNodes()))}


def finish(person):
    person.spin(lambda: person.ui("selfTestButton").enabled)


def test_the_self_test_passes_beside_the_work_in_the_scene(person):
    balls.in_scene(person)
    person.add_segment()
    balls.box_round(person, 0)
    person.press("segmentButton")
    person.wait()
    before, masks, steps = nodes(), person.labelmap(), person.controller.history.undo_name
    person.press("selfTestButton")
    assert not person.ui("selfTestButton").enabled
    finish(person)
    assert not person.status.is_error, person.status
    for word in ("Self-test passed: Dice 0.9", "on cpu", "InteractiveSeg 0.", "Python 3.", "PyTorch 2.", "GPU"):
        assert word in person.status.text
    assert person.ui("selfTestLabel").text == person.status.text
    assert nodes() == before
    np.testing.assert_array_equal(person.labelmap(), masks)
    assert person.controller.history.undo_name == steps


def test_a_worker_that_cannot_be_started_fails_the_self_test(person, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    person.press("selfTestButton")
    finish(person)
    assert person.status.is_error
    assert "Self-test failed" in person.status.text
    assert "PythonSlicer" in person.status.text


def test_a_wrong_mask_fails_the_self_test(person, monkeypatch):
    """The truth moved by some voxels stands for a network or device that computes nonsense."""
    drawn = SelfTestCase.drawn()
    moved = SelfTestCase(drawn.volume, drawn.prompts, np.roll(drawn.truth_kji, 8, axis=1))
    monkeypatch.setattr(SelfTestCase, "drawn", lambda: moved)
    person.press("selfTestButton")
    finish(person)
    assert person.status.is_error
    assert "Self-test failed: Dice 0." in person.status.text


def test_the_prompts_of_the_case_fit_its_truth():
    case = SelfTestCase.drawn()
    voxels, labels = case.prompts.scribbles.indices_kji, case.prompts.scribbles.labels
    np.testing.assert_array_equal(case.truth_kji[tuple(voxels.T)], labels == 1)
    inside = np.argwhere(case.truth_kji)
    assert case.prompts.boxes[1].contains(inside).all()
    assert case.dice(SegmentResult({1: case.mask})) == 1
    assert SelfTestCase.drawn().volume.array_kji.tobytes() == case.volume.array_kji.tobytes()
