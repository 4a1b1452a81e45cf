"""Several images in one command: folders, lists, existing masks, and failures."""

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from blobs import SHAPE_KJI, blob_network, dice, ellipsoid, noisy
from dicom_files import ramp, write_series
from warm_worker import warm_command

from InteractiveSegLib.cli import main
from InteractiveSegLib.commands import segment_command
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.image_io import read_labelmap, read_volume, write_image, write_labelmap
from InteractiveSegLib.networks.checkpoint import save_network
from InteractiveSegLib.progress import finish
from InteractiveSegLib.worker import transport
from InteractiveSegLib.worker.requests.request_context import RequestContext, WholeImage

BOX = ("--box", "6,4,2,21,17,11")
NAMES = ("a", "b", "c")
RADII = {"a": (3.6, 5.2, 6.4), "b": (3, 4, 5), "c": (4, 6, 6)}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_network(blob_network(), folder / "blobs.safetensors", {})
    return folder


def truth(name):
    return ellipsoid(radii_kji=RADII[name])


@pytest.fixture
def scans(tmp_path, monkeypatch):
    """Folder ``scans`` with three images of a blob, and slices drawn on each in ``drawn``; in the working directory."""
    monkeypatch.chdir(tmp_path)
    for folder in ("scans", "drawn"):
        Path(folder).mkdir()
    geometry = Geometry(SHAPE_KJI, np.eye(4))
    for name in NAMES:
        write_image(f"scans/{name}.nii.gz", noisy(truth(name)), geometry)
        drawn = np.zeros(SHAPE_KJI, np.uint8)
        drawn[[3, 6, 9]] = truth(name)[[3, 6, 9]]
        write_labelmap(f"drawn/{name}.nrrd", drawn, geometry)
    return tmp_path


@pytest.fixture
def run(model, capfd, monkeypatch):
    """Run a command: (exit code, standard output, standard error); segment computes in this process, for speed."""

    def compute(self, volume, prompts, request):
        self.lock.release()
        try:
            return finish(request.steps(RequestContext(WholeImage(volume), prompts)))
        finally:
            self.lock.acquire()

    monkeypatch.setattr(segment_command._Workers, "compute", compute)

    def run(command, *words):
        more = ["--model", str(model), "--no-adapt"] if command == "segment" else ["--method", "shape"]
        try:
            code = main([command, *map(str, words), *more])
        except SystemExit as end:
            code = end.code
        return code, *capfd.readouterr()

    return run


def mask(path):
    return read_labelmap(path, read_volume("scans/a.nii.gz").geometry) == 1


def report(folder="masks"):
    return json.loads(Path(folder, "report.json").read_text("utf-8"))


def states(found):
    return {case["name"]: case["state"] for case in found["cases"]}


@pytest.mark.usefixtures("scans")
@pytest.mark.parametrize("jobs", [1, 3])
def test_a_folder_is_done_image_by_image(run, jobs):
    code, output, error = run("segment", "scans", *BOX, "-o", "masks", "--jobs", jobs)
    assert code == 0
    assert [line.split("\t")[:2] for line in output.splitlines()] == [[name, "done"] for name in NAMES]
    assert "3 done, 0 skipped, 0 failed" in error
    for name in NAMES:
        assert dice(mask(f"masks/{name}_mask.nii.gz"), truth(name)) > 0.8
    assert sorted(path.name for path in Path("masks").iterdir()) == [
        *(f"{n}_mask.nii.gz" for n in NAMES),
        "report.json",
    ]


@pytest.mark.usefixtures("scans")
def test_each_image_has_the_mask_that_it_has_alone(run):
    assert run("segment", "scans", *BOX, "-o", "masks")[0] == 0
    assert run("segment", "scans/b.nii.gz", *BOX, "-o", "alone.nii.gz")[0] == 0
    np.testing.assert_array_equal(mask("masks/b_mask.nii.gz"), mask("alone.nii.gz"))


@pytest.mark.usefixtures("scans")
def test_what_is_there_is_left_and_redone_on_request(run):
    assert run("segment", "scans/a.nii.gz", "scans/b.nii.gz", *BOX, "-o", "masks")[0] == 0
    before = Path("masks/a_mask.nii.gz").stat().st_mtime_ns
    assert run("segment", "scans", *BOX, "-o", "masks")[0] == 0
    assert states(report()) == {"a": "skipped", "b": "skipped", "c": "done"}
    assert Path("masks/a_mask.nii.gz").stat().st_mtime_ns == before
    assert run("segment", "scans", *BOX, "-o", "masks", "--again")[0] == 0
    assert states(report()) == dict.fromkeys(NAMES, "done")


def damage(kind):
    path = Path("scans/b.nii.gz")
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:100])
    elif kind == "empty":
        path.write_bytes(b"")
    else:
        write_image(path, np.full(SHAPE_KJI, np.nan, np.float32), Geometry(SHAPE_KJI, np.eye(4)))


@pytest.mark.usefixtures("scans")
@pytest.mark.parametrize("kind", ["cut", "empty", "not finite"])
def test_if_one_fails_the_others_are_done_and_the_exit_code_is_3(run, kind):
    damage(kind)
    code, output, _ = run("segment", "scans", *BOX, "-o", "masks", "--json")
    found = json.loads(output)
    assert code == 3
    assert found == report()
    assert states(found) == {"a": "done", "b": "failed", "c": "done"}
    assert (found["done"], found["skipped"], found["failed"], found["left"]) == (2, 0, 1, 0)
    (failed,) = (case for case in found["cases"] if case["state"] == "failed")
    assert "\n" not in failed["error"]
    assert failed["error"]
    assert not Path("masks/b_mask.nii.gz").exists()


@pytest.mark.usefixtures("scans")
def test_an_unexpected_error_takes_one_image_with_it(run, monkeypatch):
    compute = segment_command._Workers.compute

    def stumble(self, volume, prompts, request):
        if volume.name == "b":
            raise ZeroDivisionError("division by zero")
        return compute(self, volume, prompts, request)

    monkeypatch.setattr(segment_command._Workers, "compute", stumble)
    code, output, _ = run("segment", "scans", *BOX, "-o", "masks")
    assert code == 3
    assert "b\tfailed\tZeroDivisionError: division by zero" in output


@pytest.mark.usefixtures("scans")
def test_an_interruption_leaves_whole_masks_and_a_report(run, monkeypatch):
    begun = threading.Event()

    def wait(self, *_):
        self.lock.release()
        begun.set()
        threading.Event().wait()

    def interrupted(steps, _options):
        next(steps)
        begun.wait(30)
        steps.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(segment_command._Workers, "compute", wait)
    monkeypatch.setattr("InteractiveSegLib.commands.batch.shown", interrupted)
    assert run("segment", "scans", *BOX, "-o", "masks")[0] == 130
    assert report()["left"] == 3
    assert [path.name for path in Path("masks").iterdir()] == ["report.json"]


@pytest.mark.usefixtures("scans")
@pytest.mark.parametrize("pattern", ["masks/{name}.nrrd", "masks/{name}.nii.gz", "masks/{name}/found.mha"])
def test_names_stand_in_outputs_and_prompts(run, pattern):
    words = ("--slices", "drawn/{name}.nrrd", "-o", pattern, "--confidence", "sure/{name}.nrrd")
    code, _, _ = run("propagate", "scans", *words)
    assert code == 0
    for name in NAMES:
        assert dice(mask(pattern.replace("{name}", name)), truth(name)) > 0.7
        assert Path(f"sure/{name}.nrrd").exists()


@pytest.mark.usefixtures("scans")
def test_a_text_names_an_image_a_line(run):
    Path("list.txt").write_text("# two of them\nscans/a.nii.gz\n\nscans/c.nii.gz\n", "utf-8-sig")
    assert run("segment", "list.txt", *BOX, "-o", "masks")[0] == 0
    assert states(report()) == {"a": "done", "c": "done"}


@pytest.mark.usefixtures("scans")
def test_a_table_gives_each_image_its_name_and_prompts(run):
    rows = ["image,name,box", "scans/a.nii.gz,first,6 4 2 21 17 11", 'scans/b.nii.gz,,"6, 4, 2, 21, 17, 11"']
    Path("list.csv").write_text("\n".join(rows))
    assert run("segment", "list.csv", "-o", "masks")[0] == 0
    assert states(report()) == {"first": "done", "b": "done"}
    assert dice(mask("masks/first_mask.nii.gz"), truth("a")) > 0.8
    Path("slices.csv").write_text('image,slices,annotated\nscans/c.nii.gz,drawn/c.nrrd,"0,3,6,9,12"\n')
    assert run("propagate", "slices.csv", "--slices", "unused.nrrd", "-o", "masks")[0] == 0
    assert not mask("masks/c_mask.nii.gz")[12].any()


FOREIGN = {
    "not JSON": "my notes",
    "another program's": '{"cases": []}',
    "a list": "[1, 2]",
    "forged": '{"done": 3, "written_by": "interactiveseg 0"}',
    "nested": "[" * 100_000,
}


@pytest.mark.usefixtures("scans")
@pytest.mark.parametrize("text", FOREIGN.values(), ids=FOREIGN)
def test_a_report_that_the_command_did_not_write_stays_until_overwrite_is_given(run, text):
    Path("masks").mkdir()
    Path("masks/report.json").write_text(text)
    words = ("segment", "scans/a.nii.gz", "scans/b.nii.gz", *BOX, "-o", "masks")
    code, output, error = run(*words)
    assert (code, output) == (2, "")
    assert "masks/report.json exists already, and is not what interactiveseg wrote" in error
    assert [path.read_text() for path in Path("masks").iterdir()] == [text]
    code, _, error = run(*words, "--overwrite")
    assert (code, states(report())) == (0, {"a": "done", "b": "done"})
    assert "masks/report.json is replaced" in error


@pytest.mark.usefixtures("scans")
def test_a_report_is_replaced_by_the_next_one_unless_somebody_changed_it(run):
    words = ("propagate", "scans/a.nii.gz", "--slices", "drawn/{name}.nrrd", "-o", "masks/{name}_mask.nrrd")
    assert run(*words)[0] == 0
    assert "report.json is replaced: interactiveseg wrote it before" in run(*words)[2]
    assert states(report()) == {"a": "skipped"}
    Path("masks/report.json").write_text(json.dumps({**report(), "comment": "of Monday"}))
    code, _, error = run(*words)
    assert (code, "is not what interactiveseg wrote" in error) == (2, True)
    assert report()["comment"] == "of Monday"


@pytest.mark.usefixtures("scans")
def test_a_report_replaces_no_input(run):
    Path("scans/report.json").write_text("{}")
    words = ("scans/a.nii.gz", "scans/b.nii.gz", "--points", "scans/report.json", "-o", "scans/{name}_mask.nii.gz")
    code, _, error = run("segment", *words, "--overwrite")
    assert (code, "report.json is an input" in error) == (2, True)
    assert Path("scans/report.json").read_text() == "{}"


@pytest.mark.usefixtures("scans")
def test_a_series_in_several_folders_is_reported(run):
    for place in ("one", "two"):
        write_series(Path("split", place), ramp(4) + len(place), uid="1.2.3")
    code, _, error = run("segment", "split", "--box", "1,1,0,6,5,4", "-o", "masks")
    assert (code, states(report())) == (0, {"one": "done", "two": "done"})
    assert "note: the DICOM series 1.2.3 is in 2 folders" in error


def same_names():
    Path("more").mkdir()
    shutil.copy("scans/a.nii.gz", "more/a.nii.gz")


@pytest.mark.usefixtures("scans")
@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("scans", "more", *BOX, "-o", "masks"), "would both be written to masks/a_mask.nii.gz"),
        (("scans/a.nii.gz", "scans/b.nii.gz", *BOX, "-o", "one.nii.gz"), "for several images, give a folder"),
        (("scans", *BOX, "-o", "scans/{name}.nii.gz"), "is an input, and an input is never replaced"),
        (("scans", *BOX, "-o", "one/{name}.png"), "images are written as"),
        (("scans", "nothing", *BOX, "-o", "masks"), "nothing does not exist"),
        (("names.csv", *BOX, "-o", "masks"), "'../a' cannot be the name of scans/a.nii.gz"),
        (("empty", *BOX, "-o", "masks"), "no image found"),
        (("scans", "-o", "masks"), "give a --box"),
        (("missing.txt", *BOX, "-o", "masks"), "the list missing.txt cannot be read: No such file"),
        (("wrong.csv", *BOX, "-o", "masks"), "the column 'colour'"),
        (("bare.csv", *BOX, "-o", "masks"), "has no column image"),
        (("scans", *BOX, "-o", "masks", "--jobs", "0"), "'0' is not a whole number of at least 1"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(run, words, text):
    same_names()
    Path("empty").mkdir()
    Path("wrong.csv").write_text("image,colour\nscans/a.nii.gz,red\n")
    Path("names.csv").write_text("image,name\nscans/a.nii.gz,../a\n")
    Path("bare.csv").write_text("picture\nscans/a.nii.gz\n")
    code, output, error = run("segment", *words)
    assert (code, output) == (2, ""), error
    assert error.count("\n") == 1
    assert text in error
    assert not Path("masks").exists()


@pytest.mark.usefixtures("scans")
def test_worker_processes_give_the_masks_of_one_image_alone(model, capfd, monkeypatch):
    monkeypatch.setattr(transport, "library_command", warm_command)
    words = ["--box", "6,4,2,21,17,11", "--model", str(model), "--no-adapt"]
    assert main(["segment", "scans/a.nii.gz", "scans/b.nii.gz", *words, "--jobs", "2", "-o", "masks"]) == 0
    assert main(["segment", "scans/a.nii.gz", *words, "-o", "alone.nii.gz"]) == 0
    np.testing.assert_array_equal(mask("masks/a_mask.nii.gz"), mask("alone.nii.gz"))
    capfd.readouterr()
