"""Several processes training together give the same result as one, and only the first of them writes."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from shared_training import CPU, SETTINGS, perceptron, recipe_in, steps_in
from torch import distributed
from training_runs import logged, same

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.networks.checkpoint import load_network
from InteractiveSegLib.progress import finish
from InteractiveSegLib.training import recipes
from InteractiveSegLib.training.process_group import ProcessGroup

FILES = ["checkpoint.pt", "losses.csv"]

needs_gloo = pytest.mark.skipif(
    sys.platform == "win32" or not (distributed.is_available() and distributed.is_gloo_available()),
    reason="this build of torch has no way for processes to talk",
)


def two_processes(*words):
    script = Path(__file__).parents[1] / "shared_training.py"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    return subprocess.run(
        [*command, *map(str, words)], capture_output=True, encoding="utf-8", errors="replace", timeout=300, check=False
    )


def names_in(folder):
    return sorted(file.name for file in folder.iterdir())


def assert_weights(state, network):
    for key, expected in network.state_dict().items():
        torch.testing.assert_close(state[key], expected, rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process learns and logs."""
    folder = tmp_path_factory.mktemp("alone")
    averaged = finish(steps_in(folder))
    assert not same(averaged, perceptron())
    return averaged, logged(folder)


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """A folder for each of two processes, 0 and 1, and beside it what the process found."""
    folder = tmp_path_factory.mktemp("together")
    run = two_processes("train", folder / "{rank}", 0, folder)
    assert run.returncode == 0, run.stderr
    return folder


# a process by itself


def test_a_process_that_was_started_by_itself_is_alone_and_leads(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    group = ProcessGroup.joined(CPU)
    assert (group, group.leads) == (ProcessGroup(0, 1), True)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert ProcessGroup.joined(CPU) == ProcessGroup(0, 1)
    assert not distributed.is_available() or not distributed.is_initialized()


def test_a_process_that_is_alone_keeps_its_sums_and_waits_for_nobody():
    tensors = [torch.tensor(3.0), torch.arange(4.0)]
    ProcessGroup().add_up(tensors)
    ProcessGroup().wait()
    assert tensors[0] == 3
    assert tensors[1].tolist() == [0, 1, 2, 3]


def test_the_batches_of_a_step_are_shared_evenly_and_each_once():
    assert list(ProcessGroup().share(3)) == [0, 1, 2]
    assert [list(ProcessGroup(rank, 3).share(6)) for rank in range(3)] == [[0, 3], [1, 4], [2, 5]]


@pytest.mark.parametrize("parts", [1, 3, 5])
def test_batches_that_cannot_be_shared_evenly_are_refused(parts):
    for rank in (0, 1):
        with pytest.raises(InputError, match=f"2 processes cannot share {parts} batches a step evenly"):
            ProcessGroup(rank, 2).share(parts)


def test_only_the_first_process_leads():
    assert [ProcessGroup(rank, 3).leads for rank in range(3)] == [True, False, False]


def test_several_processes_are_refused_where_torch_has_no_way_for_them_to_talk(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(distributed, "is_available", lambda: False)
    with pytest.raises(InputError, match="cannot train in several processes"):
        ProcessGroup.joined(CPU)


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match=r"process 2 finds no GPU of its own: there are 2"):
        ProcessGroup.joined(torch.device("cuda"))


# two processes


@needs_gloo
@pytest.mark.slow
def test_two_processes_learn_what_one_learns(together, alone):
    for rank in (0, 1):
        assert_weights(torch.load(together / f"{rank}.pt", weights_only=True)["weights"], alone[0])
    assert logged(together / "0") == alone[1]


@needs_gloo
@pytest.mark.slow
def test_only_the_first_process_writes(together):
    assert names_in(together / "0") == FILES
    assert names_in(together / "1") == []
    assert torch.load(together / "0" / "checkpoint.pt", weights_only=True)["step"] == SETTINGS.steps


@needs_gloo
@pytest.mark.slow
def test_sums_over_processes_keep_types_and_shapes(together):
    for rank in (0, 1):
        double, half = torch.load(together / f"{rank}.pt", weights_only=True)["counts"]
        assert (double.dtype, half.dtype) == (torch.float64, torch.bfloat16)
        assert double.tolist() == half.tolist() == [[13] * 3] * 2  # 1 + 1 here and 1 + 10 there


@needs_gloo
@pytest.mark.slow
def test_a_step_that_two_processes_cannot_share_is_refused_before_any_work(together):
    for rank in (0, 1):
        refusal = torch.load(together / f"{rank}.pt", weights_only=True)["refusal"]
        assert refusal == "2 processes cannot share 3 batches a step evenly"
        assert not (together / str(rank) / "refused").exists()


@pytest.mark.slow
@needs_gloo
def test_a_run_goes_on_after_a_process_was_killed_in_any_number_of_processes(tmp_path, alone):
    folder = tmp_path / "killed"
    killed = two_processes("train", folder, 6, tmp_path)
    assert killed.returncode != 0
    assert torch.load(folder / "checkpoint.pt", weights_only=True)["step"] == 4
    assert not list(tmp_path.glob("*.pt"))
    shutil.copytree(folder, tmp_path / "by one")

    again = two_processes("train", folder, 0, tmp_path)
    assert again.returncode == 0, again.stderr
    assert_weights(torch.load(tmp_path / "0.pt", weights_only=True)["weights"], alone[0])
    assert_weights(finish(steps_in(tmp_path / "by one", seed=99)).state_dict(), alone[0])
    for each in (folder, tmp_path / "by one"):
        assert names_in(each) == FILES
        assert logged(each) == alone[1]


@pytest.mark.slow
@needs_gloo
def test_two_processes_follow_a_recipe_and_the_first_writes_the_weights(tmp_path, monkeypatch):
    run = two_processes("recipe", tmp_path / "{rank}")
    assert run.returncode == 0, run.stderr
    assert names_in(tmp_path / "0") == [*FILES, "slices", "tiny.safetensors"]
    assert names_in(tmp_path / "0" / "slices") == FILES
    assert names_in(tmp_path / "1") == ["slices"]
    assert names_in(tmp_path / "1" / "slices") == []
    monkeypatch.setitem(recipes.RECIPES, "tiny", None)  # gone again after this test
    recipe_in(tmp_path / "alone")
    assert_weights(load_network(tmp_path / "0").state_dict(), load_network(tmp_path / "alone"))
    assert logged(tmp_path / "0") == logged(tmp_path / "alone")
