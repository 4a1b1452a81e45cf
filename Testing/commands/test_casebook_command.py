import json

import numpy as np
import pytest
from casebook_cases import box_mask, write_case_image

from InteractiveSegLib.casebook.acceptance import load_accepted, stream
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.provenance import Origin
from InteractiveSegLib.cli import main
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.image_io import read_volume, write_labelmap


@pytest.fixture
def study(tmp_path, capsys):
    for number in range(3):
        write_case_image(tmp_path / "in" / f"p{number}_image.nii.gz", number)
    book = tmp_path / "book"
    assert main(["casebook", "init", str(book), "--validation", "0", "--test", "0", "--label", "1=liver"]) == 0
    assert main(["casebook", "add", str(book), str(tmp_path / "in"), "--pattern", "*_image.nii.gz"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [f"p{number}_image\ttrain" for number in range(3)]
    return book


def labelmap(path, labels, beside):
    write_labelmap(path, labels, read_volume(beside).geometry)
    return str(path)


def test_a_study_from_its_first_image_to_the_export(study, tmp_path, capsys):
    image = tmp_path / "in" / "p1_image.nii.gz"
    assert main(["casebook", "next", str(study)]) == 0
    assert capsys.readouterr().out == "p0_image\n"
    scribbles = np.zeros_like(box_mask())
    scribbles[2, 4, 6:9], scribbles[0, 0, 0] = 1, 255
    files = [labelmap(tmp_path / "m.nii.gz", box_mask(), image), "--scribbles"]
    files.append(labelmap(tmp_path / "s.nii.gz", scribbles, image))
    assert main(["casebook", "accept", str(study), "p1_image", *files]) == 0
    assert main(["casebook", "accept", str(study), "p2_image", "--absent"]) == 0
    assert main(["casebook", "skip", str(study), "p0_image"]) == 0
    capsys.readouterr()
    assert main(["casebook", "list", str(study), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert (listed["labels"], [case["state"] for case in listed["cases"]]) == (
        {"1": "liver"},
        ["skipped", "accepted", "accepted"],
    )
    assert main(["casebook", "list", str(study)]) == 0
    assert "| p1_image | train | accepted |" in capsys.readouterr().out
    with Casebook(study) as casebook:
        first, second = (load_accepted(casebook.case_of_id(a.case_id), a) for a in stream(casebook))
    assert np.array_equal(first.origins == Origin.PERSON, scribbles > 0)
    assert np.array_equal(first.origins == Origin.MODEL, (box_mask() > 0) & (scribbles == 0))
    assert (len(first.prompts.scribbles), second.absent) == (4, True)
    assert main(["casebook", "export", str(study), str(tmp_path / "out"), "--form", "seg.nrrd"]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"p{n}_image_mask.seg.nrrd" for n in (1, 2)]
    assert main(["casebook", "export", str(study), str(tmp_path / "effort.csv"), "--effort"]) == 0
    assert (tmp_path / "effort.csv").read_text().startswith("case,state,split,order,active_s")
    assert main(["casebook", "reopen", str(study), "p1_image"]) == 0
    assert main(["casebook", "next", str(study), "--order", "uncertain"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "p1_image"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["list", "nowhere"], "is not a casebook"),
        (["accept", "BOOK", "p9", "m.nii.gz"], "has no case 'p9'"),
        (["accept", "BOOK", "p0_image"], "give the MASK, or --absent"),
        (["accept", "BOOK", "p0_image", "none.nii.gz"], "none.nii.gz does not exist"),
        (["reopen", "BOOK", "p0_image"], "is new and cannot become reopened"),
        (["export", "BOOK", "out"], "has no accepted case"),
        (["export", "BOOK", "effort.pdf", "--effort"], "written as .csv or .png"),
        (["accept", "BOOK", "p0_image", "--verified", "liver"], "has no mask yet: give the MASK"),
        (["accept", "BOOK", "p0_image", "--absent", "--not-there", "liver"], "give neither MASK nor organs"),
        (["init", "BOOK"], "is a casebook already"),
        (["add", "BOOK", "nowhere"], "nowhere does not exist"),
    ],
)
def test_what_is_wrong_is_reported_in_one_line(study, capsys, words, text):
    assert main(["casebook", *(str(study) if word == "BOOK" else word for word in words)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert text in line


@pytest.mark.parametrize("which", ["mask", "scribbles"])
def test_what_was_converted_to_fit_the_image_is_reported(study, tmp_path, capsys, which):
    image = tmp_path / "in" / "p1_image.nii.gz"
    geometry = read_volume(image).geometry
    rounded = geometry.ijk_to_ras.copy()
    rounded[2, 3] += 0.05 * min(geometry.spacing_kji_mm)
    files = {name: tmp_path / f"{name}.nrrd" for name in ("mask", "scribbles")}
    for name, path in files.items():
        write_labelmap(
            path, box_mask(), Geometry(geometry.shape_kji, rounded if name == which else geometry.ijk_to_ras)
        )
    words = ["casebook", "accept", str(study), "p1_image", str(files["mask"]), "--scribbles", str(files["scribbles"])]
    assert main(words) == 0
    (note,) = capsys.readouterr().err.splitlines()
    assert note.startswith("note: ")
    assert f"{which}.nrrd" in note
    assert main(["casebook", "reopen", str(study), "p1_image"]) == 0
    capsys.readouterr()
    assert main([*words, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_labels_are_named_by_number(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["casebook", "init", str(tmp_path / "b"), "--label", "0=air"])
    assert "not a label from 1 to 254" in capsys.readouterr().err


def test_images_on_another_grid_than_their_mask_are_refused(study, tmp_path, capsys):
    other = write_case_image(tmp_path / "other.nii.gz", 5, (6, 12, 18))
    mask = labelmap(tmp_path / "m.nii.gz", box_mask(1, (6, 12, 18)), other)
    assert main(["casebook", "accept", str(study), "p0_image", mask]) == 2
    assert "has the shape (18, 12, 6), not (17, 12, 6)" in capsys.readouterr().err


def test_a_part_of_a_mask_is_accepted_organ_by_organ_and_exported(study, tmp_path, capsys):
    image, labels = tmp_path / "in" / "p1_image.nii.gz", box_mask()
    labels[2:6, 9:12, 1:4] = 2
    mask = labelmap(tmp_path / "m.nii.gz", labels, image)
    with Casebook(study) as casebook:
        casebook.name_label(2, "spleen: left")
        casebook.name_label(3, "aorta")
    accept = ["casebook", "accept", str(study), "p1_image"]
    for words, text in (
        (
            ["--verified", "kidney"],
            "names no organ of the study; it has 1 (liver), 2 (spleen: left), 3 (aorta)",
        ),
        (["--verified", "liver:2-x"], "'2-x' is no slice"),
        (["--verified", "liver:4-9"], "no slice 6: its 6 slices along k count from 0 to 5"),
        (["--not-there", "liver"], "liver is marked as absent from slice 1 along k of case 'p1_image'"),
    ):
        assert main([*accept, mask, *words]) == 2
        assert text in capsys.readouterr().err
    assert main([*accept, mask, "--verified", "1:0-3", "--not-there", "aorta", "--verified", "spleen: left:2,4"]) == 0
    assert "6 of 18 slices of organs are not verified yet" in capsys.readouterr().err
    assert main(["casebook", "list", str(study), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["cases"]
    assert [case["slices_of_organs"]["unverified"] for case in listed] == [18, 6, 18]
    assert main(["casebook", "list", str(study)]) == 0
    assert "| 12 of 18 |" in capsys.readouterr().out
    labels[4, 9, 1] = 0  # a slice of the spleen is not as it was verified
    changed = labelmap(tmp_path / "m2.nii.gz", labels, image)
    assert main(["casebook", "reopen", str(study), "p1_image"]) == 0
    assert main([*accept, changed, "--verified", "liver"]) == 0
    with Casebook(study) as casebook:
        [found] = stream(casebook)
        known = {label: found.review.known(label).tolist() for label in (1, 2, 3)}
    assert known == {1: [True] * 6, 2: [False, False, True, False, False, False], 3: [True] * 6}
    assert main(["casebook", "reopen", str(study), "p1_image"]) == 0
    assert main([*accept, "--verified", "spleen: left"]) == 0  # of the mask that is there
    out = tmp_path / "out"
    assert main(["casebook", "export", str(study), str(out), "--with-unverified"]) == 0
    assert [path.name for path in out.iterdir()] == ["p1_image_mask.nii.gz"]
