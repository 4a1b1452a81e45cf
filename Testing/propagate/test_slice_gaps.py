"""Between which annotated slices something is filled, how far an object extends, and shapes alone."""

import numpy as np
import pytest
from moving_shapes import disc

from InteractiveSegLib.propagate.shape_interpolation import NOWHERE_MM, signed_distance_mm, with_ends
from InteractiveSegLib.propagate.slice_gaps import Gap, expected_end, gaps
from InteractiveSegLib.propagate.working_plane import WorkingPlane

MM = (1.0, 1.0, 1.0)
EMPTY = np.zeros((30, 30), np.uint8)


def blob(radius):
    return disc((15, 15), radius, (30, 30)).astype(np.uint8)


def filled(annotated, length=40, spacing=MM):
    return [list(gap.slices) for gap in gaps(annotated, (1,), length, spacing)]


def test_what_lies_between_two_slices_is_filled_and_annotated_neighbours_leave_nothing():
    assert filled({4: EMPTY, 8: blob(6), 9: blob(6), 12: EMPTY}) == [[5, 6, 7], [10, 11]]


def test_between_two_empty_slices_there_is_nothing():
    assert filled({0: EMPTY, 6: EMPTY, 12: blob(6), 18: EMPTY}) == [list(range(7, 12)), list(range(13, 18))]


def test_pairs_join_every_slice_of_a_gap_with_its_annotated_ends():
    between, above, below = Gap(4, 8, {}, 20), Gap(8, None, {1: 2.5}, 20), Gap(None, 4, {1: 2.5}, 20)
    assert (list(between.slices), list(between.pairs)) == ([5, 6, 7], [4, 5, 6, 7])
    assert (list(above.slices), list(above.pairs)) == ([9, 10, 11], [8, 9, 10])
    assert (list(below.slices), list(below.pairs)) == ([1, 2, 3], [1, 2, 3])


def test_an_end_stays_within_the_image():
    assert list(Gap(8, None, {1: 9.0}, 12).slices) == [9, 10, 11]
    assert list(Gap(None, 2, {1: 9.0}, 12).slices) == [0, 1]


def test_one_slice_is_taken_for_the_middle_of_a_sphere():
    square = np.zeros((30, 30), np.uint8)
    square[5:15, 5:15] = 1  # 100 pixels of 4 mm2: a circle of radius sqrt(400 / pi) = 11.28 mm
    assert expected_end({7: square}, 7, [], 1, (3.0, 2.0, 2.0)) == pytest.approx(11.2838 / 3, rel=1e-4)


def test_an_area_that_falls_goes_on_falling():
    large, small = EMPTY.copy(), EMPTY.copy()
    large[:20, :20], small[:20, :15] = 1, 1  # 400 pixels, four slices on 300: gone after 12 more
    assert expected_end({0: large, 4: small}, 4, [0], 1, (0.1, 1.0, 1.0)) == pytest.approx(4)  # the last gap
    assert expected_end({0: large, 4: small}, 4, [0], 1, (5.0, 1.0, 1.0)) == pytest.approx(9.772 / 5, rel=1e-3)
    tiny = EMPTY.copy()
    tiny[:10, :10] = 1  # 300 lost in four slices: the last 100 in 4/3
    assert expected_end({0: large, 4: tiny}, 4, [0], 1, (0.1, 1.0, 1.0)) == pytest.approx(4 / 3)


def test_distance_is_half_a_pixel_on_either_side_of_a_border():
    mask = np.zeros((5, 8), bool)
    mask[:, 4:] = True
    np.testing.assert_allclose(signed_distance_mm(mask, (3.0, 2.0))[2], [-7, -5, -3, -1, 1, 3, 5, 7])


def test_the_border_of_the_array_is_no_border_of_the_object():
    mask = np.ones((4, 4), bool)
    assert (signed_distance_mm(mask, (1.0, 1.0)) == NOWHERE_MM).all()
    assert (signed_distance_mm(~mask, (1.0, 1.0)) == -NOWHERE_MM).all()


def test_an_object_that_one_side_lacks_ends_half_way():
    known = signed_distance_mm(blob(6).astype(bool), (1.0, 1.0))[None]
    lower, upper = with_ends(known, np.full_like(known, -NOWHERE_MM))
    middle = (0.5 * lower + 0.5 * upper)[0]
    assert middle.max() == pytest.approx(0, abs=1e-5)
    np.testing.assert_array_equal(lower, known)


def test_a_large_plane_is_averaged_and_interpolated_back():
    plane = WorkingPlane((0, 10), (0, 21), (1.0, 1.0), 7)
    assert plane.factors == (3, 3)
    ramp = np.arange(10, dtype=np.float32)[:, None] + np.zeros(21, np.float32)
    assert plane.averaged(ramp).shape == (4, 7)
    np.testing.assert_allclose(plane.averaged(ramp)[:3, 0], (1, 4, 7))
    np.testing.assert_allclose(plane.interpolated(plane.averaged(ramp))[1:8, 5], np.arange(1, 8), atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "factors"),
    [((12, 400), (10.0, 1.0), (1, 3)), ((100, 400), (0.5, 0.5), (3, 3)), ((150, 190), (1.0, 1.0), (1, 1))],
)
def test_a_long_side_is_averaged_and_the_other_one_as_far_as_it_is_finer(shape, spacing_mm, factors):
    assert WorkingPlane((0, shape[0]), (0, shape[1]), spacing_mm, 192).factors == factors
