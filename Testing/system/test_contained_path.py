"""Paths in a foreign casebook: nothing outside the folder they belong to is read, written or deleted."""

import shutil
import sqlite3

import pytest
from casebook_cases import accepted, box_mask, casebook_of
from taught_blobs import QUICK, accept_blob, blob_casebook, tiny_automatic

from InteractiveSegLib.casebook import case_rounds
from InteractiveSegLib.casebook.acceptance import latest, stream
from InteractiveSegLib.casebook.case_rounds import keep_round, last_round
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.database import FILE
from InteractiveSegLib.errors import InputError, InteractiveSegError
from InteractiveSegLib.learning.learner import StreamLearner
from InteractiveSegLib.learning.versions import prune
from InteractiveSegLib.progress import finish
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.system.contained_path import contained_path
from InteractiveSegLib.worker.requests.casebook_actions import act

LEADING_OUT = [
    "",
    ".",
    "..",
    "../other",
    "cases/../../other",
    "cases/./x",
    "cases//x",
    "cases/",
    "/etc/hosts",
    "//server/share",
    "C:\\Windows",
    "c:x",
    "D:/data",
    "..\\other",
    "\\\\server\\share",
    "file.txt:stream",
    "cases/nul",
    "COM1.nrrd",
    "cases/mask. ",
    "a\0b",
    None,
    3,
    b"cases/x",
]


@pytest.mark.parametrize("name", LEADING_OUT, ids=repr)
def test_a_name_that_leads_out_is_refused_and_named(tmp_path, name):
    with pytest.raises(InputError) as caught:
        contained_path(tmp_path, name, "the row")
    assert str(caught.value).startswith(f"the row names {name!r}, which ")


@pytest.mark.parametrize("name", ["x", "cases/1/mask-0.nrrd", ".hidden/a..b", "læring/ü", "console/comma"])
def test_a_name_within_is_taken_whether_it_exists_or_not(tmp_path, name):
    assert contained_path(tmp_path, name, "the row") == tmp_path / name


def test_links_are_followed_within_the_folder_only(tmp_path):
    folder = tmp_path / "book"
    (folder / "cases").mkdir(parents=True)
    (folder / "inside").symlink_to("cases")
    (folder / "outside").symlink_to(tmp_path)
    (folder / "circle").symlink_to("circle")
    (folder / "whole").symlink_to(folder)
    (tmp_path / "alias").symlink_to(folder)
    assert contained_path(folder, "inside/1", "the row") == folder / "inside" / "1"
    assert contained_path(tmp_path / "alias", "cases/1", "the row").parent.name == "cases"
    for name in ("outside", "outside/other", "outside/book/../../x"):
        with pytest.raises(InputError, match=r"the row names 'outside"):
            contained_path(folder, name, "the row")


@pytest.fixture
def taught(tmp_path):
    """A casebook of which one case is still to be learnt, beside a folder that is none of its."""
    casebook = blob_casebook(tmp_path, ["train"])
    accept_blob(casebook, 0)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "work.txt").write_text("years")
    return casebook


@pytest.mark.parametrize(
    "file", ["{outside}", "", "../precious", "cases", "learning/automatic", "learning/automatic/lessons", "link"]
)
@pytest.mark.parametrize("state", ["refused", "replaced"])
def test_a_version_that_names_another_folder_deletes_nothing(tmp_path, taught, file, state):
    (taught.folder / "link").symlink_to(tmp_path / "precious")
    with taught.database.writing() as rows:
        rows.execute(
            "INSERT INTO version (learner, parent, at, state, file, cases, scores, reason)"
            " VALUES ('automatic', NULL, '', ?, ?, '[]', '{}', '')",
            [state, file.format(outside=tmp_path / "precious")],
        )
    before = sorted(path for path in tmp_path.rglob("*") if "sqlite" not in path.name)
    prune(taught, "automatic", 0)
    finish(StreamLearner(taught, tiny_automatic(), QUICK).steps())
    assert any("version 1 in the database" in note for note in taught.notes)
    assert set(before) <= set(tmp_path.rglob("*"))


@pytest.mark.parametrize("where", ["learning", "learning/automatic", "learning/automatic/lessons"])
def test_a_learner_whose_folder_is_a_link_elsewhere_deletes_nothing(tmp_path, taught, where):
    for name in ("training-7", "version-1"):
        (tmp_path / "precious" / name).mkdir()
    (tmp_path / "precious" / "1.npz").write_text("not a lesson")
    link = taught.folder / where
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(tmp_path / "precious")
    with pytest.raises(InputError, match="a link leads out of"):
        finish(StreamLearner(taught, tiny_automatic(), QUICK).steps())
    assert sorted(path.name for path in (tmp_path / "precious").iterdir()) == sorted(
        ["1.npz", "training-7", "version-1", "work.txt"]
    )


@pytest.mark.parametrize("stored", ["../../precious.nrrd", "{outside}", "casebook.sqlite", "cases/3/x.nrrd", ""])
def test_files_of_a_case_lie_in_its_folder(tmp_path, stored, monkeypatch):
    precious = tmp_path / "precious.nrrd"
    precious.write_text("years")
    monkeypatch.setattr(case_rounds, "ROUNDS_KEPT", 1)
    with casebook_of(tmp_path) as casebook:
        found = accepted(casebook, "case0")
        entry = casebook.begin(casebook.case("case1"))
        keep_round(casebook, entry, Prompts(), box_mask())
        name = stored.format(outside=precious)
        with casebook.database.writing() as rows:
            rows.execute("UPDATE acceptance SET mask = ?", [name])
            rows.execute("UPDATE round SET mask = ?", [name])
        assert stream(casebook) == []
        with pytest.raises(InputError, match=r"for case 1|of case 1"):
            latest(casebook, casebook.case("case0"))
        assert last_round(casebook, entry) is None
        assert any("case 2" in note for note in casebook.notes)
        keep_round(casebook, entry, Prompts(), box_mask())
        assert precious.read_text() == "years"
        assert found.mask.exists()
        assert (casebook.folder / FILE).exists()


def test_a_round_that_names_an_accepted_mask_does_not_delete_it(tmp_path, monkeypatch):
    monkeypatch.setattr(case_rounds, "ROUNDS_KEPT", 1)
    with casebook_of(tmp_path) as casebook:
        found = accepted(casebook, "case0")
        entry = casebook.reopen(casebook.case("case0"))
        keep_round(casebook, entry, Prompts(), box_mask())
        with casebook.database.writing() as rows:
            rows.execute("UPDATE round SET mask = ?", [found.mask.relative_to(casebook.folder).as_posix()])
        keep_round(casebook, entry, Prompts(), box_mask())
        assert found.mask.exists()


def test_a_case_whose_folder_is_a_link_elsewhere_is_not_written(tmp_path):
    with casebook_of(tmp_path) as casebook:
        (tmp_path / "elsewhere").mkdir()
        (casebook.folder / "cases").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(InputError, match="a link leads out of"):
            accepted(casebook, "case0")
        assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER INSERT ON event BEGIN DELETE FROM acceptance; END",
        "CREATE TRIGGER t BEFORE UPDATE ON case_ BEGIN UPDATE version SET file = '/tmp'; END",
        "CREATE VIEW v AS SELECT * FROM case_",
        "CREATE TABLE more (x)",
        "CREATE INDEX i ON case_ (upper(name))",
        "ALTER TABLE label ADD COLUMN x DEFAULT (random())",
        "DROP INDEX event_of_case",
    ],
)
def test_a_foreign_schema_is_refused_before_anything_is_used(tmp_path, statement):
    casebook_of(tmp_path).close()
    file = tmp_path / "book" / FILE
    connection = sqlite3.connect(file)
    connection.execute(statement)
    connection.commit()
    connection.close()
    before = file.read_bytes()
    with pytest.raises(InputError, match=r"does not have the tables of a casebook: it has (the|no) \w+ '\w+'"):
        Casebook(tmp_path / "book")
    with pytest.raises(InputError, match="does not have the tables of a casebook"):
        act(tmp_path / "book", "next")
    assert file.read_bytes() == before


def test_a_view_in_the_place_of_a_table_does_not_count(tmp_path):
    casebook_of(tmp_path).close()
    connection = sqlite3.connect(tmp_path / "book" / FILE)
    connection.executescript(
        "DROP TABLE label; CREATE VIEW label AS SELECT 1 AS value, load_extension('/tmp/x.so') AS name"
    )
    connection.close()
    with pytest.raises(InputError, match=r"the view 'label', no table 'label'"):
        Casebook(tmp_path / "book")


def test_a_copy_by_sqlite_s_own_means_is_still_a_casebook(tmp_path):
    casebook_of(tmp_path).close()
    (tmp_path / "copy").mkdir()
    source, target = (sqlite3.connect(tmp_path / name / FILE) for name in ("book", "copy"))
    with source, target:
        source.backup(target)
        target.execute("ANALYZE")
    for connection in (source, target):
        connection.close()
    with Casebook(tmp_path / "copy") as casebook:
        assert len(casebook.cases()) == 3
    shutil.rmtree(tmp_path / "copy")


def test_a_case_whose_image_is_a_device_is_not_read(tmp_path):
    with casebook_of(tmp_path) as casebook:
        with casebook.database.writing() as rows:
            rows.execute("UPDATE case_ SET path = '/dev/zero', relative_path = NULL")
        with pytest.raises(InteractiveSegError, match="is not at /dev/zero"):
            casebook.volume(casebook.case("case0"))
