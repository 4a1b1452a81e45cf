"""A user's folders of images and labels: which files belong together, and what is refused with a reason."""

import numpy as np
import pytest

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.data.datasets import folder_dataset
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.image_io import write_image


def touch(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()


def test_images_and_labels_of_a_folder_go_together_by_name(tmp_path):
    images, labels = tmp_path / "imagesTr", tmp_path / "labelsTr"
    touch(images, "same.nii.gz", "b_image.nii.gz", "c_0000.nii.gz", "img007.mha", "alone.nrrd", "c_0001.nii.gz")
    touch(images, "readme.txt", "._same.nii.gz")
    touch(labels, "same.nii.gz", "b_label.nrrd", "c.nii.gz", "label007.seg.nrrd", "other.nii")
    dataset = folder_dataset(images, labels)
    paired = {case: (image.name, label.name) for case, (image, label) in dataset.pairs.items()}
    assert paired == {
        "same": ("same.nii.gz", "same.nii.gz"),
        "b": ("b_image.nii.gz", "b_label.nrrd"),
        "c": ("c_0000.nii.gz", "c.nii.gz"),
        "007": ("img007.mha", "label007.seg.nrrd"),
    }
    assert sorted(dataset.unmatched) == ["alone.nrrd", "c_0001.nii.gz", "other.nii"]
    assert (dataset.name, dataset.folder, dataset.has_scribbles) == ("imagesTr", images, False)


def test_images_and_labels_may_share_a_folder(tmp_path):
    touch(tmp_path, "a.nii.gz", "a_gt.nii.gz", "b_image.nrrd", "b-seg.nrrd", "c.mha")
    dataset = folder_dataset(tmp_path, tmp_path)
    paired = {case: (image.name, label.name) for case, (image, label) in dataset.pairs.items()}
    assert paired == {"a": ("a.nii.gz", "a_gt.nii.gz"), "b": ("b_image.nrrd", "b-seg.nrrd")}
    assert dataset.unmatched == ("c.mha",)


def test_all_cases_of_a_folder_are_reported(tmp_path):
    for folder in ("images", "labels"):
        touch(tmp_path / folder, *(f"{number}.nii.gz" for number in range(5)))
    dataset = folder_dataset(tmp_path / "images", tmp_path / "labels")
    assert dataset.cases(tmp_path) == dataset.cases(tmp_path, "all") == list("01234")
    assert dataset.cases(tmp_path, "tuning") == []
    with pytest.raises(InputError, match="'test'"):
        dataset.cases(tmp_path, "test")


def test_every_label_value_of_a_folder_is_an_object(tmp_path):
    geometry = Geometry((2, 3, 5), np.diag([0.5, -0.7, 3.0, 1.0]))
    array = np.zeros(geometry.shape_kji, np.int16)
    array[0, 0] = (0, 7, 1001, -3, 7)
    write_image(tmp_path / "a_image.nrrd", array * 2, geometry)
    write_image(tmp_path / "a_label.nrrd", array, geometry)
    dataset = folder_dataset(tmp_path, tmp_path)
    case = dataset.load(tmp_path, "a")
    assert case.objects == {1: "label 7", 2: "label 1001"}
    assert case.truth[0, 0].tolist() == [0, 1, 2, 0, 1]
    assert case.notes == ("label values -3 belong to no object",)
    assert case.volume.array_kji[0, 0, 2] == 2002
    with pytest.raises(InputError, match="no case 'b'"):
        dataset.load(tmp_path, "b")


@pytest.mark.parametrize(("values", "reason"), [([0], "no object .*background only"), (range(300), "299 label values")])
def test_a_folder_case_without_objects_or_with_too_many_is_refused(tmp_path, values, reason):
    array = np.resize(np.array(values, np.int16), (3, 10, 10))
    grid = Geometry(array.shape, np.eye(4))
    write_image(tmp_path / "a_image.nrrd", array, grid)
    write_image(tmp_path / "a_label.nrrd", array, grid)
    with pytest.raises(InputError, match=reason):
        folder_dataset(tmp_path, tmp_path).load(tmp_path, "a")


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("a.nrrd",), "no image in .* has a label .*found a.nrrd"),
        ((), "no images at all"),
        (("a.nrrd", "a.mha", "a_seg.nrrd"), "unclear .* 'a' belong together: a.mha, a.nrrd, a_seg.nrrd"),
        (("a.nrrd", "a_gt.nrrd", "a_seg.nrrd"), "unclear .* 'a' belong together: a.nrrd, a_gt.nrrd, a_seg.nrrd"),
    ],
)
def test_files_that_cannot_be_paired_are_refused(tmp_path, names, reason):
    touch(tmp_path / "all", *names)
    with pytest.raises(InputError, match=reason):
        folder_dataset(tmp_path / "all", tmp_path / "all")


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"nowhere cannot be read: No such file"):
        folder_dataset(tmp_path, tmp_path / "nowhere")
