"""A casebook's network that learns from what was scribbled, where no mask was accepted."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from taught_blobs import SHAPE, accept_blob, blob, blob_casebook, scribbled

from InteractiveSegLib.casebook.case_rounds import keep_round
from InteractiveSegLib.casebook.checking import check_steps
from InteractiveSegLib.casebook.starting_masks import starting_masks
from InteractiveSegLib.cli import main
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.learning.automatic_card import is_automatic
from InteractiveSegLib.learning.automatic_teacher import AutomaticTeacher
from InteractiveSegLib.learning.scribble_batches import ScribblePatches
from InteractiveSegLib.learning.scribble_learner import SCRIBBLES, ScribbleLearner
from InteractiveSegLib.learning.scribble_objective import ScribbleLossSettings
from InteractiveSegLib.learning.scribble_training import ScribbleSettings
from InteractiveSegLib.learning.versions import in_use, versions
from InteractiveSegLib.progress import finish

QUICK = ScribbleSettings(
    steps=3,
    widths=(4, 8),
    patches=ScribblePatches((16, 16), (1, 1)),
    loss=ScribbleLossSettings(crf=0.1),
    attention="",
    validations=1,
)


def scribble_on(casebook, number):
    """Work on a case, with a line in the blob and one beside it, that is left without a mask."""
    entry = casebook.begin(casebook.case(f"case{number}"))
    keep_round(casebook, entry, scribbled(blob(number)), np.zeros(SHAPE, np.uint8))


@pytest.fixture
def study(tmp_path):
    """Scribbles in cases 0 and 1; case 2 is accepted, case 3 for validation is, too; 4 is for testing, 5 is new."""
    splits = ["train", "train", "train", "validation", "test", "train"]
    with blob_casebook(tmp_path, splits) as casebook:
        for number in (0, 1, 4):
            scribble_on(casebook, number)
        for number in (2, 3):
            accept_blob(casebook, number)
        yield casebook


def test_it_learns_from_scribbles_without_a_mask_and_starts_new_cases(study, monkeypatch):
    opened = []
    read = study.volume
    monkeypatch.setattr(study, "volume", lambda entry: opened.append(entry.name) or read(entry))
    learnt = finish(ScribbleLearner(study, QUICK).steps())
    (version,) = versions(study, SCRIBBLES)
    assert [study.case_of_id(number).name for number in version.cases] == ["case0", "case1"]
    assert learnt.good
    assert learnt.reason.startswith("learnt from the scribbles of 2 cases; validation Dice 0.")
    assert list(learnt.started.confidences) == ["case5"]
    assert {study.case_of_id(number).name for number in starting_masks(study)} == {"case5"}
    assert "case4" not in opened  # of the test split
    assert "case2" not in opened  # has an accepted mask
    assert is_automatic(version.folder)
    assert finish(check_steps(study)) == []


def test_run_again_it_learns_nothing_until_there_are_more_scribbles(study):
    first = finish(ScribbleLearner(study, QUICK).steps())
    again = finish(ScribbleLearner(study, QUICK).steps())
    assert again.version == first.version
    scribble_on(study, 5)
    assert finish(ScribbleLearner(study, QUICK).steps()).version != first.version
    assert len(versions(study, SCRIBBLES)) == 2


def test_a_worse_network_is_not_used(study, monkeypatch):
    first = finish(ScribbleLearner(study, QUICK).steps())
    scribble_on(study, 5)
    monkeypatch.setattr("InteractiveSegLib.learning.scribble_learner.mean_score", lambda network, cases: 1.1)
    second = finish(ScribbleLearner(study, QUICK).steps())
    assert not second.good
    assert "1.100 of the previous version" in second.reason
    assert in_use(study, SCRIBBLES).id == first.version
    again = finish(ScribbleLearner(study, QUICK).steps(), lambda progress: pytest.fail(progress.text))
    assert (again.version, again.good, len(versions(study, SCRIBBLES))) == (second.version, False, 2)


def test_closed_it_goes_on_from_its_checkpoint_and_ends_the_same(tmp_path):
    settings = replace(QUICK, steps=30)
    ended = []
    for name in ("at once", "closed"):
        with blob_casebook(tmp_path / name, ["train", "train", "train", "validation"]) as casebook:
            for number in (0, 1):
                scribble_on(casebook, number)
            accept_blob(casebook, 3)
            if name == "closed":
                steps = ScribbleLearner(casebook, settings).steps()
                while next(steps).done < 28:
                    pass
                steps.close()
            done = []
            finish(ScribbleLearner(casebook, settings).steps(), done.append)
            (version,) = versions(casebook, SCRIBBLES)
            ended.append((done[0].done, AutomaticTeacher().load(version.folder).state_dict()))
    (_, first), (began, second) = ended
    assert began > 25
    assert all(torch.equal(first[name], value) for name, value in second.items())


def test_cases_that_cannot_be_read_or_were_skipped_are_left_out(study):
    study.skip(study.case("case1"))
    learner = ScribbleLearner(study, QUICK)
    finish(learner.steps())
    (version,) = versions(study, SCRIBBLES)
    assert [study.case_of_id(number).name for number in version.cases] == ["case0"]
    scribble_on(study, 5)
    study.case("case0").image.path.unlink()
    again = finish(ScribbleLearner(study, QUICK).steps())
    assert study.case_of_id(versions(study, SCRIBBLES)[-1].cases[0]).name == "case5"
    assert [note for note in again.notes if note.startswith("case0 is left out: ")]
    study.case("case5").image.path.unlink()
    with pytest.raises(InputError, match="case5"):
        finish(ScribbleLearner(study, QUICK).steps())


def test_a_study_without_scribbles_is_refused(tmp_path):
    with blob_casebook(tmp_path, ["train", "train"]) as casebook:
        accept_blob(casebook, 0)
        with pytest.raises(InputError, match="no training case with scribbles and without an accepted"):
            finish(ScribbleLearner(casebook, QUICK).steps())


def test_the_command_says_what_it_did(study, capsys, monkeypatch):
    monkeypatch.setattr("InteractiveSegLib.commands.scribble_learn.replace", lambda settings, **changes: QUICK)
    assert main(["learn", str(study.folder), "--from", "scribbles", "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "version 1\tin use\tlearnt from the scribbles of 2 cases" in said
    assert "case5\tstarting mask" in said
    assert main(["learn", str(study.folder), "--from", "scribbles", "--versions"]) == 0
    assert capsys.readouterr().out.startswith("version 1\tin use\t2 cases")
