"""A session with a network that sees prompts: marks are obeyed, rounds repeat, and the network is not changed."""

import copy

import numpy as np
import pytest
import torch
from blobs import CENTRE_KJI, SHAPE_KJI, blob_volume, dice, ellipsoid, noisy
from scipy import ndimage

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.image.image_io import read_volume
from InteractiveSegLib.image.working_grid import GridSettings
from InteractiveSegLib.networks.checkpoint import load_network
from InteractiveSegLib.networks.prompted import PromptedNetwork
from InteractiveSegLib.progress import finish
from InteractiveSegLib.prompts.scribbles import BACKGROUND, Scribbles
from InteractiveSegLib.segmenting.adapt import AdaptSettings
from InteractiveSegLib.segmenting.session import ImageSession
from InteractiveSegLib.segmenting.settings import BifsegSettings

BOX = BoundingBox((2, 4, 6), (11, 17, 21))
FEW_UPDATES = AdaptSettings(rounds=2, updates=4)
SETTINGS = BifsegSettings(GridSettings(max_voxels=64**3), adapt=FEW_UPDATES)
COARSE = BifsegSettings(GridSettings(max_voxels=12**3), adapt=FEW_UPDATES)

both_ways = pytest.mark.parametrize("adapt", [False, True], ids=["as it is", "adapted"])


def untrained(seed=0):
    torch.manual_seed(seed)
    return PromptedNetwork((4, 4, 4)).eval()


def scribbles(*voxels_and_labels):
    voxels, labels = zip(*voxels_and_labels, strict=True)
    return Scribbles(np.array(voxels), np.array(labels))


def on_blob(label=1):
    """A line through the middle of the blob, and one on each side of it."""
    inside = (((6, 10, i), label) for i in range(9, 18))
    beside = (((6, j, i), BACKGROUND) for j in range(2, 18) for i in (2, 23))
    return scribbles(*inside, *beside)


def session_on(volume=None, *, box=None, marks=None, settings=SETTINGS, network=None, seed=0):
    session = ImageSession(volume or blob_volume(), network or untrained(), settings, seed)
    if box is not None:
        session.set_box(1, box)
    if marks is not None:
        session.add_scribbles(marks)
    return session


def mask_of(session, label=1):
    return session.labelmap() == label


def turned(volume, axis):
    """The same slices, along ``axis`` rather than k."""
    array = np.ascontiguousarray(np.moveaxis(volume.array_kji, 0, axis))
    spacing = list(volume.geometry.spacing_kji_mm[1:])
    spacing.insert(axis, volume.geometry.spacing_kji_mm[0])
    return Volume(array, Geometry(array.shape, np.diag([*spacing[::-1], 1.0])))


@both_ways
def test_a_box_alone_gives_a_mask_within_it(adapt):
    session = session_on(box=BOX)
    assert finish(session.segment(adapt)).adapted == adapt
    outside = np.ones(SHAPE_KJI, bool)
    outside[BOX.slices] = False
    assert not mask_of(session)[outside].any()
    probability = session.probability(1)
    assert probability.shape == SHAPE_KJI
    assert 0 <= probability.min() < probability.max() <= 1


@both_ways
def test_scribbles_alone_are_enough_even_before_training(adapt):
    session = session_on(marks=on_blob())
    result = finish(session.segment(adapt))
    assert dict(result.prompts.boxes) == {}
    assert dice(mask_of(session), ellipsoid()) > 0.85


def test_without_marks_of_the_background_scribbles_alone_are_enough():
    session = session_on(marks=scribbles((CENTRE_KJI, 1), ((6, 10, 14), 1)))
    finish(session.segment())
    assert mask_of(session)[CENTRE_KJI]


def test_a_box_that_was_drawn_is_shown_to_the_network_and_one_made_of_scribbles_is_not(monkeypatch):
    shown = []
    network = untrained()
    real = PromptedNetwork.feature_steps
    monkeypatch.setattr(
        PromptedNetwork, "feature_steps", lambda *args: shown.append(args[1][0, 1]) or (yield from real(*args))
    )
    finish(session_on(marks=on_blob(), network=network).segment(adapt=False))
    assert not any(box.any() for box in shown)
    shown.clear()
    finish(session_on(box=BOX, marks=on_blob(), network=network).segment(adapt=False))
    assert shown[0].sum() == np.prod(BOX.shape_kji)


@both_ways
@pytest.mark.parametrize("settings", [SETTINGS, COARSE], ids=["full resolution", "coarse grid"])
def test_scribbled_voxels_always_get_their_label(settings, adapt):
    marks = np.zeros(SHAPE_KJI, np.uint8)
    marks[5:7, 9:11, 12:14] = np.indices((2, 2, 2)).sum(axis=0) % 2 * (BACKGROUND - 1) + 1  # neighbours disagree
    marks[2, 4, 6], marks[6, 10, 16] = 1, BACKGROUND
    session = session_on(box=BOX, marks=Scribbles.from_labelmap(marks), settings=settings)
    finish(session.segment(adapt))
    np.testing.assert_array_equal(mask_of(session)[marks > 0], marks[marks > 0] == 1)


@pytest.mark.parametrize("settings", [SETTINGS, COARSE], ids=["full resolution", "coarse grid"])
def test_the_same_prompts_and_seed_give_the_same_mask(settings):
    sessions = [session_on(box=BOX, marks=on_blob(), settings=settings, seed=3) for _ in range(2)]
    for session in sessions:
        finish(session.segment())
    one, again = sessions[0].current, finish(sessions[0].segment())
    np.testing.assert_array_equal(one.objects[1].bits, again.objects[1].bits)
    np.testing.assert_array_equal(one.objects[1].probability, again.objects[1].probability)
    np.testing.assert_array_equal(sessions[0].labelmap(), sessions[1].labelmap())
    np.testing.assert_array_equal(sessions[0].probability(1), sessions[1].probability(1))


def test_new_scribbles_are_seen_in_a_box_that_was_looked_at_before():
    slowly = session_on(box=BOX)
    finish(slowly.segment(adapt=False))
    before = slowly.probability(1)
    slowly.add_scribbles(on_blob())
    finish(slowly.segment(adapt=False))
    at_once = session_on(box=BOX, marks=on_blob())
    finish(at_once.segment(adapt=False))
    np.testing.assert_array_equal(slowly.probability(1), at_once.probability(1))
    assert np.abs(slowly.probability(1) - before).max() > 0.1


def test_undo_and_redo_bring_back_prompts_and_mask():
    session = session_on(box=BOX)
    first = finish(session.segment())
    labelmap = session.labelmap()
    session.add_scribbles(on_blob(BACKGROUND))
    second = finish(session.segment())
    assert not np.array_equal(session.labelmap(), labelmap)
    assert session.undo() is first
    assert session.prompts is first.prompts
    np.testing.assert_array_equal(session.labelmap(), labelmap)
    assert session.redo() is second


def test_the_network_is_not_changed_by_adaptation():
    network = untrained()
    before = copy.deepcopy(network.state_dict())
    session = session_on(box=BOX, marks=on_blob(), network=network)
    plain = finish(session.segment(adapt=False)).objects[1].probability
    adapted = finish(session.segment(adapt=True)).objects[1].probability
    assert not np.array_equal(plain, adapted)
    for state in (network.state_dict(), session.segmenter._network.state_dict()):
        assert all(torch.equal(value, before[key]) for key, value in state.items())
    np.testing.assert_array_equal(finish(session.segment(adapt=False)).objects[1].probability, plain)


@both_ways
def test_of_two_objects_each_gets_its_own_voxels(adapt):
    shape = (12, 16, 33)
    first, second = (ellipsoid(shape, (6, 8, i), (4, 5, 6)) for i in (8, 24))
    array = noisy(first | second)
    session = session_on(Volume(array, Geometry(shape, np.eye(4))))
    session.set_box(1, BoundingBox((1, 2, 1), (11, 14, 17)))
    marks = ((((6, 8, i), 1) for i in (6, 7, 8)), (((6, 8, i), 2) for i in (23, 24, 25)))
    session.add_scribbles(scribbles(*marks[0], *marks[1], ((6, 8, 16), BACKGROUND), ((1, 2, 16), BACKGROUND)))
    result = finish(session.segment(adapt))
    assert set(result.objects) == {1, 2}
    labelmap = session.labelmap()
    assert (labelmap[6, 8, 6:9] == 1).all()
    assert (labelmap[6, 8, 23:26] == 2).all()
    assert labelmap[6, 8, 16] == 0
    assert dice(labelmap == 1, first) > 0.7
    assert dice(labelmap == 2, second) > 0.7


@both_ways
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_single_slice_is_an_image_along_any_axis(axis, adapt):
    bright = ellipsoid()[6:7]
    flat = Volume(noisy(bright), Geometry(bright.shape, np.diag([0.5, 0.5, 5.0, 1.0])))
    marks = on_blob()
    indices = np.insert(marks.indices_kji[:, 1:], axis, 0, axis=1)
    session = session_on(turned(flat, axis), marks=Scribbles(indices, marks.labels))
    finish(session.segment(adapt))
    assert mask_of(session).shape[axis] == 1
    assert dice(np.moveaxis(mask_of(session), axis, 0), bright) > 0.85


@pytest.mark.parametrize("axis", [1, 2])
def test_thick_slices_along_another_axis_give_the_same_mask(axis):
    volume, marks = blob_volume((4.0, 0.75, 0.5)), on_blob()
    straight = session_on(volume, box=BOX, marks=marks)
    indices = np.insert(marks.indices_kji[:, 1:], axis, marks.indices_kji[:, 0], axis=1)
    corners = [np.insert(corner[1:], axis, corner[0]).tolist() for corner in (BOX.start_kji, BOX.stop_kji)]
    box = BoundingBox(*map(tuple, corners))
    aside = session_on(turned(volume, axis), box=box, marks=Scribbles(indices, marks.labels))
    for session in (straight, aside):
        finish(session.segment(adapt=False))
    assert dice(mask_of(straight), ellipsoid()) > 0.9
    back = np.moveaxis(aside.probability(1), axis, 0)
    np.testing.assert_allclose(back, straight.probability(1), atol=1e-3)
    assert dice(np.moveaxis(mask_of(aside), axis, 0), mask_of(straight)) > 0.99


@both_ways
def test_a_constant_image_ends_with_a_mask_and_no_nan(adapt):
    volume = Volume(np.full(SHAPE_KJI, 1000, np.uint16), Geometry(SHAPE_KJI, np.eye(4)))
    session = session_on(volume, box=BOX, marks=scribbles(((6, 10, 13), 1), ((3, 5, 7), BACKGROUND)))
    finish(session.segment(adapt))
    assert np.isfinite(session.probability(1)).all()
    assert mask_of(session)[6, 10, 13]
    assert not mask_of(session)[3, 5, 7]


def test_the_default_settings_allow_a_finer_grid_than_those_of_other_3d_networks():
    assert BifsegSettings.for_network(untrained()).grid.max_voxels == 64**3
    session = ImageSession(blob_volume(), untrained())
    session.set_box(1, BOX)
    assert finish(session.segment(adapt=False)).objects[1].grid.is_full_resolution


def test_fine_tuning_to_strokes_with_little_beside_the_object_does_no_harm(shared_data):
    folder = shared_data / "acdc_cardiac"
    volume = read_volume(folder / "patient003_frame01_image.nii.gz")
    truth = read_volume(folder / "patient003_frame01_label.nii.gz").array_kji == 1
    depth = ndimage.distance_transform_edt(truth, (1000, 1, 1))
    away = ndimage.distance_transform_edt(~truth, (1000, 1, 1))
    marks = np.zeros(truth.shape, np.uint8)
    for k in np.flatnonzero(truth.any(axis=(1, 2))):
        marks[k][depth[k] >= 0.6 * depth[k].max()] = 1
        if k % 2 == 0:
            ring = np.argwhere((away[k] >= 5) & (away[k] < 6))
            marks[k][tuple(ring[np.abs(ring - ring[0]).max(axis=1) <= 12].T)] = BACKGROUND
    found = {}
    for adapt in (True, False):
        session = ImageSession(volume, load_network("ensemble"))
        session.add_scribbles(Scribbles.from_labelmap(marks))
        assert finish(session.segment(adapt)).notes == ()
        found[adapt] = dice(session.labelmap() == 1, truth)
    assert found[False] > 0.75
    assert found[True] > found[False] - 0.1
