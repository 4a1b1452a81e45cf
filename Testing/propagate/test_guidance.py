"""Which slice comes next: numbers worked out by hand, reasons, no repetition, and when the slices suffice."""

import numpy as np
import pytest
from moving_shapes import dice, image_of, slices_of, volume_of, wandering_disc

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.users.slice_annotator import boundary_pixels
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.notes.slice_names import ByIndex, InPatient
from InteractiveSegLib.progress import finish
from InteractiveSegLib.propagate.guidance import (
    CHANGE,
    FRONT_END,
    SIDES,
    UNSURE,
    Evidence,
    GuidanceSettings,
    drawable_axes,
    expected_outlines,
    from_front_end,
    from_prediction,
    from_proxy,
    from_rounds,
    residual,
    suggest,
    uncertainty,
)
from InteractiveSegLib.propagate.proxy_mask import PropagateSettings, propagate_steps

SHAPE = (20, 6, 7)
GRID = Geometry(SHAPE, np.eye(4))
ALONG_K = GuidanceSettings(axes=(0,))


def evidence(of_slices, reason=SIDES, axis=0):
    """Expected changes that lie in one column."""
    array = np.zeros(SHAPE)
    for index, value in of_slices.items():
        place = [3, 3, 3]
        place[axis] = index
        array[tuple(place)] = value
    return Evidence(BoundingBox.whole(SHAPE), array, reason)


def slice_evidence(axis, index):
    """All of one slice is wrong."""
    array = np.zeros(SHAPE)
    np.moveaxis(array, axis, 0)[index] = 1.0
    return Evidence(BoundingBox.whole(SHAPE), array, SIDES)


def test_residual_and_uncertainty_of_known_probabilities():
    np.testing.assert_allclose(residual(np.array([0.2, 1.0]), np.array([0.7, 1.0])), [0.5, 0])
    np.testing.assert_allclose(uncertainty(np.array([0, 0.25, 0.5, 0.9])), [0, 0.5, 1, 0.2], rtol=1e-6)
    with pytest.raises(InputError, match=r"\(2,\) and \(3,\)"):
        residual(np.zeros(2), np.zeros(3))


def test_the_middle_of_a_gap_that_is_wrong_all_over_comes_first():
    advice = suggest([evidence(dict.fromkeys(range(5, 10), 1.0))], GRID, {0: (4, 10)}, 100, ALONG_K)
    first = advice.suggestions[0]
    assert (first.axis, first.index) == (0, 7)
    assert first.gain == pytest.approx((0.2 + 0.5 + 1 + 0.5 + 0.2) / 100)


def test_a_lone_wrong_slice_is_named_itself():
    advice = suggest([evidence({6: 5.0, 12: 4.0})], GRID, {0: (0, 9, 19)}, 100, GuidanceSettings(2, (0,)))
    assert [each.index for each in advice.suggestions] == [6, 12]
    assert [each.gain for each in advice.suggestions] == pytest.approx([0.05, 0.04])


def test_no_slice_is_named_twice():
    found = []
    spread = evidence(dict.fromkeys(range(20), 1.0))
    for _ in range(20):
        advice = suggest([spread], GRID, {0: found[:3]}, 100, GuidanceSettings(1, (0,)), [(0, k) for k in found])
        found.append(advice.suggestions[0].index)
    assert sorted(found) == list(range(20))
    advice = suggest([spread], GRID, {0: found}, 100, ALONG_K)
    assert advice.suggestions == ()
    assert advice.enough
    many = suggest([spread], GRID, {}, 100, GuidanceSettings(30, (0,))).suggestions
    assert len({each.index for each in many}) == len(many)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_every_axis_is_looked_along(axis):
    """What is wrong lies in one slice of this axis and is spread over all of the others."""
    advice = suggest([slice_evidence(axis, 4)], GRID, {}, 100, GuidanceSettings(1, reach=1))
    assert (advice.suggestions[0].axis, advice.suggestions[0].index) == (axis, 4)


@pytest.mark.parametrize(
    ("spacing_kji", "axes"),
    [
        ((1.0, 1.0, 1.0), (0, 1, 2)),
        ((2.0, 0.9, 0.9), (0, 1, 2)),
        ((5.0, 0.7, 0.7), (0,)),
        ((10.0, 1.0, 1.0), (0,)),
        ((0.5, 0.5, 4.0), (2,)),
        ((1.0, 6.0, 1.0), (1,)),
        ((10.0, 5.0, 1.0), (0,)),
        ((8.0, 8.0, 1.0), (0, 1)),
        ((3.0, 1.3, 1.0), (0,)),
    ],
)
def test_only_planes_that_one_can_draw_on_are_proposed(spacing_kji, axes):
    """Pixels at most 2.5 finest spacings long, or no plane has finer ones; the best plane of all is always there."""
    grid = Geometry(SHAPE, np.diag([*spacing_kji[::-1], 1.0]))
    assert drawable_axes(grid, {}, GuidanceSettings()) == axes
    for axis in range(3):
        wrong = slice_evidence(axis, 4)
        best = suggest([wrong], grid, {}, 100, GuidanceSettings(1, reach=1)).suggestions[0]
        assert best.axis == axis if axis in axes else best.axis in axes
        every_axis = suggest([wrong], grid, {}, 100, GuidanceSettings(1, (0, 1, 2), reach=1)).suggestions
        assert every_axis[0].place == (axis, 4)


def test_an_axis_with_annotated_slices_is_looked_along_whatever_its_pixels():
    thick = Geometry(SHAPE, np.diag([1.0, 1.0, 10.0, 1.0]))
    assert drawable_axes(thick, {1: (3,), 2: ()}, GuidanceSettings()) == (0, 1)
    assert drawable_axes(thick, {}, GuidanceSettings(coarsest=10)) == (0, 1, 2)


def test_the_planes_of_a_turned_and_flipped_volume_are_told_by_their_spacing(oblique_geometry):
    assert drawable_axes(oblique_geometry, {}, GuidanceSettings()) == (0,)


def test_of_two_slices_that_gain_alike_the_one_with_less_to_draw_comes_first():
    alike = [evidence({5: 3.0, 15: 3.0})]
    outlines = {0: np.where(np.arange(20) < 10, 80.0, 20.0)}
    advice = suggest(alike, GRID, {0: (0, 10, 19)}, 100, GuidanceSettings(1, (0,)), outlines=outlines)
    assert advice.suggestions[0].index == 15
    dear = {0: np.where(np.arange(20) < 10, 20.0, 80.0)}
    advice = suggest(alike, GRID, {0: (0, 10, 19)}, 100, GuidanceSettings(1, (0,)), outlines=dear)
    assert advice.suggestions[0].index == 5


def test_a_box_lies_where_it_lies():
    box = BoundingBox((8, 1, 2), (12, 4, 5))
    array = np.zeros(box.shape_kji)
    array[1, 1, 1] = 3.0
    advice = suggest([Evidence(box, array, SIDES)], GRID, {0: (0,)}, 100, GuidanceSettings(1, (0,)))
    assert advice.suggestions[0].index == 9


def test_the_reason_is_what_weighs_most_on_that_slice():
    both = [evidence({5: 3.0, 15: 1.0}, SIDES), evidence({5: 1.0, 15: 2.5}, CHANGE)]
    advice = suggest(both, GRID, {0: (0, 10, 19)}, 100, GuidanceSettings(2, (0,)))
    assert [(each.index, each.reason) for each in advice.suggestions] == [(5, SIDES), (15, CHANGE)]
    said = ": the two sides disagree (about 4.0 % of the object)"
    assert advice.suggestions[0].said(ByIndex()) == "k slice 5" + said
    assert advice.suggestions[0].said(InPatient(GRID)) == "axial, S 5 mm" + said


def test_it_is_enough_when_little_is_expected():
    little = suggest([evidence({5: 0.3})], GRID, {0: (0, 10)}, 100, ALONG_K)
    assert little.enough
    assert little.text == "enough: even the best next slice is expected to change only 0.3 % of the object"
    much = suggest([evidence({5: 3})], GRID, {0: (0, 10)}, 100, ALONG_K)
    assert not much.enough
    assert much.text == "the best next slice is expected to change 3.0 % of the object"


@pytest.mark.parametrize(
    "wrong", [{"count": 0}, {"axes": ()}, {"axes": (3,)}, {"coarsest": 0.9}, {"enough": -1}, {"reach": 0}]
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        GuidanceSettings(**wrong)


def test_nothing_to_rank_by_is_refused():
    with pytest.raises(InputError, match="no evidence"):
        suggest([], GRID, {}, 100)
    with pytest.raises(InputError, match="0 voxels"):
        suggest([evidence({5: 1.0})], GRID, {}, 0)


@pytest.fixture(scope="module")
def proxy():
    truth = wandering_disc()
    steps = propagate_steps(volume_of(image_of(truth)), slices_of(truth, (0, 4, 12)), PropagateSettings("shape"))
    return finish(steps), truth


def test_the_wider_gap_of_a_moving_object_comes_first(proxy):
    mask, truth = proxy
    advice = suggest([from_proxy(mask)], mask.geometry, mask.annotated, truth.sum(), ALONG_K)
    assert advice.suggestions[0].index in (7, 8, 9)
    assert advice.suggestions[0].reason == SIDES
    assert not advice.enough


def test_what_is_expected_to_change_is_about_what_is_wrong(proxy):
    mask, truth = proxy
    wrong = np.count_nonzero((mask.labelmap() > 0) != truth)
    assert dice(mask.labelmap() > 0, truth) < 0.95
    assert 0.3 * wrong < from_proxy(mask).expected.sum() < 3 * wrong


def test_the_outlines_to_be_drawn_are_those_of_the_mask(proxy):
    mask, _ = proxy
    outlines = expected_outlines(mask)
    np.testing.assert_array_equal(outlines[0], boundary_pixels(mask.labelmap()))
    turned = np.moveaxis(mask.labelmap(), 2, 0)
    np.testing.assert_array_equal(outlines[2][10:], boundary_pixels(turned)[10:])


def test_rounds_and_model_point_at_where_they_differ(proxy):
    mask, truth = proxy
    prediction = truth.astype(np.float32)
    earlier = prediction.copy()
    earlier[6] = 0
    maps = {CHANGE: from_rounds(earlier, prediction), FRONT_END: from_front_end(mask, prediction)}
    assert maps[CHANGE].expected.sum() == truth[6].sum()
    for reason, found in maps.items():
        assert found.reason == reason
        assert not found.expected[[0, 4, 12]].any()
    assert from_prediction(prediction).expected.max() == 0
    doubtful = np.full_like(prediction, 0.5)
    assert from_prediction(doubtful).reason == UNSURE
    assert from_prediction(doubtful).expected.min() > 0
