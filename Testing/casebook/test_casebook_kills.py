"""Programs killed while they work on a case: nothing is lost or left over, and the case is offered again."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from casebook_cases import accepted, box_mask, by_hand, casebook_of

from InteractiveSegLib.casebook import acceptance, case_rounds, database
from InteractiveSegLib.casebook.acceptance import accept, load_accepted, stream
from InteractiveSegLib.casebook.case_rounds import ROUNDS_KEPT, keep_round, last_round
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.checking import check_steps
from InteractiveSegLib.casebook.database import FILE, Database
from InteractiveSegLib.casebook.states import State
from InteractiveSegLib.casebook.worklist import next_case
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.progress import finish
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.worker.requests.casebook_actions import act

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")


def killed(job):
    """Run a job in a process of its own that kills itself in it."""
    child = os.fork()
    if child == 0:
        try:
            job()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def kill_here(*_args, **_more):
    os.kill(os.getpid(), signal.SIGKILL)


def files_of(book):
    return sorted(path.relative_to(book).as_posix() for path in book.rglob("*") if path.is_file())


@needs_fork
@pytest.mark.parametrize("at", ["write_labelmap", "save_prompts", "set_state"])
def test_what_a_killed_accept_had_written_is_swept_and_the_case_is_offered_again(tmp_path, monkeypatch, at):
    with casebook_of(tmp_path) as casebook:
        accepted(casebook, "case1")
    book = tmp_path / "book"
    before = files_of(book)

    def job():
        real, calls = getattr(acceptance, at), []

        def at_the_second_call(*args, **more):
            calls.append(args)
            return real(*args, **more) if len(calls) < 2 and at == "write_labelmap" else kill_here()

        monkeypatch.setattr(acceptance, at, at_the_second_call)
        with Casebook(book) as mine:
            accepted(mine, "case0")

    killed(job)
    assert files_of(book) != before
    with Casebook(book) as casebook:
        left = [path for path in files_of(book) if not path.startswith(("locks/work-", f"{FILE}-journal"))]
        assert left == before
        assert len(stream(casebook)) == 1
        found = next_case(casebook)
        assert found.entry.name == "case0"
        assert found.reason == "it was in work when its program ended; the saved work is there"
        accepted(casebook, "case0")
        assert finish(check_steps(casebook)) == []


@needs_fork
@pytest.mark.parametrize("at", ["save_prompts", "time_of_day", "_delete"])
def test_a_round_is_kept_whole_or_not_at_all(tmp_path, monkeypatch, at):
    book = tmp_path / "book"
    with casebook_of(tmp_path) as casebook:
        entry = casebook.begin(casebook.case("case0"))
        for value in range(1, ROUNDS_KEPT + 1):
            keep_round(casebook, entry, Prompts(), box_mask(value))

    def job():
        monkeypatch.setattr(case_rounds, at, kill_here)
        with Casebook(book) as mine:
            keep_round(mine, mine.case("case0"), Prompts(), box_mask(100))

    killed(job)
    with Casebook(book) as casebook:
        assert last_round(casebook, casebook.case("case0")).labels.max() == (100 if at == "_delete" else ROUNDS_KEPT)
        assert len([path for path in files_of(book) if "/round-" in path]) == 2 * ROUNDS_KEPT
        casebook.give_back(casebook.case("case0"))
        assert finish(check_steps(casebook)) == []


@needs_fork
@pytest.mark.parametrize("order", ["fixed", "random", "uncertain"])
def test_a_case_in_work_is_offered_again_only_when_its_program_has_ended(tmp_path, order):
    with casebook_of(tmp_path, 4) as one, Casebook(tmp_path / "book") as other:
        one.begin(one.case("case1"))
        assert next_case(other, order).entry.name != "case1"
        assert next_case(one, order).entry.name != "case1"
        kept = other.begin(other.reopen(other.skip(other.case("case3"))))
        assert next_case(one, order).entry.state is State.NEW
        other.work.give_back(kept.id)
        assert next_case(one, order).entry.name == "case3"

        def job():
            with Casebook(tmp_path / "book") as mine:
                mine.begin(mine.case("case2"))
                kill_here()

        killed(job)
        one.skip(one.reopen(one.skip(one.case("case0"))))
        other.skip(other.case("case3"))
        assert next_case(other, order).entry.name == "case2"
        assert "its program ended" in next_case(other, order).reason
    with Casebook(tmp_path / "book") as casebook:
        assert {casebook.case(name).state for name in ("case1", "case2")} == {State.IN_WORK}
        assert next_case(casebook, order).entry.name == "case1"


def test_a_window_has_its_case_in_work_as_long_as_its_worker_lives(tmp_path):
    casebook_of(tmp_path, 2).close()
    book = tmp_path / "book"
    words = "import sys; from pathlib import Path; from InteractiveSegLib.worker.requests.casebook_actions import act; "
    words += "print(act(Path(sys.argv[1]), 'next').opened.name, flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", words, str(book)], **pipes) as worker:
        assert worker.stdout.readline() == "case0\n"
        with Casebook(book) as casebook:
            assert next_case(casebook).entry.name == "case1"
            worker.kill()
            worker.wait()
            assert next_case(casebook).entry.name == "case0"
    opened = act(book, "next").opened
    assert (opened.name, "its program ended" in opened.reason) == ("case0", True)
    with Casebook(book) as casebook:
        assert next_case(casebook).entry.name == "case1"


def test_an_earlier_mask_is_not_shown_instead_of_later_work_when_the_clock_was_set_back(tmp_path, monkeypatch):
    book = tmp_path / "book"
    with casebook_of(tmp_path, 1) as casebook:
        accepted(casebook, "case0", box_mask(1))
        entry = casebook.begin(casebook.reopen(casebook.case("case0")))
        monkeypatch.setattr(case_rounds, "time_of_day", lambda: "2001-01-01T00:00:00.000+00:00")
        keep_round(casebook, entry, Prompts(), box_mask(2))
    assert list(act(book, "open", case="case0").opened.masks) == [2]
    monkeypatch.setattr(acceptance, "time_of_day", lambda: "2000-01-01T00:00:00.000+00:00")
    with Casebook(book) as casebook:
        accept(casebook, casebook.case("case0"), by_hand(box_mask(3)))
        casebook.reopen(casebook.case("case0"))
    assert list(act(book, "open", case="case0").opened.masks) == [3]


def test_an_error_after_the_row_was_written_takes_no_file_back(tmp_path, monkeypatch):
    def interrupted(self, *_):
        raise KeyboardInterrupt

    with casebook_of(tmp_path, 1) as casebook:
        entry = casebook.begin(casebook.case("case0"))
        monkeypatch.setattr(type(casebook.work), "give_back", interrupted)
        with pytest.raises(KeyboardInterrupt):
            accept(casebook, entry, by_hand(box_mask()))
        monkeypatch.undo()
        [found] = stream(casebook)
        assert np.array_equal(load_accepted(casebook.case("case0"), found).labels, box_mask())


@needs_fork
@pytest.mark.parametrize("at", ["_migrate", "rename", "fill"])
def test_a_casebook_whose_making_was_killed_is_made_by_the_next(tmp_path, monkeypatch, at):
    book = tmp_path / "book"
    book.mkdir()

    def job():
        if at == "_migrate":
            monkeypatch.setattr(database, "_migrate", kill_here)
        elif at == "rename":
            monkeypatch.setattr(type(book), "rename", kill_here)
        else:
            Database.created(book / FILE, kill_here)
        Casebook.created(book)

    killed(job)
    with pytest.raises(InputError, match="is not a casebook"):
        Casebook(book)
    with Casebook.created(book, labels={1: "liver"}) as casebook:
        assert casebook.labels() == {1: "liver"}
    assert files_of(book) == [FILE]
