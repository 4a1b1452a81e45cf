"""``train scribbles``, and ``segment`` with the model that comes of it."""

import json

import numpy as np
import pytest
import torch
from scribbled_rings import GEOMETRY, image, scribbles, truth, write_case, write_cases

from InteractiveSegLib.cli import main
from InteractiveSegLib.image.image_io import read_labelmap, read_volume, write_image, write_labelmap
from InteractiveSegLib.image.metrics import dice
from InteractiveSegLib.learning.automatic_card import AutomaticCard
from InteractiveSegLib.learning.automatic_model import export_model
from InteractiveSegLib.learning.automatic_network import AutomaticNetwork
from InteractiveSegLib.learning.scribble_training import ScribbleSettings


class Bright(AutomaticNetwork):
    """Exactly what intensities say: bright is 1, grey 2."""

    def forward(self, image):
        levels = torch.tensor([0.0, 1.0, 0.5]).reshape(1, 3, 1, 1)
        return -40 * (image - levels).square()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder with a model that needs no prompts, and an image."""
    folder = tmp_path_factory.mktemp("model")
    network = Bright([1, 2], (6.0, 1.0, 1.0), (4, 8), True, 16)
    card = AutomaticCard.of(network, {1: "disc", 2: "ring"}, (1, 2), {"images": 0})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("InteractiveSegLib.learning.automatic_model.AutomaticNetwork", Bright)
        export_model(network, card, folder / "model")
    write_image(folder / "scan.nii.gz", image(4), GEOMETRY)
    return folder


def test_segment_needs_no_prompts(model, tmp_path, capsys):
    command = ["segment", str(model / "scan.nii.gz"), "--model", str(model / "model"), "-o", str(tmp_path / "m.nii.gz")]
    assert main([*command, "--json", "--probability", str(tmp_path / "p.nii.gz")]) == 0
    report = json.loads(capsys.readouterr().out)
    found = read_labelmap(tmp_path / "m.nii.gz", GEOMETRY)
    assert dice(found == 1, truth(4) == 1) > 0.9
    assert dice(found == 2, truth(4) == 2) > 0.8
    assert report["objects"]["1"]["voxels"] == int((found == 1).sum())
    assert report["objects"]["1"]["ml"] == pytest.approx((found == 1).sum() * 6 / 1000, abs=1e-3)
    likely = read_volume(tmp_path / "p.nii.gz").array_kji
    assert likely[truth(4) == 1].mean() > 0.9 > 0.2 > likely[truth(4) == 0].mean()


def test_scribbles_correct_what_it_found(model, tmp_path, capsys):
    marks = np.zeros(truth(4).shape, np.uint8)
    j, i = np.argwhere(truth(4)[1] == 1).max(axis=0)
    marks[1, j - 1, i - 6 : i - 4] = 2  # a bit of the disc's border is said to be ring
    assert (truth(4)[marks > 0] == 1).all()
    write_labelmap(tmp_path / "marks.nii.gz", marks, GEOMETRY)
    command = ["segment", str(model / "scan.nii.gz"), "--model", str(model / "model"), "--no-adapt"]
    command += ["--scribbles", str(tmp_path / "marks.nii.gz"), "-o", str(tmp_path / "m.nii.gz"), "--json"]
    assert main(command) == 0
    report = json.loads(capsys.readouterr().out)
    found = read_labelmap(tmp_path / "m.nii.gz", GEOMETRY)
    assert (found[marks > 0] == 2).all()
    assert dice(found == 1, truth(4) == 1) > 0.6
    assert any(note.startswith("corrections start from what ") for note in report["notes"])


def test_objects_that_need_no_correction_stay_in_mask_and_probability(model, tmp_path):
    marks = np.zeros(truth(4).shape, np.uint8)
    marks[1, 1, 1:6] = 2  # a further part of the ring
    write_labelmap(tmp_path / "marks.nii.gz", marks, GEOMETRY)
    command = ["segment", str(model / "scan.nii.gz"), "--model", str(model / "model"), "--no-adapt", "--quiet"]
    command += ["--scribbles", str(tmp_path / "marks.nii.gz"), "--probability", str(tmp_path / "p.nii.gz")]
    assert main([*command, "-o", str(tmp_path / "m.nii.gz")]) == 0
    found = read_labelmap(tmp_path / "m.nii.gz", GEOMETRY)
    assert dice(found == 1, truth(4) == 1) > 0.9
    assert read_volume(tmp_path / "p.nii.gz").array_kji[found == 1].min() > 0.5


def test_without_such_a_model_prompts_are_asked_for(model, tmp_path, capsys):
    assert main(["segment", str(model / "scan.nii.gz"), "-o", str(tmp_path / "m.nii.gz")]) == 2
    assert "give a --box, --scribbles" in capsys.readouterr().err


def test_several_images_are_marked_by_one_command(model, tmp_path):
    (tmp_path / "scans").mkdir()
    for seed in (5, 6):
        write_image(tmp_path / "scans" / f"s{seed}.nii.gz", image(seed), GEOMETRY)
    assert main(["segment", str(tmp_path / "scans"), "--model", str(model / "model"), "-o", str(tmp_path / "out")]) == 0
    assert dice(read_labelmap(tmp_path / "out" / "s6_mask.nii.gz", GEOMETRY) == 1, truth(6) == 1) > 0.9


def test_training_says_what_it_wrote(tmp_path, capsys):
    write_cases(tmp_path / "data", 2)
    command = ["train", "scribbles", "--images", str(tmp_path / "data"), "--scribbles", str(tmp_path / "data")]
    assert main([*command, "-o", str(tmp_path / "out"), "--steps", "1"]) == 0
    said = capsys.readouterr()
    assert f"{tmp_path / 'out' / 'model.ts'}\tstep 1\tno validation" in said.out
    assert "every image counts as a patient of its own" in said.err
    assert "1 of 1: marks " in said.err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--attention", "model.9"], "UNet has no layer 'model.9'"),
        (["--validation", "2"], "2 of 2 patients for validation leave no patient to learn from"),
        (["--crf", "-1"], "the weights of the loss must not be below 0"),
        (["--attention", "none"], "the attentive similarity needs attention on a layer"),
        (["--background", "0"], "background and unmarked are both 0"),
        (["--patient", "("], "'(' is not a regular expression"),
    ],
)
def test_options_that_cannot_be_are_refused_in_a_line(tmp_path, capsys, more, said):
    write_cases(tmp_path / "data", 2)
    command = ["train", "scribbles", "--images", str(tmp_path / "data"), "--scribbles", str(tmp_path / "data")]
    assert main([*command, "-o", str(tmp_path / "out"), "--steps", "1", "--quiet", *more]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_less_than_no_patient_for_validation_is_refused(tmp_path, capsys):
    folder = str(tmp_path)
    with pytest.raises(SystemExit):
        main(["train", "scribbles", "--images", folder, "--scribbles", folder, "-o", folder, "--validation", "-1"])
    assert "argument --validation: '-1' is not a whole number of at least 0" in capsys.readouterr().err


def test_scribbles_on_another_grid_are_refused_in_a_line(tmp_path, capsys):
    write_case(tmp_path, "a", 0)
    write_labelmap(tmp_path / "a_scribble.nii.gz", scribbles(0)[:2], type(GEOMETRY)((2, 40, 40), GEOMETRY.ijk_to_ras))
    command = ["train", "scribbles", "--images", str(tmp_path), "--scribbles", str(tmp_path), "-o", str(tmp_path / "o")]
    assert main(command) == 2
    assert "a_scribble.nii.gz" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (("train", "scribbles"), "number of optimiser steps (default: {})"),
        (("learn",), "scribbles: {})"),
        (("benchmark",), "from scribbles (default there: {})"),
    ],
)
def test_the_help_names_the_steps_that_a_training_takes(command, text, capsys):
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    assert text.format(ScribbleSettings().steps) in " ".join(capsys.readouterr().out.split())
