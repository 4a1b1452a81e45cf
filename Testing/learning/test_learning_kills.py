import os
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
from taught_blobs import QUICK, accept_blob, blob, blob_casebook, scribbled, tiny_automatic, tiny_prompted

from InteractiveSegLib.casebook.acceptance import load_accepted, stream
from InteractiveSegLib.casebook.case_rounds import keep_round, last_round
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.states import State
from InteractiveSegLib.learning.learner import StreamLearner
from InteractiveSegLib.learning.versions import in_use, versions
from InteractiveSegLib.progress import finish

CASES, KILLS = 10, 20

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
