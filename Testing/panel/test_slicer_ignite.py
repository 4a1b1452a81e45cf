"""A study that starts from labelled images through the panel: folders, labels, progress, cancel, what goes wrong."""

import sys

import numpy as np
import pytest
from casebook_cases import casebook_of

from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.image_reference import ImageReference
from InteractiveSegLib.casebook.starting_masks import starting_masks
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.image_io import write_image, write_labelmap

SHAPE_KJI = (6, 20, 22)
GEOMETRY = Geometry(SHAPE_KJI, np.diag([-1.0, -1.0, 3.0, 1.0]))


def source(folder, labels=(200, 500), count=2):
    """Labelled images: a bright block with the first label, and below it one with the second."""
    folder.mkdir()
    for number in range(count):
        image = np.random.default_rng(number).normal(50, 5, SHAPE_KJI)
        mask = np.zeros(SHAPE_KJI, np.int16)
        for place, label in enumerate(labels):
            block = (slice(1 + 2 * place, 3 + 2 * place), slice(5, 15), slice(6, 16))
            image[block] += 100
            mask[block] = label
        write_image(folder / f"s{number}_image.nrrd", image.astype(np.int16), GEOMETRY)
        write_image(folder / f"s{number}_label.nrrd", mask, GEOMETRY)
    return folder


@pytest.fixture(autouse=True)
def nothing_chosen_before(person):
    """The settings of the application hold no folders yet."""
    import qt

    qt.QSettings().remove("InteractiveSeg/LabelledImages")


@pytest.fixture
def study(tmp_path):
    with casebook_of(tmp_path, 2) as casebook:
        casebook.name_label(1, "ventricle")
        casebook.name_label(2, "wall")
    return tmp_path / "book"


@pytest.fixture
def ready(person, study):
    """The casebook is open, and the block of the panel unfolded."""
    person.panel.casebook_work.open_casebook(study)
    person.spin(lambda: not person.panel.casebook_work.is_busy)
    person.ui("casesButton").collapsed = False
    person.press("igniteButton")
    return person


def looked(person, images, labels=None):
    person.panel.igniting.choose_images(images)
    if labels is not None:
        person.panel.igniting.choose_labels(labels)
    person.spin(lambda: not person.panel.igniting.is_checking)


def organ_box(person, row):
    return person.ui("labelTable").cellWidget(row, 2)


def program(person, monkeypatch, script):
    """What the process runs instead of the training."""
    from InteractiveSegUI.processes import library_process

    started = []

    def command(_module, *words, python):
        started.append(words)
        return [sys.executable, "-c", script]

    monkeypatch.setattr(library_process, "library_command", command)
    return started


def test_labels_are_matched_with_organs_before_anything_starts(ready, tmp_path, monkeypatch):
    person = ready
    assert "Choose the folders" in person.ui("startButton").toolTip
    looked(person, source(tmp_path / "source"))
    table = person.ui("labelTable")
    shown = [[table.item(row, column).text() for column in (0, 1)] for row in range(table.rowCount)]
    assert shown == [["200", "2 of 2"], ["500", "2 of 2"]]
    assert "Choose what label 200 is in the study." in person.ui("startButton").toolTip
    organ_box(person, 0).setCurrentText("wall")
    assert "Choose what label 500 is in the study." in person.ui("startButton").toolTip
    organ_box(person, 1).setCurrentText("not used")
    started = program(person, monkeypatch, "print('case0\\tstarting mask\\twall 0.9')")
    person.press("startButton")
    person.spin(lambda: not person.panel.igniting.process.is_running)
    [words] = started
    assert words[:3] == ("casebook", "ignite", str(person.panel.casebook_work.folder))
    from pathlib import Path

    from InteractiveSegLib.learning.source_set import read_names

    named = read_names(Path(words[words.index("--names") + 1]))
    assert named == {200: "wall", 500: "not used 500"}
    assert person.ui("igniteLabel").text == "1 case has a new starting mask."


def test_numbers_of_the_study_are_taken_for_its_organs(ready, tmp_path):
    looked(ready, source(tmp_path / "source", (1, 3)))
    assert ready.panel.igniting.names == {1: "ventricle", 3: None}
    assert organ_box(ready, 0).currentText == "ventricle"
    assert organ_box(ready, 1).currentText == "choose ..."
    assert ready.ui("sourceLabel").text == "Labels were matched by number: check the table."


def test_a_study_without_organs_gets_those_that_are_typed(person, tmp_path):
    casebook_of(tmp_path, 1).close()
    person.panel.casebook_work.open_casebook(tmp_path / "book")
    person.spin(lambda: not person.panel.casebook_work.is_busy)
    person.press("igniteButton")
    looked(person, source(tmp_path / "source", (1, 2)))
    organ_box(person, 0).setEditText("ventricle")
    organ_box(person, 1).setEditText(" ")
    assert "Choose what label 2 is" in person.ui("startButton").toolTip
    assert person.panel.igniting.names == {1: "ventricle", 2: None}


def test_what_is_wrong_with_the_folders_is_said(ready, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    looked(ready, empty)
    assert ready.ui("sourceLabel").text == "Choose the other folder, too."
    looked(ready, empty, empty)
    assert ready.ui("sourceLabel").text.startswith("\u26a0 No image in ")
    assert ready.ui("sourceLabel").text in ready.ui("startButton").toolTip.replace("No image", "\u26a0 No image", 1)
    folder = source(tmp_path / "source", (1, 2))
    write_labelmap(folder / "s1_label.nrrd", np.ones((3, 20, 22), np.uint8), Geometry((3, 20, 22), GEOMETRY.ijk_to_ras))
    looked(ready, folder, folder)
    assert "s1_label.nrrd" in ready.ui("sourceLabel").text
    assert not ready.ui("startButton").enabled


def unfolded_after_a_restart(person, study):
    """The panel is new; the casebook is opened, and the block unfolded."""
    person.reload()
    person.panel.casebook_work.open_casebook(study)
    person.spin(lambda: not person.panel.casebook_work.is_busy)
    assert person.panel.igniting.images is None  # nothing is read before it is wanted
    person.press("igniteButton")
    person.spin(lambda: not person.panel.igniting.is_checking)
    return person.panel.igniting


def test_folders_and_names_are_remembered_after_a_restart(ready, study, tmp_path):
    folder = source(tmp_path / "source")
    looked(ready, folder)
    organ_box(ready, 0).setCurrentText("wall")
    organ_box(ready, 1).setCurrentText("not used")
    igniting = unfolded_after_a_restart(ready, study)
    assert (igniting.images, igniting.labels, igniting.names) == (folder, folder, {200: "wall", 500: ""})
    assert ready.ui("imagesLabel").text == "source"
    assert [organ_box(ready, row).currentText for row in (0, 1)] == ["wall", "not used"]
    assert ready.ui("startButton").enabled


@pytest.mark.parametrize("stored", ["", "{", "[1]", '[null, "a", "b", 3]', "[null, 1, 2, []]"])
def test_a_choice_that_cannot_be_read_is_none(ready, study, stored):
    import qt

    qt.QSettings().setValue("InteractiveSeg/LabelledImages", stored)
    igniting = unfolded_after_a_restart(ready, study)
    assert (igniting.images, igniting.labels) == (None, None)
    assert "Choose the folders" in ready.ui("startButton").toolTip


def test_an_image_of_the_test_split_is_refused(ready, study, tmp_path):
    folder = source(tmp_path / "source", (1, 2))
    with Casebook(study) as casebook:
        casebook.add(ImageReference.of(folder / "s0_image.nrrd"), "set aside", split="test")
    looked(ready, folder)
    assert "'set aside' of the test split, from which nothing must be learnt" in ready.ui("sourceLabel").text


@pytest.mark.parametrize(
    ("script", "text", "is_error"),
    [
        ("import sys; sys.exit('interactiveseg: the disk is full')", "interactiveseg: the disk is full", True),
        ("import os; os.kill(os.getpid(), 9)", "was killed by the system (signal 9), usually because memory", True),
        ("print('left out: a'); raise SystemExit(3)", "0 cases have a new starting mask. Left out: a.", True),
        ("", "0 cases have a new starting mask.", False),
    ],
)
def test_however_it_ends_it_is_said_and_can_be_started_again(ready, tmp_path, monkeypatch, script, text, is_error):
    looked(ready, source(tmp_path / "source", (1, 2)))
    program(ready, monkeypatch, script)
    ready.press("startButton")
    process = ready.panel.igniting.process
    ready.spin(lambda: not process.is_running)
    assert (text in process.text, process.is_error) == (True, is_error), process.text
    assert ready.ui("startButton").enabled
    assert not ready.ui("igniteBar").visible


def test_progress_is_shown_and_cancel_stops_it(ready, tmp_path, monkeypatch):
    looked(ready, source(tmp_path / "source", (1, 2)))
    program(ready, monkeypatch, "print('30 of 120: loss 1.234', flush=True); import time; time.sleep(60)")
    ready.press("startButton")
    process = ready.panel.igniting.process
    ready.spin(lambda: process.progress is not None and process.progress.done == 30)
    assert ready.ui("igniteLabel").text == "Learning from the labelled images: step 30 of 120"
    assert (ready.ui("igniteBar").value, ready.ui("igniteBar").maximum) == (30, 120)
    assert not ready.ui("imagesButton").enabled
    ready.press("stopButton")
    ready.spin(lambda: not process.is_running)
    assert (process.text, process.is_error) == ("The training was stopped. Press Start to resume it.", False)


def test_another_casebook_has_its_own_organs_and_does_not_take_the_training_for_its_own(
    ready, study, tmp_path, monkeypatch
):
    (tmp_path / "more").mkdir()
    with casebook_of(tmp_path / "more", 1) as casebook:
        casebook.name_label(1, "kidney")
    looked(ready, source(tmp_path / "source", (1, 2)))
    organ_box(ready, 0).setCurrentIndex(2)
    assert ready.panel.igniting.names == {1: "wall", 2: "wall"}
    program(ready, monkeypatch, "print('30 of 120: loss 1.234', flush=True); import time; time.sleep(60)")
    ready.press("startButton")
    process = ready.panel.igniting.process
    ready.spin(lambda: process.progress is not None and process.progress.done == 30)

    def open_casebook(folder):
        ready.panel.casebook_work.open_casebook(folder)
        ready.spin(lambda: not ready.panel.casebook_work.is_busy and not ready.panel.igniting.is_checking)

    open_casebook(tmp_path / "more" / "book")
    assert ready.panel.igniting.names == {1: "kidney", 2: None}
    assert ready.ui("igniteLabel").text.startswith("In the study book: Learning from the labelled images: step 30")
    assert "A training is running for another study, book." in ready.ui("startButton").toolTip
    open_casebook(study)
    assert ready.panel.igniting.names == {1: "wall", 2: "wall"}  # as chosen before
    assert ready.ui("igniteLabel").text == "Learning from the labelled images: step 30 of 120"
    ready.press("stopButton")
    ready.spin(lambda: not process.is_running)


def test_the_rest_of_a_stage_is_told_in_english(person):
    from InteractiveSegLib.progress import Progress
    from InteractiveSegUI.processes.igniting_process import progress_in_words

    assert progress_in_words(Progress(1, 4, "looking at case B"), 5) == "Looking at case B: 2 of 4"
    half = Progress(300, 1200, "loss 0.5")
    assert progress_in_words(half, 20).endswith("step 300 of 1200, about 60 s left")
    assert progress_in_words(half, 100).endswith("step 300 of 1200, about 5 min left")
    resumed = Progress(900, 1200, "loss 0.5")
    assert progress_in_words(resumed, 100, first=800).endswith("step 900 of 1200, about 5 min left")
    assert progress_in_words(resumed, 20, first=900).endswith("step 900 of 1200")


@pytest.mark.slow
def test_cases_get_starting_masks_beside_the_window(ready, study, tmp_path):
    looked(ready, source(tmp_path / "source", (1, 2)))
    ready.panel.igniting.process.options = ["--steps", "2"]
    ready.press("startButton")
    ready.spin(lambda: not ready.panel.igniting.process.is_running, 600)
    assert ready.panel.igniting.process.text.startswith("2 cases have a new starting mask.")
    ready.spin(lambda: not ready.panel.casebook_work.is_busy)
    assert ready.ui("caseTable").item(0, 1).text() == "new, starting mask"
    with Casebook(study) as casebook:
        assert len(starting_masks(casebook)) == 2


def test_the_window_that_goes_away_stops_it(person, study, tmp_path, monkeypatch):
    person.panel.casebook_work.open_casebook(study)
    person.spin(lambda: not person.panel.casebook_work.is_busy)
    looked(person, source(tmp_path / "source", (1, 2)))
    program(person, monkeypatch, "import time; time.sleep(60)")
    process = person.panel.igniting.process
    person.panel.igniting.start()
    assert process.is_running
    person.panel.igniting.close()
    assert not process.is_running
