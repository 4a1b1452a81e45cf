"""A small labelled set that starts a study, worked through by a simulated person, on tiny images."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from blobs import noisy
from taught_blobs import SHAPE, blob

from InteractiveSegLib.casebook.acceptance import latest
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.starting_masks import starting_masks
from InteractiveSegLib.casebook.states import State
from InteractiveSegLib.cli import main
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.data.datasets import Dataset
from InteractiveSegLib.evaluation.streams import transfer_task
from InteractiveSegLib.evaluation.streams.transfer_references import from_nothing_steps
from InteractiveSegLib.evaluation.streams.transfer_report import (
    Transferred,
    batches_table,
    curves_table,
    requirements_table,
    save_plots,
)
from InteractiveSegLib.evaluation.streams.transfer_study import (
    FLEXIBLE,
    MAIN,
    WAYS,
    CaseCost,
    Studied,
    TransferSettings,
    study_steps,
)
from InteractiveSegLib.evaluation.streams.transfer_task import TransferTask, transfer_tasks
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.image_io import write_image, write_labelmap
from InteractiveSegLib.learning.igniter import IgniteSettings
from InteractiveSegLib.learning.image_batches import PatchSettings
from InteractiveSegLib.learning.sustainer import SUSTAINER_SETTINGS
from InteractiveSegLib.learning.versions import versions
from InteractiveSegLib.progress import finish

SOURCE = Dataset("few", "few", {"blob": (3,)})
TARGET = Dataset("many", "many", {"blob": (1,)}, group="^p[0-9]+")
TASK = TransferTask("blobs", "From few blobs to many", SOURCE, (TARGET,), 2, 1, 1)
SETTINGS = TransferSettings(
    IgniteSettings(steps=2, widths=(4, 8), patches=PatchSettings((12, 12), (2, 2))),
    replace(SUSTAINER_SETTINGS, updates=2, updates_per_case=0),
    (1, 2),
)


def write(folder, name, seed, value):
    geometry = Geometry(SHAPE, np.diag([1.0, 1.0, 1.2, 1.0]))
    folder.mkdir(parents=True, exist_ok=True)
    write_image(folder / f"{name}_image.nii.gz", noisy(blob(seed), seed), geometry)
    write_labelmap(folder / f"{name}_label.nii.gz", blob(seed).astype(np.uint8) * value, geometry)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for seed in range(2):
        write(root / "few", f"s{seed}", seed, 3)
    for patient in range(5):
        for frame in range(2):
            write(root / "many", f"p{patient}_{frame}", 10 + 2 * patient + frame, 1)
    return root


@pytest.fixture(scope="module")
def main_way(data, tmp_path_factory):
    """The main way, which is stopped a few times and goes on."""
    output = tmp_path_factory.mktemp("out")
    for count in (4, 12):
        steps = study_steps(TASK, data, output, SETTINGS, MAIN, 0)
        for _ in range(count):
            next(steps)
        steps.close()
    return output, finish(study_steps(TASK, data, output, SETTINGS, MAIN, 0))


def test_patients_stay_on_one_side_and_all_parts_are_apart(data):
    parts = TASK.parts(data)
    names = {split: {place.name for place in places} for split, places in parts.targets.items()}
    patients = {split: {name[:2] for name in found} for split, found in names.items()}
    assert [len(found) for found in patients.values()] == [1, 1, 3]
    assert len(set().union(*patients.values())) == 5
    assert len(TASK.parts(data, 1).targets["train"]) == 2  # one patient, as two cases are to choose from
    same = replace(TASK, source=TARGET, sources=2)
    assert not {place.name for place in same.parts(data).source} & {
        place.name for places in same.parts(data).targets.values() for place in places
    }
    with pytest.raises(InputError, match="blobs: there are 2 labelled cases or patients, but 3 are needed"):
        replace(TASK, sources=3).parts(data)


def test_a_study_is_worked_through_in_batches_and_a_stopped_run_goes_on(main_way):
    output, found = main_way
    assert found.cases == [0, 1, 3]
    assert [cost.batch for cost in found.costs] == [0, 0, 0, 1, 1]  # with those for validation first
    assert [cost.split for cost in found.costs] == ["validation", "validation", "train", "train", "train"]
    assert all(cost.seconds > 0 for cost in found.costs)
    assert [len(tested) for tested in found.tested] == [2, 2, 2]
    with Casebook(output / "random" / "study") as casebook:
        accepted = [entry.name for entry in casebook.cases() if entry.state is State.ACCEPTED]
        assert sorted(accepted) == sorted(cost.case for cost in found.costs)
        assert all(latest(casebook, casebook.case(name)).reviewed(casebook.case(name)).is_whole for name in accepted)
        tested = {entry.id for entry in casebook.cases() if entry.split == "test"}
        assert tested
        assert not tested & set(starting_masks(casebook))
        assert [len(version.cases) for version in versions(casebook, "sustainer")] == [1, 3]  # one for each batch


def test_some_slices_are_verified_and_the_rest_is_left(data, main_way):
    output, whole = main_way
    found = finish(study_steps(TASK, data, output, SETTINGS, FLEXIBLE, 0))
    cheaper = {cost.case: cost.seconds for cost in found.costs if cost.split == "train"}
    dearer = {cost.case: cost.seconds for cost in whole.costs}
    assert all(seconds < dearer[name] for name, seconds in cheaper.items() if name in dearer)
    with Casebook(output / "flexible" / "study") as casebook:
        entry = casebook.case(next(iter(cheaper)))
        review = latest(casebook, entry).reviewed(entry)
        assert review.known(1).sum() == len(range(entry.id % 3, SHAPE[0], 3))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["uncertain", "diverse", "no replay", "no augmentation", "strong augmentation"])
def test_other_ways_start_from_the_same_igniter(data, main_way, name):
    output, found = main_way
    other = finish(study_steps(TASK, data, output, SETTINGS, WAYS[name], 0))
    assert other.cases == found.cases
    if name != "no augmentation":
        assert other.tested[0] == found.tested[0]


def test_training_from_nothing_takes_the_same_masks_or_the_truth(data, main_way):
    output, found = main_way
    ours = finish(from_nothing_steps(TASK, data, output, SETTINGS, 0, 1))
    full = finish(from_nothing_steps(TASK, data, output, SETTINGS, 0, None))
    assert set(ours) == set(full) == set(found.tested[0])
    assert finish(from_nothing_steps(TASK, data, output, SETTINGS, 0, 1)) == ours
    assert not (output / "full-truth" / "training").exists()
    tables = Transferred("blobs", {1: "blob"}, [found], {0: full}, {(0, 1): ours})
    save_plots(tables, output)
    assert (output / "dice.png").stat().st_size > 1000
    assert "after 1 cases, sustainer and training from nothing" in requirements_table(tables)


def cost(batch, seconds, hand_s=100.0, changed=5, split="train"):
    return CaseCost(f"c{batch}-{seconds}", batch, split, seconds, seconds / 2, hand_s, 3, 10.0, changed, 100, 0.5)


def dices(*means):
    return [{f"t{number}": {1: value + (number - 2.5) / 1000} for number in range(6)} for value in means]


def test_the_tables_say_what_is_met():
    whole = Studied(0, "random", [cost(0, 30), cost(1, 10), cost(1, 20)], dices(0.4, 0.6, 0.8), [0, 1, 3])
    third = Studied(0, "flexible", [cost(0, 10), cost(1, 5), cost(1, 5)], dices(0.4, 0.5, 0.6), [0, 1, 3])
    [full] = dices(0.815)
    [nothing] = dices(0.3)
    found = Transferred("blobs", {1: "blob"}, [whole, third], {0: full}, {(0, 1): nothing})
    rows = {line.split("|")[1].strip(): line for line in requirements_table(found).splitlines()[2:]}
    assert "| 0.400" in rows["igniter on the target, Dice"]
    assert re.search(r"full truth \(0\.815\) - 0\.02 +\| 0\.800 .*yes", rows["after the last batch (3 cases), Dice"])
    assert re.search(r"\+0\.400 +\| yes", rows["gain over the igniter"])
    assert re.search(r"0\.20 +\| 0\.20 +\| yes", rows["time a case, of drawing it by hand"])
    assert "| 0.10" in rows["the same, errors up to 3 mm let stand"]
    assert re.search(r"0\.600 and 0\.300, p 0\.031 +\| yes", rows["after 1 cases, sustainer and training from nothing"])
    line = rows["a third of the slices verified and all of them, at equal time"]
    assert re.search(r"0\.600 and 0\.533 +\| yes", line)  # after 20 of the 30 s of the first batch
    assert "| flexible" in curves_table(found)
    assert re.search(r"\| 2 +\| 2 +\| 0\.500 +\| 15 +\| 100 +\| 0\.15 +\| 5\.0 %", batches_table(found))
    worse = Transferred("blobs", {1: "blob"}, [replace(whole, tested=dices(0.4, 0.4, 0.5))], {0: full})
    assert requirements_table(worse).count("| no ") == 2


def test_the_shipped_tasks_need_datasets_that_are_listed():
    tasks = transfer_tasks()
    assert (tasks["heart"].sources, tasks["heart"].tested, tasks["control"].sources) == (12, 20, 8)
    assert tasks["heart"].labels == {1: "right ventricle", 2: "myocardium", 3: "left ventricle"}
    assert all(tuple(target.objects) == tuple(tasks["heart"].source.objects) for target in tasks["heart"].targets)


def test_the_command_writes_tables_and_updates_a_page(data, main_way, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(transfer_task, "transfer_tasks", lambda: {"heart": TASK, "control": TASK})
    monkeypatch.setattr("InteractiveSegLib.commands.transfer_command._settings", lambda options: SETTINGS)
    (tmp_path / "out" / "heart").mkdir(parents=True)
    shutil.copytree(main_way[0], tmp_path / "out" / "heart" / f"{SETTINGS.name}-seed-0")
    page = tmp_path / "page.md"
    page.write_text("<!-- begin transfer -->\n<!-- end transfer -->\n")
    words = ["benchmark", "--task", "transfer", "--data", str(data), "-o", str(tmp_path / "out"), "--page", str(page)]
    assert main([*words, "--parts", "random", "--quiet"]) == 0
    assert "gain over the igniter" in capsys.readouterr().out
    assert "`interactiveseg benchmark --task transfer --data FOLDER --parts random`" in page.read_text()
    assert "| drawing" in (tmp_path / "out" / "transfer.md").read_text()
    assert main([*words, "--parts", "best"]) == 2
    assert "--parts best: there are random, full" in capsys.readouterr().err


def test_few_cases_cut_the_last_batch(monkeypatch):
    from argparse import Namespace

    from InteractiveSegLib.commands.transfer_command import _settings

    nothing = {"steps": None, "updates": None, "tested": None}
    assert _settings(Namespace(quick=False, cases=17, **nothing)).batches == (5, 10, 2)
    quick = _settings(Namespace(quick=True, cases=None, **nothing))
    assert (quick.batches, quick.ignite.steps, quick.tested) == ((5,), 60, 4)
    assert _settings(Namespace(quick=False, cases=None, **nothing)).name == "1200-200-40-5-10-20-40-of-40"
