import json
import shutil

import pytest
from taught_blobs import accept_blob, blob_casebook

from InteractiveSegLib.casebook.acceptance import stream
from InteractiveSegLib.casebook.casebook import Casebook
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
    assert ("replaced" in heard.out, "the network is the initial one" in heard.err) == (True, True)
    assert main([*words, "--roll-back"]) == 2
    assert "nothing to roll back" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["nowhere"], "is not a casebook"),
        (["BOOK", "--updates", "0"], "argument --updates: '0' is not a whole number of at least 1"),
        (["BOOK", "--buffer", "0"], "argument --buffer: '0'"),
        (["BOOK", "--together", "0"], "argument --together: '0'"),
        (["BOOK", "--look-at", "-1"], "argument --look-at: '-1' is not a whole number of at least 0"),
        (["BOOK", "--from", "scribbles", "--network", "automatic"], "--network does not apply to --from scribbles"),
        (["BOOK", "--from", "scribbles", "--expected-cases", "4"], "--expected-cases does not apply"),
    ],
)
def test_what_is_wrong_is_reported_in_one_line(study, capsys, words, text):
    assert _exit_code(["learn", *(str(study) if word == "BOOK" else word for word in words)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert text in line


def _exit_code(words):
    try:
        return main(words)
    except SystemExit as end:
        return end.code


def test_learning_that_put_everything_off_ends_with_3(study, capsys, tmp_path):
    (tmp_path / "images" / "case0.nrrd").rename(tmp_path / "away.nrrd")
    words = ["learn", str(study), "--network", "automatic", "--updates", "2"]
    assert main(words) == 3
    assert "case0\tversion none\tpostponed: the image of case 'case0' is not at" in capsys.readouterr().out
    with Casebook(study) as casebook:
        accept_blob(casebook, 1)
        flipped = bytearray(stream(casebook)[0].prompts.read_bytes())
        flipped[60] ^= 4
        stream(casebook)[0].prompts.write_bytes(flipped)
    (tmp_path / "away.nrrd").rename(tmp_path / "images" / "case0.nrrd")
    assert main(words) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert "postponed: the record of prompts of case 'case0' is damaged" in first
    assert second.startswith("case1\tversion 1\tused")


def test_a_damaged_case_is_neither_replayed_nor_asked(study, tmp_path, capsys):
    words = ["learn", str(study), "--network", "automatic", "--updates", "2"]
    assert main(words) == 0
    with Casebook(study) as casebook:
        for number in (2, 1):
            accept_blob(casebook, number)
        for found in stream(casebook)[:2]:
            found.mask.write_bytes(found.mask.read_bytes()[:-9])
        with casebook.database.writing() as rows:
            rows.execute("UPDATE training SET plan = 'x' WHERE acceptance_id = 1")
    shutil.rmtree(study / "learning" / "automatic" / "lessons")
    capsys.readouterr()
    assert main(words) == 3
    heard = capsys.readouterr()
    assert "postponed: no validation case can be read to check the candidate: the accepted mask of case" in heard.out
    assert "note: an earlier case is not replayed" in heard.err
