"""The examples in the documents run unchanged."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from casebook_cases import box_mask, write_case_image

from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.cli import main
from InteractiveSegLib.image.image_io import read_volume, write_labelmap
from InteractiveSegLib.networks.architectures import ARCHITECTURES

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the Python of a page in an empty folder beside the sample image, and returns the names it has defined."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "InteractiveSeg").symlink_to(REPOSITORY / "InteractiveSeg")

    def run(page, **replaced):
        text = (REPOSITORY / "docs" / page).read_text("utf-8")
        code = "".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
        for name, value in replaced.items():
            code, count = re.subn(rf"^{name} = .*$", f"{name} = {value}", code, flags=re.MULTILINE)
            assert count == 1
        names = {"__name__": "example"}
        exec(compile(code, page, "exec"), names)
        return names

    return run


def test_a_network_of_ones_own_is_trained_saved_loaded_and_segments(run, monkeypatch, capsys):
    monkeypatch.setitem(ARCHITECTURES, "small", None)  # taken out again when the test ends
    names = run("extending.md", STEPS=3)
    assert type(names["session"].segmenter._network) is names["SmallNetwork"]
    assert int(capsys.readouterr().out.split()[0]) == (names["session"].labelmap() == 1).sum()
    assert names["session"].current.objects  # of a network that has learnt for three steps the mask may be empty


def test_the_library_is_used_from_python(run, tmp_path, capsys):
    Casebook.created(tmp_path / "study").close()
    names = run("python.md")
    assert (tmp_path / "mask.nii.gz").exists()
    assert names["session"].labelmap()[40, 50, 50] == 1
    assert names["proxy"].labels == (1,)
    assert "looking at the image" in capsys.readouterr().out


def test_the_commands_of_a_study_that_starts_from_labelled_images_do_what_the_page_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (REPOSITORY / "docs" / "casebook.md").read_text("utf-8")
    blocks = [
        block for block in re.findall(r"```\n(.*?)```", text, re.DOTALL) if "ignite" in block or "--verified" in block
    ]
    masks = tmp_path / "labelled" / "masks"
    masks.mkdir(parents=True)
    organs = {1: "liver", 2: "spleen", 3: "aorta", 4: "left ventricle"}
    for number in range(2):
        image = write_case_image(tmp_path / "labelled" / "images" / f"s{number}.nii.gz", number, (20, 12, 17))
        labels = box_mask(4, (20, 12, 17))
        labels[2:14, 9:11, 2:6] = 2
        write_labelmap(masks / f"s{number}.nii.gz", labels, read_volume(image).geometry)
        write_case_image(tmp_path / "in" / f"CASE{number or ''}.nii.gz", 10 + number, (20, 12, 17))
    (tmp_path / "labels.json").write_text('{"2": "spleen", "4": "left ventricle"}')
    named = [word for value, name in organs.items() for word in ("--label", f"{value}={name}")]
    assert main(["casebook", "init", "study", "--validation", "0", "--test", "0", *named]) == 0
    assert main(["casebook", "add", "study", "in"]) == 0
    geometry = read_volume(tmp_path / "in" / "CASE.nii.gz").geometry
    labels[:, 0, 0] = 1
    for name in ("mask", "corrected"):
        write_labelmap(tmp_path / f"{name}.nii.gz", labels.astype(np.uint8), geometry)
    assert len(blocks) == 2
    for block in reversed(blocks):  # the second section is what happens first
        for line in block.splitlines():
            words = [*shlex.split(line)[1:], *(["--steps", "1"] if "ignite" in line else [])]
            if "accept" in words:
                main(["casebook", "reopen", "study", "CASE", "--quiet"])  # refused where it was never accepted
            assert main(words) == 0, line
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == [
        "CASE1_starting_mask.nii.gz",
        "CASE_mask.nii.gz",
        "review.csv",
    ]
