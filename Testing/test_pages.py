"""The examples in the documents run as they stand."""

import re
from pathlib import Path

import pytest

from InteractiveSegLib.casebook.casebook import Casebook
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
