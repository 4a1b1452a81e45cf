"""The sample image: its contents, its registration with Sample Data, and its node in the scene."""

import hashlib
import sys
import urllib.request
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from sample_image import FOLDER, IMAGE, THUMBNAIL, sample, thumbnail

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.prompted.demo import ventricles
from InteractiveSegLib.image.geometry import kji_to_ras, ras_to_kji
from InteractiveSegLib.image.image_io import read_volume


def test_the_shipped_image_is_what_the_package_nilearn_gives():
    made, truth = sample()
    shipped = read_volume(FOLDER / IMAGE)
    np.testing.assert_array_equal(shipped.array_kji, made.array_kji)
    assert shipped.array_kji.dtype == made.array_kji.dtype == np.uint8
    assert shipped.geometry.difference_mm(made.geometry) < 1e-6
    assert (FOLDER / IMAGE).stat().st_size < 1_000_000
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(sitk.ReadImage(str(FOLDER / THUMBNAIL))), thumbnail(made, truth)
    )


def test_the_image_lies_where_the_template_does_and_holds_the_whole_object():
    whole, whole_truth = ventricles()
    part, truth = sample()
    assert truth.sum() == whole_truth.sum()
    corners = np.array([[0, 0, 0], np.subtract(truth.shape, 1), np.argwhere(truth)[0]])
    there = np.rint(ras_to_kji(kji_to_ras(corners, part.geometry), whole.geometry)).astype(int)
    for here, at in zip(corners.tolist(), there.tolist(), strict=True):
        assert part.array_kji[tuple(here)] == whole.array_kji[tuple(at)]


def test_the_notice_of_the_template_is_shipped_with_it():
    notice = (FOLDER / "NOTICE.txt").read_text("utf-8")
    assert "Louis Collins, McConnell Brain Imaging Centre" in notice
    assert "Permission to use, copy, modify, and distribute" in notice


def test_the_image_is_registered_when_slicer_starts(person, monkeypatch):
    import slicer

    registered = {}
    sample_data = ModuleType("SampleData")
    told = SimpleNamespace(registerCustomSampleDataSource=lambda **source: registered.update(source))
    sample_data.SampleDataLogic = told
    monkeypatch.setitem(sys.modules, "SampleData", sample_data)
    slicer.app._signals.startupCompleted.emit()
    assert registered["category"] == "InteractiveSeg"
    with urllib.request.urlopen(registered["uris"]) as answer:  # as Sample Data gets it, with no network
        data = answer.read()
    assert data == (FOLDER / IMAGE).read_bytes()
    assert registered["checksums"] == f"SHA256:{hashlib.sha256(data).hexdigest()}"
    assert registered["fileNames"] == IMAGE
    assert Path(registered["thumbnailFileName"]) == FOLDER / THUMBNAIL


@pytest.mark.parametrize("name", ["Slicer 5.12", "Jürgen", "100% of #1 + more", "a&b=c?"])
def test_the_address_fits_every_folder_that_slicer_may_lie_in(person, tmp_path, name):
    from InteractiveSegUI.scene.sample_image import sample_source

    folder = tmp_path / name
    folder.mkdir()
    (folder / IMAGE).write_bytes(b"voxels")
    copy, _answer = urllib.request.urlretrieve(sample_source(folder)["uris"], tmp_path / "cached.nrrd")
    assert Path(copy).read_bytes() == b"voxels"


def test_the_loaded_image_has_the_template_s_voxels_and_is_not_tied_to_the_extension_s_file(person):
    from InteractiveSegUI.scene.sample_image import load_sample
    from InteractiveSegUI.scene.volume_io import volume_of

    node = load_sample()
    found, (made, _truth) = volume_of(node), sample()
    np.testing.assert_array_equal(found.array_kji, made.array_kji)
    assert found.geometry.difference_mm(made.geometry) < 1e-6
    assert node.GetName() == "ICBM152Brain"
    assert node.GetStorageNode() is None
    assert load_sample().GetName() != node.GetName()


@pytest.mark.parametrize("content", [None, b"", b"NRRD0004\ntype: unsigned char\n"])
def test_an_image_that_is_missing_or_broken_is_reported(person, tmp_path, content):
    import slicer

    from InteractiveSegUI.scene.sample_image import load_sample

    if content is not None:
        (tmp_path / IMAGE).write_bytes(content)
    with pytest.raises(InputError, match=r"the sample image .*ICBM152Brain.nrrd cannot be loaded: reinstall"):
        load_sample(tmp_path)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLVolumeNode") == 0
