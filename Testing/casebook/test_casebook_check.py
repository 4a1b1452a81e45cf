"""A damaged casebook: faults are named, and everything else still works."""

import hashlib
import re
import sqlite3
import struct

import numpy as np
import pytest
from casebook_cases import box_mask, by_hand, casebook_of, write_case_image

from InteractiveSegLib.casebook.acceptance import accept, load_accepted, stream
from InteractiveSegLib.casebook.case_rounds import keep_round, last_round
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.checking import check_steps
from InteractiveSegLib.casebook.database import FILE
from InteractiveSegLib.casebook.effort import STROKE, Effort, Event
from InteractiveSegLib.casebook.image_reference import ImageReference
from InteractiveSegLib.casebook.splits import SplitSettings
from InteractiveSegLib.casebook.states import State
from InteractiveSegLib.casebook.uncertainties import keep_uncertainties, known_uncertainties
from InteractiveSegLib.casebook.version_files import weights_checksums
from InteractiveSegLib.casebook.worklist import next_case
from InteractiveSegLib.cli import main
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.image_io import read_volume
from InteractiveSegLib.learning.versions import add_version, in_use, versions
from InteractiveSegLib.progress import finish
from InteractiveSegLib.prompts.prompts import Prompts


def flip(path, place, bit=0):
    content = bytearray(path.read_bytes())
    content[int(place * len(content)) if isinstance(place, float) else place] ^= 1 << bit
    path.write_bytes(content)


def in_first_array(path):
    """A place among the compressed bytes of a zip file's first member: they follow header, name and extra field."""
    name, extra = struct.unpack("<HH", path.read_bytes()[26:30])
    return 30 + name + extra + 9


def texts(casebook, repair=False):
    return [found.text for found in finish(check_steps(casebook, repair))]


@pytest.fixture
def study(tmp_path):
    """case0 and case1 accepted, case1 also with rounds, case2 new."""
    with casebook_of(tmp_path) as casebook:
        first = {1: np.full((6, 12, 17), 0.5, np.float32)}
        accept(casebook, casebook.begin(casebook.case("case0")), by_hand(box_mask(1), first=first))
        entry = casebook.begin(casebook.case("case1"))
        for value in (2, 3):
            keep_round(casebook, entry, Prompts(), box_mask(value))
        accept(casebook, entry, by_hand(box_mask(3)))
        yield casebook


def test_a_sound_casebook_has_nothing_to_find(study):
    assert finish(check_steps(study)) == finish(check_steps(study, repair=True)) == []


@pytest.mark.parametrize("place", [0, 0.3, 0.6, -1])
@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("mask", "accepted mask"),
        ("origins", "record of who drew what"),
        ("prompts", "record of prompts"),
        ("probability", "first answer"),
    ],
)
def test_a_flipped_bit_is_found_and_named_and_the_rest_continues(study, name, called, place):
    found, other = stream(study)
    flip(getattr(found, name), place)
    with pytest.raises(
        InputError, match=f"the {called} of case 'case0' is damaged: the content of .*{name}-.* has changed"
    ):
        load_accepted(study.case("case0"), found)
    assert load_accepted(study.case("case1"), other).labels.max() == 3
    [text] = texts(study)
    assert f"the {called} of case 'case0' is damaged" in text
    assert text.endswith("reopen case 'case0' and accept its mask again")


@pytest.mark.parametrize("suffix", ["npz", "nrrd"])
def test_work_resumes_from_the_round_before_a_damaged_one(study, suffix):
    row = study.database.rows("SELECT * FROM round ORDER BY id DESC")[0]
    path = study.folder / row["prompts" if suffix == "npz" else "mask"]
    flip(path, 0.5)
    assert last_round(study, study.case("case1")).labels.max() == 2
    [note] = study.notes
    assert "round 2 of case 'case1' is damaged" in note
    found = finish(check_steps(study, repair=True))
    assert found[0].is_repaired
    assert len(found) == 3  # and its two files, to which nothing refers any more
    assert (study.folder / "set-aside" / path.relative_to(study.folder)).exists()
    assert finish(check_steps(study)) == []
    assert last_round(study, study.case("case1")).labels.max() == 2


def test_files_without_checksums_are_checked_by_their_own_and_get_some(study):
    found = stream(study)[0]
    with study.database.writing() as rows:
        rows.execute("UPDATE acceptance SET checksums = NULL")
        rows.execute("UPDATE round SET checksums = NULL")
    assert len(texts(study)) == 4
    assert len(texts(study, repair=True)) == 4
    assert texts(study) == []
    with study.database.writing() as rows:
        rows.execute("UPDATE acceptance SET checksums = NULL")
    for path in (found.mask, found.prompts, found.probability):
        place = -6 if path.suffix == ".nrrd" else in_first_array(path)
        flip(path, place)
        with pytest.raises(InputError, match=re.escape(path.name)):
            load_accepted(study.case("case0"), stream(study)[0])
        flip(path, place)


DAMAGE = {
    "shape": "UPDATE case_ SET shape_kji = '[6, 12' WHERE id = 1",
    "geometry": "UPDATE case_ SET ijk_to_ras = '[[1, 0], [0, 1]]' WHERE id = 1",
    "split": "UPDATE case_ SET split = 'tra' || char(65533) WHERE id = 1",
    "state": "UPDATE case_ SET state = 'accep' WHERE id = 1",
    "path": "UPDATE case_ SET path = x'00ff' WHERE id = 1",
    "labels": "UPDATE acceptance SET labels = '[1' WHERE case_id = 1",
    "checksums": "UPDATE acceptance SET checksums = '[]' WHERE case_id = 1",
    "mask": "UPDATE acceptance SET mask = x'80' WHERE case_id = 1",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_row_is_named_and_the_others_are_read(study, damage, capsys):
    with study.database.writing() as rows:
        rows.execute("PRAGMA ignore_check_constraints = ON")
        rows.execute(DAMAGE[damage])
        rows.execute("PRAGMA ignore_check_constraints = OFF")
    study.close()
    book = str(study.folder)
    assert [main(["casebook", word, book]) for word in ("list", "next")] == [0, 0]
    code = main(["casebook", "export", book, str(study.folder.parent / "out")])
    assert code == (0 if damage == "state" else 3)  # of which nothing tells that it was accepted
    heard = capsys.readouterr()
    assert "case1_mask.nii.gz" in heard.out
    assert main(["casebook", "check", book]) == 3
    assert re.search(r"case0|case 'case0'|number 1|acceptance 1", capsys.readouterr().out)


def test_damaged_text_in_the_database_damages_only_one_row(study):
    study.record(study.case("case0"), [Event(STROKE, 5.0, {"length_mm": 3.0})])
    with study.database.writing() as rows:
        rows.execute("UPDATE event SET data = CAST(x'ff7b7d' AS TEXT) WHERE kind = 'stroke'")
        values = ["{}x", "[1]", '{"length_mm": "3"}', '{"slices": [3]}', '{"slices": [[0, "x"]]}']
        rows.executemany(
            "INSERT INTO event (case_id, kind, at, data) VALUES (1, 'stroke', 6.0, ?)", [(v,) for v in values]
        )
        rows.execute("INSERT INTO event (case_id, kind, at, data) VALUES (1, 'stroke', 'noon', '{}')")
    assert study.effort(study.case("case0")).strokes == 0
    assert len(study.notes) == 7
    assert len(texts(study)) == 7
    assert study.effort(study.case("case2")) == Effort()


def test_damaged_uncertainties_and_versions_are_left_out(study):
    with study.database.writing() as rows:
        for number in (1, 2):
            add_version(rows, "prompted", None, True, f"learning/prompted/version-{number}", [1], {}, "good")
    keep_uncertainties(study, 2, {"case1": 0.5, "case2": 0.25})
    with study.database.writing() as rows:
        rows.execute("UPDATE event SET data = '{\"version\": 2' WHERE kind = 'doubt' AND case_id = 2")
    assert known_uncertainties(study) == {"case2": 0.25}
    with study.database.writing() as rows:
        rows.execute("UPDATE version SET scores = '{' WHERE id = 2")
    assert [version.id for version in versions(study, "prompted")] == [1]
    assert in_use(study, "prompted") is None
    assert ["version 2 is damaged" in note for note in study.notes] == [False, True]


@pytest.fixture
def taught(study):
    """The same with a version of a network; gives the casebook and the folder of the weights."""
    place = study.folder / "learning" / "prompted" / "version-1"
    place.mkdir(parents=True)
    (place / "network.safetensors").write_bytes(np.random.default_rng(0).bytes(3000))
    (place / "network.json").write_text('{"network": "prompted"}')
    with study.database.writing() as rows:
        file = place.relative_to(study.folder).as_posix()
        add_version(rows, "prompted", None, True, file, [1], {}, "good", weights_checksums(place))
    assert texts(study) == []
    return study, place


@pytest.mark.parametrize("name", ["network.safetensors", "network.json"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_damaged_weights_of_a_version_are_found_and_named(taught, name, damage):
    study, place = taught
    path = place / name
    if damage == "flipped":
        flip(path, 0.5)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()
    (text,) = texts(study, repair=True)
    assert text.startswith("the prompted network of version 1 ")
    assert str(path) in text
    assert text.endswith("'learn --roll-back' returns to the previous version")


@pytest.mark.parametrize("checksums", ['{"../../../casebook.sqlite": "0"}', '{"network.safetensors": ', "[1]"])
def test_damaged_or_foreign_checksums_of_a_version_are_one_finding(taught, checksums):
    study, _ = taught
    with study.database.writing() as rows:
        rows.execute("UPDATE version SET checksums = ?", [checksums])
    assert len(texts(study)) == 1


def test_versions_without_checksums_get_some(taught):
    study, place = taught
    with study.database.writing() as rows:
        rows.execute("UPDATE version SET checksums = NULL")
    (text,) = texts(study, repair=True)
    assert text == "the weights of version 1 have no checksums yet"
    assert texts(study) == []
    flip(place / "network.safetensors", 0.5)
    assert len(texts(study)) == 1


def test_a_damaged_database_is_reported(study):
    study.close()
    file = study.folder / FILE
    content = file.read_bytes()
    for start in (100, 4096, len(content) // 2):
        file.write_bytes(
            content[:start] + bytes(b ^ 0x55 for b in content[start : start + 4096]) + content[start + 4096 :]
        )
        for words in (["check"], ["list"], ["next"]):
            assert main(["casebook", words[0], str(study.folder)]) in (0, 1, 2, 3)
    assert main(["casebook", "check", str(study.folder)]) in (2, 3)


def test_images_that_changed_or_are_gone_are_found(study, tmp_path):
    write_case_image(tmp_path / "images" / "case0.nrrd", 88)
    (tmp_path / "images" / "case2.nrrd").rename(tmp_path / "elsewhere.nrrd")
    first, second = texts(study)
    assert ("has changed on disk" in first, "'case2' is not at" in second) == (True, True)
    assert [found.is_repaired for found in finish(check_steps(study, repair=True))] == [False, False]


def test_what_nothing_refers_to_is_set_aside(study):
    stray = study.folder / "cases" / "3" / "mask-abc.nrrd"
    stray.parent.mkdir()
    stray.write_bytes(b"a mask whose row was lost")
    [found] = finish(check_steps(study))
    assert (found.text, found.is_repaired) == ("nothing refers to cases/3/mask-abc.nrrd", False)
    assert stray.exists()
    [found] = finish(check_steps(study, repair=True))
    assert found.is_repaired
    assert (study.folder / "set-aside" / "cases" / "3" / "mask-abc.nrrd").read_bytes() == b"a mask whose row was lost"


def test_the_command_prints_what_is_wrong_and_repairs_what_it_can(study, capsys):
    entry = study.begin(study.case("case2"))
    keep_round(study, entry, Prompts(), box_mask(9))
    study.close()
    book = str(study.folder)
    assert main(["casebook", "check", book]) == 3
    assert "case 'case2' is in work, but its program has ended (with --repair: it is new" in capsys.readouterr().out
    assert main(["casebook", "check", book, "--repair"]) == 0
    assert "(repaired: it is new again" in capsys.readouterr().out
    assert main(["casebook", "check", book]) == 0
    assert "3 cases with their images, masks and prompts are complete and unchanged" in capsys.readouterr().err
    with Casebook(study.folder) as casebook:
        assert casebook.case("case2").state is State.NEW
        assert last_round(casebook, casebook.case("case2")).labels.max() == 9


@pytest.mark.parametrize("value", [None, "{", '{"validation": "much"}', '{"colour": 1}'])
def test_lost_settings_are_reported_and_given_again(tmp_path, value, capsys):
    with casebook_of(tmp_path, 1, SplitSettings(0.2, 0.1, 5)) as casebook, casebook.database.writing() as rows:
        rows.execute(
            "DELETE FROM setting" if value is None else "UPDATE setting SET value = ?",
            [] if value is None else [value],
        )
    book = tmp_path / "book"
    write_case_image(tmp_path / "more" / "new.nrrd", 55)
    assert main(["casebook", "list", str(book)]) == 0
    assert "has lost its settings: new patients need --split" in capsys.readouterr().err
    assert main(["casebook", "add", str(book), str(tmp_path / "more" / "new.nrrd")]) == 2
    assert "case 'new' needs --split" in capsys.readouterr().err
    assert main(["casebook", "init", str(book), "--validation", "0.2", "--test", "0.1", "--seed", "5"]) == 0
    with Casebook(book) as casebook:
        assert (casebook.splits, casebook.notes) == (SplitSettings(0.2, 0.1, 5), [])
        assert len(casebook.cases()) == 1
    assert main(["casebook", "init", str(book)]) == 2
    assert "is a casebook already" in capsys.readouterr().err


def test_a_half_made_casebook_says_so_and_is_finished(tmp_path, capsys):
    book = tmp_path / "book"
    Casebook.created(book).close()
    rows = sqlite3.connect(book / FILE)
    rows.execute("DELETE FROM setting")
    rows.commit()
    rows.close()
    assert main(["casebook", "list", str(book)]) == 2
    assert "was never completed: run 'casebook init' on it again" in capsys.readouterr().err
    assert main(["casebook", "init", str(book), "--seed", "7", "--label", "3=liver"]) == 0
    with Casebook(book) as casebook:
        assert (casebook.splits.seed, casebook.labels()) == (7, {3: "liver"})


def test_two_images_with_one_header_are_two_and_their_voxels_are_looked_at(tmp_path):
    header = "ObjectType = Image\nNDims = 3\nDimSize = 4 3 2\nElementType = MET_UCHAR\nElementDataFile = v.raw\n"
    nrrd = "NRRD0005\ntype: uchar\ndimension: 3\nsizes: 4 3 2\nencoding: raw\ndata file: v.raw\n"
    with casebook_of(tmp_path, 0) as casebook:
        for folder, voxels in (("a", bytes(range(24))), ("b", bytes(range(1, 25)))):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "v.raw").write_bytes(voxels)
            for name, text in (("v.mhd", header), ("v.nhdr", nrrd)):
                (tmp_path / folder / name).write_text(text)
                casebook.add(ImageReference.of(tmp_path / folder / name), f"{folder}-{name}")
        assert len(casebook.cases()) == 4
        assert read_volume(tmp_path / "a" / "v.mhd").array_kji[0, 0, 1] == 1
        (tmp_path / "a" / "v.raw").write_bytes(bytes(24))
        (tmp_path / "b" / "v.raw").unlink()
        assert [("has changed on disk" in text, "has lost its voxels" in text) for text in texts(casebook)] == [
            *[(True, False)] * 2,
            *[(False, True)] * 2,
        ]


def test_a_header_that_was_hashed_alone_long_ago_is_still_the_image(tmp_path):
    image = tmp_path / "v.mhd"
    image.write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 4 3 2\nElementType = MET_UCHAR\nElementDataFile = v.raw\n"
    )
    (tmp_path / "v.raw").write_bytes(bytes(24))
    with casebook_of(tmp_path, 0) as casebook:
        whole = casebook.add(ImageReference.of(image), "v").image
        alone = [hashlib.sha256(image.read_bytes()).hexdigest(), image.stat().st_size]
        with casebook.database.writing() as rows:
            rows.execute("UPDATE case_ SET sha256 = ?, bytes = ?", alone)
        assert casebook.volume(casebook.case("v")).array_kji.shape == (2, 3, 4)
        [found] = finish(check_steps(casebook, repair=True))
        assert "was hashed without its file of voxels" in found.text
        assert casebook.case("v").image.sha256 == whole.sha256
        assert finish(check_steps(casebook)) == []


@pytest.mark.parametrize("order", ["fixed", "random", "uncertain"])
def test_cases_without_their_image_are_passed_over(tmp_path, order):
    with casebook_of(tmp_path, 7) as casebook:
        uncertainties = {"case5": 0.9, "case6": 0.1}
        names = []
        while len(names) < 6:
            found = next_case(casebook, order, uncertainties)
            names.append(found.entry.name)
            assert len(found.notes) == min(len(names) - 1, 4)
            found.entry.image.path.unlink()
        assert len(set(names)) == 6
        assert "passed over: the image of case" in found.notes[0]
        assert found.notes[3] == "2 further cases were passed over, too"
        next_case(casebook, order).entry.image.path.unlink()
        with pytest.raises(InputError, match=r"is not at .*; likewise for all 7 cases that are left"):
            next_case(casebook, order, uncertainties)


def test_a_mask_is_not_accepted_for_an_image_that_changed(tmp_path):
    with casebook_of(tmp_path) as casebook:
        for name in ("case0", "case1", "case2"):
            casebook.begin(casebook.case(name))
        write_case_image(tmp_path / "images" / "case0.nrrd", 77)
        (tmp_path / "images" / "case1.nrrd").unlink()
        (tmp_path / "images" / "case2.nrrd").rename(tmp_path / "moved.nrrd")
        for name, text in (("case0", "has changed on disk"), ("case1", "is not at"), ("case2", "is not at")):
            with pytest.raises(InputError, match=text):
                accept(casebook, casebook.case(name), by_hand(box_mask()))
        assert stream(casebook) == []
        assert not list((tmp_path / "book").rglob("mask-*"))
