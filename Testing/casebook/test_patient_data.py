"""What a casebook reveals about patients, and to whom; and names from files do no harm elsewhere."""

import csv
import json
import os
import stat
from hashlib import sha256

import pytest
from casebook_cases import accepted, box_mask, casebook_of, write_case_image
from pydicom import dcmread
from test_image_io import write_dicom

from InteractiveSegLib.casebook.case_rounds import keep_round
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.database import FILE
from InteractiveSegLib.casebook.effort_report import write_effort_csv
from InteractiveSegLib.casebook.image_reference import ImageReference
from InteractiveSegLib.casebook.importing import ImportSettings, import_steps
from InteractiveSegLib.casebook.pseudonyms import patient_pseudonym
from InteractiveSegLib.casebook.splits import SplitSettings, split_of
from InteractiveSegLib.cli import main
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.progress import finish
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.wording.plain_text import printable, spreadsheet_row


def write_series(folder, patient, number):
    """A small DICOM series of a patient."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    write_dicom(folder, [(0, 0, 3.0 * k) for k in range(4)], f"1.2.3.{number + 1}")
    for file in folder.iterdir():
        read = dcmread(file)
        read.PatientID = patient
        read.save_as(file)


def public(seed, identity):
    """What earlier versions kept."""
    return "patient-" + sha256(f"{seed}/{identity}".encode()).hexdigest()[:12]


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask_022():
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_the_hash_of_a_patient_cannot_be_tried_out(tmp_path):
    with Casebook.created(tmp_path / "a") as one, Casebook.created(tmp_path / "b") as other:
        names = {patient_pseudonym(casebook, "10234") for casebook in (one, other) for _ in range(2)}
        assert len(names) == 2
        assert names.isdisjoint(public(seed, f"{number:05d}") for seed in (0, 1) for number in range(10000, 10500))
        assert patient_pseudonym(one, "10235") not in names
    with Casebook(tmp_path / "a") as again:
        assert patient_pseudonym(again, "10234") in names


def test_patients_of_dicom_series_are_hashed_and_keep_the_split_of_their_seed(tmp_path):
    for number, patient in enumerate(("10234", "10235", "10234")):
        write_series(tmp_path / "images" / str(number), patient, number)
    splits = SplitSettings(0.3, 0.3, 5)
    with Casebook.created(tmp_path / "book", splits) as casebook:
        finish(import_steps(casebook, tmp_path / "images"))
        first, second, third = casebook.cases()
        assert first.patient == third.patient == patient_pseudonym(casebook, "10234")
        for case, patient in ((first, "10234"), (second, "10235")):
            assert case.split == split_of(public(5, patient), splits)
    assert public(5, "10234").encode() not in (tmp_path / "book" / FILE).read_bytes()


def test_patients_that_an_earlier_version_hashed_are_the_same_patients(tmp_path):
    for number in range(2):
        write_series(tmp_path / str(number), "10234", number)
    with Casebook.created(tmp_path / "book") as casebook:
        [series] = finish(import_steps(casebook, tmp_path / "0")).added
        with casebook.database.writing() as rows:
            rows.execute("UPDATE case_ SET patient = ?, split = 'test'", [public(0, "10234")])
        [later] = finish(import_steps(casebook, tmp_path / "1")).added
        assert (later.split, later.patient) == ("test", casebook.case(series.name).patient)
        assert later.patient != public(0, "10234")


def test_pseudonyms_keep_the_names_of_files_and_series_out(tmp_path, capsys):
    write_case_image(tmp_path / "Meier" / "Meier_Anna_1961-04-17.nrrd", 1)
    write_case_image(tmp_path / "Meier" / "Meier_Anna_2.nrrd", 2)
    write_series(tmp_path / "Schulze", "10234-5678", 3)
    book = tmp_path / "book"
    assert main(["casebook", "init", str(book), "--pseudonyms"]) == 0
    assert main(["casebook", "add", str(book), str(tmp_path / "Meier"), "--patient", "Meier_[A-Z][a-z]+"]) == 0
    assert main(["casebook", "add", str(book), str(tmp_path / "Schulze")]) == 0
    out = capsys.readouterr().out
    assert [line.split("\t")[0] for line in out.splitlines()[1:]] == ["case-0001", "case-0002", "case-0003"]
    with Casebook(book) as casebook:
        cases = casebook.cases()
        assert [case.name for case in cases] == ["case-0001", "case-0002", "case-0003"]
        assert cases[0].patient == cases[1].patient != cases[2].patient
        assert all(case.patient.startswith("patient-") for case in cases)
        accepted(casebook, "case-0001")
        tables = [row["name"] for row in casebook.database.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in casebook.database.rows(f"SELECT * FROM {table}"):
                told = {key: row[key] for key in row.keys() if key not in ("path", "relative_path")}  # noqa: SIM118
                assert not {word for word in ("Meier", "Anna", "1961-04", "10234-5") if word in json.dumps(told)}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
@pytest.mark.parametrize("kind", ["new", "empty", "with images"])
def test_only_its_owner_can_read_a_casebook(tmp_path, umask_022, kind):
    book = tmp_path / "book"
    if kind != "new":
        book.mkdir()
    if kind == "with images":
        (book / "scan.txt").write_text("anybody may read this")
    with casebook_of(tmp_path, 2) as casebook:
        accepted(casebook, "case0")
        keep_round(casebook, casebook.begin(casebook.case("case1")), Prompts(), box_mask())
    assert mode_of(book) == (0o755 if kind == "with images" else 0o700)
    for path in book.rglob("*"):
        if path.name != "scan.txt":
            assert mode_of(path) == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_casebook_in_a_folder_that_a_group_shares_is_the_group_s(tmp_path):
    before = os.umask(0o002)
    try:
        tmp_path.chmod(0o2775)
        with casebook_of(tmp_path, 1) as casebook:
            found = accepted(casebook, "case0")
        assert mode_of(tmp_path / "book") & 0o770 == 0o770
        assert mode_of(tmp_path / "book" / FILE) & 0o660 == 0o660
        assert mode_of(found.mask) & 0o660 == 0o660
    finally:
        os.umask(before)


RUN_BY_SPREADSHEETS = [
    "=HYPERLINK(1)",
    "+1+cmd|'/c calc'!A0",
    "-2+3",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    " =1",
    "＝1",  # noqa: RUF001
    "-",
]


@pytest.mark.parametrize("text", RUN_BY_SPREADSHEETS, ids=repr)
def test_a_cell_that_a_spreadsheet_would_run_is_made_text(text):
    assert spreadsheet_row({"case": text}) == {"case": f"'{text}"}


@pytest.mark.parametrize("value", ["case-1", "a=b", "-0.5", "+1e-3", ".5", "", 3, -2.5, None, "ü"])
def test_other_cells_stay_as_they_are(value):
    assert spreadsheet_row({"case": value}) == {"case": value}


def test_the_table_of_effort_escapes_names(tmp_path):
    with casebook_of(tmp_path, 1) as casebook:
        image = ImageReference.of(write_case_image(tmp_path / "other.nrrd", 7))
        casebook.add(image, "=1+2")
        accepted(casebook, "=1+2")
        write_effort_csv(casebook, tmp_path / "effort.csv")
    with (tmp_path / "effort.csv").open(newline="") as file:
        assert [row["case"] for row in csv.DictReader(file)] == ["'=1+2"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("one\rtwo\nthree\t", r"one\rtwo\nthree\t"),
        ("\x9b31m", r"\x9b31m"),
        ("safe\u202egnp.exe", r"safe\u202egnp.exe"),
        ("l\udce4ber", r"l\udce4ber"),
        ("läber 肝 [bold]", "läber 肝 [bold]"),
    ],
)
def test_control_characters_are_spelt_out(text, shown):
    assert printable(text) == shown


def test_names_with_control_characters_neither_come_in_nor_are_obeyed(tmp_path, capsys):
    evil = "x\x1b[2J\x1b]0;owned\x07"
    with casebook_of(tmp_path, 2) as casebook:
        image = ImageReference.of(write_case_image(tmp_path / "more.nrrd", 9))
        for name in (evil, "a\nb", "a\u202eb"):
            with pytest.raises(InputError, match="needs a name without slashes and control characters"):
                casebook.add(image, name)
        with casebook.database.writing() as rows:  # as a foreign one may hold it
            rows.execute("UPDATE case_ SET name = ? WHERE id = 1", [evil])
    write_case_image(tmp_path / f"y{evil}.nrrd", 10)
    book = str(tmp_path / "book")
    for words in (
        ["list", book],
        ["next", book],
        ["skip", book, evil],
        ["accept", book, f"no {evil}", str(tmp_path / "none.nrrd")],
        ["add", book, str(tmp_path / f"y{evil}.nrrd")],
        ["add", book, str(tmp_path / f"z{evil}.nrrd")],
    ):
        main(["casebook", *words])
        said = capsys.readouterr()
        assert "\x1b" not in said.out + said.err
        assert "\x07" not in said.out + said.err
        assert "x1b[2J" in said.out + said.err


def test_a_name_in_brackets_is_no_markup_for_the_progress_bar(tmp_path, monkeypatch):
    import argparse

    from InteractiveSegLib.commands.terminal import shown
    from InteractiveSegLib.progress import Progress

    monkeypatch.setattr("rich.console.Console.is_terminal", True)

    def steps():
        yield Progress(0, 1, "reading scan [/red] of [link=file:///]x")
        return 3

    assert shown(steps(), argparse.Namespace(quiet=False)) == 3


def test_settings_of_patients_are_checked_before_they_are_used():
    with pytest.raises(InputError, match="not a regular expression"):
        ImportSettings(patient="(")
