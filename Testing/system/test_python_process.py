"""Files in the folder in which a process is started are never run, whatever their names."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pool_task
import pytest
from pool_task import Task
from test_benchmark import ONE_ROUND, write_case

from InteractiveSegLib.evaluation.data.datasets import folder_dataset
from InteractiveSegLib.evaluation.prompted.benchmark import BenchmarkSettings, benchmark_steps
from InteractiveSegLib.learning.background import start_learner
from InteractiveSegLib.progress import finish
from InteractiveSegLib.propagate.slice_pool import Broken, SlicePool
from InteractiveSegLib.system import python_process
from InteractiveSegLib.system.python_process import library_command, library_environment, spawning_safely
from InteractiveSegLib.worker.blocking import BlockingWorker
from InteractiveSegLib.worker.job import JobError
from InteractiveSegLib.worker.requests.casebook_request import CasebookRequest
from InteractiveSegLib.worker.transport import worker_command

PLANTED = ("json", "pickle", "random", "numpy", "torch", "InteractiveSegLib", "multiprocessing", "importlib", "runpy")
TOOL = 'from pathlib import Path\nPath({mark!r}).write_text(__name__)\nraise SystemExit("a planted module was run")\n'


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """The working folder holds modules that say so where they are run; returns what they write."""
    mark = tmp_path / "run"
    folder = tmp_path / "images"
    folder.mkdir()
    for name in PLANTED:
        (folder / f"{name}.py").write_text(TOOL.format(mark=str(mark)))
    monkeypatch.chdir(folder)
    return mark


def test_the_planted_modules_do_run_in_a_python_that_is_started_carelessly(planted):
    done = subprocess.run([sys.executable, "-c", "import json"], capture_output=True, check=False, env={})
    assert planted.exists()
    assert b"a planted module was run" in done.stderr


@pytest.mark.parametrize("entry", ["", ".", "images"])
def test_the_slices_of_propagation(planted, monkeypatch, entry):
    here = str(Path(pool_task.__file__).parent)
    monkeypatch.chdir(planted.parent if entry == "images" else Path.cwd())
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([entry, here]))
    with SlicePool(1) as pool:
        found = [each for each in pool.results({0: Task("said")}) if each]
    assert found == [(0, "said")]
    assert not isinstance(found[0][1], Broken)
    assert not planted.exists()


def test_the_learner_in_the_background(planted):
    child = start_learner(planted.parent / "none", "prompted")
    said = child.communicate(timeout=120)[0].decode()
    assert (child.returncode, "is not a casebook" in said) == (2, True)
    assert not planted.exists()


@pytest.mark.parametrize("command", ["worker", "learn"])
def test_what_the_panel_starts(planted, command):
    """With the environment as it is: the panel's QProcess passes it on."""
    done = subprocess.run(
        [*worker_command(command=command), "--help"], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout.startswith("usage: interactiveseg")
    assert not planted.exists()


@pytest.mark.slow
def test_the_worker_with_all_that_it_imports(planted):
    with BlockingWorker() as worker, pytest.raises((JobError, ValueError), match="is not a casebook"):
        worker.run(CasebookRequest("none", "look"))
    assert not planted.exists()


@pytest.mark.slow
def test_the_processes_of_the_benchmark(planted, tmp_path):
    write_case(tmp_path / "blobs", "a")
    settings = BenchmarkSettings(("box",), ("robot",), trial=ONE_ROUND, jobs=1)
    output = Path("../output")  # a process that is started elsewhere has to find it
    images = Path("../blobs")
    outcome = finish(benchmark_steps((folder_dataset(images, images),), images, output, settings))
    assert outcome.scores
    assert not planted.exists()


@pytest.mark.parametrize("version", [sys.version_info, (3, 10)], ids=["this Python", "Python 3.10"])
def test_the_processes_of_multiprocessing(planted, monkeypatch, version):
    """As they make training images and cases of the benchmark; Python 3.10 knows no variable for it."""
    if version == (3, 10):
        monkeypatch.setattr(python_process, "sys", SimpleNamespace(version_info=version))
        monkeypatch.setattr(python_process, "_SAFE_PATH", "NOT_KNOWN_THERE")
    folder = Path.cwd()
    with spawning_safely():
        child = multiprocessing.get_context("spawn").Process(target=os.getpid)
        child.start()
    child.join(60)
    assert (child.exitcode, Path.cwd()) == (0, folder)
    assert not planted.exists()


def test_a_command_keeps_the_arguments_as_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = library_command("InteractiveSegLib.cli", "casebook", "list", "a b/c'd", python=sys.executable)
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=library_environment())
    assert done.returncode == 2
    assert "a b/c'd is not a casebook" in done.stderr


def test_only_absolute_entries_of_the_path_are_passed_on(monkeypatch):
    for given, kept in (("", None), (".", None), (f"{os.pathsep}/x", "/x"), (f"a{os.pathsep}/y z", "/y z")):
        monkeypatch.setenv("PYTHONPATH", given)
        assert library_environment(MORE="1").get("PYTHONPATH") == kept
    assert (library_environment(MORE="1")["MORE"], os.environ.get("PYTHONSAFEPATH")) == ("1", None)
