"""A study in the panel: the worklist, opening, working on and accepting a case, the learner, rolling back."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
import slicer_balls
from panel_session import MODULE_FILE
from slicer_balls import two_balls

from InteractiveSegLib.casebook.acceptance import load_accepted, stream
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.image_reference import ImageReference
from InteractiveSegLib.casebook.provenance import Origin
from InteractiveSegLib.casebook.splits import SplitSettings
from InteractiveSegLib.casebook.states import State
from InteractiveSegLib.image.image_io import write_image
from InteractiveSegLib.networks import DEFAULT_NETWORK
from InteractiveSegLib.wording.plain_text import no_markup

DRAWN = ("round", "stroke", "edit", "undone", "redone")


@pytest.fixture
def study(tmp_path):
    """Three images of two balls, the first label called ball."""
    with Casebook.created(tmp_path / "book", SplitSettings(0, 0)) as casebook:
        casebook.name_label(1, "ball")
        for number in range(3):
            path = tmp_path / f"case{number}.nrrd"
            write_image(path, (two_balls() + number).astype(np.int16), slicer_balls.geometry())
            casebook.add(ImageReference.of(path), f"case{number}")
    return tmp_path / "book"


def work_of(person):
    return person.panel.casebook_work


def idle(person):
    person.spin(lambda: not work_of(person).is_busy and not person.controller.is_busy)
    assert not person.status.is_error, person.status


def opened(person, study):
    work_of(person).open_casebook(study)
    idle(person)
    person.press("openNextButton")
    idle(person)
    person.views.show(person.parameters.volume)


def states(study):
    with Casebook(study) as casebook:
        return [case.state.value for case in casebook.cases()]


def test_a_case_is_opened_segmented_accepted_and_learnt(person, study, monkeypatch):
    assert not person.ui("openNextButton").enabled
    opened(person, study)
    assert person.ui("caseLabel").text == "case0"
    assert [person.ui("caseTable").item(row, 1).text() for row in range(3)] == ["in work", "new", "new"]
    assert person.parameters.volume.GetName() == "case0"
    segmentation = person.parameters.segmentation.GetSegmentation()
    assert segmentation.GetNthSegment(0).GetName() == "ball"
    assert person.controller.workspace.geometry().difference_mm(slicer_balls.geometry()) < 1e-6
    slicer_balls.box_round(person, 0)
    person.press("segmentButton")
    person.wait()
    person.scribble("object", (10, 22, 24), (10, 26, 24))
    for button in ("undoButton", "undoButton", "redoButton", "redoButton"):
        person.press(button)
    before = person.labelmap()
    learnt = []
    monkeypatch.setattr(work_of(person).learning, "start", lambda *what: learnt.append(what))
    person.press("acceptButton")
    idle(person)
    assert learnt == [(study, ("prompted",))]
    assert (states(study), person.ui("caseLabel").text) == (["accepted", "new", "new"], "No case is open")
    with Casebook(study) as casebook:
        [found] = stream(casebook)
        entry = casebook.case("case0")
        kept, effort = load_accepted(entry, found), casebook.effort(entry)
        kinds = [event.kind for event in casebook.events(entry) if event.kind in DRAWN]
    assert np.array_equal(kept.labels, before)
    assert set(np.unique(kept.origins[before > 0])) == {Origin.PERSON, Origin.MODEL}
    assert (kept.origins[10, 24, 24], list(kept.prompts.boxes)) == (Origin.PERSON, [1])
    assert (effort.strokes, effort.slices, effort.drawn_mm > 3) == (1, 1, True)
    assert kinds == ["round", "stroke", "undone", "undone", "redone", "redone"]
    assert person.ui("effortLabel").text.startswith("1 accepted, ")


def test_a_mask_that_came_by_itself_is_no_press_of_a_button(person, study):
    opened(person, study)
    person.ui("updateBox").checked = True
    person.press("pointButton")
    person.click((10, 24, 24))
    person.spin(lambda: person.controller.is_updating)
    idle(person)
    answer = person.labelmap()
    assert answer.any()
    person.press("undoButton")
    person.press("redoButton")
    work = work_of(person)
    assert [event.kind for event in work._events if event.kind in DRAWN] == ["stroke", "undone", "redone"]
    assert work._answered[1].voxels == np.count_nonzero(answer)


def test_the_next_case_never_throws_work_away(person, study):
    opened(person, study)
    first = person.parameters.volume
    slicer_balls.box_round(person, 0)
    person.scribble("object", (10, 22, 24), (10, 26, 24))
    prompts, _ = person.controller.workspace.prompts()
    person.press("openNextButton")
    idle(person)
    # the first case is new again, with its work kept, and comes last
    assert states(study) == ["new", "in work", "new"]
    assert person.status.text == "case1: it comes next; 3 of 3 cases are left"
    assert person.parameters.volume is not first
    assert first.GetScene() is not None
    for _turn in range(2):
        person.press("openNextButton")
        idle(person)
    assert (person.ui("caseLabel").text, states(study)) == ("case0", ["in work", "new", "new"])
    again, _ = person.controller.workspace.prompts()
    assert again.scribbles.equals(prompts.scribbles)
    assert dict(again.boxes) == dict(prompts.boxes)
    person.ui("caseTable").selectRow(1)
    person.settle()
    person.press("openCaseButton")
    idle(person)
    assert (person.ui("caseLabel").text, states(study)) == ("case1", ["new", "in work", "new"])


def test_a_study_is_created_and_images_are_added(person, study, tmp_path):
    opened(person, study)
    work = work_of(person)
    work.create_casebook(tmp_path / "new", "ball, shell ,")
    idle(person)
    assert (work.folder, work.opened, person.ui("casebookLabel").text) == (tmp_path / "new", None, "new")
    assert states(study) == ["new"] * 3
    (tmp_path / "images").mkdir()
    for name in ("a_image.nrrd", "b_image.nrrd", "b_label.nrrd"):
        write_image(tmp_path / "images" / name, two_balls().astype(np.int16) + ord(name[0]), slicer_balls.geometry())
    work.add_images(tmp_path / "images")
    idle(person)
    assert person.status.text == "2 images were added"
    assert [person.ui("caseTable").item(row, 0).text() for row in range(2)] == ["a_image", "b_image"]
    person.press("openNextButton")
    idle(person)
    assert [each.name for each in person.panel.reviewing.organs({})] == ["ball", "shell"]
    work.add_images(tmp_path / "images")
    person.spin(lambda: not work.is_busy)
    assert "already" in person.status.text, person.status
    for folder, organs, said in (("new", "", "already"), ("other", "ball,Ball", "two organs are called 'Ball'")):
        work.create_casebook(tmp_path / folder, organs)
        person.spin(lambda: not work.is_busy)
        assert (said in person.status.text, work.folder) == (True, tmp_path / "new"), person.status


def test_work_that_cannot_be_kept_stays_on_the_screen(person, study):
    opened(person, study)
    volume = person.parameters.volume
    slicer_balls.box_round(person, 0)
    (study / "casebook.sqlite").rename(study / "away")
    person.press("openNextButton")
    person.spin(lambda: not work_of(person).is_busy)
    assert person.status.is_error
    assert "is not a casebook" in person.status.text
    assert (person.parameters.volume is volume, work_of(person).opened.name) == (True, "case0")
    assert person.controller.workspace.prompts()[0].boxes
    (study / "away").rename(study / "casebook.sqlite")
    person.press("skipButton")
    idle(person)
    assert states(study) == ["skipped", "new", "new"]
    person.ui("caseTable").selectRow(0)
    person.settle()
    person.press("reopenButton")
    idle(person)
    assert states(study)[0] == State.REOPENED.value


def test_a_scene_that_is_closed_keeps_the_work_and_the_next_case_can_be_opened(person, study):
    import slicer

    opened(person, study)
    slicer_balls.box_round(person, 0)
    slicer.mrmlScene.Clear(False)
    idle(person)
    assert (work_of(person).opened, states(study)) == (None, ["new", "new", "new"])
    assert person.ui("caseLabel").text == "No case is open"
    person.press("openNextButton")
    idle(person)
    assert person.controller.workspace.prompts()[0].boxes


def test_a_case_whose_image_was_removed_is_left_as_it_was_saved(person, study):
    import slicer

    opened(person, study)
    slicer.mrmlScene.RemoveNode(person.parameters.volume)
    person.settle()
    assert "open the case again" in person.ui("acceptButton").toolTip
    person.ui("caseTable").selectRow(0)
    person.settle()
    person.press("openCaseButton")
    idle(person)
    assert (person.parameters.volume.GetName(), states(study)) == ("case0", ["in work", "new", "new"])
    assert person.ui("acceptButton").enabled


def test_masks_of_another_segmentation_are_not_taken_for_those_of_the_case(person, study):
    opened(person, study)
    own = person.parameters.segmentation
    person.controller.workspace.new_segmentation()
    person.settle()
    assert person.parameters.segmentation is not own
    assert "Choose the volume and the segmentation of the case again." in person.ui("acceptButton").toolTip
    person.press("openNextButton")
    person.spin(lambda: not work_of(person).is_busy)
    assert (person.status.is_error, work_of(person).opened.name) == (True, "case0")


def test_the_first_organ_of_a_case_without_a_starting_mask_is_chosen(person, study):
    with Casebook(study) as casebook:
        casebook.name_label(2, "shell")
    opened(person, study)
    assert person.controller.workspace.name_of(person.parameters.segment) == "ball"


def test_a_case_that_another_program_accepted_is_not_overwritten(person, study):
    opened(person, study)
    slicer_balls.box_round(person, 0)
    with Casebook(study) as casebook:
        casebook.skip(casebook.case("case0"))
    person.press("acceptButton")
    person.spin(lambda: not work_of(person).is_busy)
    assert person.status.is_error
    assert "changed by another program" in person.status.text
    assert states(study) == ["skipped", "new", "new"]


@pytest.mark.slow
def test_the_learner_works_beside_the_window_and_its_version_is_used(person, study):
    opened(person, study)
    slicer_balls.box_round(person, 0)
    person.press("segmentButton")
    person.wait()
    learning = work_of(person).learning
    learning.options = ["--updates", "2"]
    person.press("acceptButton")
    person.spin(lambda: learning.is_running)
    assert "in the background" in person.ui("learnerLabel").text
    person.spin(lambda: not learning.is_running and not work_of(person).is_busy, 300)
    assert learning.text.startswith("Learnt from case0: version 1"), learning.text
    assert person.ui("versionLabel").text.startswith("version 1, learnt from 1 case;")
    assert person.parameters.model.endswith("version-1")
    person.press("rollBackButton")
    idle(person)
    assert (person.parameters.model, person.ui("versionLabel").text) == (DEFAULT_NETWORK, "as shipped")


def test_new_starting_masks_are_not_taken_for_what_was_learnt(person, tmp_path, monkeypatch):
    import sys

    from InteractiveSegUI.processes import library_process

    lines = "case0\tversion 2\tno organ is worse\ncase7\tstarting mask\tball 0.91\ncase8\tstarting mask\tball 0.8"
    command = [sys.executable, "-c", f"print({lines!r})"]
    monkeypatch.setattr(library_process, "library_command", lambda *_words, **_python: command)
    learning = work_of(person).learning
    learning.start(tmp_path, ("sustainer",))
    person.spin(lambda: not learning.is_running)
    told = "Learnt from case0: version 2: no organ is worse. 2 cases have a new starting mask."
    assert learning.text == told
    command[2] = ""
    learning.start(tmp_path, ("sustainer",))
    person.spin(lambda: not learning.is_running)
    assert learning.text == "Nothing was left to learn."


def test_how_many_cases_are_waiting_is_a_sentence(person):
    from InteractiveSegUI.sections.cases_section import waiting_text

    said = [waiting_text(count) for count in (0, 1, 2, 11)]
    assert said == ["", "1 case is waiting.", "2 cases are waiting.", "11 cases are waiting."]


def test_the_heads_of_the_case_table_say_what_the_columns_hold(person):
    table = person.ui("caseTable")
    heads = [table.horizontalHeaderItem(column).text() for column in range(table.columnCount)]
    assert heads == ["Case", "State", "Used for", "Working time"]


def test_names_with_markup_are_shown_as_they_stand(person, tmp_path):
    name = "<img src=x><b>case"
    with Casebook.created(tmp_path / "book", SplitSettings(0, 0)) as casebook:
        write_image(tmp_path / "image.nrrd", two_balls().astype(np.int16), slicer_balls.geometry())
        casebook.add(ImageReference.of(tmp_path / "image.nrrd"), name)
    opened(person, tmp_path / "book")
    assert person.ui("caseLabel").text == name
    person.controller.say(f"{name} is open.", is_error=True)
    person.settle()
    assert seen(person.ui("statusLabel").toolTip) == f"{name} is open."


@pytest.mark.parametrize(
    "name", ["patient_0012_left_ventricle_follow_up_after_12_months", "1.2.840.113619." * 4, "a" * 64]
)
def test_a_long_name_is_shown_whole_in_its_label_and_elided_in_the_list(person, tmp_path, name):
    with Casebook.created(tmp_path / "book", SplitSettings(0, 0)) as casebook:
        write_image(tmp_path / "image.nrrd", two_balls().astype(np.int16), slicer_balls.geometry())
        casebook.add(ImageReference.of(tmp_path / "image.nrrd"), name)
    opened(person, tmp_path / "book")
    label, table = person.ui("caseLabel")._qt, person.ui("caseTable")._qt
    assert label.text().replace("\u200b", "") == name
    assert person.tip("caseLabel") == name
    width = 120
    wrapped = label.fontMetrics().boundingRect(0, 0, width, 10_000, 0x1000, label.text())  # TextWordWrap
    assert wrapped.width() <= width
    assert wrapped.height() > label.fontMetrics().height()
    assert table.textElideMode().name == "ElideMiddle"
    assert table.item(0, 0).toolTip() == name
    assert table.columnWidth(0) <= 150 < table.fontMetrics().horizontalAdvance(name)


def seen(text):
    """What Qt shows of a tool tip."""
    gui = pytest.importorskip("PySide6.QtGui", reason="PySide6 cannot be loaded", exc_type=ImportError)
    document = gui.QTextDocument()
    if gui.Qt.mightBeRichText(text):
        document.setHtml(text)
    else:
        document.setPlainText(text)
    return document.toPlainText()


@pytest.mark.parametrize("text", ["a <b>c</b>", "<img src=x>\nand & more", "x < y"])
def test_text_with_a_tag_is_no_markup_in_tool_tips_and_message_boxes(text):
    assert seen(no_markup(text)) == text
    assert no_markup("plain & simple\nlines") == "plain & simple\nlines"


def test_labels_that_are_written_to_show_plain_text():
    sources = "\n".join(path.read_text() for path in (MODULE_FILE.parent / "InteractiveSegUI").rglob("*.py"))
    written = set(re.findall(r"\bui\.(\w+)\.text = ", sources))
    forms = {
        widget.get("name"): {each.get("name"): "".join(each.itertext()) for each in widget.findall("property")}
        for path in (MODULE_FILE.parent / "Resources" / "UI").glob("*.ui")
        for widget in ElementTree.parse(path).iter("widget")
        if widget.get("class") == "QLabel"
    }
    labels = written & forms.keys()
    assert {"caseLabel", "recoveryLabel", "statusLabel"} <= labels
    assert {name for name in labels if forms[name].get("textFormat") != "Qt::PlainText"} == set()


def test_a_casebook_is_named_and_what_cannot_be_done_with_it_says_why(person, study):
    button = person.ui("acceptButton")
    assert not button.enabled
    assert "Open a casebook first." in button.toolTip
    work_of(person).open_casebook(study)
    idle(person)
    assert (person.ui("casebookLabel").text, person.tip("casebookLabel")) == (study.name, str(study))
    assert "Open a case first." in button.toolTip
    assert person.ui("caseTable").item(0, 2).text() == "training"


def test_names_of_cases_are_shown_whole_in_a_narrow_dock(person, study):
    work_of(person).open_casebook(study)
    idle(person)
    table = person.ui("caseTable")._qt
    table.resize(200, 150)
    person.settle()
    assert table.columnWidth(0) >= table.fontMetrics().horizontalAdvance(table.item(0, 0).text())
    assert not table.verticalHeader().isVisible()


def test_no_worker_is_started_when_the_module_goes_away_beside_a_learner(person, study, monkeypatch):
    work = work_of(person)
    work.open_casebook(study)
    idle(person)
    work.learn()
    assert work.learning.is_running
    asked = []
    monkeypatch.setattr(person.controller.client, "submit", lambda *request: asked.append(request))
    work.close()
    person.settle()
    assert not work.learning.is_running
    assert not asked
