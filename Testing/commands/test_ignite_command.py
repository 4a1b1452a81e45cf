import argparse
import json

import numpy as np
import pytest
from casebook_cases import box_mask, write_case_image

from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.starting_masks import starting_masks
from InteractiveSegLib.cli import main
from InteractiveSegLib.commands import terminal
from InteractiveSegLib.image.image_io import read_volume, write_labelmap
from InteractiveSegLib.progress import Progress


@pytest.fixture
def study(tmp_path, capsys):
    """A study of two cases, and two labelled images whose label 5 is the study's liver."""
    for number in range(2):
        write_case_image(tmp_path / "in" / f"p{number}.nii.gz", number)
        image = write_case_image(tmp_path / "images" / f"s{number}.nii.gz", 10 + number)
        (tmp_path / "masks").mkdir(exist_ok=True)
        write_labelmap(tmp_path / "masks" / f"s{number}.nii.gz", box_mask(5), read_volume(image).geometry)
    (tmp_path / "labels.json").write_text(json.dumps({"5": "Liver"}))
    book = tmp_path / "book"
    assert main(["casebook", "init", str(book), "--validation", "0", "--test", "0", "--label", "1=liver"]) == 0
    assert main(["casebook", "add", str(book), str(tmp_path / "in")]) == 0
    capsys.readouterr()
    return book


def test_a_study_is_started_accepted_organ_by_organ_and_exported(study, tmp_path, capsys):
    words = ["casebook", "ignite", str(study), "--images", str(tmp_path / "images"), "--labels"]
    words += [str(tmp_path / "masks"), "--names", str(tmp_path / "labels.json"), "--steps", "2"]
    assert main(words) == 0
    said = capsys.readouterr()
    assert [line.split("\t")[:2] for line in said.out.splitlines()] == [
        ["p0", "starting mask"],
        ["p1", "starting mask"],
    ]
    assert "liver 0." in said.out
    assert "2 of 2: loss" in said.err
    assert main([*words, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(words) == 0
    assert "every case that may have a starting mask has one of this network" in capsys.readouterr().err
    assert main(["casebook", "next", str(study)]) == 0
    assert "note: its starting mask is " in capsys.readouterr().err
    with Casebook(study) as casebook:
        start = next(iter(starting_masks(casebook).values()))
        keeps = start.load(casebook.case("p0"))
    shown = [str(number) for number in range(6) if (keeps[number] == 1).any()]
    assert main(["casebook", "accept", str(study), "p0", "--verified", "liver:" + (shown or ["0"])[0]]) == 0
    capsys.readouterr()
    assert main(["casebook", "list", str(study), "--json"]) == 0
    cases = json.loads(capsys.readouterr().out)["cases"]
    assert [case["slices_of_organs"] for case in cases] == [
        {"unverified": 5, "verified": 1, "edited": 0, "absent": 0},
        {"unverified": 6, "verified": 0, "edited": 0, "absent": 0},
    ]
    assert cases[1]["starting_mask"]["version"] == start.version
    assert main(["casebook", "export", str(study), str(tmp_path / "out"), "--with-unverified"]) == 0
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["p0_mask.nii.gz", "p1_starting_mask.nii.gz", "review.csv"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"--names": "none.json"}, "none.json cannot be read"),
        ({"--images": "nowhere"}, "nowhere cannot be read"),
        ({"--names": None}, "contains label 5, which the study does not have (1 liver): name the source"),
        ({"--labels": "in"}, "no image in"),
        ({"STUDY": "nowhere"}, "is not a casebook"),
    ],
)
def test_what_is_wrong_is_reported_in_one_line(study, tmp_path, capsys, change, text):
    given = {"STUDY": "book", "--images": "images", "--labels": "masks", "--names": "labels.json"} | change
    words = ["casebook", "ignite", str(tmp_path / given.pop("STUDY"))]
    for name, value in given.items():
        words += [] if value is None else [name, str(tmp_path / value)]
    assert main([*words, "--steps", "1"]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if " of " not in line[:8]]
    assert text in line
    with Casebook(study) as casebook:
        assert not starting_masks(casebook)


def test_labels_on_another_grid_are_refused(study, tmp_path, capsys):
    other = read_volume(write_case_image(tmp_path / "o.nii.gz", 3, (6, 12, 18))).geometry
    write_labelmap(tmp_path / "masks" / "s1.nii.gz", np.zeros((6, 12, 18), np.uint8), other)
    words = [
        "casebook",
        "ignite",
        str(study),
        "--images",
        str(tmp_path / "images"),
        "--labels",
        str(tmp_path / "masks"),
    ]
    assert main([*words, "--quiet"]) == 2
    assert "has the shape (18, 12, 6), not (17, 12, 6)" in capsys.readouterr().err


def test_slow_steps_are_told_every_few_seconds(monkeypatch, capsys):
    now = 100.0
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now)

    def steps():
        nonlocal now
        for done in range(60):
            now += 2.0
            yield Progress(done, 1200, "loss 1.000")
        return "done"

    assert terminal.shown_in_lines(steps(), argparse.Namespace(quiet=False)) == "done"
    assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == [str(n) for n in range(0, 60, 3)]
