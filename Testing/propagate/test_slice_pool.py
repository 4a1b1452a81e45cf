"""Processes that work on slices: results, errors, crashes, stops."""

import os

import pool_task
import pytest
from pool_task import Task
from stopwatch import Stopwatch

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.propagate import slice_pool
from InteractiveSegLib.propagate.slice_pool import Broken, SlicePool


@pytest.fixture(autouse=True)
def tasks_are_found(monkeypatch):
    """A process that is no fork finds them by the path of their folder."""
    if not hasattr(os, "fork"):
        monkeypatch.setenv("PYTHONPATH", os.path.dirname(pool_task.__file__))  # noqa: PTH120


@pytest.fixture
def pool():
    with SlicePool(2) as pool:
        yield pool


def finished(pool, tasks):
    return dict(answer for answer in pool.results(tasks) if answer is not None)


def test_every_task_has_its_result(pool):
    assert finished(pool, {n: Task(n * n) for n in range(20)}) == {n: n * n for n in range(20)}
    assert len(pool._processes) == 2


def test_without_tasks_no_process_starts(pool):
    assert finished(pool, {}) == {}
    assert all(process._child is None for process in pool._processes)


def test_what_a_task_raises_is_reported_and_the_others_continue(pool):
    found = finished(pool, {"a": Task(1), "b": Task("7", "raise"), "c": Task(3)})
    assert found == {"a": 1, "b": Broken("7 is wrong"), "c": 3}


def test_a_process_that_dies_costs_its_task_only(pool):
    found = finished(pool, {"a": Task(1), "b": Task(0, "die"), "c": Task(3)})
    assert (found["a"], found["c"]) == (1, 3)
    assert "ended" in found["b"].reason


def test_what_compiled_code_prints_does_no_harm(pool):
    assert finished(pool, {"a": Task(5, "print")}) == {"a": 5}


def test_a_task_that_never_ends_is_ended(pool, monkeypatch):
    monkeypatch.setattr(slice_pool, "_LONGEST_S", 1.0)
    assert "ended" in finished(pool, {"a": Task(60, "sleep")})["a"].reason


def test_it_stops_within_a_second_and_continues_afterwards(pool):
    results = pool.results({n: Task(30, "sleep") for n in range(12)})
    next(results)
    with Stopwatch() as took:
        results.close()
    assert took.seconds < 1
    assert finished(pool, {"a": Task(1)}) == {"a": 1}


def test_after_closing_no_process_is_left():
    with SlicePool(1) as pool:
        finished(pool, {"a": Task(1)})
        child = pool._processes[0]._child
        assert child.poll() is None
    assert child.poll() is not None


def test_no_processes_at_all_is_refused():
    with pytest.raises(InputError, match="jobs 0"):
        SlicePool(0)
