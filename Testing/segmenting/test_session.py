"""Guarantees of a session: rounds follow from prompts alone, nothing is lost, and bad input changes nothing."""

import gc
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from blobs import (
    CENTRE_KJI,
    SHAPE_KJI,
    blob_network,
    blob_volume,
    dice,
    ellipsoid,
    noisy,
)

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.image.working_grid import GridSettings
from InteractiveSegLib.networks.pcnet import PCNet
from InteractiveSegLib.networks.pnet import PNet
from InteractiveSegLib.progress import Progress, finish
from InteractiveSegLib.prompts.scribbles import BACKGROUND, Scribbles
from InteractiveSegLib.segmenting import image_segmenter as segmenter_module
from InteractiveSegLib.segmenting.adapt import AdaptSettings
from InteractiveSegLib.segmenting.refine import EnergySettings
from InteractiveSegLib.segmenting.session import ImageSession
from InteractiveSegLib.segmenting.settings import BifsegSettings

BOX = BoundingBox((2, 4, 6), (11, 17, 21))
COARSE = BifsegSettings(grid=GridSettings(max_voxels=12**3))
NOTHING = np.empty((0, 3), np.int64)


def scribbles(*voxels_and_labels):
    voxels, labels = zip(*voxels_and_labels, strict=True)
    return Scribbles(np.array(voxels), np.array(labels))


def boxed_session(volume=None, box=BOX, **options):
    session = ImageSession(volume or blob_volume(), blob_network(), **options)
    session.set_box(1, box)
    return session


def mask_of(session, label=1):
    return session.labelmap() == label


def with_array(array, spacing_kji_mm=(1.0, 1.0, 1.0)):
    return Volume(array, Geometry(array.shape, np.diag([*spacing_kji_mm[::-1], 1.0])))


def two_blobs():
    """Two blobs that touch at i = 14, and the boxes of both, which overlap there."""
    first, second = (ellipsoid((12, 16, 29), (6, 8, i), (4, 5, 6)) for i in (8, 20))
    session = ImageSession(with_array(noisy(first | second)), blob_network())
    session.set_box(1, BoundingBox((1, 2, 1), (11, 14, 18)))
    session.set_box(2, BoundingBox((1, 2, 11), (11, 14, 28)))
    return session, first, second


def disputed_corner():
    """Scribbles that the plain prediction does not obey: an edge of the blob is not the object, a dark voxel is."""
    bright = ellipsoid()
    outside = np.argwhere(bright & (np.arange(SHAPE_KJI[2]) == 18))
    return scribbles(*((tuple(voxel), BACKGROUND) for voxel in outside), ((6, 5, 8), 1))


# masks


def test_a_box_alone_is_enough():
    session = boxed_session()
    result = finish(session.segment(adapt=False))
    assert dice(mask_of(session), ellipsoid()) > 0.85
    assert (result.adapted, result.notes) == (False, ())
    assert session.labelmap().dtype == np.uint8
    probability = session.probability(1)
    assert probability.shape == SHAPE_KJI
    assert dice(probability > 0.5, ellipsoid()) > 0.8


def test_nothing_outside_the_box_is_foreground():
    session = boxed_session(box=BoundingBox((2, 4, 6), (8, 17, 21)))
    finish(session.segment(adapt=False))
    assert mask_of(session)[7].any()
    assert not mask_of(session)[8:].any()


def test_scribbles_alone_are_enough():
    session = ImageSession(blob_volume(), blob_network())
    session.add_scribbles(scribbles(*(((6, 10, i), 1) for i in range(9, 18)), ((1, 1, 1), BACKGROUND)))
    result = finish(session.segment())
    assert dice(mask_of(session), ellipsoid()) > 0.85
    assert dict(result.prompts.boxes) == {}


def test_a_2d_network_goes_slice_by_slice():
    session = ImageSession(blob_volume((5.0, 0.5, 0.5)), blob_network(PNet))
    session.set_box(1, BOX)
    finish(session.segment())
    assert dice(mask_of(session), ellipsoid()) > 0.85


def test_fine_tuning_to_scribbles_changes_more_than_the_scribbled_voxels():
    bright = ellipsoid()
    array = noisy(bright, noise=4)
    dim = ellipsoid(centre_kji=(6, 10, 20), radii_kji=(3, 4, 4)) & ~bright
    array[dim] += 20
    marks = scribbles(*((tuple(voxel), 1) for voxel in np.argwhere(dim)[::6]), ((1, 10, 13), BACKGROUND))
    masks = []
    for adapt in (False, True):
        session = boxed_session(with_array(array), BoundingBox((2, 4, 5), (11, 17, 25)))
        session.add_scribbles(marks)
        assert finish(session.segment(adapt)).adapted == adapt
        masks.append(mask_of(session))
    assert dice(masks[1], bright | dim) > dice(masks[0], bright | dim) + 0.01


@pytest.mark.parametrize("settings", [BifsegSettings(), COARSE], ids=["full resolution", "coarse grid"])
@pytest.mark.parametrize("adapt", [False, True])
def test_scribbled_voxels_hold_their_labels_at_full_resolution(settings, adapt):
    session = boxed_session(settings=settings)
    # neighbours of opposite label share a voxel of the coarse grid
    marks = np.zeros(SHAPE_KJI, np.uint8)
    marks[5:7, 9:11, 12:14] = np.indices((2, 2, 2)).sum(axis=0) % 2 * (BACKGROUND - 1) + 1
    marks[2, 4, 6] = 1
    session.add_scribbles(Scribbles.from_labelmap(marks))
    finish(session.segment(adapt))
    np.testing.assert_array_equal(mask_of(session)[marks > 0], marks[marks > 0] == 1)


def test_fine_edges_come_back_from_a_coarse_grid():
    shape = (40, 48, 56)
    bright = ellipsoid(shape, (20, 24, 28), (12, 14, 18))
    session = ImageSession(
        with_array(noisy(bright, noise=3)), blob_network(), BifsegSettings(grid=GridSettings(max_voxels=14**3))
    )
    session.set_box(1, BoundingBox((6, 8, 8), (34, 40, 48)))
    result = finish(session.segment())
    found = result.objects[1]
    assert not found.grid.is_full_resolution
    assert found.probability.size <= 14**3
    blocks = found.grid.interpolated(torch.from_numpy(found.probability)).numpy() > 0.5
    assert dice(mask_of(session), bright) > max(0.95, dice(blocks, bright[found.grid.crop.slices]) + 0.02)


# rounds


def test_the_same_prompts_and_seed_give_the_same_mask_in_another_session():
    first, second = (boxed_session(seed=3) for _ in range(2))
    for session in (first, second):
        finish(session.segment())
        session.add_scribbles(disputed_corner())
        finish(session.segment())
    np.testing.assert_array_equal(first.labelmap(), second.labelmap())
    np.testing.assert_array_equal(first.probability(1), second.probability(1))


def test_a_round_follows_from_its_prompts_not_from_their_order_or_the_rounds_before():
    marks = disputed_corner()
    halves = [Scribbles(marks.indices_kji[n::2], marks.labels[n::2]) for n in (0, 1)]
    slowly, at_once = boxed_session(), ImageSession(blob_volume(), blob_network())
    for half in halves:
        finish(slowly.segment())
        slowly.add_scribbles(half)
    finish(slowly.segment())
    for half in reversed(halves):
        at_once.add_scribbles(half)
    at_once.set_box(1, BOX)
    finish(at_once.segment())
    np.testing.assert_array_equal(slowly.labelmap(), at_once.labelmap())
    np.testing.assert_array_equal(slowly.probability(1), at_once.probability(1))


def test_repeating_a_step_repeats_its_result():
    session = boxed_session()
    one, other = finish(session.fine_tune()), finish(session.fine_tune())
    np.testing.assert_array_equal(one.objects[1].bits, other.objects[1].bits)
    np.testing.assert_array_equal(one.objects[1].probability, other.objects[1].probability)


def test_undo_and_redo_bring_back_prompts_and_mask():
    session = boxed_session()
    states = [(session.current, session.labelmap(), session.prompts)]
    for marks in (Scribbles.none(), disputed_corner(), scribbles(((6, 10, 13), BACKGROUND))):
        session.add_scribbles(marks)
        finish(session.segment())
        states.append((session.current, session.labelmap(), session.prompts))
    backwards = [session.undo() and session.current for _ in range(3)]
    assert backwards == [state[0] for state in states[2::-1]]
    assert not session.can_undo
    assert session.prompts.is_empty
    assert not session.labelmap().any()
    for round_, labelmap, prompts in states[1:]:
        assert session.redo() is round_ is session.current
        assert session.prompts is prompts
        np.testing.assert_array_equal(session.labelmap(), labelmap)
    assert not session.can_redo


def test_a_new_round_after_undo_drops_what_was_undone():
    session = boxed_session()
    for marks in (Scribbles.none(), disputed_corner()):
        session.add_scribbles(marks)
        finish(session.segment())
    session.undo()
    assert session.can_redo
    session.add_scribbles(scribbles(((6, 10, 13), 1)))
    new = finish(session.segment())
    assert not session.can_redo
    session.undo()
    assert session.redo() is new


def test_undo_and_redo_are_refused_if_there_is_nothing_to_do():
    session = boxed_session()
    with pytest.raises(InputError, match="nothing to redo"):
        session.redo()
    assert dict(session.prompts.boxes) == {1: BOX}
    session.undo()
    with pytest.raises(InputError, match="nothing to undo"):
        session.undo()


def test_undo_forgets_the_notes_of_what_was_drawn_and_never_segmented():
    session = boxed_session()
    finish(session.segment(adapt=False))
    session.set_box(2, BoundingBox((-5, 0, 0), (5, 9, 9)))
    session.undo()
    session.set_box(1, BOX)
    assert finish(session.segment(adapt=False)).notes == ()


def test_undo_takes_back_what_was_drawn_since_the_round_and_redo_brings_it_back():
    session = boxed_session()
    shown = finish(session.segment(adapt=False))
    session.add_scribbles(Scribbles(np.array([[5, 6, 7]]), np.array([1])))
    drawn = session.prompts
    assert session.undo() is shown
    assert len(session.prompts.scribbles) == 0
    assert session.can_redo
    assert session.redo() is shown
    assert session.prompts is drawn
    session.undo()
    session.add_scribbles(Scribbles(np.array([[1, 2, 3]]), np.array([255])))
    assert not session.can_redo


def test_the_oldest_rounds_are_let_go(monkeypatch):
    monkeypatch.setattr("InteractiveSegLib.segmenting.session._ROUNDS_KEPT", 3)
    session = boxed_session()
    for _ in range(4):
        last = finish(session.segment(adapt=False))
    assert session.current is last
    session.undo()
    session.undo()
    assert not session.can_undo


def test_the_rounds_of_a_session_take_little_memory():
    session = boxed_session()
    for _ in range(3):
        result = finish(session.segment(adapt=False))
    found = result.objects[1]
    assert found.bits.nbytes == -(-found.grid.crop.size // 8)
    assert found.probability.nbytes == 4 * np.prod(found.grid.shape_kji)
    assert found.probability.base is None or found.probability.base.nbytes == found.probability.nbytes


def test_features_are_kept_for_few_boxes_only(monkeypatch):
    session = boxed_session()
    finish(session.segment(adapt=False))
    (boxed,) = (each for each in gc.get_objects() if type(each) is segmenter_module.ObjectCrop)
    monkeypatch.setattr(segmenter_module, "_BYTES_KEPT", 3 * boxed.bytes)
    del boxed
    for k in range(12):
        session.set_box(1, BoundingBox((0, 4, 6), (2 + k, 17, 21)))
        finish(session.segment(adapt=False))
    gc.collect()
    assert 0 < sum(type(each) is segmenter_module.ObjectCrop for each in gc.get_objects()) <= 6


# the network


def test_the_network_stays_as_it_was_after_any_number_of_rounds_and_images():
    network = blob_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first = finish(next_image(network).segment())
    session = next_image(network)
    for _ in range(3):
        session.add_scribbles(disputed_corner())
        finish(session.fine_tune())
    again = finish(next_image(network).segment())
    for each in (network, session.segmenter._network):
        assert all(torch.equal(value, before[name]) for name, value in each.state_dict().items())
        assert all(parameter.grad is None for parameter in each.parameters())
    np.testing.assert_array_equal(first.objects[1].probability, again.objects[1].probability)


def next_image(network):
    session = ImageSession(blob_volume(), network)
    session.set_box(1, BOX)
    return session


def test_a_session_does_not_follow_a_network_that_learns_on():
    network = blob_network()
    session = next_image(network)
    expected = finish(session.segment()).objects[1].probability
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(finish(session.segment()).objects[1].probability, expected)


def test_a_network_in_training_mode_is_refused():
    with pytest.raises(InputError, match="training mode"):
        ImageSession(blob_volume(), blob_network().train())


# cancel and failure


@pytest.mark.parametrize("grid", [GridSettings(), COARSE.grid], ids=["full resolution", "coarse grid"])
def test_cancelling_anywhere_does_not_change_the_session(grid):
    settings = BifsegSettings(grid, EnergySettings(iterations=20), AdaptSettings(rounds=2, updates=3))
    untouched = boxed_session(settings=settings)
    finish(untouched.segment())
    untouched.add_scribbles(disputed_corner())
    reports = []
    untouched.segmenter._kept.clear()
    finish(untouched.segment(), reports.append)
    assert all(isinstance(report, Progress) and 0 <= report.done <= report.total for report in reports)
    assert len(reports) > 10

    session = boxed_session(settings=settings)
    finish(session.segment())
    session.add_scribbles(disputed_corner())
    round_, prompts, labelmap = session.current, session.prompts, session.labelmap()
    for count in range(1, len(reports) + 1):
        session.segmenter._kept.clear()  # or the features would be looked at in the first step only
        steps = session.segment()
        assert len(list(itertools.islice(steps, count))) == count
        steps.close()
        assert session.current is round_
        assert session.prompts is prompts
        assert not session.can_redo
        np.testing.assert_array_equal(session.labelmap(), labelmap)
    finish(session.segment())
    np.testing.assert_array_equal(session.labelmap(), untouched.labelmap())
    np.testing.assert_array_equal(session.probability(1), untouched.probability(1))


def test_a_cancelled_round_is_cancelled_in_every_object():
    session, _, _ = two_blobs()
    before = session.current
    for kept in itertools.count(1):
        steps = session.segment(adapt=False)
        if len(list(itertools.islice(steps, kept))) < kept:
            break
        steps.close()
        assert session.current is before
    assert set(session.current.objects) == {1, 2}
    assert kept > 5


def test_a_failing_step_does_not_change_the_session():
    array = noisy(ellipsoid()).astype(np.float32)
    array[:, :, :4] = np.nan
    session = boxed_session(with_array(array), settings=BifsegSettings(grid=GridSettings(margin_voxels=0)))
    before = finish(session.segment())
    labelmap = session.labelmap()
    session.set_box(2, BoundingBox((2, 4, 0), (6, 9, 4)))
    prompts = session.prompts
    with pytest.raises(InputError, match="all 80 voxels of the image in the box are NaN"):
        finish(session.segment())
    assert session.current is before
    assert session.prompts is prompts
    assert session.can_undo
    assert not session.can_redo
    np.testing.assert_array_equal(session.labelmap(), labelmap)
    session.set_box(2, BoundingBox((2, 4, 10), (6, 9, 14)))
    assert set(finish(session.segment()).objects) == {1, 2}


# several objects


def test_overlapping_boxes_give_labels_that_never_overlap():
    session, first, second = two_blobs()
    result = finish(session.segment(adapt=False))
    assert set(result.objects) == {1, 2}
    whole = np.zeros(session.volume.geometry.shape_kji, int)
    for found in result.objects.values():
        whole[found.grid.crop.slices] += found.mask
    assert whole.max() == 1
    assert dice(mask_of(session, 1) | mask_of(session, 2), first | second) > 0.8
    assert not mask_of(session, 1)[:, :, 18:].any()
    assert not mask_of(session, 2)[:, :, :11].any()


def test_an_overlap_goes_to_the_more_probable_object(monkeypatch):
    """Both boxes hold the same blob; one object is given a higher probability on the left, the other on the right."""
    real, calls = segmenter_module.fused_steps, []

    def slanted(crop, *args, **options):
        found = yield from real(crop, *args, **options)
        slope = torch.linspace(0.9, 0.6, found.labels.shape[2]) if not calls else torch.tensor(0.75)
        calls.append(crop)
        return replace(found, probability=torch.ones_like(found.probability) * slope)

    monkeypatch.setattr(segmenter_module, "fused_steps", slanted)
    session = boxed_session()
    session.set_box(2, BOX)
    finish(session.segment(adapt=False))
    first, second = mask_of(session, 1), mask_of(session, 2)
    crop = session.current.objects[1].grid.crop
    border = crop.start_kji[2] + crop.shape_kji[2] // 2
    assert first[:, :, :border].any()
    assert second[:, :, border:].any()
    assert not first[:, :, border:].any()
    assert not second[:, :, :border].any()


def test_a_scribble_of_one_object_is_background_of_the_others():
    session = boxed_session()
    session.set_box(2, BOX)
    centre = tuple(CENTRE_KJI)
    session.add_scribbles(scribbles((centre, 2), ((6, 10, 11), 1)))
    finish(session.segment())
    assert session.labelmap()[centre] == 2
    assert session.labelmap()[6, 10, 11] == 1


def test_a_scribble_of_another_object_is_background_even_outside_its_box():
    session = boxed_session()
    session.add_scribbles(scribbles(((6, 10, 14), 7), ((6, 10, 15), 7)))
    finish(session.segment())
    assert (session.labelmap()[6, 10, 14:16] == 7).all()
    assert not session.current.objects[1].mask[
        tuple(np.array((6, 10, 14)) - session.current.objects[1].grid.crop.start_kji)
    ]


# prompts that do not fit


def test_a_box_partly_outside_is_cut_and_noted():
    session = boxed_session(box=BoundingBox((-3, 4, 6), (11, 40, 21)))
    assert session.prompts.boxes[1] == BoundingBox((0, 4, 6), (11, 20, 21))
    (note,) = finish(session.segment(adapt=False)).notes
    assert "box of label 1" in note
    assert "outside the image" in note
    assert finish(session.segment(adapt=False)).notes == ()


@pytest.mark.parametrize("box", [((14, 0, 0), (20, 5, 5)), ((0, 0, -9), (5, 5, 0))])
def test_a_box_outside_the_image_is_refused(box):
    session = ImageSession(blob_volume(), blob_network())
    with pytest.raises(InputError, match="outside the image"):
        session.set_box(1, BoundingBox(*box))
    assert session.prompts.is_empty


def test_an_empty_box_is_refused():
    with pytest.raises(InputError, match="holds no voxel"):
        BoundingBox((2, 4, 6), (11, 4, 21))


def test_a_box_of_one_voxel_gives_a_mask_within_it():
    session = boxed_session(box=BoundingBox(CENTRE_KJI, tuple(n + 1 for n in CENTRE_KJI)))
    finish(session.segment())
    assert mask_of(session).sum() <= 1


def test_a_box_grows_to_hold_its_scribbles_and_that_is_noted():
    session = boxed_session(box=BoundingBox((2, 4, 6), (11, 17, 12)))
    session.add_scribbles(scribbles(((6, 10, 17), 1), ((6, 10, 2), BACKGROUND)))
    result = finish(session.segment())
    assert result.notes == ("the box of label 1 was enlarged to contain its scribbles",)
    assert mask_of(session)[6, 10, 17]
    assert result.prompts.boxes[1] == BoundingBox((2, 4, 6), (11, 17, 12))


@pytest.mark.parametrize("voxel", [(14, 0, 0), (0, -1, 0), (0, 0, 25)])
def test_scribbles_outside_the_image_are_refused(voxel):
    session = boxed_session()
    with pytest.raises(InputError, match="outside the image"):
        session.add_scribbles(scribbles((voxel, 1)))
    assert len(session.prompts.scribbles) == 0


def test_of_contradicting_scribbles_the_latest_counts_and_that_is_noted():
    session = boxed_session()
    session.add_scribbles(scribbles((CENTRE_KJI, 1), ((6, 10, 10), 1)))
    session.add_scribbles(scribbles((CENTRE_KJI, BACKGROUND)))
    result = finish(session.segment())
    assert result.notes == ("1 voxel was scribbled with different labels; the latest is used",)
    assert not mask_of(session)[CENTRE_KJI]
    assert mask_of(session)[6, 10, 10]


def test_nothing_drawn_or_only_background_is_refused_with_advice():
    session = ImageSession(blob_volume(), blob_network())
    for marks in (Scribbles.none(), scribbles(((1, 1, 1), BACKGROUND))):
        session.add_scribbles(marks)
        with pytest.raises(InputError, match="draw a box round the object, or scribble on it"):
            finish(session.segment())
    assert not session.current.objects


def test_background_scribbles_in_a_box_are_enough():
    session = boxed_session()
    session.add_scribbles(scribbles(((6, 10, 13), BACKGROUND)))
    finish(session.segment())
    assert mask_of(session).any()
    assert not mask_of(session)[6, 10, 13]


def test_the_probability_of_an_object_that_is_not_there_is_refused():
    session = boxed_session()
    finish(session.segment(adapt=False))
    with pytest.raises(InputError, match=r"no label 2, only \[1\]"):
        session.probability(2)


# awkward images


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_not_finite_count_as_the_darkest_and_are_noted(value):
    bright = ellipsoid()
    hole = ellipsoid(radii_kji=(1, 2, 2))
    array = noisy(bright).astype(np.float32)
    array[hole] = value
    dark = array.copy()
    dark[hole] = array[np.isfinite(array)].min()
    session, expected = boxed_session(with_array(array)), boxed_session(with_array(dark))
    result = finish(session.segment())
    finish(expected.segment())
    assert result.notes == (
        f"{hole.sum()} voxels round label 1 are NaN or infinite; they are treated as the darkest finite value",
    )
    assert dice(mask_of(session), mask_of(expected)) > 0.99
    assert np.isfinite(session.probability(1)).all()
    np.testing.assert_array_equal(array[hole], value)


@pytest.mark.parametrize("adapt", [False, True])
def test_a_constant_image_ends_with_a_mask_and_no_nan(adapt):
    session = boxed_session(with_array(np.full(SHAPE_KJI, 1000, np.uint16)))
    session.add_scribbles(scribbles(((6, 10, 13), 1), ((3, 5, 7), BACKGROUND)))
    finish(session.segment(adapt))
    assert np.isfinite(session.probability(1)).all()
    assert mask_of(session)[6, 10, 13]
    assert not mask_of(session)[3, 5, 7]


@pytest.mark.parametrize(("kind", "least"), [(PNet, 0.95), (PCNet, 0.0)])
def test_a_single_slice_is_an_image(kind, least):
    bright = ellipsoid()[6:7]
    session = ImageSession(with_array(noisy(bright), (5.0, 0.5, 0.5)), blob_network(kind))
    session.set_box(1, BoundingBox((0, 4, 6), (1, 17, 21)))
    finish(session.segment())
    session.add_scribbles(scribbles(((0, 10, 13), 1), ((0, 4, 6), BACKGROUND)))
    finish(session.segment())
    assert mask_of(session).shape == (1, 20, 25)
    assert mask_of(session)[0, 10, 13]
    assert dice(mask_of(session), bright) > least


@pytest.mark.parametrize(
    ("dtype", "offset", "scale"),
    [
        (np.uint16, 65000, 1),
        (np.int32, 2**31 - 1000, 1),
        (np.int32, -(2**31), 1),
        (np.int64, 2**62, 1),
        (np.uint64, 2**64 - 1000, 1),
        (np.float32, 0, 1),
        (np.float64, 0, 1e300),
        (np.float64, 0, 1e-300),
        (">i2", 0, 1),
    ],
    ids=str,
)
def test_large_values_give_the_mask_of_small_ones(dtype, offset, scale):
    small = noisy(ellipsoid(), noise=30)
    small -= small.min()
    large = np.array([int(v) + offset for v in small.flat] if scale == 1 else small.ravel() * scale, dtype)
    session, expected = boxed_session(with_array(large.reshape(SHAPE_KJI))), boxed_session(with_array(small))
    finish(session.segment())
    finish(expected.segment())
    assert dice(mask_of(session), mask_of(expected)) > 0.998
    np.testing.assert_allclose(session.probability(1), expected.probability(1), atol=0.01)


@pytest.mark.parametrize("value", [-1e30, np.finfo(np.float32).min, 1e30])
def test_one_voxel_of_padding_does_not_hide_the_image(value):
    array = noisy(ellipsoid()).astype(np.float32)
    expected = boxed_session(with_array(array.copy()))
    array[3, 5, 7] = value
    session = boxed_session(with_array(array))
    for each in (session, expected):
        finish(each.segment())
    assert dice(mask_of(session), mask_of(expected)) > 0.98


@pytest.mark.parametrize("spacing_kji_mm", [(5.0, 0.5, 0.5), (0.5, 0.5, 5.0)])
@pytest.mark.parametrize("settings", [BifsegSettings(), COARSE], ids=["full resolution", "coarse grid"])
def test_thick_slices_keep_their_own_voxels(spacing_kji_mm, settings):
    session = boxed_session(blob_volume(spacing_kji_mm), settings=settings)
    session.add_scribbles(scribbles(((6, 10, 13), 1), ((3, 5, 7), BACKGROUND)))
    grid = finish(session.segment()).objects[1].grid
    assert grid.shape_kji[int(np.argmax(spacing_kji_mm))] == grid.crop.shape_kji[int(np.argmax(spacing_kji_mm))]
    assert dice(mask_of(session), ellipsoid()) > 0.8


@pytest.mark.parametrize("settings", [BifsegSettings(), COARSE], ids=["full resolution", "coarse grid"])
def test_flips_and_turns_of_the_grid_do_not_change_the_mask(oblique_geometry, settings):
    spacing_kji_mm = oblique_geometry.spacing_kji_mm
    flipped = np.diag([-spacing_kji_mm[2], spacing_kji_mm[1], -spacing_kji_mm[0], 1.0])
    masks = []
    for matrix in (np.diag([*spacing_kji_mm[::-1], 1.0]), flipped, oblique_geometry.ijk_to_ras):
        session = boxed_session(Volume(noisy(ellipsoid()), Geometry(SHAPE_KJI, matrix)), settings=settings)
        finish(session.segment())
        masks.append(mask_of(session))
    assert masks[0].any()
    np.testing.assert_array_equal(masks[1], masks[0])
    np.testing.assert_array_equal(masks[2], masks[0])


# memory of the GPU


@pytest.fixture
def full_gpu(monkeypatch):
    """A session believes it has a GPU, whose memory is full."""
    real = segmenter_module.object_crop

    def boxed(volume, box, settings, device):
        if device.type == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nSee documentation")
        return real(volume, box, settings, device)

    monkeypatch.setattr(segmenter_module, "object_crop", boxed)


@pytest.mark.usefixtures("full_gpu")
def test_a_full_gpu_falls_back_to_the_cpu_and_says_so():
    session, expected = boxed_session(), boxed_session()
    session.segmenter.device = torch.device("cuda")
    result = finish(session.segment())
    assert result.notes == (
        "the memory of cuda is full (CUDA out of memory. Tried to allocate 2 GiB.); computed on the CPU",
    )
    assert session.segmenter.device.type == "cpu"
    finish(expected.segment())
    np.testing.assert_array_equal(session.labelmap(), expected.labelmap())
    assert finish(session.segment()).notes == ()


@pytest.mark.usefixtures("full_gpu")
def test_the_fall_back_can_be_cancelled():
    session = boxed_session()
    session.segmenter.device = torch.device("cuda")
    steps = session.segment()
    list(itertools.islice(steps, 4))
    steps.close()
    assert session.current.objects == {}
    assert set(finish(session.segment()).objects) == {1}


def test_a_full_memory_of_the_cpu_is_an_error_that_does_not_change_the_session(monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("no memory")
        yield

    session = boxed_session()
    monkeypatch.setattr(segmenter_module, "encoded_steps", full)
    with pytest.raises(torch.OutOfMemoryError):
        finish(session.segment())
    assert not session.current.objects
