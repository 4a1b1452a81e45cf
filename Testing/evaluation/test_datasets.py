"""Lists of annotated images: what is found, what it means, and what is refused with a reason."""

import gzip
import json
import pickle

import numpy as np
import pytest

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.data.datasets import Dataset, ScribbleFiles, listed_datasets
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.image_io import write_image, write_labelmap

TOY = {"name": "toy", "folder": "toy", "objects": {"ring": [2], "core": [1, 3], "absent": [9]}}


@pytest.fixture
def geometry():
    """Shape (2, 3, 5) with spacing 0.5, 0.7, 3.0 mm (i, j, k) and a flipped axis."""
    matrix = np.diag([0.5, -0.7, 3.0, 1.0])
    matrix[:3, 3] = (-11.0, 7.0, 3.0)
    return Geometry((2, 3, 5), matrix)


@pytest.fixture
def labels(geometry):
    array = np.zeros(geometry.shape_kji, np.uint8)
    array[0, 0] = (0, 1, 2, 3, 3)
    return array


@pytest.fixture
def toy(tmp_path, geometry, labels):
    """A dataset with the case "a" under ``tmp_path``."""
    (tmp_path / "toy").mkdir()
    image = np.arange(labels.size, dtype=np.int16).reshape(labels.shape)
    write_image(tmp_path / "toy" / "a_image.nii.gz", image, geometry)
    write_labelmap(tmp_path / "toy" / "a_label.nii.gz", labels, geometry)
    return Dataset(**TOY)


def touch(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()


def listed(path, *entries):
    path.write_text(json.dumps(entries))
    return listed_datasets(path)


def save_npz(folder, **arrays):
    folder.mkdir()
    np.savez(folder / "x.npz", **arrays)
    return Dataset("drawn", folder.name, {"structure": (1,)}, image=".npz", kind="medscribble")


def test_every_fourth_case_is_for_tuning(tmp_path):
    touch(tmp_path / "toy", *(f"case{number}_image.nii.gz" for number in range(9)))
    dataset = Dataset(**TOY)
    assert dataset.cases(tmp_path, "tuning") == ["case3", "case7"]
    assert dataset.cases(tmp_path) == ["case0", "case1", "case2", "case4", "case5", "case6", "case8"]
    assert dataset.cases(tmp_path, "all") == [f"case{number}" for number in range(9)]


def test_the_time_points_of_a_patient_stay_on_one_side(tmp_path):
    touch(tmp_path / "toy", *(f"p{patient}_t{time}_image.nii.gz" for patient in range(5) for time in range(2)))
    dataset = Dataset(**TOY, group="^p[0-9]+")
    assert dataset.cases(tmp_path, "tuning") == ["p3_t0", "p3_t1"]
    assert len(dataset.cases(tmp_path, "report")) == 8


def test_another_split_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"report, tuning, all.*'test'"):
        Dataset(**TOY).cases(tmp_path, "test")


def test_a_dataset_that_is_not_there_has_no_cases(tmp_path):
    assert Dataset(**TOY).cases(tmp_path, "all") == []


def test_labels_scribbles_and_hidden_files_are_no_images(tmp_path):
    touch(tmp_path / "toy", "a.nii.gz", "a_seg.nii.gz", "a_drawn.nii.gz", "._a.nii.gz", ".nii.gz", "a.txt")
    files = ScribbleFiles("_drawn.nii.gz", background=7, unmarked=0)
    dataset = Dataset(**TOY, image=".nii.gz", label="_seg.nii.gz", scribbles=files)
    assert dataset.cases(tmp_path, "all") == ["a"]


def test_objects_are_numbered_in_their_order_and_absent_ones_are_skipped(toy, tmp_path, geometry):
    case = toy.load(tmp_path, "a")
    assert (case.dataset, case.name, case.scribbles, case.notes) == ("toy", "a", (), ())
    assert case.objects == {1: "ring", 2: "core"}
    assert case.truth.dtype == np.uint8
    assert case.truth[0, 0].tolist() == [0, 2, 1, 2, 2]
    assert not case.truth[1].any()
    assert case.volume.array_kji[1, 2, 4] == 29
    geometry.require_same(case.volume.geometry, "the volume")


def test_an_object_of_one_voxel_is_kept(toy, tmp_path):
    assert np.count_nonzero(toy.load(tmp_path, "a").truth == 1) == 1


def test_label_values_of_no_object_are_noted(toy, tmp_path, geometry):
    array = np.zeros(geometry.shape_kji, np.uint16)
    array[1, 0] = (0, 2, 7, 300, 7)
    write_labelmap(tmp_path / "toy" / "a_label.nii.gz", array, geometry)
    case = toy.load(tmp_path, "a")
    assert case.notes == ("label values 7, 300 belong to no object",)
    assert case.truth[1, 0].tolist() == [0, 1, 0, 0, 0]


def test_the_note_of_a_dataset_goes_with_its_cases(toy, tmp_path):
    assert Dataset(**TOY, note="an atlas").load(tmp_path, "a").notes == ("an atlas",)


def test_a_case_without_any_object_is_refused(toy, tmp_path, geometry):
    path = tmp_path / "toy" / "a_label.nii.gz"
    for value, held in ((0, "background only"), (7, "the label values 7")):
        write_labelmap(path, np.full(geometry.shape_kji, value, np.uint8), geometry)
        with pytest.raises(InputError, match=rf"no object \(ring, core, absent\).*a_label.nii.gz: it holds {held}"):
            toy.load(tmp_path, "a")


def test_an_untrue_spacing_is_replaced(toy, tmp_path):
    volume = Dataset(**TOY, spacing_ijk_mm=[2, 1.5, 5]).load(tmp_path, "a").volume
    assert volume.geometry.spacing_kji_mm == pytest.approx((5, 1.5, 2))
    assert volume.geometry.ijk_to_ras[1, 1] == pytest.approx(-1.5)  # the flipped axis stays flipped
    assert volume.geometry.ijk_to_ras[:3, 3] == pytest.approx((-11, 7, 3))


def test_some_of_a_datasets_objects_can_be_chosen():
    listed = {dataset.name: dataset for dataset in listed_datasets()}
    ventricle = listed["MS-CMRSeg LGE MR"].with_objects(("left ventricle",))
    assert dict(ventricle.objects) == {"left ventricle": (3,)}
    assert ventricle.name == "MS-CMRSeg LGE MR"
    words = ("left atrium", "whole tumour", "left ventricle", "hippocampus")  # whole objects, of all their labels
    assert dict(listed["hippocampus T1 MR"].with_objects(words).objects) == {"hippocampus": (1, 2)}
    assert dict(listed["BRATS FLAIR MR"].with_objects(words).objects) == {"whole tumour": (1, 2, 3, 4)}
    assert listed["liver CT"].with_objects(words) is None
    both = list(listed["brain T1 MR"].with_objects(("thalamus",)).objects)
    assert both == ["left thalamus", "right thalamus"]


def test_a_persons_scribbles_get_the_librarys_numbers(toy, tmp_path, geometry):
    drawn = np.zeros(geometry.shape_kji, np.uint8)
    drawn[0, 0] = (4, 3, 2, 9, 5)  # background, core, ring, an object that does not occur, and nothing known
    write_labelmap(tmp_path / "toy" / "a_drawn.nii.gz", drawn, geometry)
    dataset = Dataset(**TOY, scribbles=ScribbleFiles("_drawn.nii.gz", background=4, unmarked=0))
    case = dataset.load(tmp_path, "a")
    assert dataset.has_scribbles
    assert not toy.has_scribbles
    (marks,) = case.scribbles
    assert marks[0, 0].tolist() == [255, 2, 1, 0, 0]
    assert np.count_nonzero(marks) == 3
    assert case.notes == ("scribble values 5, 9 belong to no object of this case and are left out",)


def test_a_case_nobody_drew_on_says_so(toy, tmp_path):
    dataset = Dataset(**TOY, scribbles=ScribbleFiles("_drawn.nii.gz", background=4, unmarked=0))
    case = dataset.load(tmp_path, "a")
    assert case.scribbles == ()
    assert case.notes == ("no scribbles: a_drawn.nii.gz does not exist",)


def test_a_case_without_labels_is_listed_but_does_not_load(toy, tmp_path):
    (tmp_path / "toy" / "a_label.nii.gz").unlink()
    assert toy.cases(tmp_path, "all") == ["a"]
    with pytest.raises(InputError, match=r"a_label.nii.gz does not exist"):
        toy.load(tmp_path, "a")


def test_images_without_labels_are_no_cases_of_a_partly_labelled_dataset(toy, tmp_path):
    touch(tmp_path / "toy", "b_image.nii.gz")
    assert toy.cases(tmp_path, "all") == ["a", "b"]
    assert Dataset(**TOY, unlabelled="skip").cases(tmp_path, "all") == ["a"]


def test_a_case_that_is_not_there_is_refused(toy, tmp_path):
    with pytest.raises(InputError, match=r"b_image.nii.gz does not exist"):
        toy.load(tmp_path, "b")


def test_labels_on_another_grid_are_refused(toy, tmp_path, geometry, labels):
    path = tmp_path / "toy" / "a_label.nii.gz"
    write_labelmap(path, labels[:, :2], Geometry((2, 2, 5), geometry.ijk_to_ras))
    with pytest.raises(InputError, match=r"a_label.nii.gz has the shape \(5, 2, 2\), not \(5, 3, 2\)"):
        toy.load(tmp_path, "a")
    shifted = geometry.ijk_to_ras.copy()
    shifted[2, 3] += 0.5
    write_labelmap(path, labels, Geometry(geometry.shape_kji, shifted))
    with pytest.raises(InputError, match=r"a_label.nii.gz lies up to 0.5 mm away"):
        toy.load(tmp_path, "a")


@pytest.mark.parametrize("ending", ["_image.nii.gz", "_label.nii.gz"])
def test_a_damaged_file_is_refused_by_name(toy, tmp_path, ending):
    path = tmp_path / "toy" / f"a{ending}"
    whole = gzip.decompress(path.read_bytes())
    for content in (gzip.compress(whole[:-20]), path.read_bytes()[:-9], b"", b"no image"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"a{ending}"):
            toy.load(tmp_path, "a")


def test_a_medscribble_file_is_a_volume_of_one_slice(tmp_path):
    image = np.linspace(0, 1, 12, dtype=np.float16).reshape(3, 4)
    drawn = np.zeros((3, 2, 3, 4), np.uint8)
    drawn[0, 0, 1, 1] = drawn[0, 1, 0, 3] = 1
    drawn[1, :, 2, 2] = 1  # both at once
    drawn[2, 0, 0, 0] = 1
    scribbles = {"scribble_0": drawn[0], "scribble_2": drawn[1], "scribble_10": drawn[2]}
    dataset = save_npz(tmp_path / "drawn", img=image, seg=np.eye(3, 4, dtype=np.uint8), **scribbles)
    assert dataset.has_scribbles
    assert dataset.cases(tmp_path) == ["x"]
    case = dataset.load(tmp_path, "x")
    assert case.volume.array_kji.shape == (1, 3, 4)
    assert case.volume.array_kji.dtype == np.float32
    assert case.volume.geometry.spacing_kji_mm == (1, 1, 1)
    assert case.truth[0].tolist() == np.eye(3, 4).tolist()
    assert [np.argwhere(marks).tolist() for marks in case.scribbles] == [[[0, 0, 3], [0, 1, 1]], [], [[0, 0, 0]]]
    assert (case.scribbles[0][0, 1, 1], case.scribbles[0][0, 0, 3]) == (1, 255)
    assert case.notes == ("scribble_2 marks 1 pixels as both object and background; they are left unmarked",)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"img": np.ones((3, 4))}, "lacks the arrays seg; it has img"),
        ({"img": np.ones((3, 4)), "seg": np.ones((4, 3))}, r"not \(3, 4\) and \(4, 3\)"),
        ({"img": np.ones((3, 4)), "seg": np.full((3, 4), 0.5)}, "not labels, such as 0.5"),
        ({"img": np.ones((3, 4)), "seg": np.full((3, 4), np.inf)}, "not labels, such as inf"),
        ({"img": np.ones((3, 4), complex), "seg": np.ones((3, 4))}, "complex128"),
        ({"img": np.ones((3, 4)), "seg": np.zeros((3, 4))}, "it holds background only"),
        ({"img": np.ones((3, 4)), "seg": np.ones((3, 4)), "scribble_0": np.ones((3, 4))}, "scribble_0 must be"),
    ],
)
def test_a_medscribble_file_of_other_content_is_refused(tmp_path, arrays, reason):
    dataset = save_npz(tmp_path / "drawn", **arrays)
    with pytest.raises(InputError, match=rf"x\.npz.*{reason}"):
        dataset.load(tmp_path, "x")


def test_a_damaged_medscribble_file_is_refused(tmp_path):
    dataset = save_npz(tmp_path / "drawn", img=np.ones((30, 40)), seg=np.ones((30, 40)))
    path = tmp_path / "drawn" / "x.npz"
    whole = path.read_bytes()
    np.save(tmp_path / "single.npy", np.ones(3))
    flipped = bytearray(whole)
    flipped[500] ^= 255
    for content in (whole[:3000], b"", b"text", (tmp_path / "single.npy").read_bytes(), bytes(flipped)):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"x\.npz"):
            dataset.load(tmp_path, "x")
    path.unlink()
    with pytest.raises(InputError, match=r"x\.npz does not exist"):
        dataset.load(tmp_path, "x")


def test_a_list_of_ones_own_takes_a_few_lines(tmp_path):
    scribbles = {"ending": "_drawn.nrrd", "background": 7, "unmarked": 0}
    first, second = listed(tmp_path / "list.json", TOY, {**TOY, "name": "drawn", "scribbles": scribbles})
    assert first == Dataset(**TOY)
    assert first.objects == {"ring": (2,), "core": (1, 3), "absent": (9,)}
    assert second.scribbles == ScribbleFiles("_drawn.nrrd", 7, 0)
    assert hash(first) != hash(second)
    assert pickle.loads(pickle.dumps(second)) == second


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"colour": 1}, "no key 'colour'; its keys are name, folder"),
        ({"objects": {"ring": [1], "core": [1, 3]}}, "label value 1 belongs to both 'ring' and 'core'"),
        ({"objects": {}}, "objects of dataset 'toy'"),
        ({"objects": [1]}, r"objects of dataset 'toy'.*\[1\]"),
        ({"objects": {"ring": 1}}, "object 'ring' of toy needs a list of label values, not 1"),
        ({"objects": {"ring": []}}, "object 'ring'"),
        ({"objects": {"ring": [0]}}, "0 is not a label value"),
        ({"objects": {"ring": [True]}}, "True is not a label value"),
        ({"objects": {"ring": [1.5]}}, "1.5 is not a label value"),
        ({"objects": {str(n): [n] for n in range(1, 256)}}, "1 to 254 names"),
        ({"group": "(p[0-9]+"}, r"not a regular expression: '\(p\[0-9\]\+'"),
        ({"group": 3}, "group.*3"),
        ({"kind": "movie"}, "volumes, medscribble, not 'movie'"),
        ({"reference": "guess"}, "manual, model, automatic, not 'guess'"),
        ({"unlabelled": "guess"}, "refuse, skip, not 'guess'"),
        ({"name": ""}, "name"),
        ({"folder": None}, "folder of dataset 'toy'.*None"),
        ({"terms": 4}, "terms"),
        ({"image": "_label.nii.gz"}, "an ending other than that of the labels"),
        ({"spacing_ijk_mm": [1, 1]}, r"three positive numbers, not \[1, 1\]"),
        ({"spacing_ijk_mm": [1, 0, 1]}, "three positive numbers"),
        ({"scribbles": "_drawn.nii.gz"}, "scribbles is written as"),
        ({"scribbles": {"ending": "_drawn.nii.gz", "background": 0}}, "lacks the key 'unmarked'"),
        ({"scribbles": {"ending": "", "background": 0, "unmarked": 4}}, "an ending"),
        ({"scribbles": {"ending": "_d", "background": 4, "unmarked": 4}}, "must all differ"),
        ({"scribbles": {"ending": "_d", "background": 0, "unmarked": 3}}, "unmarked 3.*must all differ"),
        ({"kind": "medscribble"}, "one object"),
    ],
)
def test_a_wrong_entry_is_refused_with_file_place_and_value(tmp_path, change, reason):
    with pytest.raises(InputError, match=rf"list\.json, entry 2: .*{reason}"):
        listed(tmp_path / "list.json", {**TOY, "name": "right"}, {**TOY, **change})


def test_missing_keys_and_names_used_twice_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"entry 1: a dataset lacks the key 'folder', 'objects'"):
        listed(tmp_path / "list.json", {"name": "toy"})
    with pytest.raises(InputError, match=r"entry 2: the name 'toy' is used twice"):
        listed(tmp_path / "list.json", TOY, TOY)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[{]", "line 1 column"),
        (b"\xff\xfe", "JSON"),
        (b"{}", "JSON list"),
        (b"[]", "JSON list"),
        (b"[3]", "entry 1.*not 3"),
        (b'[{"name": "a", "name": "b"}]', "'name' is given twice"),
        (b"[" * 100_000, "JSON"),
    ],
)
def test_a_file_that_is_no_list_is_refused(tmp_path, content, reason):
    path = tmp_path / "list.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"list\.json.*{reason}"):
        listed_datasets(path)


def test_a_list_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.json cannot be read: No such file"):
        listed_datasets(tmp_path / "none.json")


SHIPPED = listed_datasets()


@pytest.mark.parametrize("dataset", SHIPPED, ids=lambda dataset: dataset.name)
def test_a_shipped_dataset_loads(dataset, shared_data):
    cases = dataset.cases(shared_data, "all")
    if not cases:
        pytest.skip(f"{dataset.folder} is not there")
    report, tuning = dataset.cases(shared_data), dataset.cases(shared_data, "tuning")
    assert sorted(report + tuning) == cases
    assert cases[0] in report
    case = dataset.load(shared_data, cases[0])
    assert case.truth.shape == case.volume.array_kji.shape
    assert set(case.objects) == set(np.unique(case.truth).tolist()) - {0}
    assert set(case.objects.values()) <= set(dataset.objects)
    assert all(50 < np.count_nonzero(case.truth == number) < 0.5 * case.truth.size for number in case.objects)
    assert bool(case.scribbles) == dataset.has_scribbles
    for marks in case.scribbles:
        assert set(np.unique(marks).tolist()) == {0, 255, *case.objects}
        assert np.count_nonzero(marks) < 0.1 * marks.size
        of_objects = (marks > 0) & (marks < 255)
        assert np.mean(case.truth[of_objects] == marks[of_objects]) > 0.9


def test_the_images_at_hand_are_listed(shared_data):
    """Folders are left out that hold no object in a box, nothing but an import to test, or masks without images."""
    folders = {path.name for path in shared_data.iterdir() if path.is_dir()}
    left_out = {"em_membrane_isbi2012", "dicom_import", "head_neck_two_readers"}
    assert folders - {dataset.folder for dataset in SHIPPED} <= left_out


def test_masks_of_two_readers_come_without_images(shared_data):
    folder = shared_data / "head_neck_two_readers"
    if not folder.is_dir():
        pytest.skip(f"{folder.name} is not there")
    readers = {path.name.rpartition("_reader_")[2] for path in folder.iterdir()}
    assert readers == {"a.nii.gz", "b.nii.gz"}


def test_the_two_phases_of_a_heart_stay_together(shared_data):
    cine = SHIPPED[0]
    patients = [{case.split("_")[0] for case in cine.cases(shared_data, split)} for split in ("report", "tuning")]
    if not all(patients):
        pytest.skip(f"{cine.folder} is not there")
    assert not patients[0] & patients[1]
    assert len(cine.cases(shared_data, "all")) == 2 * len(patients[0] | patients[1])


def test_tumours_are_on_the_same_side_in_both_contrasts(shared_data):
    flair, t1c = (dataset for dataset in SHIPPED if dataset.folder == "brain_tumour_brats2013")
    assert flair.cases(shared_data) == t1c.cases(shared_data)
    assert flair.cases(shared_data, "tuning") == t1c.cases(shared_data, "tuning")
