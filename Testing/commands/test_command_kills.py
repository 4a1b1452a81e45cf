"""Commands killed at moments spread over their run: after the next start nothing is lost or left over.

Not run by default: ``make test-all``, or ``pytest -m slow``.
"""

import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from blobs import SHAPE_KJI, blob_network, ellipsoid, noisy

from InteractiveSegLib.casebook.acceptance import load_accepted, stream
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.checking import check_steps
from InteractiveSegLib.casebook.worklist import next_case
from InteractiveSegLib.cli import main
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.image_io import read_labelmap, read_volume, write_image, write_labelmap
from InteractiveSegLib.networks.checkpoint import save_network
from InteractiveSegLib.progress import finish

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes"),
]

KILLS = 4  # a command
CASES = 3
GEOMETRY = Geometry(SHAPE_KJI, np.eye(4))
ENDS_S = 0.5  # processes that the killed one had started notice within this time


def truth(number):
    return ellipsoid(radii_kji=(3 + 0.2 * number, 5, 6))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Images, their true masks, slices and scribbles drawn on the first of them, and a model, in a folder to be in."""
    monkeypatch.chdir(tmp_path)
    for name in ("images", "truth", "out"):
        Path(name).mkdir()
    for number in range(CASES):
        write_image(f"images/c{number}.nii.gz", noisy(truth(number), number), GEOMETRY)
        write_labelmap(f"truth/c{number}.nii.gz", truth(number).astype(np.uint8), GEOMETRY)
    drawn, scribbles = np.zeros(SHAPE_KJI, np.uint8), np.zeros(SHAPE_KJI, np.uint8)
    drawn[[3, 6, 9]] = truth(0)[[3, 6, 9]]
    scribbles[6, 10, 9:18], scribbles[6, 2, 2:20] = 1, 255
    write_labelmap("drawn.nrrd", drawn, GEOMETRY)
    write_labelmap("scribbles.nrrd", scribbles, GEOMETRY)
    Path("model").mkdir()
    save_network(blob_network(), Path("model/blobs.safetensors"), {})
    return tmp_path


def started(words):
    """A command in a process of its own."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            code = main([*words])
        finally:
            os._exit(code)
    return child


def run(*words):
    """Seconds that a command takes, which must succeed."""
    began = time.monotonic()
    assert os.waitstatus_to_exitcode(os.waitpid(started(words), 0)[1]) == 0, words
    return time.monotonic() - began


def killed(words, after_s):
    """Whether a command was killed, and had not ended before."""
    child = started(words)
    ends = time.monotonic() + after_s
    while time.monotonic() < ends:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0, words
            return False
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    time.sleep(ENDS_S)
    return True


def kills(words, prepare):
    """Kill a command at moments spread over its run, each time on what ``prepare`` made; yields after each."""
    prepare()
    run(*words)
    prepare()
    takes_s = run(*words)  # the first time imports more
    rng = np.random.default_rng(22)
    count = 0
    for part in range(KILLS):
        prepare()
        inputs = content_of("images", "truth")
        was_killed = killed(words, takes_s * (part + rng.random()) / KILLS)
        count += was_killed
        takes_s *= 1 if was_killed else 0.7  # it had ended: when it was timed, it had to wait for others
        assert content_of("images", "truth") == inputs
        yield
        assert temporaries() == []
    assert count >= KILLS // 2


def content_of(*folders):
    return {path: path.read_bytes() for folder in folders for path in sorted(Path(folder).iterdir())}


def temporaries():
    return list(Path().rglob(".interactiveseg-*"))


def without_output():
    shutil.rmtree("out")
    Path("out").mkdir()


def labels_in(path):
    return read_labelmap(path, GEOMETRY)


SEGMENT = ("segment", "images/c0.nii.gz", "--scribbles", "scribbles.nrrd", "--model", "model", "-o", "out/m.nii.gz")
PROPAGATE = ("propagate", "images/c0.nii.gz", "--slices", "drawn.nrrd", "--confidence", "out/sure.nii.gz")
SHAPE_AND_OUTPUT = ("--method", "shape", "-o", "out/m.nii.gz")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("words", [SEGMENT, (*PROPAGATE, *SHAPE_AND_OUTPUT)], ids=["segment", "propagate"])
def test_a_mask_is_whole_or_absent(words):
    run(*words)
    files, expected = sorted(path.name for path in Path("out").iterdir()), labels_in("out/m.nii.gz")
    for _ in kills(words, without_output):
        if Path("out/m.nii.gz").exists():
            np.testing.assert_array_equal(labels_in("out/m.nii.gz"), expected)
        if Path("out/sure.nii.gz").exists():
            read_volume("out/sure.nii.gz")
        run(*words)
        np.testing.assert_array_equal(labels_in("out/m.nii.gz"), expected)
        assert sorted(path.name for path in Path("out").iterdir()) == files


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("words", [SEGMENT, (*PROPAGATE, *SHAPE_AND_OUTPUT)], ids=["segment", "propagate"])
def test_a_mask_that_was_there_is_whole_old_or_new(words):
    older = np.zeros(SHAPE_KJI, np.uint8)
    older[2, 3, 4] = 1
    run(*words)
    newer = labels_in("out/m.nii.gz")

    def with_older():
        without_output()
        write_labelmap("out/m.nii.gz", older, GEOMETRY)

    for _ in kills((*words, "--overwrite"), with_older):
        found = labels_in("out/m.nii.gz")
        assert np.array_equal(found, older) or np.array_equal(found, newer)
        run(*words, "--overwrite")


def made(accepted=0, added=True):
    """A new casebook with the images, the first few accepted."""
    shutil.rmtree("book", ignore_errors=True)
    run("casebook", "init", "book", "--label", "1=ball", "--validation", "0", "--test", "0")
    if added:
        run("casebook", "add", "book", "images")
    for number in range(accepted):
        run("casebook", "accept", "book", f"c{number}", f"truth/c{number}.nii.gz", "--scribbles", "scribbles.nrrd")


def copied(accepted):
    """What makes the same again, in less time."""
    made(accepted)
    shutil.copytree("book", "made")

    def again():
        shutil.rmtree("book")
        shutil.copytree("made", "book")

    return again


def nothing_is_wrong():
    with Casebook(Path("book")) as casebook:
        return finish(check_steps(casebook)) == []


def accepted_cases():
    """Names of the accepted cases, of which every mask is what was accepted."""
    with Casebook(Path("book")) as casebook:
        found = stream(casebook)
        entries = [casebook.case_of_id(each.case_id) for each in found]
        for entry, each in zip(entries, found, strict=True):
            expected = truth(int(entry.name.removeprefix("c")))
            np.testing.assert_array_equal(load_accepted(entry, each).labels > 0, expected)
        return sorted(entry.name for entry in entries)


def locks():
    return [path.name for path in Path("book/locks").glob("files-*")]


@pytest.mark.usefixtures("folder")
def test_cases_are_added_whole_and_the_rest_by_the_next():
    words = ("casebook", "add", "book", "images")
    for _ in kills(words, lambda: made(added=False)):
        assert nothing_is_wrong()
        run(*words)
        assert nothing_is_wrong()
        with Casebook(Path("book")) as casebook:
            assert sorted(entry.name for entry in casebook.cases()) == [f"c{number}" for number in range(CASES)]


@pytest.mark.usefixtures("folder")
def test_a_mask_is_accepted_or_its_case_comes_next():
    words = ("casebook", "accept", "book", "c1", "truth/c1.nii.gz", "--scribbles", "scribbles.nrrd")
    for _ in kills(words, copied(accepted=1)):
        run("casebook", "list", "book")
        if accepted_cases() == ["c0"]:
            with Casebook(Path("book")) as casebook:
                assert next_case(casebook).entry.name == "c1"
            run(*words)
        assert nothing_is_wrong()
        assert accepted_cases() == ["c0", "c1"]
        assert locks() == []
        assert len(list(Path("book/cases").rglob("mask-*"))) == 2


@pytest.mark.usefixtures("folder")
def test_exported_masks_are_whole():
    words = ("casebook", "export", "book", "out/masks")
    again = copied(accepted=CASES)

    def prepare():
        again()
        without_output()

    for _ in kills(words, prepare):
        for path in Path("out").rglob("c*_mask.nii.gz"):
            np.testing.assert_array_equal(labels_in(path) > 0, truth(int(path.name[1])))
        run(*words, "--overwrite")
        assert sorted(path.name for path in Path("out/masks").iterdir()) == [f"c{n}_mask.nii.gz" for n in range(CASES)]


@pytest.mark.usefixtures("folder")
def test_learning_loses_no_accepted_mask_and_resumes():
    words = ("learn", "book", "--updates", "3", "--look-at", "1")
    for _ in kills(words, copied(accepted=2)):
        assert nothing_is_wrong()
        run(*words)
        assert nothing_is_wrong()
        assert accepted_cases() == ["c0", "c1"]
        assert list(Path("book/learning").rglob("training-*")) == []
        with Casebook(Path("book")) as casebook:
            done = casebook.database.rows("SELECT state FROM training")
        assert [row["state"] for row in done] == ["done", "done"]
