import os
import shutil
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from casebook_cases import by_hand
from taught_blobs import QUICK, accept_blob, blob, blob_casebook, scribbled, tiny_automatic, tiny_prompted
from test_igniter import source

from InteractiveSegLib.casebook.acceptance import accept, load_accepted, stream
from InteractiveSegLib.casebook.batches import next_batch
from InteractiveSegLib.casebook.case_rounds import keep_round, last_round
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.checking import check_steps
from InteractiveSegLib.casebook.starting_masks import starting_masks
from InteractiveSegLib.casebook.states import State
from InteractiveSegLib.learning.automatic_teacher import AutomaticTeacher
from InteractiveSegLib.learning.igniter import Igniter, IgniteSettings
from InteractiveSegLib.learning.image_batches import PatchSettings
from InteractiveSegLib.learning.learner import StreamLearner
from InteractiveSegLib.learning.sustainer import IGNITER, SUSTAINER, SustainerTeacher, sustain_start_steps
from InteractiveSegLib.learning.uncertainty import UncertaintySettings
from InteractiveSegLib.learning.versions import in_use, versions
from InteractiveSegLib.progress import finish

CASES, KILLS, STUDY_KILLS = 10, 20, 10
IGNITE = IgniteSettings(steps=60, widths=(4, 8), patches=PatchSettings((12, 12), (2, 2)))

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")


def work(folder, teacher, acknowledged):
    """Accept and learn case after case; what was accepted is written down at once."""
    with Casebook(folder) as casebook:
        for number in range(CASES):
            entry = casebook.case(f"case{number}")
            if entry.state is not State.ACCEPTED:
                if entry.state is State.NEW:
                    entry = casebook.begin(entry)
                keep_round(casebook, entry, scribbled(blob(number)), blob(number).astype(np.uint8))
                accept_again(casebook, entry, number)
                with acknowledged.open("a") as file:
                    file.write(f"case{number}\n")
            finish(StreamLearner(casebook, teacher, replace(QUICK, updates=6)).steps())


def accept_again(casebook, entry, number):
    """Accept a case that was in work when its process was killed."""
    casebook.give_back(entry)
    accept_blob(casebook, number)


def killed_after(seconds, job):
    """Run a job in a process of its own and kill it; True where it had ended by itself."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            job()
            code = 0
        finally:
            os._exit(code)
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0
            return True
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["prompted", "automatic"])
def test_nothing_that_was_accepted_is_lost_by_kills_and_learning_continues(tmp_path, kind, monkeypatch):
    monkeypatch.setattr("InteractiveSegLib.learning.teacher.CHECKPOINT_EVERY", 2)
    teacher = tiny_prompted(tmp_path) if kind == "prompted" else tiny_automatic()
    blob_casebook(tmp_path, ["train"] * (CASES - 2) + ["validation"] * 2).close()
    folder, acknowledged = tmp_path / "book", tmp_path / "acknowledged"
    acknowledged.touch()
    rng = np.random.default_rng(3)
    kills, seen = 0, 0
    for _ in range(KILLS):
        if killed_after(rng.uniform(0.01, 0.2), lambda: work(folder, teacher, acknowledged)):
            break
        kills += 1
        with Casebook(folder) as casebook:
            found = stream(casebook)
            names = {casebook.case_of_id(each.case_id).name for each in found}
            assert set(acknowledged.read_text().split()) <= names
            for each in found:
                entry = casebook.case_of_id(each.case_id)
                truth = blob(int(entry.name.removeprefix("case")))
                assert np.array_equal(load_accepted(entry, each).labels > 0, truth)
                assert last_round(casebook, entry) is not None
            assert len(versions(casebook, kind)) >= seen
            seen = len(versions(casebook, kind))
            used = in_use(casebook, kind)
            if used is not None:
                assert teacher.load(used.folder) is not None
    assert kills >= KILLS // 2
    work(folder, teacher, acknowledged)
    with Casebook(folder) as casebook:
        assert len(stream(casebook)) == CASES
        learnt = casebook.database.rows("SELECT state, count(*) AS n FROM training GROUP BY state")
        assert [(row["state"], row["n"]) for row in learnt] == [("done", CASES - 2)]
        assert not list((folder / "learning").rglob("training-*"))


def study_work(folder, source_folder, acknowledged):
    """Ignite, then accept batch after batch and let the sustainer learn; what was accepted is written down at once."""
    with Casebook(folder) as casebook:
        finish(Igniter(casebook, source_folder, source_folder, {1: "blob"}, IGNITE).steps())
        teacher = SustainerTeacher(SustainerTeacher.of(casebook).igniter, IGNITE.patches)
        settings = replace(QUICK, updates=6, together=4)
        learner = StreamLearner(casebook, teacher, settings, uncertainty=UncertaintySettings(0))
        while True:
            finish(learner.steps())
            interrupted = [entry for entry in casebook.cases() if entry.state is State.IN_WORK]
            batch = interrupted or next_batch(casebook, "diverse", 3).cases
            if not batch:
                break
            finish(sustain_start_steps(casebook, teacher, None, [entry.name for entry in batch]))
            for entry in batch:
                number = int(entry.name.removeprefix("case"))
                mask = by_hand(blob(number).astype(np.uint8))
                accept(casebook, casebook.begin(casebook.case(entry.name)), mask)
                with acknowledged.open("a") as file:
                    file.write(f"{entry.name}\n")


def nothing_is_lost(folder, acknowledged):
    with Casebook(folder) as casebook:
        found = {casebook.case_of_id(each.case_id).name: each for each in stream(casebook)}
        assert set(acknowledged.read_text().split()) <= set(found)
        for name, each in found.items():
            labels = load_accepted(casebook.case(name), each).labels
            assert np.array_equal(labels > 0, blob(int(name.removeprefix("case"))))
        for kind in (IGNITER, SUSTAINER):
            used = in_use(casebook, kind)
            assert used is None or AutomaticTeacher().load(used.folder) is not None
        for start in starting_masks(casebook).values():
            start.load(casebook.case_of_id(start.case_id))
        left = [each for each in finish(check_steps(casebook)) if not each.remedy]
        assert left == []
        return len(versions(casebook, SUSTAINER))


@pytest.mark.slow
def test_a_study_that_labelled_images_started_survives_kills_while_it_ignites_sustains_and_accepts(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("InteractiveSegLib.learning.teacher.CHECKPOINT_EVERY", 2)
    torch.set_num_threads(1)  # a fork must not inherit a pool of threads
    blob_casebook(tmp_path, ["train"] * (CASES - 2) + ["validation"] * 2).close()
    with Casebook(tmp_path / "book") as casebook:
        casebook.name_label(1, "blob")
    source_folder = source(tmp_path / "source")
    whole = tmp_path / "whole"
    shutil.copytree(tmp_path / "book", whole)
    (tmp_path / "nobody").touch()
    began = time.monotonic()
    assert killed_after(600, lambda: study_work(whole, source_folder, tmp_path / "nobody"))
    took_s = time.monotonic() - began
    folder, acknowledged = tmp_path / "book", tmp_path / "acknowledged"
    acknowledged.touch()
    rng = np.random.default_rng(25)
    kills = seen = 0
    for _ in range(STUDY_KILLS):
        part = rng.uniform(0.01, 0.1)  # of the whole; a run goes on where the last one was killed
        if killed_after(took_s * part, lambda: study_work(folder, source_folder, acknowledged)):
            break
        kills += 1
        count = nothing_is_lost(folder, acknowledged)
        assert count >= seen
        seen = count
    assert kills >= STUDY_KILLS - 3
    study_work(folder, source_folder, acknowledged)
    assert nothing_is_lost(folder, acknowledged) >= 1
    with Casebook(folder) as casebook:
        assert len(stream(casebook)) == CASES
        learnt = casebook.database.rows("SELECT state, count(*) AS n FROM training GROUP BY state")
        assert [(row["state"], row["n"]) for row in learnt] == [("done", CASES - 2)]
        assert not list((folder / "learning").rglob("training-*"))
