"""An empty mask is never silent: each label without a voxel has a note, with the reason if it is known."""

import numpy as np
import pytest
from blobs import SHAPE_KJI, dice, ellipsoid, noisy

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.networks.checkpoint import load_network
from InteractiveSegLib.progress import finish
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import Scribbles
from InteractiveSegLib.segmenting.image_segmenter import ImageSegmenter

BOX = BoundingBox((2, 4, 6), (11, 17, 21))


@pytest.fixture(scope="module")
def networks():
    return {name: load_network(name) for name in ("pnet", "prompted", "ensemble")}


def round_of(array, prompts, network):
    volume = Volume(array, Geometry(array.shape, np.eye(4)))
    return finish(ImageSegmenter(volume, network).round_steps(prompts, adapt=False))


def boxes(*given):
    return Prompts(dict(enumerate(given, 1)))


@pytest.mark.parametrize(
    "array", [np.zeros(SHAPE_KJI, np.int16), np.full(SHAPE_KJI, -1024.0), np.ones(SHAPE_KJI, bool)]
)
def test_in_a_constant_image_the_value_is_named(networks, array):
    found = round_of(array, boxes(BOX), networks["ensemble"])
    value = f"{float(array.flat[0]):g}"
    assert not found.objects[1].mask.any()
    assert found.notes == (
        f"the mask of label 1 is empty: the image is constant there, every voxel has the value {value}",
    )


def test_a_constant_part_with_a_hole_of_nan_is_constant(networks):
    array = np.full(SHAPE_KJI, 3.0, np.float32)
    array[5, 6, 7] = np.nan
    notes = round_of(array, boxes(BOX), networks["ensemble"]).notes
    assert any("constant there, every voxel has the value 3" in note for note in notes)


@pytest.mark.parametrize("at", [(0, 0, 0), (6, 10, 13), (13, 19, 24)])
def test_a_box_of_one_voxel_is_named(networks, at):
    box = BoundingBox(at, tuple(index + 1 for index in at))
    found = round_of(noisy(ellipsoid()), boxes(box), networks["ensemble"])
    assert not found.objects[1].mask.any()
    (note,) = found.notes
    assert "label 1 is empty: its box holds a single voxel" in note


@pytest.mark.parametrize("count", [2, 3, 4])
def test_of_objects_with_one_box_those_that_get_nothing_are_named(networks, count):
    found = round_of(noisy(ellipsoid()), boxes(*[BOX] * count), networks["ensemble"])
    assert dice(found.objects[1].mask[: SHAPE_KJI[0]], ellipsoid()[found.objects[1].grid.crop.slices]) > 0.8
    assert len(found.notes) == count - 1
    for label, note in enumerate(found.notes, 2):
        assert note.startswith(f"the mask of label {label} is empty: it has the same box as label 1")


def test_an_object_whose_voxels_all_go_to_another_is_named(networks):
    outer = BoundingBox((1, 3, 5), (12, 18, 22))
    scribbles = Scribbles(np.argwhere(ellipsoid()), np.full(np.count_nonzero(ellipsoid()), 2))
    found = round_of(noisy(ellipsoid()), Prompts({1: BOX, 2: outer}, scribbles), networks["prompted"])
    assert not found.objects[1].mask.any()
    (note,) = found.notes
    assert "label 1 is empty" in note


def test_a_mask_that_is_not_empty_has_no_note(networks):
    assert round_of(noisy(ellipsoid()), boxes(BOX), networks["ensemble"]).notes == ()


@pytest.mark.parametrize(("name", "least"), [("pnet", 0.4), ("prompted", 0.9), ("ensemble", 0.9)])
@pytest.mark.parametrize("radius", [5, 7, 8])
def test_a_box_of_the_whole_image_finds_the_object_in_it(networks, name, least, radius):
    shape = (20, 40, 40)
    bright = ellipsoid(shape, (10, 20, 20), (radius, radius, radius))
    found = round_of(noisy(bright), boxes(BoundingBox.whole(shape)), networks[name])
    assert dice(found.objects[1].mask, bright) > least
    assert found.notes == ()


@pytest.mark.parametrize("array", [np.full(SHAPE_KJI, np.nan), np.full(SHAPE_KJI, np.inf, np.float32)])
def test_an_image_without_a_finite_value_is_refused(networks, array):
    with pytest.raises(InputError, match="NaN or infinite"):
        round_of(array, boxes(BOX), networks["ensemble"])
