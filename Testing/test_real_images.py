"""The whole way on annotated scans: it has to help a person, not only to run."""

import json

import numpy as np
import pytest

from InteractiveSegLib.cli import main
from InteractiveSegLib.evaluation.datasets import DATASETS
from InteractiveSegLib.evaluation.metrics import dice
from InteractiveSegLib.image_io import read_labelmap, write_labelmap
from InteractiveSegLib.prompts import BoundingBox

CINE, _, ATRIUM, *_ = DATASETS


def box_words(truth):
    box = BoundingBox.of_mask(truth)
    return [str(number) for corner in (box.start_kji, box.stop_kji) for number in reversed(corner)]


@pytest.fixture(scope="module")
def heart(shared_data):
    case = CINE.cases(shared_data)[0]
    return CINE, case, *CINE.load(shared_data, case), shared_data


def test_expert_scribbles_and_boxes_segment_a_heart(heart, tmp_path, capsys):
    dataset, case, volume, labelmap, root = heart
    write_labelmap(tmp_path / "scribbles.nii.gz", dataset.load_scribbles(root, case, volume), volume.geometry)
    image = str(root / dataset.folder / f"{case}{dataset.image}")
    words = ["segment", image, "--scribbles", str(tmp_path / "scribbles.nii.gz"), "-o", str(tmp_path / "mask.nii.gz")]
    for label in (1, 2, 3):
        words += ["--box", *box_words(labelmap == label), "--box-label", str(label)]
    assert main([*words, "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["objects"]) == {"1", "2", "3"}
    mask = read_labelmap(tmp_path / "mask.nii.gz", volume.geometry)
    assert np.mean([dice(mask == label, labelmap == label) for label in (1, 2, 3)]) > 0.7


def test_a_box_finds_most_of_a_left_atrium(shared_data, tmp_path):
    case = ATRIUM.cases(shared_data)[0]
    volume, labelmap = ATRIUM.load(shared_data, case)
    image = str(shared_data / ATRIUM.folder / f"{case}{ATRIUM.image}")
    output = tmp_path / "mask.nrrd"
    assert main(["segment", image, "--box", *box_words(labelmap > 0), "-o", str(output), "--quiet"]) == 0
    mask = read_labelmap(output, volume.geometry)
    box = np.zeros(mask.shape, bool)
    box[BoundingBox.of_mask(labelmap).slices] = True
    assert dice(mask == 1, labelmap == 1) > dice(box, labelmap == 1)
