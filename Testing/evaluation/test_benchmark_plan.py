"""What a benchmark will run, and what it refuses before any work is done."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from InteractiveSegLib.errors import InputError, OutputError
from InteractiveSegLib.evaluation.data.datasets import Dataset, ScribbleFiles, folder_dataset
from InteractiveSegLib.evaluation.prompted import benchmark
from InteractiveSegLib.evaluation.prompted.benchmark import BenchmarkSettings, Unit, benchmark_steps
from InteractiveSegLib.evaluation.prompted.trial import TrialSettings
from InteractiveSegLib.evaluation.users.robot import RobotSettings
from InteractiveSegLib.networks.checkpoint import save_network
from InteractiveSegLib.networks.pnet import PNet
from InteractiveSegLib.progress import finish

SETTINGS = BenchmarkSettings(("box", "geodesic"), ("robot",), trial=TrialSettings(rounds=1, cap=1))


@pytest.fixture
def two_datasets(tmp_path):
    for folder, names in (("plain", "abcde"), ("drawn", "xy")):
        for name in names:
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / f"{name}_image.nii.gz").touch()
    return (
        Dataset("Plain", "plain", {"blob": (1,)}),
        Dataset("Drawn", "drawn", {"blob": (1,)}, scribbles=ScribbleFiles("_scribbles.nii.gz", 9, 0)),
        Dataset("Absent", "absent", {"blob": (1,)}),
    )


@pytest.fixture
def units(monkeypatch):
    """What is run, in its order, without running it."""
    units = []
    monkeypatch.setattr(benchmark, "_run", lambda unit, *_: units.append(unit))
    monkeypatch.setattr(benchmark, "ProcessPoolExecutor", lambda jobs, *_: ThreadPoolExecutor(jobs))
    return units


def test_the_plan_is_every_method_with_every_user_and_people_only_where_they_drew(two_datasets, tmp_path, units):
    chosen = BenchmarkSettings(("grow", "box"), ("human", "robot", "clicks"), split="all")
    finish(benchmark_steps(two_datasets, tmp_path, tmp_path / "out", chosen))
    planned = [(unit.dataset.name, unit.case, unit.user, unit.method) for unit in units]
    assert planned == [
        (name, case, user, method)
        for name, cases, users in (
            ("Plain", "abcde", ("robot", "clicks")),
            ("Drawn", "xy", ("human", "robot", "clicks")),
        )
        for case in cases
        for user in users
        for method in ("grow", "box")
    ]


def test_every_robot_starts_from_every_prompt_with_the_methods_that_can(two_datasets, tmp_path, units):
    chosen = BenchmarkSettings(
        ("grow", "box", "grabcut"), ("human", "clicks", "short"), cases=1, prompts=("none", "slice-box", "box")
    )
    finish(benchmark_steps(two_datasets[1:2], tmp_path, tmp_path / "out", chosen))
    assert [(unit.user, unit.prompted, unit.method) for unit in units] == [
        *(("human", "none", method) for method in ("grow", "box", "grabcut")),
        *(
            (user, prompted, method)
            for user in ("clicks", "short")
            for prompted, methods in (
                ("none", ("grow",)),
                ("slice-box", ("grow", "box", "grabcut")),
                ("box", ("grow", "box", "grabcut")),
            )
            for method in methods
        ),
    ]
    assert len({unit.name for unit in units}) == len(units)
    assert units[0].name == replace(units[0], prompted="box").name  # people draw no box, whatever the robots do


@pytest.mark.parametrize(
    ("count", "split", "expected"),
    [
        (None, "report", ["a", "b", "c", "e", "x", "y"]),  # every fourth is for tuning
        (None, "tuning", ["d"]),
        (3, "all", ["a", "c", "e", "x", "y"]),
        (2, "all", ["a", "e", "x", "y"]),
        (1, "all", ["a", "x"]),
    ],
)
def test_some_cases_are_spread_evenly_over_a_dataset(two_datasets, tmp_path, units, count, split, expected):
    chosen = BenchmarkSettings(("box",), ("robot",), cases=count, split=split)
    finish(benchmark_steps(two_datasets, tmp_path, tmp_path / "out", chosen))
    assert [unit.case for unit in units] == expected


@pytest.mark.parametrize(("users", "data"), [("human", "plain"), ("robot", "gone")])
def test_a_run_without_cases_is_refused(two_datasets, tmp_path, users, data):
    root = tmp_path if data == "plain" else tmp_path / data
    with pytest.raises(InputError, match=rf"no case to run under {root}: looked for plain, users {users}"):
        next(benchmark_steps(two_datasets[:1], root, tmp_path / "out", BenchmarkSettings(("box",), (users,))))
    assert not (tmp_path / "out").exists()


@pytest.fixture
def images(tmp_path):
    """Folder with the name of a case and its label."""
    return touched(tmp_path / "first" / "images")


def touched(folder):
    folder.mkdir(parents=True)
    for name in ("a_image.nrrd", "a_label.nrrd"):
        (folder / name).touch()
    return folder


def start(images, output, settings=SETTINGS):
    """Up to the first report: all that is refused is refused before it."""
    running = benchmark_steps((folder_dataset(images, images),), images, output, settings)
    next(running)
    running.close()


@pytest.mark.parametrize("other", [{"rounds": 0}, {"cap": 5}, {"seed": 1}, {"enough": 0.8}, {"device": "cuda"}])
def test_a_folder_of_a_run_with_other_settings_is_refused(images, tmp_path, other):
    start(images, tmp_path)
    start(images, tmp_path, replace(SETTINGS, jobs=2, cases=2))
    with pytest.raises(InputError, match=rf"^{tmp_path} holds a run with other settings; use another folder$"):
        start(images, tmp_path, replace(SETTINGS, trial=replace(SETTINGS.trial, **other)))


def test_a_folder_of_a_run_with_other_weights_is_refused(images, tmp_path):
    model = tmp_path / "net"
    model.mkdir()
    save_network(PNet(2), model / "tiny.safetensors", {})
    chosen = BenchmarkSettings(("box", f"{model}:plain"), ("robot",))
    start(images, tmp_path / "out", chosen)
    start(images, tmp_path / "out", replace(chosen, methods=("box",)))
    torch.manual_seed(1)
    save_network(PNet(2), model / "tiny.safetensors", {"steps": 2})
    with pytest.raises(InputError, match=rf"holds a run with other weights of {model}:plain; use another folder"):
        start(images, tmp_path / "out", chosen)
    start(images, tmp_path / "out", replace(chosen, methods=("box",)))


def test_a_folder_of_a_run_on_other_images_of_the_same_name_is_refused(images, tmp_path):
    start(images, tmp_path / "out")
    (images / "b_image.nrrd").touch()
    (images / "b_label.nrrd").touch()
    start(images, tmp_path / "out")
    other = touched(tmp_path / "second" / "images")
    with pytest.raises(InputError, match="holds a run with other images or labels of images; use another folder"):
        start(other, tmp_path / "out")
    written = json.loads((tmp_path / "out" / "settings.json").read_text())
    del written["images"]  # as written before they were noted
    (tmp_path / "out" / "settings.json").write_text(json.dumps(written))
    start(other, tmp_path / "out")


def test_a_folder_in_which_a_user_of_that_name_drew_otherwise_is_refused(images, tmp_path, monkeypatch):
    start(images, tmp_path / "out", replace(SETTINGS, users=("clicks", "short")))
    monkeypatch.setitem(benchmark.ROBOTS, "clicks", RobotSettings("click", thickness_voxels=3.0))
    start(images, tmp_path / "out", replace(SETTINGS, users=("robot", "short")))
    with pytest.raises(InputError, match="holds a run with other ways to draw of clicks; use another folder"):
        start(images, tmp_path / "out", replace(SETTINGS, users=("clicks",)))


def test_a_listed_dataset_that_was_redefined_is_refused(two_datasets, tmp_path):
    def begin(dataset):
        next(benchmark_steps((dataset,), tmp_path, tmp_path / "out", BenchmarkSettings(("box",), ("robot",))))

    begin(two_datasets[0])
    begin(replace(two_datasets[0], note="Read the terms.", terms="CC BY 4.0"))
    with pytest.raises(InputError, match="other images or labels of Plain"):
        begin(replace(two_datasets[0], objects={"blob": (1, 2)}))


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"version": 1}', "\x00\xff"])
def test_damaged_settings_are_refused(images, tmp_path, content):
    (tmp_path / "settings.json").write_bytes(content.encode("latin1"))
    with pytest.raises(InputError, match=r"settings.json is damaged .*use another folder|other settings"):
        start(images, tmp_path)


def test_an_unknown_model_is_refused_before_any_work(images, tmp_path):
    with pytest.raises(InputError, match="no model 'unet'"):
        start(images, tmp_path / "out", replace(SETTINGS, methods=("box", "unet:fixed")))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("below", ["", "output"])
def test_an_output_that_is_a_file_cannot_be_written(images, tmp_path, below):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(OutputError, match=r"cannot write into .*file.*(Not a directory|File exists)"):
        start(images, tmp_path / "file" / below)
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ({"methods": ()}, r"methods \(none\): name each"),
        ({"methods": ("box", "box")}, "methods box, box: name each of them once"),
        ({"users": ()}, r"users \(none\): there are robot, sloppy, clicks, strokes, short, human"),
        ({"users": ("robot", "nurse")}, "users nurse: there are"),
        ({"users": ("robot", "human", "robot")}, "users robot, human, robot: name each of them once"),
        ({"prompts": ()}, r"prompts \(none named\): there are box, none, slice-box, loose-box, mask"),
        ({"prompts": ("box", "lasso")}, "prompts lasso: there are"),
        ({"prompts": ("none", "none")}, "prompts none, none: name each of them once"),
        ({"prompts": ("none",)}, "prompts none: box cannot run without a box"),
        ({"prompts": ("mask",)}, "prompts mask: box cannot start from a mask, only networks can"),
        (
            {"prompts": ("none",), "methods": ("grow",), "trial": TrialSettings(0, 0)},
            "prompts none with 0 rounds: without a box nothing is drawn before the first round",
        ),
        ({"cases": 0}, "cases 0 must be at least 1"),
        ({"jobs": 0}, "jobs 0 must be at least 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(words, text):
    with pytest.raises(InputError, match=text):
        BenchmarkSettings(**{"methods": ("box",), "users": ("robot",), **words})


def test_names_of_trials_are_file_names_and_never_meet(images):
    dataset = folder_dataset(images, images)
    one = Unit(dataset, "Fall_ä/1", "robot", r"C:\net:fixed")
    assert re.fullmatch(r"[A-Za-z0-9._-]+", one.name)
    assert one.name == Unit(dataset, "Fall_ä/1", "robot", r"C:\net:fixed").name
    assert one.name != replace(one, case="Fall_ö/1").name
    assert len(replace(one, case="x" * 300).name) < 200
