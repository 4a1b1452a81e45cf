"""The igniter's network, trained further on the verified part of the study."""

import shutil

import numpy as np
import pytest
import torch
from casebook_cases import by_hand
from taught_blobs import accept_blob, blob, blob_casebook
from test_igniter import ignited, source

from InteractiveSegLib.casebook.acceptance import accept
from InteractiveSegLib.casebook.case_features import known_features
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.checking import check_steps
from InteractiveSegLib.casebook.review import Review, SliceState
from InteractiveSegLib.casebook.starting_masks import starting_masks
from InteractiveSegLib.casebook.uncertainties import known_uncertainties
from InteractiveSegLib.cli import main
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.learning.automatic_network import AutomaticNetwork
from InteractiveSegLib.learning.image_batches import PatchSettings
from InteractiveSegLib.learning.learner import StreamLearner
from InteractiveSegLib.learning.replay import Mixture
from InteractiveSegLib.learning.settings import LearnSettings
from InteractiveSegLib.learning.strong_augmentation import AugmentationSettings
from InteractiveSegLib.learning.sustainer import (
    KEPT_SOURCES,
    SourceMixture,
    SustainerTeacher,
    keep_source,
    kept_layout,
    study_layout,
    sustain_start_steps,
)
from InteractiveSegLib.learning.uncertainty import UncertaintySettings
from InteractiveSegLib.learning.versions import in_use
from InteractiveSegLib.progress import finish

SMALL = PatchSettings((12, 12), (2, 2))


@pytest.fixture(scope="module")
def ignited_study(tmp_path_factory):
    """A folder of images and a study whose cases have starting masks."""
    folder = tmp_path_factory.mktemp("ignited")
    with blob_casebook(folder, ["train", "validation", "test", "train", "train"]) as casebook:
        casebook.name_label(1, "blob")
        ignited(casebook, source(folder / "source", (20, 21), (1, 1)))
    return folder


@pytest.fixture
def study(tmp_path, ignited_study):
    shutil.copytree(ignited_study, tmp_path, dirs_exist_ok=True)
    (ignited_study / "images").rename(ignited_study / "away")  # the copies are looked for beside the casebook
    try:
        with Casebook(tmp_path / "book") as casebook:
            yield casebook
    finally:
        (ignited_study / "away").rename(ignited_study / "images")


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
        assert len(data.images) == count
    strongly = SustainerTeacher(teacher.igniter, SMALL, augmentation=AugmentationSettings())
    data = strongly.batches([lesson], network, LearnSettings(updates=2), 0)
    assert len(data.batches.images) == 3
    without = SustainerTeacher(teacher.igniter, SMALL, source_share=0)
    assert len(without.batches([lesson], network, LearnSettings(updates=2), 0).images) == 1
    teacher = strongly
    dark = teacher.batches([lesson], network, LearnSettings(updates=2, replay="dark"), 0)
    assert len(dark.images) == 3  # and none of it turned, as what was answered would not be
    other = AutomaticNetwork([1], [2.0, 1.0, 1.0], (4, 8))
    assert teacher.source(other) == []
    assert kept_layout(teacher.igniter).parts[1] >= 1


def test_a_large_source_is_kept_in_part(study, tmp_path):
    teacher = SustainerTeacher(SustainerTeacher.of(study).igniter, SMALL)
    network = teacher.load(None)
    lessons = [teacher.source(network)[0]] * 40
    keep_source(tmp_path, lessons, kept_layout(teacher.igniter))
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


def test_what_was_accepted_since_the_last_version_is_learnt_in_one_training(study, tmp_path):
    accept_blob(study, 0)
    accept_blob(study, 3)
    [case] = learnt(study, together=4)
    assert (case.case, case.used) == ("case0 and 1 more", True)
    assert [study.case_of_id(number).name for number in in_use(study, "sustainer").cases] == ["case0", "case3"]
    assert learnt(study, together=4) == []
    accept_blob(study, 4)
    [case] = learnt(study, together=4)  # with the earlier two replayed
    assert case.case == "case4"
    done = study.database.rows("SELECT state FROM training WHERE learner = 'sustainer'")
    assert [row["state"] for row in done] == ["done"] * 3
    assert finish(check_steps(study)) == []


def test_a_training_together_goes_on_without_a_case_that_was_reopened_or_cannot_be_read(study, tmp_path):
    for number in (0, 3, 4):
        accept_blob(study, number)
    teacher = SustainerTeacher(SustainerTeacher.of(study).igniter, SMALL)
    settings = LearnSettings(updates=3, averaging=0.5, together=3)
    steps = StreamLearner(study, teacher, settings, uncertainty=UncertaintySettings(0)).steps()
    next(steps)
    steps.close()  # it was decided on
    study.reopen(study.case("case3"))
    (tmp_path / "images" / "case4.nrrd").rename(tmp_path / "away.nrrd")
    first, *others = learnt(study, together=3)
    assert first.case == "case0"
    assert any("a case is not learnt with the others" in note for note in study.notes)
    assert [(each.case, each.postponed) for each in others] == [("case4", True)]
    (tmp_path / "away.nrrd").rename(tmp_path / "images" / "case4.nrrd")
    accept_blob(study, 3)
    assert [case.case for case in learnt(study, together=3)] == ["case4", "case3"]  # the first was decided on before


def test_the_source_has_its_share_and_no_more():
    rng = np.random.default_rng(0)
    mixture = SourceMixture(Mixture(0.5, 2), 4, 0.25)
    drawn = np.bincount([mixture.draw(6, rng) for _ in range(8000)], minlength=6) / 8000
    np.testing.assert_allclose(drawn, [0.1875, 0.1875, 0.1875, 0.1875, 0.125, 0.125], atol=0.02)
    drawn = np.bincount([mixture.draw(4, rng) for _ in range(8000)], minlength=4) / 8000  # there is none
    np.testing.assert_allclose(drawn, [0.25] * 4, atol=0.02)


def test_organs_may_lie_as_they_do_in_cases_that_were_accepted_as_a_whole(study):
    teacher = SustainerTeacher.of(study)
    network = teacher.load(None)
    before = study_layout(study, teacher, network)
    assert before == kept_layout(teacher.igniter)
    large = np.ones(blob(0).shape, np.uint8)
    entry = study.begin(study.case("case0"))
    review = Review.of_all(entry.image.geometry, [1]).marked(1, SliceState.VERIFIED, [3])
    accept(study, entry, by_hand(large, review=review))
    assert study_layout(study, teacher, network) == before  # of one slice
    accept(study, study.begin(study.case("case3")), by_hand(large))
    after = study_layout(study, teacher, network)
    assert all(new >= old for new, old in zip(after.extent_mm, before.extent_mm, strict=True))
    assert after.extent_mm != before.extent_mm


def test_an_organ_that_no_case_has_is_learnt_to_be_absent(study):
    study.name_label(2, "spleen")
    entry = study.begin(study.case("case0"))
    review = Review.of_all(entry.image.geometry, [1], SliceState.VERIFIED).naming([2]).marked(2, SliceState.ABSENT)
    accept(study, entry, by_hand(blob(0).astype(np.uint8), review=review))
    [case] = learnt(study)
    assert case.used
    network = SustainerTeacher.of(study).load(in_use(study, "sustainer").folder)
    assert network.labels == (1, 2)
    started = finish(sustain_start_steps(study, SustainerTeacher.of(study), 1))
    assert started.confidences["case1"][2] == 0
    assert "spleen was not found in any of the 1 case" in started.notes


def test_images_are_told_apart_by_pooled_features(study):
    assert set(known_features(study)) == {"case0", "case1", "case3", "case4"}
    network = SustainerTeacher.of(study).load(None)
    volume = study.volume(study.case("case0"))
    probabilities, features = network.described(volume)
    np.testing.assert_array_equal(probabilities, network.probabilities(volume))
    np.testing.assert_allclose(known_features(study)["case0"], features, rtol=1e-4)
    assert features.shape == (8,)
    assert not network._forward_hooks
    other = network.described(study.volume(study.case("case1")))[1]
    assert np.abs(features - other).max() > 1e-3
