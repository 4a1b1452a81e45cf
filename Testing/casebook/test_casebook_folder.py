import json
import os
import shutil
import sqlite3
import threading
import time

import numpy as np
import pytest
from casebook_cases import ALL_FOR_TRAINING, accepted, box_mask, by_hand, casebook_of, write_case_image
from dicom_files import ramp, write_series

from InteractiveSegLib.casebook import schema
from InteractiveSegLib.casebook.acceptance import accept, load_accepted, stream
from InteractiveSegLib.casebook.case_rounds import keep_round, last_round
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.database import FILE
from InteractiveSegLib.casebook.image_reference import ImageReference
from InteractiveSegLib.casebook.importing import ImportSettings, import_steps
from InteractiveSegLib.casebook.prompt_file import save_prompts
from InteractiveSegLib.casebook.review import SliceState
from InteractiveSegLib.casebook.splits import SplitSettings, split_of
from InteractiveSegLib.casebook.states import State
from InteractiveSegLib.errors import InputError, OutputError
from InteractiveSegLib.image.image_io import write_labelmap
from InteractiveSegLib.progress import finish
from InteractiveSegLib.prompts.prompts import Prompts


def test_a_case_is_added_once(tmp_path):
    with casebook_of(tmp_path) as casebook:
        again = ImageReference.of(tmp_path / "images" / "case1.nrrd")
        with pytest.raises(InputError, match=r"case1.nrrd is in the casebook already, as case 'case1'"):
            casebook.add(again, "other")
        other = ImageReference.of(write_case_image(tmp_path / "more.nrrd", 9))
        with pytest.raises(InputError, match="another case 'case1'"):
            casebook.add(other, "case1")
        for name in ("", " ", "a/b"):
            with pytest.raises(InputError, match="needs a name"):
                casebook.add(other, name)
        assert [case.name for case in casebook.cases()] == ["case0", "case1", "case2"]


def test_an_image_that_moved_or_changed_is_noticed(tmp_path):
    with casebook_of(tmp_path) as casebook:
        path = tmp_path / "images" / "case0.nrrd"
        assert casebook.volume(casebook.case("case0")).array_kji.shape == (6, 12, 17)
        path.rename(tmp_path / "elsewhere.nrrd")
        with pytest.raises(InputError, match=r"image of case 'case0' is not at .*case0.nrrd: it was moved"):
            casebook.volume(casebook.case("case0"))
        imported = finish(import_steps(casebook, tmp_path / "elsewhere.nrrd"))
        assert (imported.added, "'case0' has moved to" in imported.notes[0]) == ((), True)
        assert casebook.volume(casebook.case("case0")).array_kji.any()
        write_case_image(tmp_path / "images" / "case1.nrrd", 77)
        with pytest.raises(InputError, match=r"image of case 'case1', .* has changed on disk"):
            casebook.volume(casebook.case("case1"))


def test_a_study_can_be_moved_with_its_images(tmp_path):
    (tmp_path / "study").mkdir()
    casebook_of(tmp_path / "study").close()
    shutil.move(tmp_path / "study", tmp_path / "moved")
    with Casebook(tmp_path / "moved" / "book") as casebook:
        assert casebook.volume(casebook.case("case2")).array_kji.any()


def test_a_newer_casebook_is_refused_and_left_alone(tmp_path):
    casebook_of(tmp_path).close()
    file = tmp_path / "book" / FILE
    with sqlite3.connect(file) as rows:
        rows.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    rows.close()
    before = file.read_bytes()
    with pytest.raises(
        InputError, match=f"version {schema.VERSION + 1}, but this program supports .* {schema.VERSION}: upd"
    ):
        Casebook(tmp_path / "book")
    assert file.read_bytes() == before


def older_casebook(folder, version):
    """As a program of an older version left it: two cases, the second accepted, with rounds before and after it."""
    with casebook_of(folder, 2) as casebook:
        cases = [tuple(row) for row in casebook.database.rows("SELECT * FROM case_")]
        geometry = casebook.case("case1").image.geometry
    book = folder / "book"
    (book / FILE).unlink()
    kept = book / "cases" / "2"
    kept.mkdir(parents=True)
    for name, value in (("early", 1), ("mask", 2), ("late", 3)):
        write_labelmap(kept / f"{name}.nrrd", box_mask(value), geometry)
        save_prompts(Prompts(), geometry.shape_kji, kept / f"{name}.npz")
    write_labelmap(kept / "origins.nrrd", box_mask(1), geometry)
    rows = sqlite3.connect(book / FILE)
    rows.executescript("".join(schema.MIGRATIONS[:version]))
    rows.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    rows.execute(f"PRAGMA user_version = {version}")
    rows.execute("INSERT INTO setting VALUES ('splits', ?)", [json.dumps({"validation": 0, "test": 0.5, "seed": 3})])
    rows.executemany(f"INSERT INTO case_ VALUES ({', '.join('?' * 14)})", cases)
    rows.execute("UPDATE case_ SET state = 'accepted', revision = 2 WHERE id = 2")
    for at, name in (("2024-01-01T10:00:00.000+00:00", "early"), ("2024-01-01T12:00:00.000+00:00", "late")):
        values = [at, f"cases/2/{name}.npz", f"cases/2/{name}.nrrd"]
        rows.execute("INSERT INTO round (case_id, at, prompts, mask) VALUES (2, ?, ?, ?)", values)
    files = ["cases/2/mask.nrrd", "cases/2/origins.nrrd", "cases/2/mask.npz"]
    rows.execute(
        "INSERT INTO acceptance (case_id, at, mask, origins, prompts, labels, known_labels)"
        " VALUES (2, '2024-01-01T11:00:00.000+00:00', ?, ?, ?, '[2]', '[2]')",
        files,
    )
    if version >= 3:
        rows.execute("UPDATE round SET accepted = 1 WHERE prompts = 'cases/2/late.npz'")
    rows.commit()
    rows.close()
    return book


@pytest.mark.parametrize("version", range(1, schema.VERSION))
def test_an_older_casebook_is_brought_forward_with_a_copy_and_a_note(tmp_path, version):
    book = older_casebook(tmp_path, version)
    kept = f"casebook-version-{version}"
    (book / f"{kept}.sqlite").write_text("a copy that is there already")
    with Casebook(book) as casebook:
        assert casebook.notes == [
            f"the casebook was upgraded from version {version} to {schema.VERSION}; the old one is kept as "
            f"{kept}-2.sqlite"
        ]
        assert casebook.splits == SplitSettings(0, 0.5, 3)
        [found] = stream(casebook)
        mask = load_accepted(casebook.case("case1"), found)
        assert mask.labels.max() == 2
        assert mask.review.of(2) == (SliceState.VERIFIED,) * 6  # it stands as a whole, as it did
        assert [row["accepted"] for row in casebook.database.rows("SELECT accepted FROM round ORDER BY id")] == [0, 1]
        assert last_round(casebook, casebook.case("case1")).labels.max() == 3
        assert casebook.database.rows("SELECT * FROM version") == []
    with Casebook(book) as casebook:
        assert casebook.notes == []
    assert (book / f"{kept}.sqlite").read_text() == "a copy that is there already"
    rows = sqlite3.connect(book / f"{kept}-2.sqlite")
    assert rows.execute("PRAGMA user_version").fetchone()[0] == version
    assert rows.execute("SELECT count(*) FROM round").fetchone()[0] == 2
    rows.close()
    assert not [*book.glob(".new-*"), *book.glob(".interactiveseg-*")]


def test_the_copy_before_a_migration_has_what_another_program_writes_meanwhile_whole_or_not_at_all(tmp_path):
    book = older_casebook(tmp_path, 2)
    other = sqlite3.connect(book / FILE, isolation_level=None)
    other.execute("PRAGMA cache_spill = ON")
    other.execute("PRAGMA cache_size = 1")
    other.execute("BEGIN IMMEDIATE")
    other.executemany(
        "INSERT INTO event (case_id, kind, at, data) VALUES (1, 'x', ?, ?)", [(n, "y" * 900) for n in range(40)]
    )
    opened = threading.Thread(target=lambda: Casebook(book).close())
    opened.start()
    time.sleep(0.2)
    other.execute("COMMIT")
    other.close()
    opened.join()
    rows = sqlite3.connect(book / "casebook-version-2.sqlite")
    assert rows.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert rows.execute("SELECT count(*) FROM event").fetchone()[0] in (0, 40)
    rows.close()


def test_what_is_no_casebook_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"is not a casebook: it has no casebook\.sqlite"):
        Casebook(tmp_path)
    (tmp_path / FILE).write_text("no database, but long enough to be looked at " * 30)
    with pytest.raises(InputError, match="is damaged"):
        Casebook(tmp_path)
    (tmp_path / FILE).unlink()
    with sqlite3.connect(tmp_path / FILE) as rows:
        rows.execute("CREATE TABLE other (a)")
    rows.close()
    with pytest.raises(InputError, match="an SQLite file, but not a casebook"):
        Casebook(tmp_path)
    with pytest.raises(InputError, match="is a casebook already"):
        Casebook.created(tmp_path)


def test_a_casebook_that_cannot_be_written_can_be_read(tmp_path, monkeypatch):
    with casebook_of(tmp_path) as casebook:
        accepted(casebook, "case0")
        casebook.begin(casebook.case("case1"))
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with Casebook(tmp_path / "book") as casebook:
        assert casebook.database.read_only
        [found] = stream(casebook)
        assert load_accepted(casebook.case("case0"), found).labels.any()
        with pytest.raises(OutputError, match="readonly"):
            casebook.skip(casebook.case("case2"))
        with pytest.raises(OutputError, match="read-only"):
            accept(casebook, casebook.case("case1"), by_hand(box_mask()))
        assert casebook.case("case1").state is State.IN_WORK


def test_a_full_disk_loses_nothing_that_was_accepted(tmp_path):
    resource = pytest.importorskip("resource", reason="a limit of file size stands in for a full disk")
    noise = np.random.default_rng(0).integers(0, 250, (6, 12, 17)).astype(np.uint8)
    with casebook_of(tmp_path) as casebook:
        accepted(casebook, "case0")
        entry = casebook.begin(casebook.case("case1"))
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (700, limits[1]))
        try:
            with pytest.raises(OutputError):
                accept(casebook, entry, by_hand(noise))
            with pytest.raises(OutputError):
                keep_round(casebook, entry, Prompts(), noise)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert len(stream(casebook)) == 1
        assert casebook.case("case1").state is State.IN_WORK
        accept(casebook, casebook.case("case1"), by_hand(noise))
        assert len(stream(casebook)) == 2


def test_a_full_database_takes_the_files_back(tmp_path):
    with casebook_of(tmp_path) as casebook:
        entry = casebook.begin(casebook.case("case0"))
        connection = casebook.database._connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")

        def go_on_for_ever():
            while True:
                accept(casebook, casebook.case("case0"), by_hand(box_mask()))
                casebook.reopen(casebook.case("case0"))

        with pytest.raises(OutputError, match="full"):
            go_on_for_ever()
        masks = list((tmp_path / "book" / "cases" / str(entry.id)).glob("mask-*"))
        assert len(masks) == casebook.database.rows("SELECT count(*) FROM acceptance")[0][0] > 0


def test_splits_are_fixed_by_the_patient_and_never_change(tmp_path):
    settings = SplitSettings(0.3, 0.2, seed=4)
    many = [split_of(f"patient{number}", settings) for number in range(2000)]
    assert abs(many.count("validation") / 2000 - 0.3) < 0.03
    assert abs(many.count("test") / 2000 - 0.2) < 0.03
    with casebook_of(tmp_path, 0, settings) as casebook:
        splits = {}
        for number in range(12):
            path = write_case_image(tmp_path / f"patient{number // 2}_{number}.nrrd", number)
            entry = casebook.add(ImageReference.of(path), f"image{number}", f"patient{number // 2}")
            assert splits.setdefault(entry.patient, entry.split) == entry.split == split_of(entry.patient, settings)
            assert all(case.split == splits[case.patient] for case in casebook.cases())
        more = ImageReference.of(write_case_image(tmp_path / "more.nrrd", 99))
        other = next(split for split in ("test", "train") if split != splits["patient3"])
        with pytest.raises(InputError, match="patient 'patient3' is for"):
            casebook.add(more, "more", "patient3", other)
        with pytest.raises(InputError, match="'training'"):
            casebook.add(more, "more", split="training")
        assert casebook.add(more, "more", "someone", "test").split == "test"
    with Casebook(tmp_path / "book") as casebook:
        assert casebook.splits == settings


@pytest.mark.parametrize("parts", [(0.6, 0.4), (-0.1, 0.2), (float("nan"), 0.1)])
def test_parts_that_leave_nothing_for_training_are_refused(parts):
    with pytest.raises(InputError, match="leave some for training"):
        SplitSettings(*parts)


def test_a_folder_is_taken_in_with_what_is_wrong_in_it_noted(tmp_path):
    for number in range(3):
        write_case_image(tmp_path / "in" / f"p{number}_a.nii.gz", number)
    write_case_image(tmp_path / "in" / "below" / "p0_a.nrrd", 7)
    write_case_image(tmp_path / "in" / "below" / "copy.nrrd", 7)
    write_case_image(tmp_path / "in" / "p1_b.seg.nrrd", 8)
    (tmp_path / "in" / "p9.nii.gz").write_bytes(b"no image")
    with casebook_of(tmp_path, 0) as casebook:
        imported = finish(import_steps(casebook, tmp_path / "in", ImportSettings(patient="p[0-9]")))
        assert [(case.name, case.patient) for case in imported.added] == [
            ("p0_a", "p0"),
            ("p1_a", "p1"),
            ("p2_a", "p2"),
            ("copy", "copy"),
        ]
        assert len(imported.notes) == 2
        assert "p9.nii.gz cannot be read" in imported.notes[0]
        assert "is in the casebook already, as case 'copy'" in imported.notes[1]
        with pytest.raises(InputError, match=r"contains no image .* '\*.mha'"):
            finish(import_steps(casebook, tmp_path / "in", ImportSettings("*.mha")))
        with pytest.raises(InputError, match="does not exist"):
            finish(import_steps(casebook, tmp_path / "nowhere"))
        with pytest.raises(InputError, match="not a regular expression"):
            ImportSettings(patient="(")
        write_case_image(tmp_path / "in" / "deeper" / "p1_a.nrrd", 11)
        imported = finish(import_steps(casebook, tmp_path / "in" / "deeper"))
        assert [case.name for case in imported.added] == ["p1_a-2"]
        assert "became case 'p1_a-2'" in imported.notes[0]


def test_dicom_series_become_cases_of_their_patient(tmp_path, shared_data):
    with Casebook.created(tmp_path / "book", ALL_FOR_TRAINING) as casebook:
        imported = finish(import_steps(casebook, shared_data / "dicom_import", ImportSettings("*.dcm")))
        assert len(imported.added) == 3, imported.notes
        assert len({case.patient for case in imported.added}) == 2
        assert all(case.patient.startswith("patient-") for case in imported.added)
        for case in imported.added:
            assert casebook.volume(case).array_kji.shape == case.image.geometry.shape_kji


@pytest.mark.parametrize("name", ["image.nrrd", "{}.nrrd"])
def test_adding_a_case_costs_the_same_however_many_there_are(tmp_path, name):
    with casebook_of(tmp_path, 1) as casebook:
        steps = [0]
        casebook.database._connection.set_progress_handler(lambda: steps.__setitem__(0, steps[0] + 1), 10)

        def cost(folder):
            for number in range(3):
                write_case_image(
                    tmp_path / folder / str(number) / name.format(f"{folder}{number}"), len(folder) * 100 + number
                )
            before = steps[0]
            assert len(finish(import_steps(casebook, tmp_path / folder)).added) == 3
            return steps[0] - before

        cost("a")
        few = cost("bb")
        with casebook.database.writing() as rows:
            columns = "path, relative_path, series_uid, bytes, shape_kji, ijk_to_ras, split, state, added"
            rows.executemany(
                f"INSERT INTO case_ (name, patient, sha256, {columns}) SELECT ?, ?, ?, {columns} FROM case_ LIMIT 1",
                [(f"image-{number}", f"patient{number}", f"{number:064x}") for number in range(20, 5000)],
            )
        assert cost("ccc") < 1.5 * few + 50


@pytest.mark.parametrize("places", [("one", "two"), (".", "more"), ("1/a", "1/b", "2/c")])
def test_a_series_in_several_folders_is_reported(tmp_path, places):
    pixels = ramp(4 * len(places))
    for part, place in enumerate(places):
        at = range(4 * part, 4 * part + 4)
        write_series(tmp_path / "in" / place, pixels[at], places=[(0, 0, 2 * k) for k in at], uid="1.2.3")
    write_series(tmp_path / "in" / "whole", ramp(4) + 1, uid="1.2.4")
    with Casebook.created(tmp_path / "book") as casebook:
        imported = finish(import_steps(casebook, tmp_path / "in"))
    assert len(imported.added) == len(places) + 1
    (note,) = imported.notes
    assert note.startswith(f"the DICOM series 1.2.3 is in {len(places)} folders")
    assert all(str(tmp_path / "in" / place) in note for place in places)
