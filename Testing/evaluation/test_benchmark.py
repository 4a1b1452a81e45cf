"""A benchmark can be stopped anywhere, resumes, and reports what it could not do."""

import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from blobs import SHAPE_KJI, blob_network, ellipsoid, noisy

from InteractiveSegLib.errors import InputError, InteractiveSegError, OutputError
from InteractiveSegLib.evaluation.data.datasets import Dataset, ScribbleFiles, folder_dataset
from InteractiveSegLib.evaluation.prompted import benchmark
from InteractiveSegLib.evaluation.prompted.benchmark import BenchmarkSettings, Unit, benchmark_steps, load_mask
from InteractiveSegLib.evaluation.prompted.trial import TrialSettings
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.image_io import write_image
from InteractiveSegLib.networks.checkpoint import save_network
from InteractiveSegLib.networks.pnet import PNet
from InteractiveSegLib.progress import finish

GRID = Geometry(SHAPE_KJI, np.diag([1.0, 1.0, 2.0, 1.0]))
ONE_ROUND = TrialSettings(rounds=1, cap=1)


def write_case(folder, name, labels=None, grid=GRID, seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    blob = ellipsoid(centre_kji=(6, 10, 11 + seed))
    write_image(folder / f"{name}_image.nii.gz", noisy(blob, seed), GRID)
    write_image(folder / f"{name}_label.nii.gz", blob.astype(np.uint8) if labels is None else labels, grid)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Three good cases, and three that cannot be used."""
    folder = tmp_path_factory.mktemp("data") / "blobs"
    for seed, name in enumerate("abc"):
        write_case(folder, name, seed=seed)
    write_case(folder, "cut")
    whole = (folder / "cut_image.nii.gz").read_bytes()
    (folder / "cut_image.nii.gz").write_bytes(whole[: len(whole) // 2])
    write_case(folder, "empty", labels=np.zeros(SHAPE_KJI, np.uint8))
    write_case(folder, "moved", grid=Geometry(SHAPE_KJI, np.diag([1.0, 1.0, 5.0, 1.0])))
    return folder


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    folder = tmp_path_factory.mktemp("net")
    save_network(blob_network(PNet), folder / "tiny.safetensors", {})
    return folder


@pytest.fixture(scope="module")
def settings(net):
    return BenchmarkSettings(("box", "geodesic", f"{net}:fixed"), ("robot",), trial=ONE_ROUND)


class Threads(ThreadPoolExecutor):
    """In place of processes, which take seconds to start; as forgetful as those about what they are told to cancel."""

    def __init__(self, jobs, *_):
        super().__init__(jobs)

    def shutdown(self, **_):
        super().shutdown()


def use_threads(monkeypatch):
    monkeypatch.setattr(benchmark, "ProcessPoolExecutor", Threads)


@pytest.fixture
def inline(monkeypatch):
    use_threads(monkeypatch)


@pytest.fixture(scope="module")
def complete(images, settings, tmp_path_factory):
    """Folder and outcome of a run that nobody stopped."""
    output = tmp_path_factory.mktemp("complete")
    with pytest.MonkeyPatch.context() as patch:
        use_threads(patch)
        return output, finish(steps(images, output, settings))


def steps(images, output, settings):
    return benchmark_steps((folder_dataset(images, images),), images, output, settings)


def timeless(outcome):
    """What must be the same in every run."""
    return [repr(replace(score, seconds=0, stages="", peak_mb=0)) for score in outcome.scores], outcome.notes


def recorded(monkeypatch, inline_run=lambda *_: None):
    """The units that are run, in their order."""
    units = []

    def run(unit, *rest):
        units.append(unit)
        return inline_run(unit, *rest)

    monkeypatch.setattr(benchmark, "_run", run)
    return units


def test_the_scores_come_in_the_order_of_the_plan(complete, settings):
    scores = complete[1].scores
    order = [(score.case, score.method, score.round) for score in scores]
    assert order == [(case, method, number) for case in "abc" for method in settings.methods for number in (0, 1)]
    assert {(score.dataset, score.object, score.user) for score in scores} == {("blobs", "label 1", "robot")}
    assert all(0 <= score.dice <= 1 and score.peak_mb > 0 for score in scores)
    by_box = {score.case: score.dice for score in scores if (score.method, score.round) == ("box", 0)}
    assert all(0.4 < dice < 0.8 for dice in by_box.values())


def test_a_case_that_cannot_be_used_is_reported_and_the_rest_continues(complete, settings):
    notes = "\n".join(complete[1].notes)
    assert len(complete[1].notes) == 3 * len(settings.methods)
    for method in settings.methods:
        assert re.search(rf"^blobs: cut: {re.escape(method)}: .*cut_image.nii.gz", notes, re.MULTILINE)
        assert re.search(rf"^blobs: moved: {re.escape(method)}: .*moved_label.nii.gz.* away", notes, re.MULTILINE)
        assert re.search(rf"^blobs: empty: {re.escape(method)}: .*background only", notes, re.MULTILINE)


def test_the_masks_of_networks_are_kept(complete, images, settings):
    output, outcome = complete
    unit = Unit(folder_dataset(images, images), "b", "robot", settings.methods[2])
    mask, truth = load_mask(output, unit) == 1, ellipsoid(centre_kji=(6, 10, 12))
    last = next(s for s in outcome.scores if (s.case, s.method, s.round) == ("b", unit.method, 1))
    assert 2 * np.sum(mask & truth) / (mask.sum() + truth.sum()) == last.dice
    assert load_mask(output, replace(unit, method="box")) is None


@pytest.mark.slow
def test_two_processes_find_what_one_finds(complete, images, settings, tmp_path):
    outcome = finish(steps(images, tmp_path / "new" / "output", replace(settings, jobs=2, cases=3)))
    scores, notes = timeless(outcome)
    assert scores == [score for score in timeless(complete[1])[0] if "case='b'" not in score]
    assert [note.split(": ")[:2] for note in notes] == 3 * [["blobs", "moved"]]


@pytest.mark.usefixtures("inline")
def test_what_is_finished_is_not_repeated(complete, images, settings, monkeypatch):
    output, outcome = complete
    units = recorded(monkeypatch)
    again = finish(steps(images, output, settings))
    assert {unit.case for unit in units} == {"cut", "empty", "moved"}  # they may have been mended
    assert repr(again.scores) == repr(outcome.scores)


@pytest.mark.usefixtures("inline")
def test_a_run_that_was_stopped_resumes_to_the_same_scores(complete, images, settings, tmp_path, monkeypatch):
    first = steps(images, tmp_path, settings)
    seen = [next(first) for _ in range(4)]
    first.close()
    assert (seen[0].done, seen[0].total) == (0, 18)
    assert [progress.done for progress in seen] == [0, 1, 2, 3]
    finished = len(list((tmp_path / "trials").glob("[!.]*.json")))
    assert 3 <= finished <= 5  # what was under way comes to its end
    units = recorded(monkeypatch, benchmark._run)
    outcome = finish(steps(images, tmp_path, settings))
    assert timeless(outcome) == timeless(complete[1])
    assert 18 - 5 <= len(units) <= 18 - 3


@pytest.mark.usefixtures("inline")
def test_deleted_and_unfinished_files_are_made_again(complete, images, settings, tmp_path):
    shutil.copytree(complete[0], tmp_path, dirs_exist_ok=True)
    for number, path in enumerate(sorted((tmp_path / "trials").glob("*.json"))):
        if number % 3 == 0:
            path.rename(path.with_name(f".123-{path.name}"))  # as of a process that died while writing
    progress = []
    outcome = finish(steps(images, tmp_path, settings), progress.append)
    assert timeless(outcome) == timeless(complete[1])
    assert (progress[0].done, progress[-1].done) == (6, 18)


@pytest.mark.usefixtures("inline")
def test_methods_users_and_cases_can_be_added_to_a_run(images, settings, tmp_path, monkeypatch):
    few = replace(settings, methods=("box",), cases=1)
    finish(steps(images, tmp_path, few))
    units = recorded(monkeypatch)
    finish(steps(images, tmp_path, replace(few, methods=("box", "grow"), users=("robot", "clicks"), cases=2)))
    ran = {(unit.case, unit.user, unit.method) for unit in units}
    assert ("a", "robot", "box") not in ran
    assert len(ran) == len(units) == 7


@pytest.mark.usefixtures("inline")
def test_people_are_replayed_one_by_one_and_their_absence_is_noted(tmp_path):
    marks = np.zeros(SHAPE_KJI, np.uint8)
    marks[6, 10, 9:16], marks[6, 3, 9:16] = 1, 9
    for name in ("a", "b"):
        write_case(tmp_path / "drawn", name)
    write_image(tmp_path / "drawn" / "a_scribbles.nii.gz", marks, GRID)
    files = ScribbleFiles("_scribbles.nii.gz", 9, 0)
    dataset = Dataset("Drawn", "drawn", {"blob": (1,)}, scribbles=files, note="Small.")
    outcome = finish(
        benchmark_steps((dataset,), tmp_path, tmp_path / "out", BenchmarkSettings(("geodesic",), ("human",)))
    )
    assert [(score.case, score.person, score.round) for score in outcome.scores] == [("a", 0, 0)]
    assert outcome.notes == ("Drawn: Small.", "Drawn: b: no scribbles: b_scribbles.nii.gz does not exist")


@pytest.mark.parametrize("content", ["", '{"scores": [{', "[]", '{"scores": [{"dice": 1}], "notes": []}', "\xff"])
@pytest.mark.usefixtures("inline")
def test_a_damaged_trial_is_refused_by_name(images, settings, tmp_path, content):
    one = replace(settings, methods=("box",), cases=1)
    finish(steps(images, tmp_path, one))
    (path,) = (tmp_path / "trials").glob("*.json")
    path.write_bytes(content.encode("latin1"))
    with pytest.raises(InputError, match=rf"^{path} is damaged \(.*\); delete it and run again$"):
        finish(steps(images, tmp_path, one))


@pytest.mark.usefixtures("inline")
def test_a_full_disk_ends_the_run_and_leaves_no_half_file(images, settings, tmp_path, monkeypatch):
    def half(file, **_):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", half)
    with pytest.raises(OutputError, match=r"cannot write .*the disk is full"):
        finish(steps(images, tmp_path, replace(settings, methods=settings.methods[2:], cases=1)))
    assert not list((tmp_path / "trials").iterdir())


class Deadly(Dataset):
    """Kills the process that reads the empty case, until the file ``cured`` is there."""

    def load(self, root, case):
        if case == "empty" and not (root / "cured").exists():
            os._exit(9)
        return super().load(root, case)


@pytest.mark.slow
def test_a_process_that_dies_is_named_and_the_run_can_go_on(images, tmp_path, monkeypatch):
    root = Path(images).parent
    chosen = BenchmarkSettings(("box",), ("robot",), split="all", trial=ONE_ROUND)
    dataset = Deadly("Deadly", images.name, {"blob": (1,)})
    with pytest.raises(InteractiveSegError, match=r"died, perhaps at Deadly: empty, box: .*run the command again"):
        finish(benchmark_steps((dataset,), root, tmp_path, chosen))
    assert sorted(path.name.split("_")[1] for path in (tmp_path / "trials").glob("[!.]*.json")) == ["a", "b", "c"]
    (root / "cured").touch()
    use_threads(monkeypatch)
    outcome = finish(benchmark_steps((dataset,), root, tmp_path, chosen))
    assert {score.case for score in outcome.scores} == {"a", "b", "c"}
    assert [note.split(": ")[1] for note in outcome.notes] == ["cut", "empty", "moved"]
