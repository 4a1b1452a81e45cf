"""500 damaged inputs with fixed seeds: no traceback, no hang, no silently wrong image, no damaged output.

Not run by default: ``make test-all``, or ``pytest -m slow``.
"""

import faulthandler
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from blobs import SHAPE_KJI, blob_network, ellipsoid, noisy
from test_worker_fuzz import ARRAYS, FIELDS, answer_to, assert_in_words

from InteractiveSegLib.cli import main
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.image_io import read_volume, write_image, write_labelmap
from InteractiveSegLib.networks.checkpoint import save_network
from InteractiveSegLib.records.message import Decoder, Message, ProtocolError, encode

pytestmark = pytest.mark.slow

BOX = ("--box", "6,4,2,21,17,11")
HANGS_AFTER_S = 120
GEOMETRY = Geometry(SHAPE_KJI, np.eye(4))
COMPRESSED = (".nii.gz", ".nrrd", ".mha")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_network(blob_network(), folder / "blobs.safetensors", {})
    return folder


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """Run a command in a folder of its own: its exit code, after a look at what it said and how long it took."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        with Path(tmp_path / "hangs.txt").open("w") as dump:
            faulthandler.dump_traceback_later(HANGS_AFTER_S, exit=True, file=dump)
            try:
                code = main([str(word) for word in words])
            except SystemExit as end:
                code = end.code
            finally:
                faulthandler.cancel_dump_traceback_later()
        _, error = capfd.readouterr()
        assert code in (0, 1, 2, 3), error
        assert "Traceback" not in error
        lines = [line for line in error.splitlines() if not line.startswith("note: ")]
        assert len(lines) == int(code in (1, 2)), error
        return code

    return run


def damaged(data, rng, first=0):
    """Bytes with a bit flipped, a run overwritten, taken out or put in, or the end cut off; none before ``first``."""
    data, kind = bytearray(data), rng.integers(5)
    at = int(rng.integers(first, len(data)))
    length = int(rng.integers(1, 40))
    if kind == 0:
        data[at] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        data[at : at + length] = rng.bytes(min(length, len(data) - at))
    elif kind == 2:
        del data[at : at + length]
    elif kind == 3:
        data[at:at] = rng.bytes(length)
    else:
        del data[at:]
    return bytes(data)


def write_series(folder):
    """A DICOM series of the blob."""
    import pydicom
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    folder.mkdir()
    series, study, frame = (generate_uid(entropy_srcs=[name]) for name in ("series", "study", "frame"))
    for k, rows in enumerate(noisy(ellipsoid())):
        dataset, meta = pydicom.Dataset(), FileMetaDataset()
        meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, CTImageStorage
        dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, generate_uid(entropy_srcs=[str(k)])
        meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.SeriesInstanceUID, dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = series, study, frame
        dataset.Modality, dataset.PatientID, dataset.InstanceNumber = "CT", "phantom", k + 1
        dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, k], [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing, dataset.SliceThickness = [1, 1], 1
        dataset.Rows, dataset.Columns = rows.shape
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
        dataset.PixelData, dataset.file_meta = rows.astype("<i2").tobytes(), meta
        dataset.save_as(folder / f"{k:03d}.dcm", enforce_file_format=True)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", "dicom"])
def test_damaged_images(run, model, suffix):
    """30 of each format, and 30 flips of the compressed voxels of those that have a checksum."""
    rng = np.random.default_rng([1, len(suffix)])
    image, damage = Path(f"image{suffix}"), Path(f"image{suffix}")
    if suffix == "dicom":
        image = Path("series")
        write_series(image)
        damage = image / "005.dcm"
    elif suffix == ".mhd":
        sitk.WriteImage(sitk.GetImageFromArray(noisy(ellipsoid())), str(image))
    else:
        write_image(image, noisy(ellipsoid()), GEOMETRY)
    whole = damage.read_bytes()
    write_labelmap("mask.nrrd", ellipsoid(), GEOMETRY)
    for _ in range(30):
        before = Path("mask.nrrd").read_bytes()
        damage.write_bytes(damaged(whole, rng))
        words = ("segment", image, *BOX, "--no-adapt", "--model", model, "-o", "mask.nrrd", "--overwrite")
        code = run(*(words if _can_overwrite() else words[:-1]))
        read_volume("mask.nrrd")  # whole, whatever came of it
        assert code == 0 or Path("mask.nrrd").read_bytes() == before
    if suffix in COMPRESSED:
        payload = len(whole) // 2  # well within the compressed voxels
        for _ in range(30):
            image.write_bytes(damaged(whole, rng, payload))
            try:
                found = read_volume(image).array_kji
            except InputError:
                continue
            np.testing.assert_array_equal(found, noisy(ellipsoid()))


def _can_overwrite():
    """Whether the command asks before it replaces a mask that it did not write."""
    from InteractiveSegLib.cli import _parser

    parsed, _ = _parser().parse_known_args(["segment", "a.nii", "-o", "b.nii"])
    return hasattr(parsed, "overwrite")


def markups(kind, points):
    placed = [{"position": list(point), "positionStatus": "defined"} for point in points]
    return {"markups": [{"type": kind, "coordinateSystem": "RAS", "controlPoints": placed}]}


def prompt_files():
    """Option -> text of a file that is right for it."""
    circle = [(13 + 5 * np.cos(t), 10 + 4 * np.sin(t), 6.0) for t in np.arange(8) * np.pi / 4]
    roi = {"type": "ROI", "coordinateSystem": "RAS", "center": [13, 10, 6], "size": [15, 13, 9]}
    roi["orientation"] = [1, 0, 0, 0, 1, 0, 0, 0, 1]
    yield "--points", json.dumps(markups("Fiducial", [(13, 10, 6), (12, 9, 5)]))
    yield "--lasso", json.dumps(markups("ClosedCurve", circle))
    yield "--box", json.dumps({"markups": [roi]})


def test_damaged_prompts(run, model):
    """20 of each kind of file, and 20 lists of images."""
    rng = np.random.default_rng(2)
    write_image("image.nii.gz", noisy(ellipsoid()), GEOMETRY)
    more = ("--no-adapt", "--model", model)
    for option, text in prompt_files():
        for _ in range(20):
            Path("prompt.mrk.json").write_bytes(damaged(text.encode(), rng))
            code = run("segment", "image.nii.gz", option, "prompt.mrk.json", *more, "-o", "mask.nrrd")
            assert code == 0 or not Path("mask.nrrd").exists()
            Path("mask.nrrd").unlink(missing_ok=True)
    table = b'image,name,box\nimage.nii.gz,a,"6,4,2,21,17,11"\nimage.nii.gz,b,6 4 2 21 17 11\n'
    for _ in range(20):
        Path("list.csv").write_bytes(damaged(table, rng))
        run("segment", "list.csv", *BOX, *more, "-o", "masks", "--again")
        shutil.rmtree("masks", ignore_errors=True)


def test_damaged_casebooks(run):
    """70 of the files of a casebook, each read in three ways."""
    rng = np.random.default_rng(3)
    Path("scans").mkdir()
    for name in ("a", "b", "c"):
        write_image(f"scans/{name}.nrrd", noisy(ellipsoid()), GEOMETRY)
    write_labelmap("mask.nrrd", ellipsoid(), GEOMETRY)
    assert run("casebook", "init", "whole", "--validation", 0, "--test", 0) == 0
    assert run("casebook", "add", "whole", "scans") == 0
    assert run("casebook", "accept", "whole", "a", "mask.nrrd") == 0
    files = sorted(path.relative_to("whole") for path in Path("whole").rglob("*") if path.is_file())
    images = {path: path.read_bytes() for path in Path("scans").iterdir()}
    for _ in range(70):
        shutil.copytree("whole", "study")
        place = Path("study") / files[int(rng.integers(len(files)))]
        place.write_bytes(damaged(place.read_bytes() or b"\0", rng))
        for words in (("list", "study"), ("next", "study"), ("export", "study", "out")):
            run("casebook", *words)
        for path in Path("out").glob("*.nii.gz"):
            read_volume(path)
        assert {path: path.read_bytes() for path in Path("scans").iterdir()} == images
        shutil.rmtree("study")
        shutil.rmtree("out", ignore_errors=True)


def test_damaged_frames():
    """80 requests as bytes: an error in words from the decoder, or one from the worker, or an answer."""
    rng = np.random.default_rng(4)
    whole = encode(Message("request", FIELDS, ARRAYS))
    for _ in range(80):
        decoder = Decoder()
        try:
            messages = decoder.feed(damaged(whole, rng))
            decoder.end()
        except ProtocolError:
            continue
        for message in messages:
            assert_in_words(answer_to(message))
