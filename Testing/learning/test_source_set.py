"""Labelled images to start a study from: which files belong together, and what their labels mean."""

import json

import numpy as np
import pytest
from casebook_cases import box_mask, write_case_image

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.image_io import read_volume, write_labelmap
from InteractiveSegLib.learning import source_set
from InteractiveSegLib.learning.source_set import LabelTable, label_table, read_names, source_pairs

STUDY = {1: "right ventricle", 2: "myocardium", 3: "left ventricle"}


def touch(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


def pairs_of(images, labels):
    notes = []
    return [(pair.name, pair.image.name, pair.labels.name) for pair in source_pairs(images, labels, notes)], notes


def test_images_and_labelmaps_go_together_by_their_names(tmp_path):
    one = touch(
        tmp_path / "one", "a_image.nii.gz", "a_label.nii.gz", "a_scribble.nii.gz", "b_image.nii.gz", "notes.txt"
    )
    assert pairs_of(one, one) == (
        [("a", "a_image.nii.gz", "a_label.nii.gz")],
        ["left out, since they have no labelmap: b_image.nii.gz"],
    )
    images = touch(tmp_path / "imagesTr", "x_0000.nii.gz", "y_0000.nii.gz")
    labels = touch(tmp_path / "labelsTr", "x.nii.gz", "y.seg.nrrd", "z.nii.gz")
    assert pairs_of(images, labels) == (
        [("x", "x_0000.nii.gz", "x.nii.gz"), ("y", "y_0000.nii.gz", "y.seg.nrrd")],
        ["left out, since they have no image: z.nii.gz"],
    )


def test_folders_that_do_not_match_are_refused(tmp_path):
    images = touch(tmp_path / "images", "a.nii.gz", "a.nrrd", "b.nii.gz")
    labels = touch(tmp_path / "labels", "c.nii.gz")
    with pytest.raises(
        InputError, match=r"no image in .* of the same name in .*: found a\.nii\.gz, a\.nrrd, b\.nii\.gz, c\.nii\.gz"
    ):
        source_pairs(images, labels, [])
    with pytest.raises(InputError, match="nowhere cannot be read"):
        source_pairs(tmp_path / "nowhere", labels, [])
    touch(labels, "a_label.nii.gz")
    with pytest.raises(
        InputError, match=r"unclear which files of case 'a' belong together: a\.nii\.gz, a\.nrrd, a_label"
    ):
        source_pairs(images, labels, [])


def written(folder, geometry=None):
    image = write_case_image(folder / "a_image.nii.gz")
    write_labelmap(folder / "a_label.nii.gz", box_mask(), geometry or read_volume(image).geometry)
    return source_pairs(folder, folder, [])[0]


def test_a_labelmap_on_another_grid_is_refused(tmp_path):
    matrix = read_volume(write_case_image(tmp_path / "a_image.nii.gz")).geometry.ijk_to_ras.copy()
    matrix[0, 3] += 5
    with pytest.raises(InputError, match="a_label"):
        written(tmp_path, Geometry((6, 12, 17), matrix)).read([])


def test_an_image_too_large_to_be_read_is_refused_by_its_header(tmp_path, monkeypatch):
    pair = written(tmp_path)
    assert pair.read([])[0].array_kji.shape == (6, 12, 17)
    monkeypatch.setattr(source_set, "MOST_SOURCE_VOXELS", 6 * 12 * 17 - 1)
    monkeypatch.setattr(source_set, "read_volume", None)
    with pytest.raises(InputError, match="17 x 12 x 6 = 1224 voxels; a labelled image may have at most 1223"):
        pair.read([])


def test_names_are_read_either_way(tmp_path):
    file = tmp_path / "labels.json"
    for given in ({"0": "air", "1": " liver ", "7": "spleen"}, {"background": 0, "liver": 1, "spleen": 7}):
        file.write_text(json.dumps(given))
        assert read_names(file) == {1: "liver", 7: "spleen"}
    for text in ("[1]", '{"1": 2}', '{"1": ""}', '{"liver": [1, 2]}', "no json", '{"liver": true}'):
        file.write_text(text)
        with pytest.raises(InputError, match=r"labels.json contains no names of labels, such as"):
            read_names(file)
    file.write_text('{"1": "liver", "01": "spleen"}')
    with pytest.raises(InputError, match="twice"):
        read_names(file)
    with pytest.raises(InputError, match="cannot be read"):
        read_names(tmp_path / "none.json")


def test_organs_go_by_their_names_whatever_the_numbers():
    notes = []
    named = {600: "Left_Ventricle", 500: "MYOCARDIUM", 501: "myocardium", 820: "aorta"}
    table = label_table([500, 501, 600, 820], named, STUDY, notes)
    assert table == LabelTable({500: 2, 501: 2, 600: 3}, {2: "myocardium", 3: "left ventricle"})
    assert notes == [
        "the source's labels 820 (aorta) count as background, since the study has no organ of that name",
        "the source does not show right ventricle: there is no starting mask of it",
    ]
    assert table.translated(np.array([[[0, 500, 501], [600, 820, 3]]])).tolist() == [[[0, 2, 2], [3, 0, 0]]]


def test_without_names_a_number_means_what_it_does_in_the_study():
    notes = []
    assert label_table([1, 3], None, STUDY, notes).labels == {1: 1, 3: 3}
    assert notes == [
        "labels are matched by number, since the source's labels have no names: 1 right ventricle, 3 left ventricle"
    ]
    with pytest.raises(
        InputError, match=r"contains label 7, which the study does not have \(1 right .*: name the .* with --names"
    ):
        label_table([1, 7], None, STUDY, [])


def test_a_study_without_labels_gets_the_source_s():
    assert label_table([2, 5], None, {}, []).names == {2: "label 2", 5: "label 5"}
    named = {2: "liver", 5: "spleen", 6: "Liver"}
    assert label_table([2, 5, 6], named, {}, []) == LabelTable({2: 2, 5: 5, 6: 2}, {2: "liver", 5: "spleen"})
    with pytest.raises(InputError, match="label 600 of the source cannot be used in the study"):
        label_table([2, 600], {2: "liver", 600: "heart"}, {}, [])


@pytest.mark.parametrize(
    ("occurring", "named", "text"),
    [
        ([], None, "are empty"),
        ([1, 4], {1: "myocardium"}, r"contains label 4, which --names does not name \(1 myocardium\)"),
        ([1], {1: "liver"}, "have no name in common"),
    ],
)
def test_labels_that_mean_nothing_in_the_study_are_refused(occurring, named, text):
    with pytest.raises(InputError, match=text):
        label_table(occurring, named, STUDY, [])
