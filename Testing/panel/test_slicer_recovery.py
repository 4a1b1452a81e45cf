"""A crash loses nothing: the journal records every step, and the panel offers the interrupted session."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import slicer_balls as balls

from InteractiveSegLib.image.image_io import write_image
from InteractiveSegLib.records.session_state import last_state

CRASH = """
import os, sys, numpy as np
from pathlib import Path
from InteractiveSegLib.image.image_io import read_volume
from InteractiveSegLib.records.journal import Journal
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import Scribbles
from InteractiveSegLib.records.session_state import SessionState
volume = read_volume(sys.argv[2])
prompts = Prompts({1: BoundingBox((4, 10, 10), (15, 38, 38))}, Scribbles(np.array([[10, 24, 24]]), np.array([1])))
segments = {"1": {"name": "tumour", "colour": [0.1, 0.2, 0.3]}}
journal = Journal.open(Path(sys.argv[1]))
masks = {1: PackedMask.of(volume.array_kji > 100)}
journal.record(SessionState(volume, prompts, masks, {"segments": segments}, sys.argv[2]))
journal.wait()
os._exit(9)
"""


def crashed(folder: Path, image: Path) -> None:
    """A process that dies in the middle of a session on an image."""
    done = subprocess.run([sys.executable, "-c", CRASH, str(folder), str(image)], check=False)
    assert done.returncode == 9


def test_every_step_is_in_the_journal(person):
    balls.in_scene(person)
    person.add_segment()
    balls.box_round(person, 0)
    person.scribble("object", (10, 22, 22), (10, 26, 26))
    journal = person.panel.journaling._journal
    assert journal.wait(10)
    state = last_state(journal.path.read_bytes())
    prompts, _ = person.controller.workspace.prompts()
    assert dict(state.prompts.boxes) == dict(prompts.boxes)
    assert state.prompts.scribbles.equals(prompts.scribbles)
    assert state.settings["segments"]["1"]["name"] == "Segment_1"
    person.press("undoButton")
    assert journal.wait(10)
    assert len(last_state(journal.path.read_bytes()).prompts.scribbles) == 0


def test_a_session_that_was_cut_off_is_offered_and_recovered(person, tmp_path):
    import slicer

    from InteractiveSegUI.scene.segment_io import read_mask

    image = tmp_path / "image.nrrd"
    write_image(image, balls.two_balls(), balls.geometry())
    crashed(Path(slicer.app.temporaryPath), image)
    assert not person.panel.sections[0].widget.isVisibleTo(person.widget.parent)
    person.panel.journaling.look()
    assert "A session on image" in person.ui("recoveryLabel").text
    person.press("recoverButton")
    person.spin(lambda: not person.panel.journaling.found)
    workspace = person.controller.workspace
    assert workspace.name_of(person.parameters.segment) == "tumour"
    prompts, _ = workspace.prompts()
    assert prompts.boxes[1].start_kji == (4, 10, 10)
    assert prompts.scribbles.labels.tolist() == [1]
    mask = read_mask(workspace.segmentation_node, person.parameters.segment, workspace.grid())
    assert mask.voxels == np.count_nonzero(balls.two_balls() > 100)
    person.panel.journaling.look()
    assert person.panel.journaling.found == []


def test_a_session_on_a_volume_that_has_changed_is_not_recovered(person, tmp_path):
    import slicer

    image = tmp_path / "image.nrrd"
    write_image(image, balls.two_balls(), balls.geometry())
    crashed(Path(slicer.app.temporaryPath), image)
    write_image(image, balls.two_balls() + 1, balls.geometry())
    person.panel.journaling.look()
    person.press("recoverButton")
    person.spin(lambda: person.status.is_error)
    assert "has other voxels" in person.status.text
    person.press("discardButton")
    assert person.panel.journaling.found == []


def test_a_clean_end_leaves_nothing_to_recover(person):
    import slicer

    balls.in_scene(person)
    person.add_segment()
    balls.box_round(person, 0)
    journal = person.panel.journaling._journal
    assert journal.wait(10)
    slicer.mrmlScene.Clear(False)
    person.spin(lambda: not journal.path.exists())


def test_a_session_on_a_volume_under_a_transform_is_recovered_on_the_volume_without_it(person, tmp_path):
    """The image's file knows nothing of the transform; the voxels are the same."""
    import slicer

    image = tmp_path / "image.nrrd"
    write_image(image, balls.two_balls(), balls.geometry())
    volume = slicer.util.loadVolume(str(image))
    moved = np.eye(4)
    moved[:3, 3] = (200, -150, 90)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(moved))
    volume.SetAndObserveTransformNodeID(transform.GetID())
    person.choose(volume)
    person.add_segment()
    balls.box_round(person, 0)
    person.scribble("object", (10, 22, 22), (10, 26, 26))
    prompts, _notes = person.controller.workspace.prompts()
    journal = person.panel.journaling._journal
    assert journal.wait(10)
    record = journal.path.read_bytes()
    slicer.mrmlScene.Clear(False)
    person.spin(lambda: not journal.path.exists())
    journal.path.with_name("999999-00000000.journal").write_bytes(record)  # as of a process that died
    person.panel.journaling.look()
    person.press("recoverButton")
    person.spin(lambda: "recovered" in person.status.text or person.status.is_error)
    assert not person.status.is_error, person.status
    assert "The transform of the volume is gone" in person.status.text
    found, _notes = person.controller.workspace.prompts()
    assert dict(found.boxes) == dict(prompts.boxes)
    assert found.scribbles.equals(prompts.scribbles)
