"""Faults of the machine and typing errors: a helpful one-line message and the exit code for scripts."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from blobs import SHAPE_KJI, blob_network, ellipsoid, noisy

import InteractiveSegLib
from InteractiveSegLib.cli import main
from InteractiveSegLib.commands.prompt_options import with_joined_boxes
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.image_io import read_labelmap, read_volume, write_image
from InteractiveSegLib.networks.checkpoint import save_network
from InteractiveSegLib.segmenting.image_segmenter import ImageSegmenter

BOX = ("6", "4", "2", "21", "17", "11")
REPOSITORY = Path(InteractiveSegLib.__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_network(blob_network(), folder / "blobs.safetensors", {})
    return folder


@pytest.fixture
def case(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_image("image.nii.gz", noisy(ellipsoid()), Geometry(SHAPE_KJI, np.eye(4)))
    return tmp_path


@pytest.fixture
def run(case, model, capfd):
    def run(*words):
        try:
            code = main(["segment", *map(str, words), "-o", "mask.nrrd", "--model", str(model), "--no-adapt"])
        except SystemExit as end:
            code = end.code
        return code, *capfd.readouterr()

    return run


def assert_one_line(ran, code, text):
    exit_code, output, error = ran
    assert (exit_code, output) == (code, ""), error
    assert error.startswith("interactiveseg: ")
    assert error.count("\n") == 1
    assert text in error


@pytest.mark.parametrize(
    "words",
    [
        ("image.nii.gz", "--box", *BOX),
        ("--box", *BOX, "image.nii.gz"),
        ("--box", "6,4,2,21,17,11", "image.nii.gz"),
        ("--box", "6, 4, 2, 21, 17, 11", "image.nii.gz"),
        ("--box", "6,", "4,", "2,", "21,", "17,", "11", "image.nii.gz"),
        ("--box=6,4,2,21,17,11", "image.nii.gz"),
        ("--box", "6 4 2 21 17 11", "image.nii.gz"),
        ("--quiet", "--box", "6,4", "2,21,17", "11", "image.nii.gz"),
    ],
)
def test_a_box_may_stand_before_the_image_and_have_commas(run, words):
    geometry = read_volume("image.nii.gz").geometry
    assert run("image.nii.gz", "--box", *BOX)[0] == 0
    expected = read_labelmap("mask.nrrd", geometry)
    Path("mask.nrrd").unlink()
    code, _, error = run(*words)
    assert (code, error) == (0, "")
    np.testing.assert_array_equal(read_labelmap("mask.nrrd", geometry), expected)


@pytest.mark.parametrize(
    ("words", "joined"),
    [
        (["--box", "-3", "4", "2", "21", "17", "11", "a.nii"], ["--box=-3 4 2 21 17 11", "a.nii"]),
        (["--box", "R.mrk.json", "a.nii"], ["--box=R.mrk.json", "a.nii"]),
        (["--box", "1,2,3,4,5,6", "--box", "b 1.json"], ["--box=1 2 3 4 5 6", "--box=b 1.json"]),
        (["a.nii", "--box"], ["a.nii", "--box"]),
        (["--box", "1", "2", "-o", "m.nii"], ["--box=1 2", "-o", "m.nii"]),
    ],
)
def test_the_numbers_of_a_box_become_one_word(words, joined):
    assert with_joined_boxes(words) == joined


@pytest.mark.parametrize(
    ("box", "text"),
    [
        (("6", "4", "2", "6", "17", "11"), "(6, 4, 2) to (6, 17, 11) (i, j, k; half-open) holds no voxel"),
        (("25", "4", "2", "30", "17", "11"), "lies outside the image of shape (25, 20, 14)"),
        (("1,2,3,4,5",), "--box 1 2 3 4 5: expected six integers i0 j0 k0 i1 j1 k1"),
        (("1,2,3,4,5,6.5",), "expected six integers"),
    ],
)
def test_messages_name_voxels_in_the_order_of_the_options(run, box, text):
    assert_one_line(run("image.nii.gz", "--box", *box), 2, text)


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz", ".nii", ".mha"])
@pytest.mark.parametrize("said", ["ITK ERROR: writing failed", None])
def test_a_full_disk_is_called_that(case, monkeypatch, suffix, said):
    """Some of ITK's writers fail on it in words of their own, that of NIfTI not at all."""

    def half(_image, name, *_, **__):
        Path(name).write_bytes(b"half")
        if said:
            raise RuntimeError(said)

    def no_space(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("SimpleITK.WriteImage", half)
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match=rf"cannot write mask{suffix}: the disk is full") as caught:
        write_image(f"mask{suffix}", noisy(ellipsoid()), Geometry(SHAPE_KJI, np.eye(4)))
    assert "\n" not in str(caught.value)
    assert [path.name for path in case.iterdir()] == ["image.nii.gz"]


def itk_cannot_allocate():
    try:
        raise RuntimeError("Exception thrown in SimpleITK: Failed to allocate memory for image.")
    except RuntimeError as error:
        raise InputError("image.nii.gz cannot be read: Failed to allocate memory for image.") from error


def raised(error):
    raise error


@pytest.mark.parametrize(
    "fails",
    [
        lambda: raised(MemoryError()),
        lambda: raised(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")),
        lambda: raised(RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes")),
        lambda: raised(RuntimeError("std::bad_alloc")),
        lambda: raised(OSError(errno.ENOMEM, "Cannot allocate memory")),
        lambda: raised(ImportError("failed to map segment from shared object: Cannot allocate memory")),
        itk_cannot_allocate,
    ],
)
def test_a_full_memory_is_no_fault_of_the_input(run, monkeypatch, fails):
    monkeypatch.setattr(ImageSegmenter, "round_steps", lambda *_, **__: fails())
    assert_one_line(run("image.nii.gz", "--box", *BOX), 1, "not enough memory on this computer")


@pytest.mark.parametrize("package", ["torch", "SimpleITK", "numpy"])
def test_a_package_that_is_missing_is_named_in_one_line(case, package):
    code = f"import sys; sys.modules[{package!r}] = None; from InteractiveSegLib.cli import main; sys.exit(main())"
    words = ["segment", "image.nii.gz", "--box", *BOX, "-o", "mask.nrrd", "--model", "prompted"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert_one_line((done.returncode, done.stdout, done.stderr), 1, f"the Python package {package} cannot be loaded")
    assert f"pip install {package}" in done.stderr


def interactiveseg(*words, **settings):
    command = [sys.executable, "-m", "InteractiveSegLib", *words]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": ""}  # as people have it
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, env=environment, **settings)


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
@pytest.mark.parametrize("words", [("--help",), ("segment", "--help"), ("--version",)])
def test_a_reader_that_has_gone_ends_it_quietly(words):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = interactiveseg(*words, stdout=writing)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_behind_standard_output_is_reported_in_one_line():
    with Path("/dev/full").open("w") as full:
        done = interactiveseg("--version", stdout=full)
    assert done.returncode == 1
    assert done.stderr == "interactiveseg: cannot write standard output: No space left on device\n"


def test_it_runs_as_a_module():
    done = interactiveseg("--version", stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout) == (0, f"interactiveseg {InteractiveSegLib.__version__}\n")


def test_a_worker_in_a_terminal_says_what_it_is_for(monkeypatch, capfd):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert main(["worker"]) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    for words in ("computes for another program", "ssh HOST interactiveseg worker", "interactiveseg segment --help"):
        assert words in error
