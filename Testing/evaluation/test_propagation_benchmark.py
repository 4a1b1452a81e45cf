"""The benchmark of propagated slices: what is drawn, what is scored, and resuming a stopped run."""

import csv

import numpy as np
import pytest
from moving_shapes import image_of, volume_of, wandering_disc

from InteractiveSegLib.cli import main
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.data.cases import Case
from InteractiveSegLib.evaluation.data.datasets import folder_dataset
from InteractiveSegLib.evaluation.slices import propagation_benchmark
from InteractiveSegLib.evaluation.slices.propagation_benchmark import (
    Between,
    Effort,
    PropagationOutcome,
    PropagationSettings,
    propagation_steps,
)
from InteractiveSegLib.evaluation.slices.propagation_methods import METHODS
from InteractiveSegLib.evaluation.slices.propagation_report import propagation_report, write_scores
from InteractiveSegLib.evaluation.users.slice_annotator import STRATEGIES, boundary_pixels, stages
from InteractiveSegLib.image.image_io import write_image, write_labelmap
from InteractiveSegLib.progress import finish
from InteractiveSegLib.propagate.proxy_mask import PropagateSettings, propagate_steps


@pytest.fixture
def case():
    truth = wandering_disc().astype(np.uint8)
    return Case("shapes", "disc", volume_of(image_of(truth)), truth, {1: "disc"})


@pytest.fixture
def by_shape(case):
    def by_shape(annotated):
        return finish(propagate_steps(case.volume, annotated, PropagateSettings("shape")))

    return by_shape


def test_the_outline_of_a_square_is_what_a_person_draws():
    labels = np.zeros((3, 9, 9), np.uint8)
    labels[1, 2:7, 2:7] = 1  # 25 pixels, 9 of them inside
    assert boundary_pixels(labels).tolist() == [0, 16, 0]
    labels[1, 4, 4] = 2  # another label: one pixel for itself, four beside it
    assert boundary_pixels(labels).tolist() == [0, 16 + 4 + 1, 0]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_person_draws_more_and_more_until_it_is_good(case, by_shape, strategy):
    found = list(stages(case, strategy, by_shape, goal=0.97))
    assert found[0].slices == 3
    assert found[-1].dice >= 0.97
    assert all(stage.dice < 0.97 for stage in found[:-1])
    assert all(0 < stage.effort <= 1 for stage in found)
    assert [stage.slices for stage in found] == list(range(3, 3 + len(found)))


def test_who_halves_gaps_keeps_what_was_drawn_and_draws_in_the_middle_of_the_widest(case):
    drawn = []

    def propagated(annotated):
        drawn.append([each.index for each in annotated])
        return finish(propagate_steps(case.volume, annotated, PropagateSettings("shape")))

    list(stages(case, "halved gaps", propagated, goal=1.1))
    assert drawn[:4] == [[0, 6, 12], [0, 3, 6, 12], [0, 3, 6, 9, 12], [0, 1, 3, 6, 9, 12]]
    assert drawn[-1] == list(range(13))


def test_who_is_never_content_draws_every_slice(case, by_shape):
    last = list(stages(case, "guided", by_shape, goal=1.1))[-1]
    assert (last.slices, last.effort, last.dice) == (13, 1, 1)


def test_every_third_slice_and_the_last_one_are_annotated():
    assert propagation_benchmark._annotated(np.arange(4, 13), 3) == [4, 7, 10, 12]
    assert propagation_benchmark._annotated(np.arange(4, 14), 3) == [4, 7, 10, 13]


@pytest.fixture
def folders(tmp_path, case):
    for name in ("images", "labels", "out"):
        (tmp_path / name).mkdir()
    write_image(tmp_path / "images" / "disc.nrrd", case.volume.array_kji, case.volume.geometry)
    write_labelmap(tmp_path / "labels" / "disc.nrrd", case.truth, case.volume.geometry)
    return folder_dataset(tmp_path / "images", tmp_path / "labels"), tmp_path


@pytest.mark.slow
def test_a_run_scores_all_methods_and_resumes_where_it_stopped(folders, monkeypatch):
    pytest.importorskip("itk")
    pytest.importorskip("itk.itkMorphologicalContourInterpolatorPython")
    dataset, folder = folders
    settings = PropagationSettings((6,), split="all", jobs=1, draws=1)
    outcome = finish(propagation_steps((dataset,), folder, folder / "out", settings))
    scores = {score.method: score for score in outcome.between}
    assert set(scores) == set(METHODS)
    assert scores["propagate"].dice > 0.95 > scores["shape"].dice
    assert scores["propagate"].surface_dice > scores["fill"].surface_dice
    assert len(outcome.efforts) == 2 * len(STRATEGIES)

    def never(*_):
        raise AssertionError("it was done before")

    monkeypatch.setattr(propagation_benchmark, "_case_steps", never)
    again = finish(propagation_steps((dataset,), folder, folder / "out", settings))
    assert again == outcome
    write_scores(outcome, folder)
    with (folder / "between.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(METHODS)


def test_an_unknown_method_is_refused():
    with pytest.raises(InputError, match="not magic"):
        PropagationSettings(methods=("propagate", "magic"))


def test_nothing_to_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="no case to run"):
        finish(propagation_steps((), tmp_path, tmp_path, PropagationSettings()))


def ending(result):
    """Steps without any work."""
    yield from ()
    return result


def test_the_command_writes_its_tables_into_a_page(folders, monkeypatch, capsys):
    _, folder = folders
    scores = tuple(Between("A", "one", "x", method, 5, 0.8, 0.7, 1.0) for method in METHODS)
    where = "InteractiveSegLib.evaluation.slices.propagation"
    monkeypatch.setattr(f"{where}_benchmark.propagation_steps", lambda *_: ending(PropagationOutcome(scores, (), ())))
    monkeypatch.setattr(f"{where}_speed.propagation_speed_steps", lambda jobs: ending("| quick |"))
    page = folder / "page.md"
    names = ("propagate dice", "propagate nsd", "propagate effort", "propagate speed")
    page.write_text("".join(f"<!-- begin {name} -->\n<!-- end {name} -->\n" for name in names))
    words = ["--images", str(folder / "images"), "--labels", str(folder / "labels"), "-o", str(folder / "out")]
    assert main(["benchmark", "--task", "propagate", *words, "--cases", "2", "--quiet", "--page", str(page)]) == 0
    parts = page.read_text().split("<!-- end ")
    command = "`interactiveseg benchmark --task propagate --images FOLDER --labels FOLDER --cases 2`, split: report."
    assert all(f"{name} -->\n{command}\n\n| " in part for name, part in zip(names, parts, strict=False))
    assert "0.800" in parts[0]
    assert "0.700" in parts[1]
    assert "| quick |" in parts[3]
    assert "### Every n-th slice annotated: Dice on the slices between\n\n| n" in capsys.readouterr().out


def test_the_report_averages_objects_cases_and_datasets():
    methods = ("propagate", "shape", "fill")
    between = [
        Between("A", "one", name, method, 5, value, value, 1.0)
        for name, value in (("x", 0.8), ("y", 0.6))
        for method in methods
    ] + [Between("B", "two", "x", method, 5, 0.9, 0.9, 1.0) for method in methods]
    efforts = [Effort("A", "one", strategy, goal, 0.25, 4) for strategy in ("guided", "random") for goal in (0.9, 0.95)]
    outcome = PropagationOutcome(tuple(between), tuple(efforts), ("a note",))
    text = propagation_report(outcome, PropagationSettings((5,), methods))
    assert "| 5 | A                   | 1     | 0.700 (0.70-0.70)" in text
    assert "| 5 | mean over datasets  |       | 0.800 " in text
    assert "0.250 (4.0 slices)" in text
    assert "- a note" in text
