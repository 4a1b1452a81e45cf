"""Folders of scribbled images: what belongs together, what is marked, what of it can teach."""

import numpy as np
import pytest
from scribbled_rings import GEOMETRY, SHAPE, image, scribbles, write_case, write_cases

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.image.image_io import write_image, write_labelmap
from InteractiveSegLib.learning.automatic_network import AutomaticNetwork
from InteractiveSegLib.learning.scribble_set import (
    ScribbleValues,
    scribbled_images,
    spacing_of,
    split_patients,
)
from InteractiveSegLib.progress import finish
from InteractiveSegLib.prompts.scribbles import BACKGROUND


def read(folder, values=None, patient=None):
    notes = []
    found = finish(scribbled_images(folder, folder, values or ScribbleValues(), patient, notes))
    return found, notes


def test_images_scribbles_and_patients_are_found_by_their_names(tmp_path):
    found, notes = read(write_cases(tmp_path, 4, labels=True), patient="p[0-9]")
    assert [(each.name, each.patient) for each in found.images] == [
        ("p0_t0", "p0"),
        ("p0_t1", "p0"),
        ("p1_t0", "p1"),
        ("p1_t1", "p1"),
    ]
    assert found.labels == (1, 2)
    assert notes == []
    marked = found.images[0].marks
    assert {label: int(where.sum()) for label, where in marked.items()} == {
        label: int((scribbles(0) == value).sum()) for label, value in ((0, 255), (1, 1), (2, 2))
    }


def test_other_values_for_background_and_unmarked_mean_the_same(tmp_path):
    plain, _ = read(write_case(tmp_path / "a", "x", 0))
    other, _ = read(write_case(tmp_path / "b", "x", 0, scribbles(0, 0, 4)), ScribbleValues(0, 4))
    assert plain.images[0].marks.keys() == other.images[0].marks.keys()
    for label, where in plain.images[0].marks.items():
        assert np.array_equal(where, other.images[0].marks[label])


def test_a_value_that_covers_most_of_the_image_is_no_mark(tmp_path):
    write_case(tmp_path, "x", 0, scribbles(0, 0, 4))
    with pytest.raises(InputError, match=r"value 4 covers 9\d % of .*x_scribble.nii.gz.*--unmarked 4"):
        read(tmp_path)


def test_images_without_scribbles_are_left_out_and_said(tmp_path):
    write_cases(tmp_path, 2)
    write_image(tmp_path / "bare_image.nii.gz", image(8), GEOMETRY)
    write_case(tmp_path, "empty", 9, np.zeros(SHAPE, np.uint8))
    found, notes = read(tmp_path)
    assert [each.name for each in found.images] == ["p0_t0", "p0_t1"]
    assert notes == [
        "left out, since they have no scribbles: bare_image.nii.gz",
        "empty is left out: nothing is marked in it",
    ]


def test_a_folder_without_any_scribble_is_refused(tmp_path):
    write_image(tmp_path / "a_image.nii.gz", image(0), GEOMETRY)
    with pytest.raises(InputError, match=r"no image in .* has scribbles of the same name"):
        read(tmp_path)
    write_case(tmp_path, "b", 1, np.zeros(SHAPE, np.uint8))
    with pytest.raises(InputError, match="nothing to learn from: none of the images has both contrast and scribbles"):
        read(tmp_path)


def test_images_of_one_intensity_are_left_out(tmp_path):
    write_cases(tmp_path, 2)
    write_case(tmp_path, "flat", 3, array=np.full(SHAPE, 7.0, np.float32))
    found, notes = read(tmp_path)
    assert len(found.images) == 2
    assert notes == ["flat is left out: the image has the same intensity everywhere"]


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ((255,), "nothing but background is marked"),
        ((1,), "label 1 is marked, but no background in any image"),
        ((1, 2), "labels 1, 2 are marked, but no background in any image"),
    ],
)
def test_scribbles_that_cannot_teach_are_refused(tmp_path, kept, said):
    marks = scribbles(0)
    write_case(tmp_path, "x", 0, np.where(np.isin(marks, kept), marks, 0).astype(np.uint8))
    with pytest.raises(InputError, match=said):
        read(tmp_path)


def test_a_label_of_one_image_is_not_known_in_the_others(tmp_path):
    for seed in range(3):
        marks = scribbles(seed)
        write_case(tmp_path, f"p{seed}", seed, marks if not seed else np.where(marks == 2, 0, marks).astype(np.uint8))
    found, notes = read(tmp_path)
    assert [found.known(each) for each in found.images] == [(1, 2), (1,), (1,)]
    assert notes == ["label 2 is marked in 1 of 3 images; in the others, background may be this label, too"]


def test_contradictory_scribbles_on_one_image_count_as_none(tmp_path):
    write_case(tmp_path, "a", 0)
    again = scribbles(0)
    again[again == 1] = 2
    write_case(tmp_path, "b", 0, again)
    found, notes = read(tmp_path)
    (merged,) = found.images
    assert merged.name == "a"
    assert 1 not in merged.marks  # all of them were contradicted
    assert int(merged.marks[2].sum()) == int((scribbles(0) == 2).sum())
    contradicted = int((scribbles(0) == 1).sum())
    assert notes[0] == (
        "a and b are the same image and count as one, with the marks of both; "
        f"{contradicted} voxels that they mark differently count as unmarked"
    )


def test_an_image_whose_marks_all_contradict_each_other_is_left_out(tmp_path):
    write_case(tmp_path, "a", 0)
    other = {0: 0, 1: 2, 2: BACKGROUND, BACKGROUND: 1}
    write_case(tmp_path, "b", 0, np.vectorize(other.get)(scribbles(0)).astype(np.uint8))
    write_case(tmp_path, "c", 1)
    found, notes = read(tmp_path)
    assert [each.name for each in found.images] == ["c"]
    assert notes[-1] == "a is left out: nothing is marked in it"


def test_scribbles_on_another_grid_are_refused(tmp_path):
    write_case(tmp_path, "a", 0)
    write_labelmap(tmp_path / "a_scribble.nii.gz", scribbles(0), Geometry(SHAPE, np.diag([-1.0, -1.0, 5.0, 1.0])))
    with pytest.raises(InputError, match=r"a_scribble\.nii\.gz"):
        read(tmp_path)


def test_patients_are_divided_and_somebody_is_left_to_learn_from():
    train, validation = split_patients([f"p{n}" for n in range(10)], 2, 0)
    assert len(train) == 8
    assert len(validation) == 2
    assert not set(train) & set(validation)
    assert split_patients([f"p{n}" for n in range(10)], 2, 0) == (train, validation)
    with pytest.raises(InputError, match="1 of 1 patient for validation leave no patient"):
        split_patients(["only", "only"], 1, 0)


def grid(shape, spacing_kji):
    return Geometry(shape, np.diag([*(-np.array(spacing_kji[:0:-1])), spacing_kji[0], 1.0]))


def spacing(shape, spacing_kji, **marked):
    """Of a network for one image, of which a block is marked."""
    geometry = grid(shape, spacing_kji)
    where = np.zeros(shape, bool)
    where[:, marked.get("rows", slice(0)), marked.get("columns", slice(0))] = True
    return spacing_of([(Volume(np.zeros(shape, np.float32), geometry), {0: ~where, 1: where})], 3.0, 30)


def test_thick_slices_come_first_and_single_ones_count_as_thick():
    assert spacing((9, 40, 30), (8.0, 1.5, 1.25)) == ((8.0, 1.5, 1.25), True)
    assert spacing((9, 40, 30), (1.5, 1.0, 1.0)) == ((1.5, 1.0, 1.0), False)
    assert spacing((1, 40, 30), (1.0, 1.0, 1.0)) == ((3.0, 1.0, 1.0), True)


@pytest.mark.parametrize("pixel", [0.58, 0.7, 0.74, 0.78, 0.87, 0.91])
def test_thick_slices_stay_thick_for_the_network_whatever_is_rounded(pixel):
    found, slices_first = spacing((9, 200, 200), (3.0, pixel, pixel), rows=slice(200), columns=slice(200))
    assert slices_first
    assert found == pytest.approx((3.0, 1.0, 1.0))
    assert AutomaticNetwork.dimensions_of(found) == 2


def test_pixels_are_as_large_as_it_takes_to_show_the_objects_in_a_patch():
    small, large, whole = slice(4, 20), slice(2, 32), slice(40)
    assert spacing((9, 40, 30), (8.0, 1.0, 1.0), rows=small, columns=small) == ((8.0, 1.0, 1.0), True)
    assert spacing((9, 40, 30), (8.0, 1.0, 1.0), rows=large, columns=small) == ((8.0, 1.5, 1.5), True)
    assert spacing((9, 80, 30), (8.0, 1.0, 1.0), rows=slice(80), columns=small) == ((8.0, 2.0, 2.0), True)  # at most
    assert spacing((9, 80, 30), (4.5, 1.0, 1.0), rows=slice(80)) == ((4.5, 1.0, 1.0), True)  # no column is marked
    assert spacing((9, 80, 30), (4.5, 1.0, 1.0), rows=slice(80), columns=small) == (
        (4.5, 1.5, 1.5),
        True,
    )  # still thick
    assert spacing((1, 40, 30), (1.0, 1.0, 1.0), rows=large, columns=small) == ((4.5, 1.5, 1.5), True)
    assert spacing((9, 40, 30), (1.5, 1.0, 1.0), rows=whole, columns=small) == ((1.5, 1.0, 1.0), False)


@pytest.mark.parametrize("pattern", ["p[", "(?P<"])
def test_what_is_no_regular_expression_is_refused(tmp_path, pattern):
    write_cases(tmp_path, 1)
    with pytest.raises(InputError, match="is not a regular expression"):
        read(tmp_path, patient=pattern)
