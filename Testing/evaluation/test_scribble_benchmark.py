"""Networks that scribbles teach, against other ways to teach them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scribbled_rings import GEOMETRY, image, scribbles, truth

from InteractiveSegLib.cli import main
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.data.patient_folds import patient_folds
from InteractiveSegLib.evaluation.data.scribbled_cases import ACDC, MSCMR, scribbled_cases
from InteractiveSegLib.evaluation.scribbles.scribble_benchmark import (
    FoldResult,
    ScribbleBenchmarkSettings,
    fixed_fold,
    folds_of,
    scribble_benchmark_steps,
)
from InteractiveSegLib.evaluation.scribbles.scribble_report import scribble_table
from InteractiveSegLib.evaluation.scribbles.variants import VARIANTS, variants_named
from InteractiveSegLib.image.image_io import write_image, write_labelmap
from InteractiveSegLib.learning.scribble_batches import ScribblePatches
from InteractiveSegLib.learning.scribble_training import ScribbleSettings
from InteractiveSegLib.progress import finish

TINY = ScribbleSettings(steps=25, learning_rate=2e-2, widths=(4, 8, 8, 8), patches=ScribblePatches((16, 32), (1, 2)))
SETTINGS = ScribbleBenchmarkSettings(
    tuple(variants_named("both,ensemble,full")),
    of=3,
    validation=1,
    method="mixtures",
    training=replace(TINY, validations=1),
)


def data(folder):
    """Six patients in the two folders of ACDC, and four of MSCMR, of whom one was scribbled on."""
    for seed in range(6):
        place = folder / ("acdc_cardiac" if seed < 4 else "acdc_cardiac_more")
        place.mkdir(parents=True, exist_ok=True)
        name = f"patient{seed:03}_frame01"
        write_image(place / f"{name}_image.nii.gz", image(seed), GEOMETRY)
        write_labelmap(place / f"{name}_label.nii.gz", truth(seed), GEOMETRY)
        write_labelmap(place / f"{name}_scribble.nii.gz", scribbles(seed, 0, 4), GEOMETRY)
    place = folder / "mscmr_lge"
    place.mkdir()
    for seed in (2, 3, 10, 11):
        write_image(place / f"subject{seed}_DE_image.nii.gz", image(seed), GEOMETRY)
        if seed == 10:
            write_labelmap(place / f"subject{seed}_DE_scribble.nii.gz", scribbles(seed, 0, 4), GEOMETRY)
        else:
            write_labelmap(place / f"subject{seed}_DE_label.nii.gz", truth(seed), GEOMETRY)
    return folder


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scribbles")
    cases = scribbled_cases(data(folder / "data"), ACDC)
    seen = []
    steps = scribble_benchmark_steps(cases, folds_of(cases, SETTINGS), folder / "out", SETTINGS)
    return finish(steps, lambda progress: seen.append(progress.text)), cases, folder, seen


@pytest.mark.slow
def test_every_variant_is_scored_on_patients_that_nothing_was_learnt_from(ended):
    results, cases, _, seen = ended
    fold = folds_of(cases, SETTINGS)[0]
    assert [result.variant for result in results] == ["both", "ensemble", "full"]
    for result in results:
        assert {row["patient"] for row in result.scores} == set(fold.test)
        assert {row["object"] for row in result.scores} == {"right ventricle", "myocardium", "left ventricle"}
        assert list(result.curve) == [25]
        assert result.step == 25
        assert result.validation == result.curve[25]
    assert np.isnan(results[0].taught_by)
    assert 0.5 < results[1].taught_by <= 1  # the masks of the scribbles
    assert any(text.startswith("both, fold 0 (1 of 3): marks ") for text in seen)


@pytest.mark.slow
def test_finished_trainings_are_not_repeated_and_other_ones_are_not_taken_for_them(ended):
    results, cases, folder, _ = ended
    again = scribble_benchmark_steps(cases, folds_of(cases, SETTINGS), folder / "out", SETTINGS)
    assert [json.dumps(each.scores) for each in finish(again)] == [json.dumps(each.scores) for each in results]
    for other in (
        replace(SETTINGS, training=replace(SETTINGS.training, steps=50)),
        replace(SETTINGS, training=replace(SETTINGS.training, seed=1)),
        replace(SETTINGS, variants=SETTINGS.variants[1:], method="geodesic"),
    ):
        with pytest.raises(InputError, match="contains a training with other images, scribbles or settings"):
            finish(scribble_benchmark_steps(cases, folds_of(cases, other), folder / "out", other))


@pytest.mark.slow
def test_pictures_are_drawn(ended):
    place = ended[2] / "out" / "fold-0" / "both"
    assert (place / "cases.png").stat().st_size > 1000
    assert (place / "attention.png").stat().st_size > 1000
    assert not (ended[2] / "out" / "fold-0" / "full" / "attention.png").exists()


def result(variant, dice):
    """A result whose patients a, b, ... have these Dice."""
    fixed = {"object": "left ventricle", "hd95_mm": 2.0}
    rows = [
        {"case": f"{name}1", "patient": name, "dice": value, "all_parts_dice": value / 2, **fixed}
        for name, value in zip("abcdefgh", dice, strict=False)
    ]
    return FoldResult(variant, 0, 100, 100, 0.8, {100: 0.8}, (), 60.0, 30.0, float("nan"), tuple(rows))


def test_the_table_says_means_and_tests_by_patient():
    low, high = [0.70, 0.72, 0.74, 0.76, 0.71, 0.73, 0.75, 0.77], [0.81, 0.82, 0.83, 0.84, 0.85, 0.86, 0.87, 0.88]
    table = scribble_table([result("strong", low), result("full", high)])
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert rows[0][:4] == ["", "folds", "patients", "Dice"]
    assert rows[2][:4] == ["strong augmentation", "0", "8", "0.735"]
    assert rows[3][:4] == ["full supervision", "0", "8", "0.845"]
    assert (rows[0][5], rows[3][5]) == ("all parts kept", "0.422")
    assert rows[2][9] == "0.0078"  # of the signed ranks of eight differences of one sign: 2 / 2**8
    assert rows[3][8] == "0.0078"
    assert rows[2][-1] == "0.5"


def test_the_command_writes_the_table_of_every_set_into_a_page(tmp_path, monkeypatch):
    def ending(*_):
        yield from ()
        return [result("full", [0.8, 0.9])]

    where = "InteractiveSegLib.evaluation.scribbles.scribble_benchmark"
    monkeypatch.setattr(f"{where}.scribble_benchmark_steps", ending)
    monkeypatch.setattr(f"{where}.folds_of", lambda *_: [None])
    monkeypatch.setattr(f"{where}.fixed_fold", lambda *_: None)
    page, out = tmp_path / "page.md", tmp_path / "out"
    names = ("scribbles acdc", "scribbles mscmr")
    page.write_text("".join(f"<!-- begin {name} --><!-- end {name} -->\n" for name in names))
    for word in ("acdc", "mscmr"):
        (out / word).mkdir(parents=True)
    words = ["benchmark", "--task", "scribbles", "--data", str(data(tmp_path / "data")), "-o", str(out), "--quiet"]
    assert main([*words, "--variants", "full,both", "--sets", "acdc,mscmr", "--page", str(page)]) == 0
    command = "interactiveseg benchmark --task scribbles --data FOLDER"
    assert f"<!-- begin scribbles acdc -->\n`{command} --variants full,both`\n\n| " in page.read_text()
    assert f"mscmr -->\n`{command} --sets mscmr --variants full,both`\n\n| " in page.read_text()
    assert page.read_text().count("| full supervision ") == 2


def test_patients_are_tested_once_and_never_learnt_from_where_they_are():
    names = [f"p{n}" for n in range(11)]
    folds = patient_folds(names, 3, 2)
    assert sorted(name for fold in folds for name in fold.test) == sorted(names)
    for fold in folds:
        assert sorted((*fold.train, *fold.validation, *fold.test)) == sorted(names)
        assert len(fold.validation) == 2
    assert patient_folds(names, 3, 2) == folds
    with pytest.raises(InputError, match="leave nobody to train on"):
        patient_folds(names, 3, 7)
    with pytest.raises(InputError, match="12 folds of 11 patients"):
        patient_folds(names, 12, 0)


@pytest.mark.slow
def test_a_set_that_nobody_outlined_has_a_fixed_fold(ended):
    cases = scribbled_cases(ended[2] / "data", MSCMR)
    fold = fixed_fold(cases, 1)
    assert fold == type(fold)(("subject10",), ("subject2",), ("subject3", "subject11"))
    with pytest.raises(InputError, match="1 scribbled and 3 outlined patients"):
        fixed_fold(cases, 3)


@pytest.mark.parametrize(("names", "said"), [("full,fool", "--variants fool: there are partial, strong")])
def test_unknown_variants_are_refused(names, said):
    with pytest.raises(InputError, match=said):
        variants_named(names)


def test_the_variants_differ_in_what_the_table_says():
    base = ScribbleSettings()
    found = {name: each.settings(base) for name, each in VARIANTS.items()}
    assert found["partial"].patches.augmentation is None
    assert found["strong"].patches.augmentation.often > found["both"].patches.augmentation.often > 0
    assert found["strong"].loss.crf == found["strong"].loss.attentive == 0
    assert (found["both"].loss.crf, found["both"].loss.attentive) == (0.1, 0.1)
    assert found["full"].loss.dice == 1
    assert [name for name, each in found.items() if each.attention] == ["attentive", "both", "ensemble-attentive"]
    assert len({each.steps for each in found.values()}) == 1
