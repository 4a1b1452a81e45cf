"""``interactiveseg propagate`` and ``suggest`` as scripts see them."""

import json

import numpy as np
import pytest
from moving_shapes import SHAPE_KJI, dice, image_of, wandering_disc

from InteractiveSegLib.cli import main
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.image_io import read_labelmap, read_volume, write_image, write_labelmap
from InteractiveSegLib.notes.slice_names import InBoth, InPatient
from InteractiveSegLib.propagate import registration

TRUTH = wandering_disc().astype(np.uint8)
needs_elastix = pytest.mark.skipif(not registration.has_elastix(), reason="itk-elastix is not installed")


@pytest.fixture
def case(tmp_path, monkeypatch, oblique_geometry):
    """Folder of an oblique image and labels on slices 0, 6 and 12; the working directory."""
    monkeypatch.chdir(tmp_path)
    geometry = Geometry(SHAPE_KJI, oblique_geometry.ijk_to_ras)
    write_image(tmp_path / "image.nrrd", image_of(TRUTH), geometry)
    write_labelmap(tmp_path / "slices.nrrd", sparse(0, 6, 12), geometry)
    return tmp_path


@pytest.fixture
def run(case, capfd):
    """Run a command on the case: (exit code, standard output, standard error)."""

    def run(command, *words, slices="slices.nrrd"):
        arguments = [command, "image.nrrd", "--slices", slices, "--jobs", "1", *map(str, words)]
        try:
            code = main(arguments)
        except SystemExit as end:
            code = end.code
        return code, *capfd.readouterr()

    return run


def sparse(*indices):
    labels = np.zeros_like(TRUTH)
    labels[list(indices)] = TRUTH[list(indices)]
    return labels


def mask(path="mask.nrrd"):
    return read_labelmap(path, read_volume("image.nrrd").geometry)


def write(labels, name="slices.nrrd"):
    write_labelmap(name, labels, read_volume("image.nrrd").geometry)


@needs_elastix
def test_labels_of_three_slices_become_a_volume_and_its_confidence(run):
    code, output, error = run("propagate", "-o", "mask.nrrd", "--confidence", "sure.nrrd")
    assert (code, error) == (0, "")
    assert dice(mask() > 0, TRUTH > 0) > 0.95
    assert output.startswith(f"label 1: {np.count_nonzero(mask())} voxels, ")
    sure = read_volume("sure.nrrd").array_kji
    assert (sure[6, 10:30, 10:30] == 1).all()
    assert 0 < sure[3, 10:30, 10:30].min() < 1


def test_shapes_alone_need_no_elastix(run, monkeypatch):
    monkeypatch.setattr(registration, "has_elastix", lambda: False)
    code, output, error = run("propagate", "-o", "mask.nrrd", "--json", "--method", "shape")
    report = json.loads(output)
    assert (code, error, report["notes"]) == (0, "", [])
    assert report["objects"]["1"]["voxels"] == np.count_nonzero(mask())
    assert report["confidence"]["k"]["6"] == 1
    assert report["confidence"]["k"]["3"] < 1


def test_a_mask_of_a_persons_is_replaced_only_on_request(run):
    words = ("propagate", "-o", "mask.nrrd", "--method", "shape")
    assert run(*words)[0] == 0
    assert "mask.nrrd is replaced: propagate wrote it before" in run(*words)[2]
    write(sparse(0, 6), "mask.nrrd")
    code, _, error = run(*words)
    assert (code, "mask.nrrd exists already, and is not what propagate wrote" in error) == (2, True)
    assert run(*words, "--overwrite")[0] == 0


def test_without_elastix_it_says_what_is_missing_and_what_works(run, monkeypatch):
    monkeypatch.setattr(registration, "has_elastix", lambda: False)
    code, output, error = run("propagate", "-o", "mask.nrrd")
    assert (code, output) == (1, "")
    assert "method 'shape'" in error
    assert "itk-elastix" in error


def test_an_annotated_empty_slice_ends_the_object(run):
    write(sparse(4, 8))
    assert run("propagate", "-o", "mask.nrrd", "--annotated", "0,4,8,12", "--method", "shape")[0] == 0
    assert not mask()[[0, 12]].any()
    np.testing.assert_array_equal(mask()[[4, 8]], TRUTH[[4, 8]])


def test_labels_on_slices_that_are_not_named_are_noted_and_not_used(run):
    code, _, error = run("propagate", "-o", "mask.nrrd", "--annotated", "0,12", "--method", "shape")
    assert code == 0
    assert "note: labels on k slices 6 are not among --annotated and are not used" in error
    assert (mask()[6] != TRUTH[6]).any()


def test_the_axis_is_seen_from_the_labels_and_noted(run):
    labels = np.zeros_like(TRUTH)
    labels[:, 16:29:4] = TRUTH[:, 16:29:4]
    write(labels)
    _, _, error = run("propagate", "-o", "mask.nrrd", "--method", "shape")
    assert "the labels lie on slices across j, which is used as --axis" in error
    np.testing.assert_array_equal(mask()[:, 20], TRUTH[:, 20])


def test_several_axes_each_name_their_slices(run):
    labels = sparse(0, 12)
    labels[:, 22] = TRUTH[:, 22]
    write(labels)
    words = ("--axis", "k", "--annotated", "0,12", "--axis", "j", "--annotated", "22", "--method", "shape")
    assert run("propagate", "-o", "mask.nrrd", *words)[0] == 0
    np.testing.assert_array_equal(mask()[:, 22], TRUTH[:, 22])


def test_a_ct_read_as_mr_is_noted(run):
    write_image("image.nrrd", image_of(TRUTH) - np.int16(1100), read_volume("slices.nrrd").geometry)
    _, _, error = run("propagate", "-o", "mask.nrrd", "--method", "shape")
    assert "use --preset ct" in error


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("-o", "mask.png"), "mask.png: images are written as"),
        (("-o", "slices.nrrd"), "slices.nrrd is given twice"),
        (("-o", "mask.nrrd", "--confidence", "mask.nrrd"), "mask.nrrd is given twice"),
        (("-o", "none/mask.nrrd"), "the folder none does not exist"),
        (("-o", "mask.nrrd", "--annotated", "0,13"), "k slice 13 does not exist: the image has 0 to 12"),
        (("-o", "mask.nrrd", "--annotated", "1,2"), "no annotated slice holds a label (k slice 1, k slice 2)"),
        (("-o", "mask.nrrd", "--annotated", "a"), "'a' is not a list of slices"),
        (("-o", "mask.nrrd", "--axis", "k", "--axis", "j"), "2 --axis but 0 --annotated"),
        (("-o", "mask.nrrd", "--annotated", "0", "--annotated", "6"), "2 --annotated but 0 --axis"),
        (("-o", "mask.nrrd", *("--axis", "k", "--annotated", "0") * 2), "name each axis once"),
        (("-o", "mask.nrrd", "--jobs", "0"), "'0' is not a whole number of at least 1"),
    ],
)
def test_what_cannot_be_done_is_reported_in_one_line(run, words, text):
    code, output, error = run("propagate", *words)
    assert (code, output) == (2, "")
    assert text in error
    assert error.count("\n") == 1


def test_labels_without_any_label_are_refused(run):
    write(np.zeros_like(TRUTH))
    code, _, error = run("propagate", "-o", "mask.nrrd")
    assert code == 2
    assert "there is nothing to propagate" in error


def test_labels_on_another_grid_are_refused(run):
    write_labelmap("other.nrrd", TRUTH[:5], Geometry((5, *SHAPE_KJI[1:]), np.eye(4)))
    code, _, error = run("propagate", "-o", "mask.nrrd", slices="other.nrrd")
    assert code == 2
    assert "the labelmap other.nrrd has the shape (44, 48, 5)" in error


def test_slices_are_suggested_with_reasons(run):
    write(sparse(0, 4, 12))
    code, output, error = run("suggest", "--method", "shape", "--along", "k", "--count", "2")
    lines = output.splitlines()
    assert (code, error, len(lines)) == (0, "", 3)
    called = InBoth(read_volume("image.nrrd").geometry)
    assert lines[0].startswith(tuple(f"{called.one((0, index))}: the two sides disagree" for index in (7, 8)))
    assert " (oblique), " in lines[0]
    assert lines[2].startswith("the best next slice is expected to change ")


def test_planes_of_long_pixels_are_proposed_only_when_they_are_asked_for(run):
    """The image's slices are 3 mm thick, their pixels 0.5 x 0.7 mm."""
    words = ("suggest", "--method", "shape", "--count", "30", "--json")
    report = json.loads(run(*words)[1])
    assert {each["axis"] for each in report["slices"]} == {"k"}
    (note,) = report["notes"]
    assert note.startswith("no slices across j and i are suggested, because their pixels are too elongated to draw on")
    named = InPatient(read_volume("image.nrrd").geometry)
    assert all(each["name"] == named.one((0, each["index"])) for each in report["slices"])
    report = json.loads(run(*words, "--along", "k,j,i")[1])
    assert {each["axis"] for each in report["slices"]} > {"k"}
    assert report["notes"] == []


def test_notes_call_slices_by_index_and_by_their_place_in_the_patient(run):
    write(sparse(6))
    called = InBoth(read_volume("image.nrrd").geometry).one((0, 6))
    _, _, error = run("propagate", "-o", "mask.nrrd", "--method", "shape")
    assert f"note: {called} is the only slice with a label along its axis" in error


def test_a_model_has_its_say_in_what_is_suggested(run):
    geometry = read_volume("image.nrrd").geometry
    before, after = TRUTH.astype(np.float32), TRUTH.astype(np.float32)
    before[9, :30] = 0
    after[9, 30:] = 1
    write_image("before.nrrd", before, geometry)
    write_image("after.nrrd", after, geometry)
    words = ("--method", "shape", "--along", "k", "--json", "--prediction", "after.nrrd", "--before", "before.nrrd")
    report = json.loads(run("suggest", *words)[1])
    assert (report["slices"][0]["index"], report["slices"][0]["reason"]) == (9, "largest change in the last round")
    assert not report["enough"]


def test_enough_is_reported(run):
    write(sparse(*range(13)))
    assert run("suggest", "--method", "shape")[1].startswith("enough: ")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--before", "image.nrrd"), "--before needs --prediction"),
        (("--prediction", "image.nrrd"), "not 0 to 1"),
        (("--along", "x"), "--along x"),
        (("--count", "0"), "count 0"),
    ],
)
def test_suggestions_that_cannot_be_made_are_refused(run, words, text):
    code, _, error = run("suggest", "--method", "shape", *words)
    assert code == 2
    assert text in error
