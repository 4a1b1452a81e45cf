"""The command line as scripts see it: exit codes, one-line errors, masks on exactly the image's grid."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from blobs import SHAPE_KJI, blob_network, dice, ellipsoid, noisy
from dicom_files import write_series

from InteractiveSegLib import __version__
from InteractiveSegLib.cli import main
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry, kji_to_ras
from InteractiveSegLib.image.image_io import read_labelmap, read_volume, write_image, write_labelmap
from InteractiveSegLib.networks.checkpoint import save_network
from InteractiveSegLib.progress import finish
from InteractiveSegLib.prompts.scribbles import BACKGROUND, Scribbles
from InteractiveSegLib.segmenting.image_segmenter import ImageSegmenter
from InteractiveSegLib.segmenting.session import ImageSession

BOX_IJK = ("6", "4", "2", "21", "17", "11")
BOX = BoundingBox.from_ijk(*map(int, BOX_IJK))


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_network(blob_network(), folder / "blobs.safetensors", {})
    return folder


@pytest.fixture
def case(tmp_path, monkeypatch, oblique_geometry):
    """Folder of an oblique image of a blob and scribbles on it; the working directory."""
    monkeypatch.chdir(tmp_path)
    geometry = Geometry(SHAPE_KJI, oblique_geometry.ijk_to_ras)
    write_image(tmp_path / "image.nii.gz", noisy(ellipsoid()), geometry)
    write_labelmap(tmp_path / "scribbles.nrrd", marks(), read_volume("image.nii.gz").geometry)
    return tmp_path


@pytest.fixture
def run(model, capfd):
    """Run ``interactiveseg segment image.nii.gz ... -o mask.nrrd``: (exit code, standard output, standard error)."""

    def run(*words, image="image.nii.gz", output="mask.nrrd", model_name=model):
        code = exit_code(["segment", str(image), *map(str, words), "-o", str(output), "--model", str(model_name)])
        return code, *capfd.readouterr()

    return run


def exit_code(words):
    try:
        return main(words)
    except SystemExit as end:
        return end.code


def marks():
    array = np.zeros(SHAPE_KJI, np.uint8)
    array[6, 10, 9:18] = 1
    array[2, 3:17, 4] = BACKGROUND
    return array


def mask(path="mask.nrrd"):
    return read_labelmap(path, read_volume("image.nii.gz").geometry)


def session_mask(prepare):
    session = ImageSession(read_volume("image.nii.gz"), blob_network())
    prepare(session)
    finish(session.segment())
    return session.labelmap()


@pytest.mark.usefixtures("case")
def test_a_box_alone_gives_the_mask_of_the_session(run):
    code, output, error = run("--box", *BOX_IJK)
    assert (code, error) == (0, "")
    np.testing.assert_array_equal(mask(), session_mask(lambda session: session.set_box(1, BOX)))
    assert dice(mask() == 1, ellipsoid()) > 0.8
    assert output.startswith(f"label 1: {np.count_nonzero(mask())} voxels, ")


@pytest.mark.usefixtures("case")
def test_scribbles_alone_give_the_mask_of_the_session(run):
    assert run("--scribbles", "scribbles.nrrd")[0] == 0
    expected = session_mask(lambda session: session.add_scribbles(Scribbles.from_labelmap(marks())))
    np.testing.assert_array_equal(mask(), expected)
    assert (mask()[marks() == 1] == 1).all()
    assert (mask()[marks() == BACKGROUND] == 0).all()


@pytest.mark.usefixtures("case")
def test_box_and_scribbles_go_together(run):
    assert run("--box", *BOX_IJK, "--scribbles", "scribbles.nrrd")[0] == 0

    def prepare(session):
        session.set_box(1, BOX)
        session.add_scribbles(Scribbles.from_labelmap(marks()))

    np.testing.assert_array_equal(mask(), session_mask(prepare))


@pytest.mark.usefixtures("case")
def test_without_adapting_the_network_answers_as_it_is(run):
    def probability(word):
        assert run("--box", *BOX_IJK, "--probability", "p.nrrd", word)[0] == 0
        assert dice(mask() == 1, ellipsoid()) > 0.8
        return read_volume("p.nrrd").array_kji

    plain = probability("--no-adapt")
    np.testing.assert_array_equal(probability("--no-adapt"), plain)
    assert np.abs(probability("--adapt") - plain).max() > 1e-3


@pytest.mark.parametrize("output", ["mask.nrrd", "mask.seg.nrrd", "mask.nii.gz", "mask.nii", "mask.mha"])
def test_the_mask_lies_on_the_grid_of_the_image(case, run, output):
    assert run("--box", *BOX_IJK, "--no-adapt", output=output)[0] == 0
    written = sitk.ReadImage(output)
    image = read_volume("image.nii.gz").geometry
    assert read_volume(output).geometry.difference_mm(image) < 1e-6
    assert written.GetSize() == SHAPE_KJI[::-1]
    assert written.GetPixelID() == sitk.sitkUInt8
    assert sorted(path.name for path in case.iterdir()) == sorted(["image.nii.gz", "scribbles.nrrd", output])


@pytest.mark.usefixtures("case")
def test_probabilities_are_written_on_the_same_grid(run):
    assert run("--box", *BOX_IJK, "--probability", "p.nii.gz")[0] == 0
    volume = read_volume("p.nii.gz")
    assert volume.geometry.difference_mm(read_volume("image.nii.gz").geometry) < 1e-6
    assert volume.array_kji.dtype == np.float32
    assert volume.array_kji.min() == 0
    assert volume.array_kji.max() <= 1
    assert dice(volume.array_kji > 0.5, mask() == 1) > 0.8


@pytest.mark.usefixtures("case")
def test_of_several_objects_the_largest_probability_is_written(run):
    boxes = ("--box", *BOX_IJK, "--box", "2", "2", "1", "9", "9", "6")
    assert run(*boxes, "--probability", "p.nrrd", "--no-adapt")[0] == 0
    session = ImageSession(read_volume("image.nii.gz"), blob_network())
    session.set_box(1, BOX)
    session.set_box(2, BoundingBox.from_ijk(2, 2, 1, 9, 9, 6))
    finish(session.segment(adapt=False))
    expected = np.maximum(session.probability(1), session.probability(2))
    np.testing.assert_array_equal(read_volume("p.nrrd").array_kji, expected)


@pytest.mark.usefixtures("case")
def test_json_is_all_there_is_on_standard_output(run):
    code, output, error = run("--box", "-3", "4", "2", "21", "17", "11", "--json")
    assert (code, error) == (0, "")
    report = json.loads(output)
    voxels = int(np.count_nonzero(mask()))
    millilitres = voxels * math.prod((0.5, 0.7, 3.0)) / 1000
    assert report["mask"] == "mask.nrrd"
    assert report["objects"] == {"1": {"voxels": voxels, "ml": pytest.approx(millilitres, abs=0.001)}}
    assert report["device"] in ("cpu", "cuda")
    assert report["seconds"] > 0
    assert len(report["notes"]) == 1
    assert "outside the image" in report["notes"][0]


@pytest.mark.usefixtures("case")
def test_notes_go_to_standard_error_unless_quiet(run):
    outside = ("--box", "-3", "4", "2", "21", "17", "11", "--no-adapt")
    _, output, error = run(*outside)
    assert error.startswith("note: the box of label 1 reached outside the image")
    assert "note" not in output
    assert run(*outside, "--quiet")[2] == ""


@pytest.mark.usefixtures("case")
def test_boxes_are_labelled_in_their_order_or_as_asked(run):
    boxes = ("--box", *BOX_IJK, "--box", "1", "1", "1", "5", "5", "5", "--no-adapt", "--json")
    assert set(json.loads(run(*boxes)[1])["objects"]) == {"1", "2"}
    report = json.loads(run(*boxes, "--box-label", "7", "--box-label", "3")[1])
    assert set(report["objects"]) == {"3", "7"}
    assert set(np.unique(mask())) - {3} == {0, 7}


@pytest.mark.usefixtures("case")
def test_scribbles_of_the_other_objects_count_as_background(run):
    array = marks()
    array[6, 10, 14:18] = 200
    write_labelmap("two.nrrd", array, read_volume("image.nii.gz").geometry)
    assert run("--box", *BOX_IJK, "--box", *BOX_IJK, "--box-label", 1, "--box-label", 200, "--scribbles", "two.nrrd")[
        0
    ] == (0)
    assert (mask()[array == 1] == 1).all()
    assert (mask()[array == 200] == 200).all()
    assert (mask()[array == BACKGROUND] == 0).all()


@pytest.mark.usefixtures("case")
def test_a_slicer_roi_is_a_box(run):
    geometry = read_volume("image.nii.gz").geometry
    centre_kji = np.array([[(a + b - 1) / 2 for a, b in zip(BOX.start_kji, BOX.stop_kji, strict=True)]])
    axes = geometry.ijk_to_ras[:3, :3] / np.linalg.norm(geometry.ijk_to_ras[:3, :3], axis=0)
    roi = {
        "type": "ROI",
        "coordinateSystem": "RAS",
        "center": kji_to_ras(centre_kji, geometry)[0].tolist(),
        "orientation": axes.ravel().tolist(),
        "size": [(n - 0.5) * mm for n, mm in zip(BOX.shape_kji[::-1], geometry.spacing_kji_mm[::-1], strict=True)],
    }
    Path("R.mrk.json").write_text(json.dumps({"markups": [roi]}))
    assert run("--box", "R.mrk.json")[0] == 0
    from_roi = mask()
    assert run("--box", *BOX_IJK)[0] == 0
    np.testing.assert_array_equal(from_roi, mask())
    assert from_roi.any()


@pytest.mark.usefixtures("case")
def test_a_seed_makes_runs_repeatable(run):
    files = []
    for output in ("a.nrrd", "b.nrrd"):
        words = ("--box", *BOX_IJK, "--scribbles", "scribbles.nrrd", "--seed", "5", "--probability", f"p{output}")
        assert run(*words, output=output)[0] == 0
        files.append((mask(output), read_volume(f"p{output}").array_kji))
    for one, other in zip(*files, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.usefixtures("case")
def test_a_folder_without_dicom_is_refused(run, tmp_path):
    (tmp_path / "empty").mkdir()
    assert_refused(run("--box", *BOX_IJK, image="empty"), "holds no DICOM images")


@pytest.mark.usefixtures("case")
def test_the_shipped_weights_find_a_bright_blob(run):
    bright = ellipsoid((24, 32, 40), (11, 16, 20), (6, 8, 10))
    geometry = Geometry(bright.shape, np.eye(4))
    write_image("isotropic.nrrd", noisy(bright), geometry)
    box = (9, 7, 4, 32, 26, 19)
    assert run("--box", *box, "--no-adapt", image="isotropic.nrrd", model_name="pcnet")[0] == 0
    assert dice(read_labelmap("mask.nrrd", geometry) == 1, bright) > 0.8


def test_the_version_is_printed(capsys):
    assert exit_code(["--version"]) == 0
    assert capsys.readouterr().out == f"interactiveseg {__version__}\n"


def assert_refused(ran, text, code=2):
    exit_code, output, error = ran
    assert exit_code == code
    assert output == ""
    assert error.startswith("interactiveseg: ")
    assert error.count("\n") == 1
    assert error.endswith("\n")
    assert text in error
    assert not list(Path.cwd().glob("*mask*"))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "give a --box, --scribbles, --points, --lasso or --start"),
        (("--box", 1, 2, 3, 4, 5), "--box 1 2 3 4 5: expected six integers"),
        (("--box", 1, 2, 3, 4, 5, 6.5), "expected six integers"),
        (("--box", 6, 4, 2, 6, 17, 11), "holds no voxel"),
        (("--box", 25, 4, 2, 30, 17, 11), "outside the image"),
        (("--box", *BOX_IJK, "--box", *BOX_IJK, "--box-label", 3, "--box-label", 3), "a label can have only one box"),
        (("--box", *BOX_IJK, "--box-label", 1, "--box-label", 2), "1 --box but 2 --box-label"),
        (("--box", *BOX_IJK, "--box-label", 255), "1 to 254, not 255"),
        (("--box", *BOX_IJK, "--box-label", "liver"), "invalid int value: 'liver'"),
        (("--box", "missing.mrk.json"), "missing.mrk.json cannot be read: No such file"),
        (("--scribbles", "missing.nrrd"), "missing.nrrd does not exist"),
        (("--box", *BOX_IJK, "--seed", 2**64), "not between 0 and 4294967295"),
        (("--box", *BOX_IJK, "--seed", -1), "not between"),
        (("--box", *BOX_IJK, "--device", "tpu"), "invalid choice: 'tpu'"),
        (("--box", *BOX_IJK, "--probability", "p.png"), "p.png: images are written as .nii.gz"),
        (("--box", *BOX_IJK, "--probability", "mask.nrrd"), "mask.nrrd is given twice"),
        (("--box", *BOX_IJK, "--probability", "gone/p.nrrd"), "the folder gone does not exist"),
    ],
)
@pytest.mark.usefixtures("case")
def test_a_wrong_command_line_is_refused_in_one_line(run, words, text):
    assert_refused(run(*words), text)


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("mask.png", "images are written as .nii.gz"),
        ("mask", "images are written as"),
        ("gone/mask.nrrd", "the folder gone does not exist"),
        ("folder.nrrd", "it is a folder"),
        ("image.nii.gz", "image.nii.gz is given twice"),
        ("./scribbles.nrrd", "scribbles.nrrd is given twice"),
    ],
)
def test_an_output_that_cannot_be_or_would_replace_an_input_is_refused_before_any_work(
    case, run, monkeypatch, output, text
):
    (case / "folder.nrrd").mkdir()
    before = {path.name: path.read_bytes() for path in case.iterdir() if path.is_file()}
    monkeypatch.setattr(ImageSegmenter, "round_steps", lambda *_, **__: pytest.fail("work was done"))
    assert_refused(run("--box", *BOX_IJK, "--scribbles", "scribbles.nrrd", output=output), text)
    assert {path.name: path.read_bytes() for path in case.iterdir() if path.is_file()} == before


def test_a_run_can_be_repeated_but_replaces_none_of_a_persons_files(case, run):
    words = ("--box", *BOX_IJK, "--no-adapt", "--probability", "p.nrrd")
    assert run(*words)[0] == 0
    code, _, error = run(*words)
    assert (code, [line.split(" (")[0] for line in error.splitlines()]) == (
        0,
        [f"note: {name} is replaced: segment wrote it before" for name in ("mask.nrrd", "p.nrrd")],
    )
    by_hand = mask()
    by_hand[0, 0, 0] = 1
    write_labelmap("mask.nrrd", by_hand, read_volume("image.nii.gz").geometry)
    before = Path("mask.nrrd").read_bytes()
    code, output, error = run(*words)
    assert (code, output, error.count("\n")) == (2, "", 1)
    assert "mask.nrrd exists already, and is not what segment wrote" in error
    assert Path("mask.nrrd").read_bytes() == before
    code, output, _ = run(*words, "--overwrite", "--json")
    assert (code, json.loads(output)["notes"][0].split(" (")[0]) == (0, "mask.nrrd is replaced")
    assert mask()[0, 0, 0] == 0


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("name", ["cut.nii.gz", "cut.nii", "cut.nrrd", "cut.mha"])
@pytest.mark.usefixtures("case")
def test_a_truncated_image_is_refused(run, name, kept):
    write_image(name, noisy(ellipsoid()), read_volume("image.nii.gz").geometry)
    content = Path(name).read_bytes()
    Path(name).write_bytes(content[: int(kept * len(content))])
    assert_refused(run("--box", *BOX_IJK, image=name), "cut")


@pytest.mark.usefixtures("case")
def test_a_missing_image_is_refused(run):
    assert_refused(run("--box", *BOX_IJK, image="missing.nii.gz"), "missing.nii.gz does not exist")


@pytest.mark.usefixtures("case")
def test_scribbles_on_another_grid_are_refused(run):
    geometry = read_volume("image.nii.gz").geometry
    matrix = geometry.ijk_to_ras.copy()
    matrix[0, 3] += 2
    write_labelmap("moved.nrrd", marks(), Geometry(SHAPE_KJI, matrix))
    assert_refused(run("--scribbles", "moved.nrrd"), "lies up to 2 mm away from where it should be")
    write_labelmap("small.nrrd", marks()[1:], Geometry((13, 20, 25), geometry.ijk_to_ras))
    assert_refused(run("--scribbles", "small.nrrd"), "has the shape (25, 20, 13), not (25, 20, 14)")


@pytest.mark.parametrize(("value", "dtype"), [(256, np.int16), (-1, np.int16), (0.5, np.float32), (np.nan, np.float32)])
@pytest.mark.usefixtures("case")
def test_scribbles_that_are_no_labels_are_refused_with_the_value(run, value, dtype):
    array = marks().astype(dtype)
    array[3, 4, 5] = value
    write_image("wrong.nrrd", array, read_volume("image.nii.gz").geometry)
    assert_refused(run("--scribbles", "wrong.nrrd"), str(value))


@pytest.mark.parametrize("value", [0, BACKGROUND])
@pytest.mark.usefixtures("case")
def test_scribbles_without_an_object_are_refused(run, value):
    write_labelmap("none.nrrd", np.minimum(marks(), 1) * np.uint8(value), read_volume("image.nii.gz").geometry)
    assert_refused(run("--scribbles", "none.nrrd"), "draw a box round the object, or scribble on it")


@pytest.mark.parametrize(("name", "text"), [("unet", "no model 'unet'"), (".", "holds 0 .safetensors files")])
@pytest.mark.usefixtures("case")
def test_a_model_that_is_not_there_is_refused(run, name, text):
    assert_refused(run("--box", *BOX_IJK, model_name=name), text)


@pytest.mark.usefixtures("case")
def test_damaged_weights_are_refused(run, model):
    Path("damaged").mkdir()
    content = (model / "blobs.safetensors").read_bytes()
    Path("damaged/blobs.safetensors").write_bytes(content[:-100])
    assert_refused(run("--box", *BOX_IJK, model_name="damaged"), "blobs.safetensors cannot be read")


@pytest.mark.usefixtures("case")
def test_cuda_without_a_gpu_is_refused(run, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert_refused(run("--box", *BOX_IJK, "--device", "cuda"), "no CUDA device is available")
    assert run("--box", *BOX_IJK, "--device", "auto", "--no-adapt")[0] == 0


@pytest.mark.usefixtures("case")
def test_an_image_without_a_finite_voxel_is_refused(run):
    write_image("nan.nrrd", np.full(SHAPE_KJI, np.nan, np.float32), read_volume("image.nii.gz").geometry)
    assert_refused(run("--box", *BOX_IJK, image="nan.nrrd"), "NaN or infinite")


@pytest.mark.usefixtures("case")
def test_a_run_that_is_stopped_writes_nothing(run, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(ImageSegmenter, "round_steps", stopped)
    assert_refused(run("--box", *BOX_IJK), "stopped", code=130)


def test_a_full_disk_keeps_the_mask_that_was_there(case, run, monkeypatch):
    assert run("--box", *BOX_IJK, "--no-adapt")[0] == 0
    before = Path("mask.nrrd").read_bytes()

    def half(image, name, *_, **__):
        Path(name).write_bytes(b"NRRD0004 half")
        raise RuntimeError("ITK ERROR: no space left on device")

    monkeypatch.setattr("SimpleITK.WriteImage", half)
    code, output, error = run("--box", *BOX_IJK)
    assert (code, output) == (1, "")
    assert error.count("\n") == 1
    assert "no space left on device" in error
    assert Path("mask.nrrd").read_bytes() == before
    assert sorted(path.name for path in case.iterdir()) == ["image.nii.gz", "mask.nrrd", "scribbles.nrrd"]


@pytest.mark.usefixtures("case")
@pytest.mark.slow
def test_the_console_command_runs_and_fails_in_one_line(model):
    command = Path(sys.executable).with_name("interactiveseg")
    if not command.exists():
        pytest.skip(f"{command} is not installed")
    words = [command, "segment", "image.nii.gz", "--model", str(model), "--json", "-o", "mask.nrrd", "--box"]
    done = subprocess.run([*words, *BOX_IJK], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["objects"]["1"]["voxels"] == np.count_nonzero(mask())
    failed = subprocess.run(words[:-1], capture_output=True, text=True, check=False)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr == "interactiveseg: give a --box, --scribbles, --points, --lasso or --start\n"


@pytest.mark.usefixtures("case")
def test_what_was_assumed_in_reading_is_noted_in_text_and_in_json(run):
    Path("image.nii.gz").rename("image")
    code, _, said = run("--box", *BOX_IJK, "--no-adapt", image="image")
    assert (code, "note: image is read as compressed NIfTI" in said) == (0, True)
    code, printed, _ = run("--box", *BOX_IJK, "--no-adapt", "--json", image="image")
    assert any("image is read as compressed NIfTI" in note for note in json.loads(printed)["notes"])


@pytest.mark.usefixtures("case")
def test_one_of_several_times_or_series_is_chosen(run, tmp_path):
    volume = read_volume("image.nii.gz")
    both = sitk.GetImageFromArray(np.stack([volume.array_kji * 0, volume.array_kji]), isVector=False)
    sitk.WriteImage(both, "times.nrrd")
    for uid in ("1.2.3", "1.2.4"):
        write_series(tmp_path / "study" / uid, volume.array_kji.astype(np.int16), uid=uid)
    assert_refused(run("--box", *BOX_IJK, image="times.nrrd"), "choose one by --time 0 to 1")
    assert_refused(run("--box", *BOX_IJK, "--time", 2, image="times.nrrd"), "no image 2 (--time)")
    assert_refused(run("--box", *BOX_IJK, image="study"), "with --series: 1: 1.2.3")
    assert run("--box", *BOX_IJK, "--no-adapt", "--time", 1, image="times.nrrd")[0] == 0
    assert run("--box", *BOX_IJK, "--no-adapt", "--series", 2, image="study")[0] == 0
