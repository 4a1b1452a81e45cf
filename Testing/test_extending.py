"""The examples of the page on extending run as they stand, with a training that is cut short."""

import re
from pathlib import Path

from InteractiveSegLib.networks.architectures import ARCHITECTURES

REPOSITORY = Path(__file__).resolve().parents[1]


def test_the_networks_example_trains_saves_loads_and_segments(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "InteractiveSeg").symlink_to(REPOSITORY / "InteractiveSeg")
    monkeypatch.setitem(ARCHITECTURES, "small", None)  # taken out again when the test ends
    blocks = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs" / "extending.md").read_text("utf-8"), re.DOTALL)
    code = "".join(blocks).replace("STEPS = 2000", "STEPS = 3")
    assert code.count("STEPS = 3\n") == 1
    names = {"__name__": "small_network"}
    exec(compile(code, "extending.md", "exec"), names)
    assert int(capsys.readouterr().out.split()[0]) == (names["session"].labelmap() == 1).sum()
    assert (names["session"].labelmap() == 1).any()
    assert type(names["session"].segmenter._network).__name__ == "SmallNetwork"
