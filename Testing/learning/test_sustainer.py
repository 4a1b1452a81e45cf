"""The igniter's network, trained further on the verified part of the study."""

import numpy as np
import pytest
import torch
from casebook_cases import by_hand
from taught_blobs import accept_blob, blob, blob_casebook
from test_igniter import ignited, source

from InteractiveSegLib.casebook.acceptance import accept
from InteractiveSegLib.casebook.checking import check_steps
from InteractiveSegLib.casebook.review import Review, SliceState
from InteractiveSegLib.casebook.starting_masks import starting_masks
from InteractiveSegLib.casebook.uncertainties import known_uncertainties
from InteractiveSegLib.cli import main
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.learning.automatic_network import AutomaticNetwork
from InteractiveSegLib.learning.image_batches import PatchSettings
from InteractiveSegLib.learning.learner import StreamLearner
from InteractiveSegLib.learning.settings import LearnSettings
from InteractiveSegLib.learning.sustainer import (
    KEPT_SOURCES,
    SustainerTeacher,
    keep_source,
    kept_layout,
    sustain_start_steps,
)
from InteractiveSegLib.learning.uncertainty import UncertaintySettings
from InteractiveSegLib.learning.versions import in_use
from InteractiveSegLib.progress import finish

SMALL = PatchSettings((12, 12), (2, 2))


@pytest.fixture
def study(tmp_path):
    """A study whose cases have starting masks."""
    with blob_casebook(tmp_path, ["train", "validation", "test", "train", "train"]) as casebook:
        casebook.name_label(1, "blob")
        ignited(casebook, source(tmp_path / "source", (20, 21), (1, 1)))
        yield casebook


def learnt(casebook, **more):
    teacher = SustainerTeacher(SustainerTeacher.of(casebook).igniter, SMALL)
    settings = LearnSettings(**{"updates": 2, "averaging": 0.5, "expected_cases": 4, **more})
    return finish(StreamLearner(casebook, teacher, settings, uncertainty=UncertaintySettings(0)).steps())


def test_it_starts_from_the_igniter_and_starts_the_cases_that_are_left(study):
    accept_blob(study, 0)
    accept_blob(study, 1)
    [case] = learnt(study)
    assert case.used
    assert "validation case" in case.reason  # the igniter itself was the one to be as good as
    teacher, version = SustainerTeacher.of(study), in_use(study, "sustainer")
    before, after = (teacher.load(folder) for folder in (None, version.folder))
    assert before.config == after.config
    moved = [(a - b).abs().max() for a, b in zip(before.parameters(), after.parameters(), strict=True)]
    assert 0 < max(moved) < 0.05  # two small steps from where it started
    started = finish(sustain_start_steps(study, teacher, 1))
    assert list(started.confidences) == ["case3"]
    assert {study.case_of_id(number).name for number, found in starting_masks(study).items() if found.version == 1} == {
        "case0",
        "case1",
        "case4",
    }
    assert set(known_uncertainties(study)) == {"case3"}
    assert finish(check_steps(study)) == []


def test_it_learns_from_a_case_that_is_verified_in_part(study):
    entry = study.begin(study.case("case3"))
    review = Review.of_all(entry.image.geometry, [1]).marked(1, SliceState.VERIFIED, [3, 4])
    accept(study, entry, by_hand(blob(3).astype(np.uint8), review=review))
    [case] = learnt(study)
    assert case.used


def test_images_of_the_source_are_replayed_unless_nothing_is(study):
    teacher = SustainerTeacher(SustainerTeacher.of(study).igniter, SMALL)
    network = teacher.load(None)
    source_lessons = teacher.source(network)
    assert [lesson.labels for lesson in source_lessons] == [(1,), (1,)]
    lesson = source_lessons[0]
    for replay, count in (("reservoir", 3), ("none", 1)):
        data = teacher.batches([lesson], network, LearnSettings(updates=2, replay=replay), 0)
        assert len(data.batches.images) == count
    dark = teacher.batches([lesson], network, LearnSettings(updates=2, replay="dark"), 0)
    assert len(dark.images) == 3  # and none of it turned, as what was answered would not be
    other = AutomaticNetwork([1], [2.0, 1.0, 1.0], (4, 8))
    assert teacher.source(other) == []
    assert kept_layout(teacher.igniter).parts[1] >= 1


def test_a_large_source_is_kept_in_part(study, tmp_path):
    teacher = SustainerTeacher(SustainerTeacher.of(study).igniter, SMALL)
    network = teacher.load(None)
    lessons = [teacher.source(network)[0]] * 40
    keep_source(tmp_path, lessons, network, kept_layout(teacher.igniter))
    numbers = sorted(int(path.stem.split("-")[1]) for path in tmp_path.glob("source-*.npz"))
    assert (len(numbers), numbers[0], numbers[-1]) == (KEPT_SOURCES, 0, 39)


def test_without_an_igniter_there_is_nothing_to_go_on_from(tmp_path, capsys):
    with blob_casebook(tmp_path, ["train"]) as book, pytest.raises(InputError, match="run 'casebook ignite' first"):
        SustainerTeacher.of(book)
    assert main(["learn", str(tmp_path / "book"), "--network", "sustainer"]) == 2
    assert "run 'casebook ignite' first" in capsys.readouterr().err


def test_the_command_teaches_it_and_reports_the_starting_masks(study, monkeypatch, capsys):
    monkeypatch.setattr("InteractiveSegLib.learning.sustainer.PATCHES", SMALL)
    torch.set_num_threads(1)
    accept_blob(study, 0)
    words = ["learn", str(study.folder), "--network", "sustainer", "--updates", "1", "--look-at", "2"]
    assert main(words) == 0
    lines = [line.split("\t")[:2] for line in capsys.readouterr().out.splitlines()]
    assert lines == [["case0", "version 2"], ["case1", "starting mask"], ["case3", "starting mask"]]
    assert main([*words, "--versions"]) == 0
    assert "version 2\tin use\t1 case" in capsys.readouterr().out
    assert main([*words, "--roll-back"]) == 0
