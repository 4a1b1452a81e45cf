"""Files appear completely or not at all, with their modes, through links, under long names, and leave no traces."""

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
import time

import numpy as np
import pytest

from InteractiveSegLib.errors import OutputError
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.image_io import read_volume, write_labelmap
from InteractiveSegLib.system import files
from InteractiveSegLib.system.files import make_folder, replaced_file, replacing, temporary_beside

SHAPE = (4, 6, 8)
GRID = Geometry(SHAPE, np.eye(4))
LONGEST = 255


def fail(path, error, before=lambda _: None):
    """Write half of a file, and raise an error."""
    with replacing(path) as temporary:
        temporary.write_text("half")
        before(temporary)
        raise error


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def umask_022():
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.parametrize("name", ["a.nii.gz", "b.tar.weights.safetensors", "plain", "Dr. M. v. B", ".hidden.nrrd"])
def test_a_file_appears_whole_with_its_suffix_and_nothing_beside_it(tmp_path, name):
    path = tmp_path / name
    with replacing(path) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix in (path.suffix, "")
        assert temporary.stat().st_size == 0
        temporary.write_text("new")
        assert not path.exists()
    assert (path.read_text(), names(tmp_path)) == ("new", [name])
    with pytest.raises(ZeroDivisionError):
        fail(path, ZeroDivisionError())
    assert (path.read_text(), names(tmp_path)) == ("new", [name])


def test_no_name_is_used_twice_and_a_planted_one_is_not_followed(tmp_path, monkeypatch):
    tokens = iter(["0" * 16, "1" * 16])
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: next(tokens))
    (tmp_path / f".interactiveseg-{'0' * 16}.txt").symlink_to(tmp_path / "victim")
    with pytest.raises(OutputError, match="File exists"), replacing(tmp_path / "a.txt"):
        pass
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("x")
    assert not (tmp_path / "victim").exists()


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o755])
def test_a_file_that_is_replaced_keeps_its_mode(tmp_path, umask_022, mode):
    path = tmp_path / "mask.nrrd"
    path.write_text("before")
    path.chmod(mode)
    with replacing(path) as temporary:
        assert mode_of(temporary) == 0o600
        temporary.write_text("after")
    assert (mode_of(path), path.read_text()) == (mode, "after")


def test_a_new_file_is_as_private_as_its_folder(tmp_path, umask_022):
    for folder_mode, expected in ((0o755, 0o644), (0o700, 0o600)):
        folder = tmp_path / oct(folder_mode)
        folder.mkdir()
        folder.chmod(folder_mode)
        make_folder(folder / "a" / "b")
        write_labelmap(folder / "a" / "b" / "m.nii.gz", np.ones(SHAPE, np.uint8), GRID)
        assert mode_of(folder / "a" / "b" / "m.nii.gz") == expected
        assert mode_of(folder / "a" / "b") == mode_of(folder / "a") == folder_mode


def test_links_are_written_through(tmp_path):
    real = tmp_path / "annex"
    real.mkdir()
    (real / "object.nii.gz").write_text("old")
    (real / "object.nii.gz").chmod(0o600)
    (tmp_path / "second").symlink_to(real / "object.nii.gz")
    (tmp_path / "m.nii.gz").symlink_to("second")
    write_labelmap(tmp_path / "m.nii.gz", np.ones(SHAPE, np.uint8), GRID)
    assert (tmp_path / "m.nii.gz").is_symlink()
    assert (tmp_path / "second").is_symlink()
    assert read_volume(real / "object.nii.gz").array_kji.all()
    assert (names(real), mode_of(real / "object.nii.gz")) == (["object.nii.gz"], 0o600)
    (tmp_path / "to_be.nrrd").symlink_to(real / "made.nrrd")
    write_labelmap(tmp_path / "to_be.nrrd", np.ones(SHAPE, np.uint8), GRID)
    assert names(real) == ["made.nrrd", "object.nii.gz"]


def test_what_cannot_be_replaced_is_refused_before_it_is_written(tmp_path):
    (tmp_path / "circle.nrrd").symlink_to("circle.nrrd")
    (tmp_path / "nowhere.nrrd").symlink_to("none/of/it.nrrd")
    os.mkfifo(tmp_path / "pipe.nrrd")
    (tmp_path / "folder.nrrd").mkdir()
    for name, text in (
        ("circle.nrrd", "its links lead in a circle"),
        ("nowhere.nrrd", r"the folder .*none/of does not exist"),
        ("pipe.nrrd", "it is not a regular file"),
        ("folder.nrrd", "it is a folder"),
        ("x" * (LONGEST - 4) + ".nrrd", "its name is too long"),
        ("ü" * 126 + ".nrrd", "its name is too long"),
    ):
        with pytest.raises(OutputError, match=text):
            write_labelmap(tmp_path / name, np.ones(SHAPE, np.uint8), GRID)


def test_a_write_protected_file_is_left_alone(tmp_path, monkeypatch):
    path = tmp_path / "mask.nrrd"
    path.write_text("kept")
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)  # the super-user may write everything
    with pytest.raises(OutputError, match=r"cannot write .*mask.nrrd: it is write-protected"):
        replaced_file(path)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("letter", ["x", "ü", "名"])
def test_the_longest_legal_name_works(tmp_path, letter, suffix):
    room = LONGEST - len(suffix)
    name = letter * (room // len(letter.encode())) + suffix
    write_labelmap(tmp_path / name, np.ones(SHAPE, np.uint8), GRID)
    assert names(tmp_path) == [name]
    assert read_volume(tmp_path / name).array_kji.all()


KILLED = """
import os, signal, sys
from pathlib import Path
from InteractiveSegLib.system.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print("writing", flush=True)
    sys.stdin.read() if sys.argv[2] == "wait" else os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_writes_is_not(tmp_path):
    words = [sys.executable, "-c", KILLED, str(tmp_path / "mask.nii.gz")]
    with subprocess.Popen([*words, "wait"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as alive:
        assert alive.stdout.readline()
        for _ in range(2):
            dead = subprocess.run([*words, "die"], check=False, stdout=subprocess.DEVNULL)
            assert dead.returncode == -signal.SIGKILL
        assert len(names(tmp_path)) == 2
        (tmp_path / f".interactiveseg-{'0' * 16}.nrrd").symlink_to(tmp_path / "no leftover")
        (tmp_path / ".interactiveseg-notes.txt").write_text("a person's own")
        time.sleep(0.1)  # the folder was looked through for the process before
        with replacing(tmp_path / "other.csv") as temporary:
            temporary.write_text("x")
        left = [name for name in names(tmp_path) if name.endswith(".nii.gz")]
        assert len(left) == 1
        assert names(tmp_path)[-1] == "other.csv"
        assert (tmp_path / ".interactiveseg-notes.txt").exists()
        alive.communicate(timeout=20)
    assert (tmp_path / "mask.nii.gz").read_text() == "half"


def test_what_carries_no_lock_is_swept_after_a_day(tmp_path):
    with temporary_beside(tmp_path / "book.sqlite", locked=False) as temporary:
        assert temporary.name.startswith(".interactiveseg-new-")
        files._next_sweep.clear()
        with replacing(tmp_path / "a.txt"):
            assert temporary.exists()
        os.utime(temporary, (0, 0))
        files._next_sweep.clear()
        with replacing(tmp_path / "a.txt"):
            assert not temporary.exists()


def test_sweeping_takes_a_small_part_of_the_time(tmp_path):
    for number in range(3000):
        (tmp_path / f"{number}.txt").touch()
    files._next_sweep.clear()
    with replacing(tmp_path / "first.txt"):
        pass
    wait_s = files._next_sweep[str(tmp_path)] - time.monotonic()
    assert wait_s > 0.01
    calls = []
    for number in range(20):
        with replacing(tmp_path / f"more-{number}.txt") as temporary:
            calls.append(temporary)
    assert len(names(tmp_path)) == 3021


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit on the size of files")
@pytest.mark.parametrize("name", ["m.nii", "m.nii.gz", "m.nrrd", "m.mha"])
def test_a_write_that_does_not_fit_is_an_error_and_keeps_what_was_there(tmp_path, name):
    path = tmp_path / name
    labels = np.random.default_rng(0).integers(0, 250, (20, 40, 40)).astype(np.uint8)
    grid = Geometry(labels.shape, np.eye(4))
    path.write_text("kept")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OutputError, match=f"cannot write .*{name}: "):
            write_labelmap(path, labels, grid)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert (path.read_text(), names(tmp_path)) == ("kept", [name])


def test_a_full_disk_is_said_whatever_the_library_says(tmp_path, monkeypatch):
    def no_space(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "m.nii"
    for text in ("cut short: 4096 bytes of 32352", "[enforce fail at inline_container.cc]"):
        with pytest.raises(OutputError) as caught, monkeypatch.context() as patch:
            fail(path, OSError(text), lambda _, patch=patch: patch.setattr(files.os, "fsync", no_space))
        assert str(caught.value) == f"cannot write {path}: the disk is full"
    with pytest.raises(OutputError, match=r"cannot write .*: damaged"):
        fail(path, OSError("damaged"))
    assert names(tmp_path) == []
