import re

import numpy as np
import pytest
import torch

from InteractiveSegLib.errors import MissingPackageError
from InteractiveSegLib.evaluation.prompted import demo
from InteractiveSegLib.progress import finish


def test_the_ventricles_are_one_cavity_inside_the_brain():
    volume, truth = demo.ventricles()
    assert volume.geometry.shape_kji == truth.shape == (189, 233, 197)
    assert np.count_nonzero(truth) == 17778
    assert (volume.array_kji[truth] > 0).all()


def test_the_demo_says_which_package_it_misses(monkeypatch):
    monkeypatch.setattr(demo, "find_spec", lambda _: None)
    with pytest.raises(MissingPackageError, match="the demo needs the Python package 'nilearn'"):
        demo.ventricles()


@pytest.mark.slow
def test_the_demo_improves_with_scribbles_and_leaves_pictures_and_a_mask(tmp_path):
    table = finish(demo.demo_steps(tmp_path, 0, torch.device("cpu")))
    scores = [float(score) for score in re.findall(r"\| (0\.\d{3}) ", table)]
    assert len(scores) == 4
    assert scores[-1] > max(scores[0], 0.8)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *(f"round{number}.png" for number in range(1, 5)),
        "ventricles.nii.gz",
    ]
    assert (tmp_path / "round1.png").read_bytes().startswith(b"\x89PNG")
