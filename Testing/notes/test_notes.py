"""Notes: one sentence, in the terms of the command line or of the window, also after transfer to another process."""

import copy
import json
import pickle

import numpy as np
import pytest

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.notes.notes import Labelled, Note, Slices, Words, note_fields, notes_of, said, sentences
from InteractiveSegLib.notes.slice_names import InPatient
from InteractiveSegLib.prompts.drawing import Drawing
from InteractiveSegLib.prompts.object_roi import object_roi
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import Scribbles
from InteractiveSegLib.propagate.annotated_slice import AnnotatedSlice, require_fitting

GRID = Geometry((10, 12, 14), np.diag([1.0, 1.0, 3.0, 1.0]))
WINDOW = Words({1: "left ventricle", 2: "label 1", 3: "{0} k slice 2"}, InPatient(GRID))


def grown(label):
    prompts = Prompts({label: BoundingBox((2, 2, 2), (4, 4, 4))}, Scribbles(np.array([[5, 5, 5]]), np.array([label])))
    return object_roi(prompts, label, GRID)[1]


@pytest.mark.parametrize(
    ("label", "name"), [(1, "left ventricle"), (2, "label 1"), (3, "{0} k slice 2"), (9, "label 9")]
)
def test_an_object_is_called_by_the_name_its_reader_gave_it(label, name):
    note = grown(label)
    assert note == f"the box of label {label} was enlarged to contain its scribbles"
    assert said(note, WINDOW) == f"the box of {name} was enlarged to contain its scribbles"


def test_what_was_cut_while_drawing_names_its_object():
    drawing = Drawing(GRID)
    drawing.set_box(1, BoundingBox((0, 0, 0), (99, 3, 3)))
    (note,) = drawing.notes
    assert said(note, WINDOW).startswith("the box of left ventricle reached outside the image and was cut to ")


def test_slices_are_called_as_their_reader_calls_them():
    one, other = np.zeros((12, 14), int), np.ones((10, 14), int)
    one[3, 3] = 1
    _, notes = require_fitting([AnnotatedSlice(0, 4, one), AnnotatedSlice(1, 3, other)], GRID)
    contradiction = notes[-1]
    assert contradiction.startswith("k slice 4 and j slice 3 contradict each other at 13 voxels: j slice 3, the later")
    in_window = said(contradiction, WINDOW)
    assert in_window.startswith(
        "axial, S 12 mm and coronal, A 3 mm contradict each other at 13 voxels: coronal, A 3 mm"
    )
    run = Note(Slices(0, 2, 5), ": a slice is constant")
    assert (run, said(run, WINDOW)) == (
        "k slices 2 to 5: a slice is constant",
        "axial, S 6 mm to S 15 mm: a slice is constant",
    )


def test_notes_come_to_another_process_as_they_were():
    notes = (grown(1), "plain", Note("at ", Slices(0, 2, 5), " and ", Slices.at((2, 7)), ", ", Labelled(3)), "")
    back = notes_of(json.loads(json.dumps(note_fields(notes))))
    assert back == notes
    for copies in (back, pickle.loads(pickle.dumps(notes)), copy.deepcopy(notes)):
        assert [said(note, WINDOW) for note in copies] == [said(note, WINDOW) for note in notes]


@pytest.mark.parametrize("wrong", [[[{}]], [[{"slices": [1]}]], [[{"label": None}]], [3]])
def test_what_are_no_notes_is_not_taken_for_some(wrong):
    with pytest.raises((KeyError, TypeError, ValueError)):
        notes_of(wrong)


def test_notes_one_after_the_other_are_sentences():
    assert sentences((grown(1), "it was cut."), WINDOW) == (
        "the box of left ventricle was enlarged to contain its scribbles. it was cut."
    )
    assert sentences((), WINDOW) == ""


def test_notes_that_say_the_same_are_one():
    assert len(dict.fromkeys((grown(1), grown(1), grown(2)))) == 2
