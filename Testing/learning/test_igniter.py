"""A network trained on a small labelled set, and its masks in the cases of a study."""

import os
import signal
import time

import numpy as np
import pytest
import torch
from blobs import noisy
from casebook_cases import accepted
from taught_blobs import SHAPE, accept_blob, blob, blob_casebook

from InteractiveSegLib.casebook.acceptance import stream
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.checking import check_steps
from InteractiveSegLib.casebook.image_reference import ImageReference
from InteractiveSegLib.casebook.starting_masks import starting_masks
from InteractiveSegLib.casebook.uncertainties import known_uncertainties
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.image_io import write_image, write_labelmap
from InteractiveSegLib.learning import igniter as module
from InteractiveSegLib.learning.ignite_plan import IgnitePlan
from InteractiveSegLib.learning.igniter import Igniter, IgniteSettings
from InteractiveSegLib.learning.image_batches import PatchSettings
from InteractiveSegLib.learning.image_lesson import PatientAxes
from InteractiveSegLib.learning.starting import confidences
from InteractiveSegLib.learning.sustainer import IGNITER
from InteractiveSegLib.learning.versions import in_use, versions
from InteractiveSegLib.progress import finish

GEOMETRY = Geometry(SHAPE, np.diag([-1.0, -1.0, 1.2, 1.0]))
QUICK = IgniteSettings(steps=3, widths=(4, 8), patches=PatchSettings((12, 12), (2, 2)))


def source(folder, seeds=(20, 21), labels=(1, 1), geometry=GEOMETRY):
    """A folder of labelled images; of each case the blob has the label that is given, 0 for none."""
    folder.mkdir(exist_ok=True)
    for seed, label in zip(seeds, labels, strict=True):
        write_image(folder / f"s{seed}_image.nii.gz", noisy(blob(seed), seed), geometry)
        mask = blob(seed).astype(np.uint8) * label
        mask[0, 0, 0] = max(label, 1)
        write_labelmap(folder / f"s{seed}_label.nii.gz", mask, geometry)
    return folder


def ignited(casebook, folder, named=None, settings=QUICK, **more):
    return finish(Igniter(casebook, folder, folder, named, settings).steps(), **more)


def test_new_cases_get_starting_masks_and_those_of_the_test_split_do_not(tmp_path):
    with blob_casebook(tmp_path, ["train", "validation", "test", "train", "train"]) as casebook:
        casebook.name_label(1, "blob")
        accept_blob(casebook, 3)
        casebook.skip(casebook.case("case4"))
        result = ignited(casebook, source(tmp_path / "source"), {1: "Blob"})
        masks = starting_masks(casebook)
        assert list(result.started.confidences) == ["case0", "case1"]
        assert {casebook.case_of_id(number).name for number in masks} == {"case0", "case1"}
        for number, found in masks.items():
            entry = casebook.case_of_id(number)
            assert (found.version, entry.state.value) == (result.version, "new")
            assert found.load(entry).shape == SHAPE
            assert 0 <= found.confidences[1] <= 1
        assert len(stream(casebook)) == 1
        assert set(known_uncertainties(casebook)) == {"case0", "case1"}
        assert "case 'case3' gets no starting mask: it is accepted" in result.started.notes
        assert "case 'case4' gets no starting mask: it is skipped" in result.started.notes
        assert finish(check_steps(casebook)) == []
        assert not list((casebook.folder / "learning" / IGNITER).glob("training-*"))


@pytest.mark.slow
def test_it_learns_to_find_what_the_source_shows(tmp_path):
    settings = IgniteSettings(steps=80, widths=(8, 16), patches=PatchSettings((16, 16), (4, 4)), learning_rate=1e-2)
    with blob_casebook(tmp_path, ["train", "train"]) as casebook:
        ignited(casebook, source(tmp_path / "source", (20, 21, 22), (1, 1, 1)), settings=settings)
        for number, found in starting_masks(casebook).items():
            entry = casebook.case_of_id(number)
            truth, mask = blob(int(entry.name[-1])), found.load(entry) == 1
            assert 2 * (truth & mask).sum() / (truth.sum() + mask.sum()) > 0.6
            assert found.confidences[1] > 0.5


def test_the_same_seed_gives_the_same_masks_and_another_run_does_nothing_twice(tmp_path, monkeypatch):
    found = {}
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        with blob_casebook(tmp_path / name, ["train"]) as casebook:
            ignited(casebook, source(tmp_path / "source"))
            [mask] = starting_masks(casebook).values()
            found[name] = (mask.load(casebook.case("case0")), dict(mask.confidences))
    assert np.array_equal(found["one"][0], found["other"][0])
    assert found["one"][1] == found["other"][1]
    with Casebook(tmp_path / "other" / "book") as casebook:
        path = tmp_path / "more.nrrd"
        write_image(path, noisy(blob(9), 9), GEOMETRY)
        casebook.add(ImageReference.of(path), "more")
        monkeypatch.setattr(module, "train", None)  # the network is there
        result = ignited(casebook, source(tmp_path / "source"))
        assert list(result.started.confidences) == ["more"]
        assert ignited(casebook, source(tmp_path / "source")).started.confidences == {}
        assert len(versions(casebook, IGNITER)) == 1


def test_another_source_gives_another_version_and_the_first_comes_back(tmp_path):
    one, other = source(tmp_path / "one"), source(tmp_path / "other", (30,), (1,))
    with blob_casebook(tmp_path, ["train"]) as casebook:
        first = ignited(casebook, one)
        second = ignited(casebook, other)
        assert first.version != second.version == in_use(casebook, IGNITER).id
        assert "there is only one labelled image to learn from: expect rough starting masks" in second.started.notes
        assert [mask.version for mask in starting_masks(casebook).values()] == [second.version]
        assert ignited(casebook, one).version == first.version == in_use(casebook, IGNITER).id
        assert [mask.version for mask in starting_masks(casebook).values()] == [first.version]
        assert finish(check_steps(casebook)) == []


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_killed_at_any_moment_it_resumes_and_ends_with_the_same_masks(tmp_path):
    folder = source(tmp_path / "source")
    settings = IgniteSettings(steps=60, widths=(4, 8), patches=PatchSettings((12, 12), (2, 2)))
    torch.set_num_threads(1)
    masks = {}
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        blob_casebook(tmp_path / name, ["train", "train", "test"]).close()

    def run(name):
        with Casebook(tmp_path / name / "book") as casebook:
            ignited(casebook, folder, settings=settings)
            masks[name] = {n: found.load(casebook.case_of_id(n)) for n, found in starting_masks(casebook).items()}

    began = time.monotonic()
    run("whole")
    took = time.monotonic() - began
    kills = 0
    for part in (0.15, 0.4, 0.6, 0.8):
        child = os.fork()
        if child == 0:
            try:
                run("killed")
            finally:
                os._exit(0)
        time.sleep(took * part)
        os.kill(child, signal.SIGKILL)
        kills += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        with Casebook(tmp_path / "killed" / "book") as casebook:
            assert not [found for found in finish(check_steps(casebook)) if "nothing refers to" not in found.text]
    assert kills
    run("killed")
    assert masks["whole"].keys() == masks["killed"].keys()
    assert all(np.array_equal(masks["whole"][n], masks["killed"][n]) for n in masks["whole"])
    assert sorted(masks["whole"]) == [1, 2]


def test_what_is_wrong_with_the_source_is_reported_before_anything_is_learnt(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "train", None)
    with blob_casebook(tmp_path, ["train", "test"]) as casebook:
        casebook.name_label(1, "blob")
        matrix = GEOMETRY.ijk_to_ras.copy()
        matrix[2, 3] += 3
        other = source(tmp_path / "other")
        write_labelmap(other / "s21_label.nii.gz", blob(21).astype(np.uint8), Geometry(SHAPE, matrix))
        leaking = source(tmp_path / "leaking")
        write_image(leaking / "s20_image.nii.gz", noisy(blob(1), 1), GEOMETRY)
        casebook.add(ImageReference.of(leaking / "s20_image.nii.gz"), "leak", split="test")
        for folder, named, text in (
            (other, None, "s21_label"),
            (source(tmp_path / "seven", (20,), (7,)), None, "contains label 7, which the study does not have"),
            (source(tmp_path / "named"), {2: "blob"}, "contains label 1, which --names does not name"),
            (leaking, None, "is case 'leak' of the test split, from which nothing must be learnt"),
        ):
            with pytest.raises(InputError, match=text):
                ignited(casebook, folder, named)
        assert not starting_masks(casebook)
    with Casebook.created(tmp_path / "empty") as empty, pytest.raises(InputError, match="has no case outside the test"):
        ignited(empty, other)


def test_organs_that_are_missing_in_source_or_study_are_said(tmp_path):
    with blob_casebook(tmp_path, ["train"]) as casebook:
        for value, name in ((1, "blob"), (2, "corner"), (3, "spleen")):
            casebook.name_label(value, name)
        folder = source(tmp_path / "source", (20, 21), (1, 2))
        result = ignited(casebook, folder, {1: "blob", 2: "corner"})
        assert "the source does not show spleen: there is no starting mask of it" in result.started.notes
        assert "corner is in 1 of 2 labelled images; in the others it counts as not labelled" in result.started.notes
        [mask] = starting_masks(casebook).values()
        assert sorted(mask.confidences) == [1, 2]
        found = [label for label, value in mask.confidences.items() if value == 0]
        names = {1: "blob", 2: "corner"}
        said = [note for note in result.started.notes if "was not found in any of the 1 case" in note]
        assert said == [f"{names[label]} was not found in any of the 1 case" for label in found]


def test_an_image_of_one_slice_and_one_that_is_gone(tmp_path):
    with blob_casebook(tmp_path, ["train", "train"]) as casebook:
        flat = Geometry((1, 18, 20), np.diag([-1.0, -1.0, 1.2, 1.0]))
        write_image(tmp_path / "flat.nrrd", noisy(blob(5)[4:5], 5), flat)
        casebook.add(ImageReference.of(tmp_path / "flat.nrrd"), "flat")
        (tmp_path / "images" / "case1.nrrd").unlink()
        result = ignited(casebook, source(tmp_path / "source"))
        assert list(result.started.confidences) == ["case0", "flat"]
        [sentence] = result.started.left_out
        assert "the image of case 'case1' is not at" in sentence


def test_two_at_once_are_refused(tmp_path):
    folder = source(tmp_path / "source")
    with blob_casebook(tmp_path, ["train"]) as casebook:
        first = Igniter(casebook, folder, folder, None, QUICK).steps()
        next(first)
        with pytest.raises(InputError, match="already running in another process"):
            ignited(casebook, folder)
        first.close()


def test_an_accepted_case_of_an_older_study_keeps_its_mask(tmp_path):
    with blob_casebook(tmp_path, ["train", "train"]) as casebook:
        accepted(casebook, "case0", blob(0).astype(np.uint8))
        with casebook.database.writing() as rows:
            rows.execute("UPDATE acceptance SET review = NULL")  # as it was before there were reviews
        ignited(casebook, source(tmp_path / "source"))
        assert len(stream(casebook)) == 1
        assert [casebook.case_of_id(number).name for number in starting_masks(casebook)] == ["case1"]


def test_the_confidence_of_an_organ_is_the_mean_probability_where_it_was_found():
    soft = np.array([[0.2, 0.1, 0.9], [0.6, 0.9, 0.1], [0.2, 0.0, 0.0]]).reshape(3, 1, 1, 3)
    labels = np.array([4, 4, 0]).reshape(1, 1, 3)
    assert confidences(labels, soft, (4, 7)) == {4: pytest.approx(0.75), 7: 0.0}


def geometry_of(spacing_ijk, turned=None):
    matrix = np.diag([*spacing_ijk, 1.0])
    if turned is not None:
        matrix[:3, :3] = matrix[:3, :3][list(turned)]
    return Geometry((8, 40, 50), matrix)


def test_the_network_sees_voxels_as_the_study_has_them():
    targets = [geometry_of((1.5, 1.5, 10)), geometry_of((1.2, 1.2, 8)), geometry_of((1.5, 1.5, 10))]
    plan = IgnitePlan.of(targets, [geometry_of((0.7, 0.7, 5))], 20)
    assert plan == IgnitePlan((10.0, 1.5, 1.5), False, 20)


def test_slices_in_several_directions_are_seen_as_slices_at_any_angle(tmp_path):
    across_a = geometry_of((0.7, 0.8, 5), turned=(0, 2, 1))
    assert PatientAxes.of(across_a).order == (1, 0, 2)
    assert PatientAxes.slices_first(across_a).order == (0, 1, 2)
    plan = IgnitePlan.of([geometry_of((1.5, 1.5, 10))], [across_a], 20)
    assert plan == IgnitePlan((10.0, 1.5, 1.5), True, 180.0)
    plan.save(tmp_path / "plan.json")
    assert IgnitePlan.load(tmp_path / "plan.json") == plan
    array = np.random.default_rng(0).random(across_a.shape_kji)
    axes = PatientAxes.slices_first(across_a)
    assert np.array_equal(axes.turned_back(axes.turned(array)), array)
    cubes = geometry_of((1, 1, 1.2), turned=(0, 2, 1))
    assert not IgnitePlan.of([geometry_of((1, 1, 1))], [cubes], 20).slices_first
