"""Every method behind the common interface: its answers to boxes and scribbles, and where it must not mark."""

import numpy as np
import pytest
import torch
from blobs import CENTRE_KJI, RADII_KJI, SHAPE_KJI, blob_network, blob_volume, dice, ellipsoid, noisy

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.prompted.methods import BASELINES, SEED_METHODS, model_of, segmenter
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.networks.checkpoint import save_network
from InteractiveSegLib.networks.pnet import PNet
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import BACKGROUND, Scribbles

CPU = torch.device("cpu")
BOX = BoundingBox.of_mask(ellipsoid())
OTHER = BoundingBox((1, 1, 1), (4, 4, 5))
METHODS = (*BASELINES, "NET", "NET:fixed", "NET:plain", "NET:straight")
every_method = pytest.mark.parametrize("method", METHODS)
every_seed_method = pytest.mark.parametrize("method", SEED_METHODS)


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    folder = tmp_path_factory.mktemp("net")
    save_network(blob_network(PNet), folder / "tiny.safetensors", {})
    return str(folder)


@pytest.fixture
def segment(net):
    def segment(method, prompts, volume=None):
        return segmenter(method.replace("NET", net), volume or blob_volume(), 0, CPU).segment(prompts)

    return segment


def scribbles(*lines):
    """Lines along i: (label, k, j, first i, last i)."""
    marks = np.zeros(SHAPE_KJI, np.uint8)
    for label, k, j, first, last in lines:
        marks[k, j, first : last + 1] = label
    return Scribbles.from_labelmap(marks)


INSIDE = (1, 6, 10, 10, 16)
ABOVE = (BACKGROUND, 6, 5, 8, 10)  # in a corner of the box, outside the object


def outside(labelmap, label, box):
    kept = labelmap.copy()
    kept[box.slices] = 0
    return np.count_nonzero(kept == label)


@every_method
def test_a_box_and_scribbles_give_a_mask_that_holds_the_scribbles_and_stays_in_the_box(segment, method):
    drawn = scribbles(INSIDE, ABOVE)
    found = segment(method, Prompts({1: BOX}, drawn))
    assert (found.labelmap.shape, found.labelmap.dtype) == (SHAPE_KJI, np.uint8)
    assert set(np.unique(found.labelmap)) == {0, 1}
    assert outside(found.labelmap, 1, BOX) == 0
    if method != "box":
        marked = found.labelmap[tuple(drawn.indices_kji.T)]
        np.testing.assert_array_equal(marked, drawn.labels % BACKGROUND)


@pytest.mark.parametrize("method", [name for name in METHODS if name != "box"])
def test_every_method_but_the_box_finds_a_bright_blob(segment, method):
    found = segment(method, Prompts({1: BOX}, scribbles(INSIDE, ABOVE)))
    assert dice(found.labelmap == 1, ellipsoid()) > 0.85


@every_method
def test_the_time_of_a_step_is_the_sum_of_its_stages(segment, method):
    stages = segment(method, Prompts({1: BOX}, scribbles(INSIDE))).stages
    assert stages
    assert min(stages.values()) >= 0
    assert sum(stages.values()) > 0 or method == "box"


@every_seed_method
@pytest.mark.parametrize("label", [1, 254])
def test_without_scribbles_a_seed_method_gives_the_box(segment, method, label):
    expected = np.zeros(SHAPE_KJI, np.uint8)
    expected[BOX.slices] = label
    np.testing.assert_array_equal(segment(method, Prompts({label: BOX})).labelmap, expected)
    np.testing.assert_array_equal(segment("box", Prompts({label: BOX}, scribbles(ABOVE))).labelmap, expected)


@every_seed_method
def test_an_object_without_scribbles_gets_its_box_beside_one_with_scribbles(segment, method):
    found = segment(method, Prompts({1: BOX, 2: OTHER}, scribbles(INSIDE)))
    alone = OTHER.slices
    assert (found.labelmap[alone] == 2).all()
    assert outside(found.labelmap, 2, OTHER) == 0
    assert 0 < np.count_nonzero(found.labelmap == 1) < BOX.size


@every_seed_method
def test_what_no_box_holds_is_background_to_a_seed_method(segment, method):
    # a second blob, as bright as the first, touches its box from outside
    twin = ellipsoid() | ellipsoid(SHAPE_KJI, (6, 10, 22), (2, 3, 2.9))
    volume = Volume(noisy(twin), Geometry(SHAPE_KJI, np.eye(4)))
    tight = BoundingBox((2, 4, 6), (11, 17, 20))
    found = segment(method, Prompts({1: tight}, scribbles(INSIDE)), volume)
    assert outside(found.labelmap, 1, tight) == 0
    assert np.count_nonzero(found.labelmap) > 100
    free = segment(method, Prompts(scribbles=scribbles((1, 6, 10, 8, 23), (BACKGROUND, 6, 2, 6, 20))), volume)
    assert outside(free.labelmap, 1, tight) > 0  # without a box nothing stops it


@pytest.mark.parametrize("method", ["grow", "grabcut", "NET"])
def test_each_object_stays_in_its_own_box(segment, method):
    marks = scribbles(INSIDE, (2, 2, 2, 2, 3))
    found = segment(method, Prompts({1: BOX, 2: OTHER}, marks))
    assert outside(found.labelmap, 1, BOX) == outside(found.labelmap, 2, OTHER) == 0
    assert (found.labelmap[2, 2, 2:4] == 2).all()
    assert (found.labelmap[6, 10, 10:17] == 1).all()


@every_seed_method
def test_an_object_does_not_run_over_into_the_box_of_another(segment, method):
    # the bright bar reaches from the first box into the second, whose own scribble lies in the dark far from it
    bar = np.zeros(SHAPE_KJI, bool)
    bar[5:9, 8:13, 4:18] = True
    left, right = BoundingBox((4, 7, 3), (10, 14, 11)), BoundingBox((2, 3, 11), (12, 18, 24))
    marks = scribbles((1, 6, 10, 5, 10), (2, 10, 16, 22, 23))
    found = segment(method, Prompts({1: left, 2: right}, marks), Volume(noisy(bar), Geometry(SHAPE_KJI, np.eye(4))))
    assert outside(found.labelmap, 1, left) == outside(found.labelmap, 2, right) == 0
    assert np.count_nonzero(found.labelmap[bar] == 1) > 80


@every_method
def test_a_box_is_grown_to_hold_its_scribbles_and_no_further(segment, method):
    half = BoundingBox(BOX.start_kji, (*BOX.stop_kji[:2], 13))
    found = segment(method, Prompts({1: half}, scribbles((1, 6, 10, 10, 17))))
    grown = BoundingBox(half.start_kji, (*half.stop_kji[:2], 18))
    assert found.labelmap[6, 10, 17] == 1
    assert outside(found.labelmap, 1, grown) == 0
    if method == "box":
        assert np.count_nonzero(found.labelmap) == grown.size


@every_method
def test_scribbles_alone_are_enough(segment, method):
    found = segment(method, Prompts(scribbles=scribbles(INSIDE, (BACKGROUND, 6, 3, 8, 18))))
    assert found.labelmap[6, 10, 10:17].all()
    assert set(np.unique(found.labelmap)) == {0, 1}


def test_a_box_made_of_scribbles_has_a_margin_of_a_third_of_their_length_but_some_voxels_at_least(segment):
    # 7 mm along i: 0.35 x 7 = 2.45 mm is less than 8 voxels of the finest axis (1 mm): 8 mm, 3 slices of 3 mm
    shape = (20, 40, 40)
    marks = np.zeros(shape, np.uint8)
    marks[10, 20, 15:22] = 1
    volume = Volume(np.zeros(shape, np.int16), Geometry(shape, np.diag([1.0, 1.0, 3.0, 1.0])))
    found = segment("box", Prompts(scribbles=Scribbles.from_labelmap(marks)), volume)
    assert BoundingBox.of_mask(found.labelmap) == BoundingBox((7, 12, 7), (14, 29, 30))


@every_seed_method
def test_a_seed_method_that_has_nothing_to_tell_the_object_from_gives_the_box(segment, method):
    whole = BoundingBox.whole(SHAPE_KJI)
    assert segment(method, Prompts({1: whole}, scribbles(INSIDE))).labelmap.all()
    alone = segment(method, Prompts(scribbles=scribbles(INSIDE))).labelmap
    np.testing.assert_array_equal(alone, segment("box", Prompts(scribbles=scribbles(INSIDE))).labelmap)


def test_grab_cut_of_a_box_that_is_the_whole_image_keeps_to_the_scribbles(segment):
    found = segment("grabcut", Prompts({1: BoundingBox.whole(SHAPE_KJI)}, scribbles(INSIDE, ABOVE))).labelmap
    assert (found[6, 5, 8:11] == 0).all()
    assert np.count_nonzero(found == 0) == 3


def test_the_variants_of_a_model_leave_out_fine_tuning_and_then_refinement(segment):
    prompts = Prompts({1: BOX}, scribbles(INSIDE, ABOVE))
    grainy = Volume(noisy(ellipsoid(), contrast=40, noise=40), Geometry(SHAPE_KJI, np.eye(4)))
    full, fixed, plain = (segment(name, prompts, grainy) for name in ("NET", "NET:fixed", "NET:plain"))
    assert any("fine-tuning" in stage for stage in full.stages)
    assert not any("fine-tuning" in stage for stage in (*fixed.stages, *plain.stages))
    np.testing.assert_array_equal(fixed.probabilities[1], plain.probabilities[1])
    full, alone = (segment(name, Prompts({1: BOX}), grainy) for name in ("NET", "NET:fixed"))
    assert (full.probabilities[1] != alone.probabilities[1]).any()
    inside = np.zeros(SHAPE_KJI, bool)
    inside[BOX.slices] = True
    expected = (plain.probabilities[1] > 0.5) & inside
    marks = scribbles(INSIDE, ABOVE).to_labelmap(SHAPE_KJI)
    expected[marks > 0] = marks[marks > 0] == 1
    np.testing.assert_array_equal(plain.labelmap == 1, expected)
    assert (fixed.labelmap != plain.labelmap).any()


def test_straight_cues_see_no_edges(segment):
    prompts = Prompts({1: BOX}, scribbles(INSIDE, ABOVE))
    found, straight = (segment(name, prompts) for name in ("NET", "NET:straight"))
    assert any("fine-tuning" in stage for stage in straight.stages)
    edge = ellipsoid() != np.roll(ellipsoid(), 1, axis=2)
    contrast = [np.abs(np.diff(each.probabilities[1], axis=2))[edge[:, :, 1:]].mean() for each in (found, straight)]
    assert contrast[0] > contrast[1] > 0


def test_only_networks_give_probabilities(segment):
    prompts = Prompts({1: BOX, 2: OTHER}, scribbles(INSIDE))
    assert set(segment("NET:fixed", prompts).probabilities) == {1, 2}
    assert not segment("grow", prompts).probabilities


@pytest.mark.parametrize("method", ["grabcut", "mixtures", "NET"])
def test_the_same_prompts_give_the_same_mask(segment, method):
    prompts = Prompts({1: BOX}, scribbles(INSIDE, ABOVE))
    np.testing.assert_array_equal(segment(method, prompts).labelmap, segment(method, prompts).labelmap)


def test_thick_slices_and_a_single_slice_are_no_obstacle(segment):
    disc = ellipsoid((1, 30, 40), (0, *CENTRE_KJI[1:]), RADII_KJI)
    volume = Volume(noisy(disc), Geometry(disc.shape, np.diag([0.5, 0.5, 8.0, 1.0])))
    marks = np.zeros(disc.shape, np.uint8)
    marks[0, 10, 10:16] = 1
    prompts = Prompts({1: BoundingBox.of_mask(disc)}, Scribbles.from_labelmap(marks))
    for method in METHODS:
        found = segment(method, prompts, volume).labelmap
        assert found.shape == disc.shape
        if method in BASELINES and method != "box":
            assert dice(found == 1, disc) > 0.85, method


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pnet", ("pnet", "")),
        ("pnet:fixed", ("pnet", "fixed")),
        ("runs/a:plain", ("runs/a", "plain")),
        (r"C:\models\liver", (r"C:\models\liver", "")),
        (r"C:\models\liver:fixed", (r"C:\models\liver", "fixed")),
        ("d:/models", ("d:/models", "")),
    ],
)
def test_the_variant_follows_the_last_colon_unless_that_is_a_drive_letters(name, expected):
    assert model_of(name) == expected


@pytest.mark.parametrize("name", ["pnet:frozen", "pnet:", "pnet:fixed:Plain"])
def test_an_unknown_variant_is_refused(name):
    with pytest.raises(InputError, match=rf"'{name}'.*fixed, plain, straight, not '{name.rpartition(':')[2]}'"):
        segmenter(name, blob_volume(), 0, CPU)


@pytest.mark.parametrize("name", ["Grow", "unet", "unet:fixed"])
def test_an_unknown_model_is_refused(name):
    with pytest.raises(InputError, match=f"no model '{name.partition(':')[0]}'"):
        segmenter(name, blob_volume(), 0, CPU)
