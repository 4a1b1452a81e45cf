"""``interactiveseg benchmark`` as its users see it: from a folder to tables and pictures, or a one-line error."""

import csv
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from blobs import SHAPE_KJI, blob_network, ellipsoid, noisy
from matplotlib import image as png

from InteractiveSegLib.cli import main
from InteractiveSegLib.evaluation.prompted import benchmark
from InteractiveSegLib.evaluation.prompted.trial import trial
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.image_io import write_image
from InteractiveSegLib.networks import DEFAULT_NETWORK
from InteractiveSegLib.networks.checkpoint import save_network
from InteractiveSegLib.networks.pnet import PNet

FOLDERS = ("--images", "images", "--labels", "labels")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The working directory, with two cases, an image without a label, and a network; threads replace processes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(benchmark, "ProcessPoolExecutor", lambda jobs, *_: ThreadPoolExecutor(jobs))
    grid = Geometry(SHAPE_KJI, np.eye(4))
    for name in ("images", "labels", "net"):
        (tmp_path / name).mkdir()
    for shift, name in enumerate(("Fall_ä", "b")):
        blob = ellipsoid(centre_kji=(6, 10, 11 + shift))
        write_image(tmp_path / "images" / f"{name}.nii.gz", noisy(blob, shift), grid)
        write_image(tmp_path / "labels" / f"{name}.nii.gz", 7 * blob.astype(np.uint8), grid)
    write_image(tmp_path / "images" / "alone.nii.gz", noisy(blob), grid)
    save_network(blob_network(PNet), tmp_path / "net" / "tiny.safetensors", {})
    return tmp_path


@pytest.fixture
def run(here, capfd):
    """Run ``interactiveseg benchmark``: (exit code, standard output, standard error)."""

    def run(*words):
        try:
            code = main(["benchmark", *map(str, words)])
        except SystemExit as end:
            code = end.code
        return code, *capfd.readouterr()

    return run


def test_a_folder_of_images_and_labels_gives_tables_a_csv_and_plots(here, run):
    code, output, error = run(*FOLDERS, "--methods", "box,grow", "--rounds", 1, "-o", "out")
    assert code == 0
    left_out = "note: alone.nii.gz has no matching image or labelmap and is left out"
    assert error == f"{left_out}\nnote: table, CSV, plots and pictures: out\n"
    assert output.rstrip("\n") == (here / "out" / "report.md").read_text(encoding="utf-8").rstrip("\n")
    for title in ("The box alone", "Box and 1 round of scribbles (user: robot)", "Objects", "Seconds by stage"):
        assert f"### {title}\n" in output
    with (here / "out" / "scores.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["method"], row["round"], row["object"]) for row in rows] == [
        (case, method, number, "label 7")
        for case in ("Fall_ä", "b")
        for method in ("box", "grow")
        for number in ("0", "1")
    ]
    box, grow = (
        np.mean([float(row["dice"]) for row in rows if (row["method"], row["round"]) == (method, "1")])
        for method in ("box", "grow")
    )
    assert grow > 0.8 > box
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in output.splitlines()]
    means = [row[2:] for row in rows if row[:2] == ["mean over datasets", ""]]
    assert means[1] == [f"{box:.3f}", f"{grow:.3f}"]
    pictures = {"rounds_robot.png", "spread_robot_0.png", "spread_robot_1.png"}
    assert {path.name for path in (here / "out").glob("*.png")} == pictures
    assert all(np.ptp(png.imread(here / "out" / name)[..., :3]) > 0.5 for name in pictures)


def test_a_network_heads_the_table_and_its_cases_are_shown(here, run):
    words = (*FOLDERS, "--methods", "box,net:plain", "--users", "clicks", "--rounds", 1, "--quiet", "-o", "out")
    code, output, error = run(*words)
    assert (code, error) == (0, "")
    assert "| p against net:plain " in output
    assert "looking at the image" in output
    assert {path.name for path in (here / "out" / "cases").iterdir()} == {
        "images_clicks_worst.png",
        "images_clicks_best.png",
    }
    assert run(*words) == (code, output, error)


def test_clicks_without_a_box_give_curves_with_and_without_fine_tuning_and_renew_a_page(here, run):
    page = here / "page.md"
    page.write_text("kept\n<!-- begin none clicks -->\nold\n<!-- end none clicks -->\nkept too\n")
    words = ("--methods", "box,net,net:fixed,geodesic", "--prompts", "none,slice-box", "--users", "clicks")
    words = (*FOLDERS, *words, "--rounds", 3, "-o", "out", "--page", "page.md", "--quiet")
    code, output, error = run(*words)
    assert (code, error) == (0, "")
    curve = output.partition("### Dice by interactions: no box (user: clicks)\n\n")[2].partition("\n\n###")[0]
    assert "| Dice after " in curve
    assert "Left out, as it needs a box: box." in curve
    assert "Mean Dice of net below that of net:fixed with p < 0.05, at any number of interactions: nowhere." in curve
    with (here / "out" / "scores.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    ran = {(row["prompted"], row["method"], row["round"]) for row in rows}
    networks = ("net", "net:fixed", "geodesic")
    assert ran == {("none", method, number) for method in networks for number in "123"} | {
        ("slice-box", method, number) for method in ("box", *networks) for number in "0123"
    }
    mean = np.mean([float(r["dice"]) for r in rows if (r["prompted"], r["method"], r["round"]) == ("none", "net", "2")])
    first = next(line for line in curve.splitlines() if line.startswith("| images"))
    assert [cell.strip() for cell in first.split("|")][3:6:2] == ["net", f"{mean:.3f}"]
    assert page.read_text() == (
        "kept\n<!-- begin none clicks -->\n`interactiveseg benchmark --images FOLDER --labels FOLDER "
        "--methods box,net,net:fixed,geodesic --prompts none,slice-box --users clicks --rounds 3`, split: report.\n\n"
        f"{curve}\n<!-- end none clicks -->\nkept too\n"
    )
    pictures = {path.name for path in (here / "out").glob("*.png")}
    assert {"rounds_none_clicks.png", "rounds_slice-box_clicks.png", "spread_none_clicks_3.png"} <= pictures
    assert "images_none_clicks_worst.png" in {path.name for path in (here / "out" / "cases").iterdir()}


def test_runs_with_other_methods_have_places_of_their_own_in_a_page(here, run):
    page = here / "page.md"
    names = ("box robot 0", "box robot 0 two", "human two")
    page.write_text("".join(f"<!-- begin {name} -->\n<!-- end {name} -->\n" for name in names))
    words = (*FOLDERS, "--methods", "box", "--rounds", 0, "-o", "out", "--page", "page.md")
    assert run(*words, "--place", "two", "--users", "robot,human")[2].splitlines()[1:] == [
        "note: page.md: the table human two stays, nothing was scored",
        "note: table, CSV, plots and pictures: out",
    ]
    once = page.read_text()
    assert once.startswith("<!-- begin box robot 0 -->\n<!-- end box robot 0 -->\n<!-- begin box robot 0 two -->\n`int")
    assert once.endswith("|\n<!-- end box robot 0 two -->\n<!-- begin human two -->\n<!-- end human two -->\n")
    assert run(*words)[0] == 0
    first, _, rest = page.read_text().partition("<!-- end box robot 0 -->")
    assert "--users" not in first
    assert "--rounds 0`, split: report.\n\n| Dice (95 % interval)" in first
    assert once.endswith(rest)


@pytest.mark.parametrize(("words", "model"), [(("--model", "net"), "net"), ((), DEFAULT_NETWORK)])
def test_quick_takes_few_cases_rounds_and_methods(run, monkeypatch, words, model):
    ran = []

    def quick(case, method, user, person, settings, prompted):
        ran.append((case.name, method, user, settings.rounds, settings.cap))
        return trial(case, "box", user, person, settings, prompted)

    monkeypatch.setattr(benchmark, "trial", quick)
    assert run(*FOLDERS, "--quick", *words)[0] == 0
    assert sorted(ran) == sorted(("Fall_ä", method, "robot", 2, 2) for method in (model, "box", "grow", "mixtures"))


def test_an_image_that_cannot_be_read_is_a_note_in_the_report(here, run):
    (here / "images" / "b.nii.gz").write_bytes(b"not an image")
    code, output, _ = run(*FOLDERS, "--methods", "box", "--rounds", 0, "-o", "out")
    assert code == 0
    assert "### Notes\n\n- images: b: box: " in output
    assert "| images               | 1 " in output


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "either --data FOLDER or --images FOLDER and --labels FOLDER"),
        ((*FOLDERS, "--data", "."), "either --data FOLDER or"),
        (("--images", "images"), "--images and --labels go together"),
        (("--labels", "labels"), "--images and --labels go together"),
        (("--images", "gone", "--labels", "labels"), "gone cannot be read: No such file"),
        (("--images", "images", "--labels", "net"), "no image in images has a label of the same name in net"),
        ((*FOLDERS, "--users", "robot,nurse"), "users nurse: there are robot, sloppy, clicks, strokes, short, human"),
        ((*FOLDERS, "--users", "robot,robot"), "users robot, robot: name each of them once"),
        ((*FOLDERS, "--users", "human"), "no case to run under images"),
        ((*FOLDERS, "--prompts", "lasso"), "prompts lasso: there are box, none, slice-box, loose-box, mask"),
        ((*FOLDERS, "--prompts", "none"), "prompts none: box cannot run without a box"),
        ((*FOLDERS, "--page", "gone.md"), "the page gone.md cannot be read: No such file"),
        ((*FOLDERS, "--place", "small"), "--place small chooses places of a page: it goes with --page"),
        ((*FOLDERS, "--place", "3"), "'3' is not a word of letters, digits and hyphens after a letter"),
        ((*FOLDERS, "--objects", "liver"), "--objects chooses objects of listed datasets: it goes with --data"),
        (("--data", ".", "--objects", "heart"), "--objects heart: no dataset has an object with such a name"),
        ((*FOLDERS, "--methods", "box,box"), "methods box, box: name each of them once"),
        ((*FOLDERS, "--methods", "box,unet"), "no model 'unet'"),
        ((*FOLDERS, "--methods", "box,net:slow"), "the variants of a model are fixed, plain, straight, not 'slow'"),
        ((*FOLDERS, "--rounds", -1), "rounds -1 must lie between 0 and the cap"),
        ((*FOLDERS, "--rounds", 3, "--cap", 2), "rounds 3 must lie between 0 and the cap of 2"),
        ((*FOLDERS, "--cases", 0), "'0' is not a whole number of at least 1"),
        ((*FOLDERS, "--jobs", 0), "'0' is not a whole number of at least 1"),
        ((*FOLDERS, "--split", "test"), "invalid choice: 'test'"),
        ((*FOLDERS, "--split", "tuning"), "no case to run under images"),
        (("--data", "gone"), "no case to run under gone"),
        (("--data", ".", "--only", "no such set"), "--only no such set: no dataset has such a name"),
        (("--data", ".", "--datasets", "gone.json"), "gone.json cannot be read: No such file"),
    ],
)
def test_a_wrong_command_line_is_refused_in_one_line(here, run, words, text):
    code, output, error = run(*words, "--quiet", *(() if "--methods" in words else ("--methods", "box")))
    assert (code, output) == (2, "")
    assert error.startswith("interactiveseg: ")
    assert error.count("\n") == 1
    assert text in error
    assert not (here / "benchmark_output").exists()


def test_an_output_below_a_file_is_one_line_of_error(here, run):
    (here / "file").touch()
    code, output, error = run(*FOLDERS, "--methods", "box", "--quiet", "-o", "file/out")
    assert (code, output) == (1, "")
    assert error == "interactiveseg: cannot write into file/out: Not a directory\n"


def test_a_run_that_is_stopped_says_so_and_can_go_on(here, run, monkeypatch):
    words = (*FOLDERS, "--methods", "box", "--rounds", 0, "--quiet", "-o", "out")
    with monkeypatch.context() as patch:
        patch.setattr(benchmark, "_outcome", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert run(*words) == (130, "", "interactiveseg: stopped\n")
    assert len(list((here / "out" / "trials").glob("*.json"))) == 2
    monkeypatch.setattr(benchmark, "_run", lambda *_: pytest.fail("it was done before"))
    assert run(*words)[0] == 0
