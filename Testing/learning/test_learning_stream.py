import os
import subprocess
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from taught_blobs import QUICK, SHAPE, accept_blob, blob, blob_casebook, scribbled, tiny_automatic, tiny_prompted

from InteractiveSegLib.casebook.acceptance import AcceptedMask, accept, stream
from InteractiveSegLib.casebook.review import Review, SliceState
from InteractiveSegLib.errors import InputError, OutputError
from InteractiveSegLib.learning import learner as learner_module
from InteractiveSegLib.learning.background import start_learner
from InteractiveSegLib.learning.image_batches import ImageBatches
from InteractiveSegLib.learning.learner import StreamLearner, teacher_named
from InteractiveSegLib.learning.prompted_teacher import PromptedTeacher
from InteractiveSegLib.learning.versions import KEPT, in_use, roll_back, versions
from InteractiveSegLib.networks.checkpoint import load_network, read_weights
from InteractiveSegLib.progress import finish


def weights_of(folder):
    [path] = folder.glob("*.safetensors")
    _, tensors = read_weights(path)
    return b"".join(tensors[name].numpy().tobytes() for name in sorted(tensors))


@pytest.fixture(params=["prompted", "automatic"])
def teacher(request, tmp_path):
    return tiny_prompted(tmp_path) if request.param == "prompted" else tiny_automatic()


def test_every_accepted_case_for_training_makes_a_version(tmp_path, teacher):
    with blob_casebook(tmp_path, ["train", "train", "test", "train"]) as casebook:
        learner = StreamLearner(casebook, teacher, QUICK)
        for number in (3, 0, 2):
            accept_blob(casebook, number)
        assert [casebook.case_of_id(found.case_id).name for found in learner.waiting()] == ["case3", "case0"]
        learnt = finish(learner.steps())
        assert [(each.case, each.version, each.used) for each in learnt] == [("case3", 1, True), ("case0", 2, True)]
        assert finish(learner.steps()) == learner.waiting() == []
        accept_blob(casebook, 1)
        finish(learner.steps())
        found = versions(casebook, teacher.name)
        assert [(v.id, v.parent, v.state) for v in found] == [
            (1, None, "replaced"),
            (2, 1, "replaced"),
            (3, 2, "in use"),
        ]
        assert [[casebook.case_of_id(case).name for case in v.cases] for v in found] == [
            ["case3"],
            ["case0", "case3"],
            ["case0", "case1", "case3"],
        ]
        assert len({weights_of(version.folder) for version in found}) == 3
        used = teacher.load(in_use(casebook, teacher.name).folder)
        assert not used.training


def test_a_version_of_the_interactive_network_is_a_model_like_any_other(tmp_path):
    with blob_casebook(tmp_path, ["train"]) as casebook:
        accept_blob(casebook, 0)
        finish(StreamLearner(casebook, tiny_prompted(tmp_path), QUICK).steps())
        assert load_network(in_use(casebook, "prompted").folder).takes_prompts


@pytest.mark.parametrize("name", ["pnet", "ensemble"])
def test_networks_that_cannot_be_trained_are_refused(tmp_path, name):
    with blob_casebook(tmp_path, ["train"]) as casebook:
        accept_blob(casebook, 0)
        [learnt] = finish(StreamLearner(casebook, PromptedTeacher(name), QUICK).steps())
        assert (learnt.version, "only a network that takes prompts" in learnt.reason) == (None, True)


def taught(folder, teacher, settings=QUICK, stop_at=()):
    """Learn from three cases; the learner is stopped at these reports and begun anew. The weights in the end."""
    with blob_casebook(folder, ["train"] * 3) as casebook:
        for number in range(3):
            accept_blob(casebook, number, prompted=number != 1)
        for stop in (*stop_at, None):
            steps = StreamLearner(casebook, teacher, settings).steps()
            if stop is None:
                finish(steps)
                break
            for _ in range(stop):
                next(steps)
            steps.close()
        return [weights_of(version.folder) for version in versions(casebook, teacher.name)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What a teacher has taught in three cases with a way of replay; each is taught once."""

    @cache
    def of(teacher, replay):
        folder = tmp_path_factory.mktemp("undisturbed")
        given = tiny_prompted(folder) if teacher == "prompted" else tiny_automatic()
        return taught(folder, given, replace(QUICK, replay=replay))

    return of


@pytest.mark.parametrize("replay", ["reservoir", "dark", "none"])
def test_a_learner_that_was_stopped_comes_to_the_same_weights(tmp_path, teacher, replay, undisturbed, monkeypatch):
    whole = undisturbed(teacher.name, replay)
    monkeypatch.setattr("InteractiveSegLib.learning.teacher.CHECKPOINT_EVERY", 1)
    assert taught(tmp_path, teacher, replace(QUICK, replay=replay), stop_at=(3, 6, 2)) == whole
    assert len(set(whole)) == 3


def test_the_way_of_replay_makes_a_difference(undisturbed):
    found = {replay: undisturbed("automatic", replay) for replay in ("dark", "none", "reservoir")}
    assert len({weights[0] for weights in found.values()}) == 1
    assert len({weights[2] for weights in found.values()}) == 3


def test_a_checkpoint_goes_with_its_training_though_the_process_stopped_at_its_very_end(tmp_path, teacher, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(learner_module, "prune", stopped)
    with blob_casebook(tmp_path, ["train"]) as casebook:
        accept_blob(casebook, 0)
        with pytest.raises(KeyboardInterrupt):
            finish(StreamLearner(casebook, teacher, QUICK).steps())
        assert in_use(casebook, teacher.name).id == 1
        assert list((casebook.folder / "learning").rglob("training-*"))
        monkeypatch.undo()
        assert finish(StreamLearner(casebook, teacher, QUICK).steps()) == []
        assert not list((casebook.folder / "learning").rglob("training-*"))


def test_the_buffer_bounds_what_is_kept_on_disk(tmp_path, teacher):
    with blob_casebook(tmp_path, ["train"] * (KEPT + 3)) as casebook:
        settings = replace(QUICK, updates=1, buffer=2)
        for number in range(KEPT + 3):
            accept_blob(casebook, number)
        finish(StreamLearner(casebook, teacher, settings).steps())
        folder = casebook.folder / "learning" / teacher.name
        assert len(list((folder / "lessons").iterdir())) <= 2
        assert len(list(folder.glob("version-*"))) == KEPT + 1
        assert not list(folder.glob("training-*"))
        found = versions(casebook, teacher.name)
        assert [version.folder is None for version in found] == [True] * 2 + [False] * (KEPT + 1)


@pytest.mark.parametrize("validation", [1, 2])
def test_a_candidate_that_is_worse_on_validation_cases_is_refused(tmp_path, validation, monkeypatch):
    teacher = tiny_prompted(tmp_path)
    with blob_casebook(tmp_path, ["train", "train"] + ["validation"] * validation) as casebook:
        for number in range(2 + validation):
            accept_blob(casebook, number)
        scored = []
        real = teacher.answer

        def spoiled_after_the_first(network, volume, accepted, seed):
            labels = real(network, volume, accepted, seed)
            scored.append(volume.name)
            return np.where(accepted.labels > 0, 1, 0) if len(scored) <= 2 * validation else labels * 0

        monkeypatch.setattr(teacher, "answer", spoiled_after_the_first)
        learnt = finish(StreamLearner(casebook, teacher, QUICK).steps())
        assert [each.used for each in learnt] == [True, False]
        assert f"not worse on {validation} validation case" in learnt[0].reason
        assert f"refused: label 1 lost 1.000 Dice on {validation} validation case" in learnt[1].reason
        assert len(scored) == 3 * validation  # the scores of the version in use were kept
        found = versions(casebook, "prompted")
        assert [(version.state, version.folder is None) for version in found] == [("in use", False), ("refused", True)]
        assert in_use(casebook, "prompted").scores.keys() == {a.id for a in stream(casebook)[2:]}


def test_one_can_go_back_and_learning_continues_from_there(tmp_path, teacher):
    with blob_casebook(tmp_path, ["train"] * 3) as casebook:
        with pytest.raises(InputError, match="nothing to roll back"):
            roll_back(casebook, teacher.name)
        learner = StreamLearner(casebook, teacher, QUICK)
        for number in range(2):
            accept_blob(casebook, number)
            finish(learner.steps())
        assert roll_back(casebook, teacher.name).id == 1
        assert versions(casebook, teacher.name)[1].reason.endswith("rolled back by a person")
        assert finish(learner.steps()) == []
        accept_blob(casebook, 2)
        finish(learner.steps())
        assert (in_use(casebook, teacher.name).parent, in_use(casebook, teacher.name).cases) == (1, (1, 3))
        assert roll_back(casebook, teacher.name).id == 1
        assert roll_back(casebook, teacher.name) is None
        assert in_use(casebook, teacher.name) is None


@pytest.mark.parametrize("replay", ["reservoir", "dark"])
def test_after_going_back_earlier_cases_are_replayed_with_the_labels_of_the_network(tmp_path, replay, monkeypatch):
    replayed = []
    real = ImageBatches.__init__

    def noted(self, images, labels, *others):
        replayed.append([(image.labels, image.dark_labels) for image in images[1:]])
        real(self, images, labels, *others)

    monkeypatch.setattr(ImageBatches, "__init__", noted)
    with blob_casebook(tmp_path, ["train"] * 4) as casebook:
        learner = StreamLearner(casebook, tiny_automatic(), replace(QUICK, replay=replay))
        for number, label in ((0, 1), (1, 2)):
            accept_blob(casebook, number, label=label)
            finish(learner.steps())
        roll_back(casebook, "automatic")  # to a network without label 2
        labels = blob(2).astype(np.uint8)
        review = Review(0, SHAPE[0], {}).marked(1, SliceState.VERIFIED, range(SHAPE[0]))
        accept(casebook, casebook.begin(casebook.case("case2")), AcceptedMask(labels, labels, review=review))
        (learnt,) = finish(learner.steps())
        assert learnt.used
        accept_blob(casebook, 3, label=2)
        (learnt,) = finish(learner.steps())
        assert learnt.used
    kept = {"reservoir": [(), (), ()], "dark": [(1,), (), (1,)]}[replay]  # of case1, what it answered is lost
    assert replayed[2] == [((1,), kept[0]), ((1,), kept[1])]
    assert replayed[3] == [((1,), kept[0]), ((1, 2), kept[1]), ((1,), kept[2])]


def test_going_back_to_weights_that_are_gone_is_refused(tmp_path):
    with blob_casebook(tmp_path, ["train"] * 2) as casebook:
        for number in range(2):
            accept_blob(casebook, number)
        finish(StreamLearner(casebook, tiny_automatic(), QUICK).steps())
        with casebook.database.writing() as rows:
            rows.execute("UPDATE version SET file = NULL WHERE id = 1")
        with pytest.raises(InputError, match="weights of version 1, before version 2, are no longer kept"):
            roll_back(casebook, "automatic")
        assert in_use(casebook, "automatic").id == 2


def test_a_candidate_whose_loss_is_not_a_number_is_dropped_and_the_others_are_learnt(tmp_path, teacher, monkeypatch):
    real = learner_module.teach_steps

    def diverging(teacher, network, lessons, *rest):
        if len(lessons) == 2:
            with torch.no_grad():
                next(network.parameters()).fill_(float("nan"))
        return real(teacher, network, lessons, *rest)

    monkeypatch.setattr(learner_module, "teach_steps", diverging)
    with blob_casebook(tmp_path, ["train"] * 3) as casebook:
        learner = StreamLearner(casebook, teacher, QUICK)
        for number in range(2):
            accept_blob(casebook, number)
        learnt = finish(learner.steps())
        assert [(each.version, each.used) for each in learnt] == [(1, True), (None, False)]
        assert "the candidate was dropped: the loss is nan at step 0" in learnt[1].reason
        assert in_use(casebook, teacher.name).id == 1
        monkeypatch.undo()
        accept_blob(casebook, 2)
        assert [each.used for each in finish(learner.steps())] == [True]
        assert not list((casebook.folder / "learning").rglob("training-*"))


def test_labels_that_come_late_get_an_output_of_their_own(tmp_path):
    teacher = tiny_automatic()
    with blob_casebook(tmp_path, ["train"] * 3) as casebook:
        accept_blob(casebook, 0, label=3)
        accept_blob(casebook, 1, label=2)
        learner = StreamLearner(casebook, teacher, QUICK)
        finish(learner.steps())
        first, second = (teacher.load(version.folder) for version in versions(casebook, "automatic"))
        assert (first.labels, second.labels) == ((3,), (3, 2))
        accept_blob(casebook, 2, label=3)
        assert finish(learner.steps())[0].used


def test_cases_that_show_nothing_teach_what_they_can(tmp_path, teacher):
    with blob_casebook(tmp_path, ["train"] * 2) as casebook:
        nothing = np.zeros_like(blob(0), np.uint8)
        accept(casebook, casebook.begin(casebook.case("case0")), AcceptedMask(nothing, nothing, absent=True))
        learner = StreamLearner(casebook, teacher, QUICK)
        [learnt] = finish(learner.steps())
        assert (learnt.version, "no label was known" in learnt.reason) == (None, True)
        accept_blob(casebook, 1)
        casebook.reopen(casebook.case("case0"))
        accept(casebook, casebook.case("case0"), AcceptedMask(nothing, nothing, absent=True))
        learnt = finish(learner.steps())
        assert [each.version for each in learnt] == ([1, None] if teacher.name == "prompted" else [1, 2])


def test_an_image_that_is_away_puts_its_case_off_and_not_the_others(tmp_path, teacher):
    with blob_casebook(tmp_path, ["train"] * 2) as casebook:
        for number in range(2):
            accept_blob(casebook, number)
        image = casebook.case("case0").image.path
        image.rename(tmp_path / "away")
        learner = StreamLearner(casebook, teacher, QUICK)
        learnt = finish(learner.steps())
        assert [(each.case, each.version) for each in learnt] == [("case0", None), ("case1", 1)]
        assert learnt[0].reason.startswith("postponed: the image of case 'case0' is not at")
        (tmp_path / "away").rename(image)
        assert [each.case for each in finish(learner.steps())] == ["case0"]


def test_a_case_that_is_reopened_meanwhile_is_not_learnt_on(tmp_path, teacher):
    with blob_casebook(tmp_path, ["train"] * 2) as casebook:
        accept_blob(casebook, 0)
        steps = StreamLearner(casebook, teacher, QUICK).steps()
        for _ in range(3):
            next(steps)
        steps.close()
        entry = casebook.reopen(casebook.case("case0"))
        assert finish(StreamLearner(casebook, teacher, QUICK).steps()) == []
        truth = blob(0)
        mask = AcceptedMask(truth.astype(np.uint8), truth.astype(np.uint8), scribbled(truth))
        accept(casebook, entry, mask)
        assert [each.version for each in finish(StreamLearner(casebook, teacher, QUICK).steps())] == [1]


def test_one_learner_at_a_time(tmp_path, teacher):
    with blob_casebook(tmp_path, ["train"]) as casebook:
        accept_blob(casebook, 0)
        learner = StreamLearner(casebook, teacher, QUICK)
        code = (
            "import sys, time, pathlib\nfrom InteractiveSegLib.system.process_lock import ProcessLock\n"
            "lock = ProcessLock(pathlib.Path(sys.argv[1]))\nprint('held', flush=True)\ntime.sleep(60)"
        )
        learner.folder.mkdir(parents=True)
        other = subprocess.Popen([sys.executable, "-c", code, learner.folder / "lock"], stdout=subprocess.PIPE)
        try:
            assert other.stdout.readline() == b"held\n"
            with pytest.raises(InputError, match=f"learner of the {teacher.name} network is already running"):
                finish(learner.steps())
        finally:
            other.kill()
            other.communicate()
        assert finish(learner.steps())[0].used
        assert finish(learner.steps()) == []


def test_a_full_disk_stops_the_learner_and_it_resumes_when_there_is_room(tmp_path, teacher):
    resource = pytest.importorskip("resource", reason="a limit of file size stands in for a full disk")
    with blob_casebook(tmp_path, ["train"]) as casebook:
        accept_blob(casebook, 0)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
        try:
            with pytest.raises(OutputError):
                finish(StreamLearner(casebook, teacher, QUICK).steps())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert in_use(casebook, teacher.name) is None
        assert finish(StreamLearner(casebook, teacher, QUICK).steps())[0].used


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="looks at the niceness of a process")
def test_the_learner_runs_in_a_process_of_its_own_that_gives_way(tmp_path):
    with blob_casebook(tmp_path, ["train"]) as casebook:
        accept_blob(casebook, 0)
        child = start_learner(casebook.folder, "automatic", ["--updates", "3"])
        highest = 0
        while child.poll() is None:
            try:
                highest = max(highest, os.getpriority(os.PRIO_PROCESS, child.pid))
                child.wait(0.05)
            except (subprocess.TimeoutExpired, ProcessLookupError):
                continue
        said = child.communicate()[0].decode()
        assert (child.returncode, highest >= 15) == (0, True), said
        assert "case0\tversion 1\tused without a check" in said
        assert in_use(casebook, "automatic").id == 1


def test_there_is_no_learner_of_another_name():
    assert teacher_named("prompted").name == "prompted"
    with pytest.raises(InputError, match="'pnet'"):
        teacher_named("pnet")
