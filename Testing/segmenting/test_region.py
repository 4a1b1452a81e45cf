"""Where an object with few marks and no box is searched for, and what fine-tuning does with few marks."""

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from blobs import dice

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.image.working_grid import WorkingGrid
from InteractiveSegLib.networks.checkpoint import load_network
from InteractiveSegLib.progress import finish
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import BACKGROUND, Scribbles
from InteractiveSegLib.segmenting import image_segmenter, region
from InteractiveSegLib.segmenting.region import Region, has_strokes, needs_region, region_steps, regions
from InteractiveSegLib.segmenting.segment_result import SegmentResult
from InteractiveSegLib.segmenting.session import ImageSession
from InteractiveSegLib.segmenting.settings import BifsegSettings, RegionSettings

SIDE = 32
CENTRE = (16, 16, 16)
BALL = ((np.indices((SIDE,) * 3) - SIDE // 2) ** 2).sum(axis=0) <= 6**2
SETTINGS = RegionSettings()


@pytest.fixture(scope="module")
def network():
    return load_network("ensemble")


def ball(spacing_mm=1.0):
    noise = np.random.default_rng(0).normal(0, 4, BALL.shape)
    return Volume(np.where(BALL, 160, 100) + noise, Geometry(BALL.shape, np.diag([spacing_mm] * 3 + [1.0])))


def marks(*voxels, labels=None):
    return Scribbles(np.array(voxels), np.array(labels or [1] * len(voxels)))


def stroke(axis, count):
    """A line of voxels through the middle of the ball."""
    voxels = np.tile(CENTRE, (count, 1))
    voxels[:, axis] += np.arange(count) - count // 2
    return [tuple(voxel) for voxel in voxels.tolist()]


def segmented(volume, network, scribbles, adapt=True):
    session = ImageSession(volume, network)
    session.add_scribbles(scribbles)
    finish(session.segment(adapt))
    return session.labelmap() == 1


@pytest.mark.parametrize("voxels", [[CENTRE], [CENTRE, (16, 18, 19)], stroke(2, 9), stroke(0, 9)])
def test_few_marks_without_a_box_give_a_plain_ball_and_do_not_fine_tune(network, voxels):
    """Neither a second click nor a stroke takes anything from it."""
    volume = ball()
    fitted, plain = (segmented(volume, network, marks(*voxels), adapt) for adapt in (True, False))
    np.testing.assert_array_equal(fitted, plain)
    assert dice(plain, BALL) > 0.95


def thick_stroke(centre=CENTRE):
    """A stroke of a round brush that goes through several slices, as a sphere or a view across the slices paints it."""
    near = np.argwhere(np.abs(np.indices((5, 5, 5)) - 2).sum(axis=0) <= 2) - 2
    line = np.arange(-2, 3)[:, None] * (0, 0, 1) + centre
    return np.unique(np.concatenate([near + voxel for voxel in line]), axis=0).tolist()


def strokes_on(slices, *, around=()):
    """Strokes along the middle of the ball on slices along k, and strokes beside it on those in ``around``."""
    within = [(k, 16, i) for k in slices for i in range(14, 19)]
    beside = [(k, 16, i) for k in around for i in range(26, 30)]
    return marks(*within, *beside, labels=[1] * len(within) + [BACKGROUND] * len(beside))


@pytest.mark.parametrize("others", [(), [(16, 16, 29)], thick_stroke((16, 16, 27))])
def test_a_stroke_through_neighbouring_slices_is_still_one(network, others):
    volume, within = ball(), thick_stroke()
    given = marks(*within, *others, labels=[1] * len(within) + [BACKGROUND] * len(others))
    fitted, plain = (segmented(volume, network, given, adapt) for adapt in (True, False))
    np.testing.assert_array_equal(fitted, plain)
    assert dice(fitted, BALL) > 0.95


@pytest.mark.parametrize(
    "given",
    [strokes_on(range(11, 22, 2), around=[16]), strokes_on(range(11, 22), around=[13, 16]), strokes_on([11, 16, 21])],
)
def test_many_strokes_on_the_object_alone_are_not_fine_tuned_to(network, given):
    fitted, plain = (segmented(ball(), network, given, adapt) for adapt in (True, False))
    np.testing.assert_array_equal(fitted, plain)
    assert dice(fitted, BALL) > 0.95


def test_strokes_on_and_beside_the_object_in_most_of_its_slices_are_fine_tuned_to(network):
    given = strokes_on(range(11, 22), around=range(9, 24))
    session = ImageSession(ball(), network)
    session.add_scribbles(given)
    found = finish(session.segment())
    assert found.notes == ()
    assert found.objects[1].region is None
    assert dice(session.labelmap() == 1, BALL) >= dice(segmented(ball(), network, given, adapt=False), BALL) > 0.95


@pytest.mark.parametrize("adapt", [True, False])
def test_the_search_region_is_reported_and_that_it_was_not_fine_tuned(network, adapt):
    session = ImageSession(ball(2.0), network)
    session.add_scribbles(marks(CENTRE, (16, 16, 18)))
    found = finish(session.segment(adapt))
    (note,) = found.notes
    i, j, k = (int(n) // 2 for n in re.findall(r"\d+", note)[1:4])
    region = found.objects[1].region
    assert region.shape_kji == (k, j, i)
    assert all(region.contains(np.array([CENTRE])))
    assert SegmentResult.of_round(found, False, "cpu").regions == {1: region}
    assert re.match(
        r"label 1 was searched for within \d+ x \d+ x \d+ mm round its marks(, without fine-tuning: |$)", note
    )
    assert ("without fine-tuning" in note) == adapt


@pytest.mark.parametrize("spacing_mm", [0.02, 0.5, 4.0])
def test_a_click_finds_the_ball_whatever_its_size(network, spacing_mm):
    assert dice(segmented(ball(spacing_mm), network, marks(CENTRE)), BALL) > 0.9


def test_the_same_clicks_give_the_same_mask(network):
    given = marks(CENTRE, (16, 16, 27), labels=[1, BACKGROUND])
    one, again = (segmented(ball(), network, given) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert not one[16, 16, 27]


THICK = Geometry((12, 40, 40), np.diag([1.0, 1.0, 8.0, 1.0]))


EVERY = range(12)


@pytest.mark.parametrize(
    ("slices", "length", "around", "shown"),
    [
        ([6], 1, EVERY, False),
        ([6], 9, EVERY, False),
        (EVERY, 1, EVERY, False),  # clicks
        ([2, 5, 8], 3, EVERY, False),  # three slices of seven
        ([4, 5, 7], 3, EVERY, True),
        (range(4, 9), 3, EVERY, True),
        (range(4, 9), 3, [4, 6, 8], True),
        (range(4, 9), 3, [4, 6], False),
        (range(4, 9), 3, [], False),
    ],
)
def test_strokes_within_and_around_on_half_of_the_slices_may_show_an_extent(slices, length, around, shown):
    within = [(k, 20, i) for k in slices for i in range(length)]
    beside = [(k, 30, i) for k in around for i in range(3)]
    given = marks(*within, *beside, labels=[1] * len(within) + [BACKGROUND] * len(beside))
    assert has_strokes(Prompts(scribbles=given), 1, THICK) == shown


@pytest.mark.parametrize(("within", "around", "shown"), [(1, 4, False), (4, 1, False), (4, 4, True)])
def test_on_a_single_slice_strokes_within_and_around_may_show_an_extent(within, around, shown):
    given = marks(
        *((0, 9, i) for i in range(within)),
        *((0, 30, i) for i in range(around)),
        labels=[1] * within + [BACKGROUND] * around,
    )
    assert has_strokes(Prompts(scribbles=given), 1, Geometry((1, 40, 40), np.eye(4))) == shown


def test_a_box_shows_an_extent():
    box = BoundingBox((4, 4, 4), (8, 8, 8))
    assert not needs_region(Prompts({1: box}, marks((6, 6, 6))), 1)
    assert needs_region(Prompts({2: box}, marks((6, 6, 6))), 1)


def test_regions_grow_in_mm_and_stay_within_the_image():
    found = regions(Prompts(scribbles=marks((6, 20, 20))), 1, THICK, SETTINGS)
    assert found[0] == BoundingBox((5, 10, 10), (8, 31, 31))  # 10 mm: a slice of 8 mm on either side
    assert found[-1] == BoundingBox.whole(THICK.shape_kji)
    assert all(a.union(b) == b != a for a, b in pairwise(found))


def test_regions_are_bounded_in_voxels_and_there_is_always_one():
    geometry = Geometry((600, 512, 512), np.eye(4))
    prompts = Prompts(scribbles=marks((300, 256, 256), (300, 256, 100)))
    assert max(box.size for box in regions(prompts, 1, geometry, SETTINGS)) <= SETTINGS.most_voxels
    assert len(regions(prompts, 1, geometry, RegionSettings(most_voxels=1))) == 1


def test_regions_of_a_tiny_view_are_shorter_in_proportion():
    small, large = (Geometry((40, 40, 40), np.diag([mm, mm, mm, 1])) for mm in (0.01, 1.0))
    given = Prompts(scribbles=marks((20, 20, 20)))
    assert regions(given, 1, small, SETTINGS) == regions(given, 1, large, SETTINGS)


@pytest.mark.parametrize("where", [(0, 0, 0), (31, 31, 31), (16, 16, 0), (2, 27, 27)])
def test_a_click_in_air_at_a_corner_or_on_the_border_is_kept(network, where):
    assert segmented(ball(), network, marks(where))[where]


def test_a_click_on_a_constant_image_gives_an_answer_with_the_clicked_voxel(network):
    volume = Volume(np.full((12, 20, 20), 7.0), Geometry((12, 20, 20), np.eye(4)))
    assert segmented(volume, network, marks((6, 10, 10)))[6, 10, 10]


def test_a_click_on_a_single_slice_is_enough(network):
    volume = Volume(ball().array_kji[16:17], Geometry((1, SIDE, SIDE), np.eye(4)))
    assert dice(segmented(volume, network, marks((0, 16, 16)))[0], BALL[16]) > 0.8


def test_of_two_clicks_on_one_voxel_the_later_counts(network):
    session = ImageSession(ball(), network)
    session.add_scribbles(marks(CENTRE, labels=[2]))
    session.add_scribbles(marks(CENTRE))
    finish(session.segment())
    assert session.prompts.labels == (1,)
    assert dice(session.labelmap() == 1, BALL) > 0.95


def test_a_click_on_an_object_of_one_voxel_keeps_it_and_little_else(network):
    array = np.full(BALL.shape, 100.0)
    array[CENTRE] = 250
    found = segmented(Volume(array, Geometry(array.shape, np.eye(4))), network, marks(CENTRE))
    assert found[CENTRE]
    assert found.sum() <= 27


def test_a_stroke_that_crosses_half_the_image_is_kept_and_its_region_stays_within(network):
    session = ImageSession(ball(), network)
    session.add_scribbles(marks(*((16, 16, i) for i in range(8, 24))))
    found = finish(session.segment())
    assert found.objects[1].region.intersected(BALL.shape) == found.objects[1].region
    assert session.labelmap()[16, 16, 8:24].all()


def test_a_click_outside_the_image_is_refused(network):
    session = ImageSession(ball(), network)
    with pytest.raises(InputError, match="outside the image"):
        session.add_scribbles(marks((60, 0, 0)))


def test_hundreds_of_clicks_are_met(network):
    rng = np.random.default_rng(1)
    voxels = rng.integers(0, SIDE, (300, 3))
    labels = np.where(BALL[tuple(voxels.T)], 1, BACKGROUND)
    labels[0], voxels[0] = 1, CENTRE
    given = Scribbles(voxels, labels)
    found = segmented(ball(), network, given)
    np.testing.assert_array_equal(found[tuple(given.indices_kji.T)], given.labels == 1)
    assert dice(found, BALL) > 0.9


def test_looking_for_a_region_can_be_cancelled_between_reports(network):
    session = ImageSession(ball(), network, device=torch.device("cpu"))
    session.add_scribbles(marks(CENTRE))
    steps = session.segment()
    reports = [next(steps) for _ in range(5)]
    steps.close()
    assert reports
    assert not session.current.objects


@pytest.mark.parametrize(("slices", "shown"), [(1, False), (2, True)])
def test_of_two_slices_both_are_to_be_marked(slices, shown):
    geometry = Geometry((2, 40, 40), np.diag([1.0, 1.0, 5.0, 1.0]))
    voxels = [(k, j, i) for k in range(slices) for j in (20, 30) for i in range(3)]
    given = marks(*voxels, labels=[1 if j == 20 else BACKGROUND for _, j, _ in voxels])
    assert has_strokes(Prompts(scribbles=given), 1, geometry) == shown


def test_all_that_a_round_looks_at_is_said_before(network, monkeypatch):
    """A worker is sent nothing else."""
    looked, real = [], region.object_crop

    def watched(*given):
        looked.append(real(*given))
        return looked[-1]

    for module in (region, image_segmenter):
        monkeypatch.setattr(module, "object_crop", watched)
    geometry = Geometry((90, 90, 90), np.diag([4.0, 4.0, 4.0, 1.0]))
    session = ImageSession(Volume(np.random.default_rng(0).normal(0, 4, geometry.shape_kji), geometry), network)
    session.add_scribbles(marks((45, 45, 45)))
    crops = session.segmenter.crops(session.prompts)
    finish(session.segment())
    assert len(looked) > 5
    assert all(any(crop.union(each.grid.crop) == crop for crop in crops) for each in looked)
    assert max(crop.size for crop in crops) < geometry.voxel_count / 2


def test_across_thick_slices_the_closer_look_starts_from_the_coarse_one(network, monkeypatch):
    """Otherwise a click finds little of an object beyond the slices next to it."""
    shape = (10, 120, 120)
    k, j, i = np.indices(shape)
    thick = ((k - 5) / 4.2) ** 2 + ((j - 60) / 30) ** 2 + ((i - 60) / 30) ** 2 <= 1
    values = 100 + 60 * thick + np.random.default_rng(0).normal(0, 4, shape)
    volume = Volume(values, Geometry(shape, np.diag([1.5, 1.5, 10.0, 1.0])))
    found = dice(segmented(volume, network, marks((5, 60, 60)), adapt=False), thick)
    monkeypatch.setattr(region, "_THICK", np.inf)
    assert found > dice(segmented(volume, network, marks((5, 60, 60)), adapt=False), thick) + 0.15
    assert found > 0.6


def test_the_coarse_answer_is_resampled_to_the_finer_grid_of_thick_slices_only():
    crop, finer = BoundingBox((0, 0, 0), (6, 40, 40)), BoundingBox((1, 10, 10), (5, 30, 30))
    found = torch.zeros((6, 20, 20), dtype=torch.bool)
    found[:, :, 10:] = True
    coarse = Region(finer, False, WorkingGrid(crop, (6, 20, 20), (5.0, 2.0, 2.0)), found)
    start = coarse.start_on(WorkingGrid(finer, (4, 20, 20), (5.0, 1.0, 1.0)))
    assert start.shape == (4, 20, 20)
    assert (start[:, :, :9] == 0).all()
    assert (start[:, :, 11:] == 1).all()
    assert coarse.start_on(WorkingGrid(finer, (4, 20, 20), (2.0, 1.0, 1.0))) is None
    assert Region(finer, True).start_on(WorkingGrid(finer, (4, 20, 20), (5.0, 1.0, 1.0))) is None


@pytest.mark.parametrize(("spacing", "averaged"), [((2.0, 1.0, 1.0), True), ((5.0, 1.0, 1.0), False)])
def test_the_answer_in_the_next_smaller_region_is_brought_to_the_finer_grid_of_thin_slices_only(spacing, averaged):
    crop, finer, box = BoundingBox((0, 0, 0), (6, 40, 40)), BoundingBox((1, 10, 10), (5, 30, 30)), (3, 14, 14)
    odds = torch.full((6, 20, 20), 2.0)
    smaller = Region(BoundingBox(box, (5, 24, 24)), False, WorkingGrid(crop, (6, 20, 20), spacing), None, odds)
    found = Region(finer, False, smaller=smaller).smaller_on(WorkingGrid(finer, (4, 20, 20), spacing))
    if not averaged:
        assert found is None
        return
    expected = torch.full((4, 20, 20), -3.0)  # beyond the smaller region, the object is unlikely
    expected[2:, 4:14, 4:14] = 2.0
    torch.testing.assert_close(found, expected)
    assert smaller.smaller_on(WorkingGrid(finer, (4, 20, 20), spacing)) is None


@pytest.mark.parametrize(("reaches", "kept"), [((4.0, 14.0), False), ((12.0, 14.0), True)], ids=["cut off", "whole"])
def test_a_smaller_region_counts_only_if_it_holds_the_object(network, reaches, kept):
    settings = BifsegSettings.for_network(network)
    settings = replace(settings, region=RegionSettings(reaches_mm=reaches))
    prompts = Prompts(scribbles=marks(CENTRE))
    found = finish(region_steps(ball(), prompts, 1, network, settings, seed=0, device=torch.device("cpu")))
    assert found.box.shape_kji == (23, 23, 23)
    assert (found.smaller is not None) == kept
