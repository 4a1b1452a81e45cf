"""Points, lassos and masks to start from on the command line: their effect, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from blobs import CENTRE_KJI, SHAPE_KJI, blob_network, dice, ellipsoid, noisy

from InteractiveSegLib.cli import main
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry, kji_to_ras
from InteractiveSegLib.image.image_io import read_labelmap, read_volume, write_image, write_labelmap
from InteractiveSegLib.networks.checkpoint import save_network
from InteractiveSegLib.networks.prompted import PromptedNetwork
from InteractiveSegLib.progress import finish
from InteractiveSegLib.prompts.markups import read_lasso
from InteractiveSegLib.prompts.scribbles import BACKGROUND, Scribbles
from InteractiveSegLib.segmenting.session import ImageSession

BOX_IJK = ("6", "4", "2", "21", "17", "11")
BOX = BoundingBox.from_ijk(*map(int, BOX_IJK))
INSIDE, BESIDE = [(6, 10, 13), (5, 9.3, 11.2), (6, 12, 15)], [(1, 2, 3), (6, 10, 22)]
ROUND_KJI = [(6, 10 + 6 * np.sin(t), 13 + 7.3 * np.cos(t)) for t in np.arange(8) * np.pi / 4]


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Folders of a network that sees prompts, and of one that does not."""
    torch.manual_seed(0)
    networks = {"prompted": PromptedNetwork((4, 4, 4)).eval(), "blobs": blob_network()}
    folders = {}
    for name, network in networks.items():
        folders[name] = tmp_path_factory.mktemp(name)
        save_network(network, folders[name] / f"{name}.safetensors", {})
    return folders


@pytest.fixture
def geometry(tmp_path, monkeypatch, oblique_geometry):
    """Grid of ``image.nrrd``, a blob on a flipped and oblique grid, in the working directory."""
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "image.nrrd", noisy(ellipsoid()), Geometry(SHAPE_KJI, oblique_geometry.ijk_to_ras))
    return read_volume("image.nrrd").geometry


@pytest.fixture
def run(models, capfd):
    """Run ``interactiveseg segment image.nrrd ... -o mask.nrrd``: (exit code, report or None, standard error)."""

    def run(*words, model="blobs"):
        words = ["segment", "image.nrrd", *map(str, words), "-o", "mask.nrrd", "--model", str(models[model]), "--json"]
        try:
            code = main(words)
        except SystemExit as end:
            code = end.code
        output, error = capfd.readouterr()
        return code, json.loads(output) if output else None, error

    return run


def markup(geometry, kind, points_kji, frame="LPS"):
    signs = np.array([-1.0, -1.0, 1.0]) if frame == "LPS" else np.ones(3)
    positions = (kji_to_ras(np.array(points_kji, float).reshape(-1, 3), geometry) * signs).tolist()
    points = [{"position": position, "positionStatus": "defined"} for position in positions]
    return json.dumps({"markups": [{"type": kind, "coordinateSystem": frame, "controlPoints": points}]})


def write(path, text):
    Path(path).write_text(text)


def mask(geometry):
    return read_labelmap("mask.nrrd", geometry)


def session_mask(*draw, network=None):
    session = ImageSession(read_volume("image.nrrd"), network or blob_network())
    for change in draw:
        change(session)
    finish(session.segment())
    return session.labelmap()


def point_scribbles(points_kji, label):
    indices = np.rint(points_kji).astype(int)
    return lambda session: session.add_scribbles(Scribbles(indices, np.full(len(indices), label)))


@pytest.mark.parametrize("frame", ["LPS", "RAS"])
def test_points_are_scribbles_of_one_voxel(run, geometry, frame):
    write("in.mrk.json", markup(geometry, "Fiducial", INSIDE, frame))
    write("out.mrk.json", markup(geometry, "Fiducial", BESIDE, frame))
    words = ("--points", "in.mrk.json", "--points", "out.mrk.json", "--points-label", 7, "--points-label", BACKGROUND)
    code, report, error = run(*words)
    assert (code, error, list(report["objects"])) == (0, "", ["7"])
    expected = session_mask(point_scribbles(INSIDE, 7), point_scribbles(BESIDE, BACKGROUND))
    np.testing.assert_array_equal(mask(geometry), expected)
    assert dice(mask(geometry) == 7, ellipsoid()) > 0.5


def test_points_go_with_boxes_label_by_label(run, geometry):
    write("in.mrk.json", markup(geometry, "Fiducial", INSIDE))
    assert run("--box", *BOX_IJK, "--points", "in.mrk.json")[0] == 0
    expected = session_mask(lambda session: session.set_box(1, BOX), point_scribbles(INSIDE, 1))
    np.testing.assert_array_equal(mask(geometry), expected)


@pytest.mark.parametrize("frame", ["LPS", "RAS"])
def test_a_lasso_alone_is_enough(run, geometry, frame):
    write("c.mrk.json", markup(geometry, "ClosedCurve", ROUND_KJI, frame))
    code, report, error = run("--lasso", "c.mrk.json", "--lasso-label", 4)
    assert (code, error, report["notes"], list(report["objects"])) == (0, "", [], ["4"])
    lasso, _ = read_lasso("c.mrk.json", geometry)
    assert (lasso.axis, lasso.index) == (0, 6)
    np.testing.assert_array_equal(mask(geometry), session_mask(lambda session: session.add_lasso(4, lasso)))
    assert mask(geometry)[CENTRE_KJI] == 4
    assert not mask(geometry)[6, 10, 21]


def test_a_lasso_that_leaves_the_image_is_cut_and_noted(run, geometry):
    write("c.mrk.json", markup(geometry, "ClosedCurve", [(k, j, 2 * i) for k, j, i in ROUND_KJI]))
    assert run("--lasso", "c.mrk.json")[1]["notes"] == [
        "the lasso of label 1 reached outside the image and was cut at its border"
    ]


def test_each_label_of_a_start_mask_starts_its_object(run, geometry):
    masks = np.where(ellipsoid(), np.uint8(2), np.uint8(0))
    masks[0, :3, :3] = 254
    write_labelmap("start.nii.gz", masks, geometry)
    code, report, error = run("--start", "start.nii.gz", model="prompted")
    assert (code, error, set(report["objects"]), report["notes"]) == (0, "", {"2", "254"}, [])
    torch.manual_seed(0)
    network = PromptedNetwork((4, 4, 4)).eval()
    expected = session_mask(*(lambda s, n=n: s.set_start(n, masks == n) for n in (2, 254)), network=network)
    np.testing.assert_array_equal(mask(geometry), expected)


def test_a_network_that_does_not_look_at_masks_says_so(run, geometry):
    write_labelmap("start.nrrd", ellipsoid(), geometry)
    notes = run("--start", "start.nrrd", "--box", *BOX_IJK)[1]["notes"]
    assert notes == ["this network does not take start masks as input: that of label 1 was not used"]


@pytest.fixture(scope="module")
def bad_folder(tmp_path_factory):
    """An image on a flipped grid, points and a lasso on it, and files that are wrong in one way each."""
    folder = tmp_path_factory.mktemp("bad")
    grid = Geometry(SHAPE_KJI, np.array([[-0.5, 0, 0, 90], [0, 0.7, 0, -20], [0, 0, 3, 7], [0, 0, 0, 1]]))
    away = [(k + 30, j, i) for k, j, i in ROUND_KJI]
    eight = [ROUND_KJI[n] for n in (0, 4, 2, 6)]
    steep = [(2, 2, 2), (2, 15, 15), (7, 15, 2), (7, 2, 15)]
    for name, points in {"in": INSIDE, "empty": [], "outside": [*INSIDE, (14, 10, 10)]}.items():
        write(folder / f"{name}.mrk.json", markup(grid, "Fiducial", points))
    for name, points in {"c": ROUND_KJI, "eight": eight, "steep": steep, "away": away}.items():
        write(folder / f"{name}.mrk.json", markup(grid, "ClosedCurve", points))
    write(folder / "broken.mrk.json", "{")
    moved = grid.ijk_to_ras + np.outer([1, 0, 0, 0], [0, 0, 0, 2])
    blob = ellipsoid()
    write_image(folder / "image.nrrd", noisy(blob), grid)
    write_labelmap(folder / "blank.nrrd", blob & False, grid)
    write_labelmap(folder / "wrong.nrrd", blob * np.uint8(255), grid)
    write_labelmap(folder / "moved.nrrd", blob, Geometry(SHAPE_KJI, moved))
    write_labelmap(folder / "small.nrrd", blob[1:], Geometry((13, 20, 25), grid.ijk_to_ras))
    write_image(folder / "half.nrrd", blob.astype(np.float32) / 2, grid)
    return folder


@pytest.fixture
def bad_files(bad_folder, monkeypatch):
    """The working directory has them, and is found unchanged."""
    monkeypatch.chdir(bad_folder)
    before = sorted(bad_folder.iterdir())
    yield
    assert sorted(bad_folder.iterdir()) == before


def assert_refused(ran, text):
    code, report, error = ran
    assert (code, report) == (2, None)
    assert error.startswith("interactiveseg: ")
    assert error.count("\n") == 1
    assert text in error


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "give a --box, --scribbles, --points, --lasso or --start"),
        (("--points-label", 1), "give a --box"),
        (("--points", "in.mrk.json", "--points-label", 1, "--points-label", 2), "1 --points but 2 --points-label"),
        (("--lasso", "c.mrk.json", "--lasso", "c.mrk.json", "--lasso-label", 2), "2 --lasso but 1 --lasso-label"),
        (("--box", *BOX_IJK, "--lasso-label", 2), "0 --lasso but 1 --lasso-label"),
        (("--points", "in.mrk.json", "--points-label", 256), "between 1 and 255, not 256"),
        (("--points", "in.mrk.json", "--points-label", 0), "not 0"),
        (("--points", "in.mrk.json", "--points-label", "liver"), "invalid int value: 'liver'"),
        (("--points", "in.mrk.json", "--points-label", BACKGROUND), "nothing to segment"),
        (("--points", "c.mrk.json"), "c.mrk.json must hold exactly one Fiducial, not 0"),
        (("--points", "none.mrk.json"), "none.mrk.json cannot be read: No such file"),
        (("--points", "empty.mrk.json"), "empty.mrk.json holds no point with a position"),
        (("--points", "outside.mrk.json"), "outside.mrk.json: 1 of 4 points lie outside the image"),
        (("--lasso", "in.mrk.json"), "in.mrk.json must hold exactly one ClosedCurve, not 0"),
        (("--lasso", "c.mrk.json", "--lasso-label", BACKGROUND), "1 to 254, not 255"),
        (("--lasso", "eight.mrk.json"), "eight.mrk.json: the lasso crosses itself near"),
        (("--lasso", "steep.mrk.json"), "steep.mrk.json: the lasso is not flat within one slice: it reaches over 5.00"),
        (("--lasso", "away.mrk.json"), ", k 36) lies outside the image of shape (25, 20, 14)"),
        (("--lasso", "broken.mrk.json"), "broken.mrk.json is not a Slicer markups file"),
        (("--start", "none.nrrd"), "none.nrrd does not exist"),
        (("--start", "blank.nrrd"), "the start mask blank.nrrd is empty"),
        (("--start", "wrong.nrrd"), "1 to 254, not 255"),
        (("--start", "moved.nrrd"), "lies up to 2 mm away"),
        (("--start", "small.nrrd"), "has the shape (25, 20, 13), not (25, 20, 14)"),
        (("--start", "half.nrrd"), "0.5"),
        (("--start", "mask.nrrd"), "mask.nrrd is given twice"),
    ],
)
@pytest.mark.usefixtures("bad_files")
def test_wrong_prompts_are_refused_in_one_line(run, words, text):
    assert_refused(run(*words), text)
