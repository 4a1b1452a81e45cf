"""A simulated person's corrections and time, against numbers worked out by hand."""

import math

import numpy as np
import pytest

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.users.correcting_person import EffortModel, boundary_mm, by_hand_s, corrected
from InteractiveSegLib.image.geometry import Geometry

GEOMETRY = Geometry((3, 20, 30), np.array([[1.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 5.0, 0], [0, 0, 0, 1]]))  # 2 x 1 mm
MODEL = EffortModel(drawing_mm_per_s=10.0, click_s=1.0, look_s=3.0, tolerance_mm=1.0)
AROUND_MM = math.pi / 4 * 2 * (4 * 2 + 6 * 1)  # of 4 x 6 pixels


def box(*slices, value=1, right=0):
    labels = np.zeros(GEOMETRY.shape_kji, np.uint8)
    for number in slices:
        labels[number, 5:9, 10 + right : 16 + right] = value
    return labels


def test_boundaries_are_measured_in_mm_and_shared_ones_once():
    assert boundary_mm(box(0)[0], (2.0, 1.0)) == pytest.approx(AROUND_MM)
    both = box(0)[0]
    both[5:9, 16:20] = 2
    assert boundary_mm(both, (2.0, 1.0)) == pytest.approx(math.pi / 4 * (2 * (8 + 10) + 8))
    circle = (np.hypot(*np.mgrid[-50:51, -50:51]) < 40).astype(np.uint8)
    assert boundary_mm(circle, (1.0, 1.0)) == pytest.approx(2 * math.pi * 40, rel=0.02)


def test_drawing_by_hand_looks_at_every_slice_and_draws_every_boundary():
    assert by_hand_s(box(0, 1), GEOMETRY, MODEL) == pytest.approx(3 * 3 + 2 * 1 + 2 * AROUND_MM / 10)


def test_a_mask_that_is_right_costs_looks_and_one_click():
    found = corrected(box(0, 1), box(0, 1), GEOMETRY, MODEL)
    assert (found.slices, found.clicks, found.drawn_mm, found.changed) == (3, 1, 0, 0)
    assert MODEL.seconds(found.slices, found.clicks, found.drawn_mm) == 10


def test_errors_of_one_pixel_are_let_stand_and_thicker_ones_put_right():
    truth = box(1)
    found = corrected(box(1, right=1), truth, GEOMETRY, MODEL)  # a pixel of 1 mm on either side
    assert found.changed == 0
    found = corrected(box(1, right=2), truth, GEOMETRY, MODEL)
    np.testing.assert_array_equal(found.labels, truth)
    assert (found.clicks, found.changed) == (1 + 2, 16)
    sides = math.pi / 4 * (8 + 2 * 2)  # the missed part's own boundary: its left side and two pixels above and below
    assert found.drawn_mm == pytest.approx(sides + math.pi / 4 * 8)  # and the true side beside the superfluous part
    strict = EffortModel(tolerance_mm=0.5)
    np.testing.assert_array_equal(corrected(box(1, right=1), truth, GEOMETRY, strict).labels, truth)


def test_only_the_thick_part_of_an_error_is_drawn():
    truth = box(1)
    start = truth.copy()
    start[1, 9, 10:16] = 1  # a strip of 2 mm below, which the tolerance lets stand
    start[1, 4, 10:16] = start[1, 3, 10:13] = 1  # and one above, of which a half is 4 mm thick
    lenient = EffortModel(drawing_mm_per_s=10.0, click_s=1.0, look_s=3.0, tolerance_mm=2.0)
    found = corrected(start, truth, GEOMETRY, lenient)
    left = truth.copy()
    left[1, 9, 10:16] = left[1, 4, 13:16] = 1
    np.testing.assert_array_equal(found.labels, left)
    assert (found.clicks, found.changed) == (1 + 1, 6)
    assert found.drawn_mm == pytest.approx(math.pi / 4 * 3)  # of the upper side


def test_a_superfluous_island_takes_a_click_and_a_strange_organ_as_well():
    truth = box(1)
    start = truth.copy()
    start[0, 2:6, 2:6] = 1
    start[1, 12, 3] = 7  # thin, but no organ of the truth
    found = corrected(start, truth, GEOMETRY, MODEL)
    np.testing.assert_array_equal(found.labels, truth)
    assert (found.clicks, found.drawn_mm) == (1 + 1 + 1, 0)


def test_slices_that_were_not_looked_at_stay_as_they_are():
    found = corrected(np.zeros(GEOMETRY.shape_kji, np.uint8), box(0, 1, 2), GEOMETRY, MODEL, [1])
    np.testing.assert_array_equal(found.labels, box(1))
    assert (found.slices, found.clicks) == (1, 2)
    assert found.drawn_mm == pytest.approx(AROUND_MM)


def test_wrong_shapes_and_values_are_refused():
    with pytest.raises(InputError, match="differ in shape"):
        corrected(np.zeros((2, 20, 30), np.uint8), box(0), GEOMETRY, MODEL)
    with pytest.raises(InputError, match="drawing_mm_per_s 0 must be above 0"):
        EffortModel(drawing_mm_per_s=0)
