import json

import pytest
from taught_blobs import accept_blob, blob_casebook

from InteractiveSegLib.cli import main


@pytest.fixture
def study(tmp_path):
    with blob_casebook(tmp_path, ["train", "train", "validation"]) as casebook:
        accept_blob(casebook, 0)
    return tmp_path / "book"


def test_learning_versions_and_the_way_back(study, capsys):
    words = ["learn", str(study), "--network", "automatic", "--updates", "2"]
    assert main(words) == 0
    assert capsys.readouterr().out.startswith("case0\tversion 1\tused without a check")
    assert main(words) == 0
    heard = capsys.readouterr()
    assert (heard.out, "every accepted case for training has been learnt" in heard.err) == ("", True)
    assert main([*words, "--versions", "--json"]) == 0
    [version] = json.loads(capsys.readouterr().out)["versions"]
    assert (version["version"], version["state"], version["cases"]) == (1, "in use", ["case0"])
    assert main([*words, "--versions"]) == 0
    assert capsys.readouterr().out.startswith("version 1\tin use\t1 case\tused without")
    assert main([*words, "--roll-back"]) == 0
    assert capsys.readouterr().out == "no version is in use\n"
    assert main([*words, "--versions"]) == 0
    heard = capsys.readouterr()
    assert ("replaced" in heard.out, "what it was before the first case" in heard.err) == (True, True)
    assert main([*words, "--roll-back"]) == 2
    assert "nothing to roll back" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["nowhere"], "is no casebook"),
        (["BOOK", "--updates", "0"], "updates 0"),
        (["BOOK", "--buffer", "0"], "buffer 0"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(study, capsys, words, text):
    assert main(["learn", *(str(study) if word == "BOOK" else word for word in words)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert text in line
