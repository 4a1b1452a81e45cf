"""The whole pipeline on annotated scans: it has to help a person, not only run."""

import json

import numpy as np
import pytest

from InteractiveSegLib.cli import main
from InteractiveSegLib.evaluation.data.datasets import listed_datasets
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.image_io import read_labelmap, write_labelmap
from InteractiveSegLib.image.metrics import dice

CINE, ATRIUM = (d for d in listed_datasets() if d.name in ("ACDC cine MR", "left atrium LGE MR"))


def box_words(truth):
    box = BoundingBox.of_mask(truth)
    return [str(number) for corner in (box.start_kji, box.stop_kji) for number in reversed(corner)]


@pytest.fixture(scope="module")
def heart(shared_data):
    case = CINE.cases(shared_data)[0]
    return CINE.load(shared_data, case), str(shared_data / CINE.folder / f"{case}{CINE.image}")


def test_expert_scribbles_and_boxes_segment_a_heart(heart, tmp_path, capsys):
    case, image = heart
    volume, labelmap = case.volume, case.truth
    write_labelmap(tmp_path / "scribbles.nii.gz", case.scribbles[0], volume.geometry)
    words = ["segment", image, "--scribbles", str(tmp_path / "scribbles.nii.gz"), "-o", str(tmp_path / "mask.nii.gz")]
    for label in (1, 2, 3):
        words += ["--box", *box_words(labelmap == label), "--box-label", str(label)]
    assert main([*words, "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["objects"]) == {"1", "2", "3"}
    mask = read_labelmap(tmp_path / "mask.nii.gz", volume.geometry)
    assert np.mean([dice(mask == label, labelmap == label) for label in (1, 2, 3)]) > 0.7


def test_a_box_finds_most_of_a_left_atrium(shared_data, tmp_path):
    name = ATRIUM.cases(shared_data)[0]
    case = ATRIUM.load(shared_data, name)
    labelmap = case.truth
    image = str(shared_data / ATRIUM.folder / f"{name}{ATRIUM.image}")
    output = tmp_path / "mask.nrrd"
    assert main(["segment", image, "--box", *box_words(labelmap > 0), "-o", str(output), "--quiet"]) == 0
    mask = read_labelmap(output, case.volume.geometry)
    box = np.zeros(mask.shape, bool)
    box[BoundingBox.of_mask(labelmap).slices] = True
    assert dice(mask == 1, labelmap == 1) > dice(box, labelmap == 1)
