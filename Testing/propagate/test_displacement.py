"""Displacement fields: numbers worked out by hand, and properties of any field."""

import numpy as np
import pytest
from scipy import ndimage

from InteractiveSegLib.propagate.displacement import bspline_field, carried, composed, inverse, jacobian


def shift(rows, columns, shape=(20, 30)):
    return np.stack([np.full(shape, rows, np.float32), np.full(shape, columns, np.float32)])


@pytest.fixture
def smooth_field():
    noise = np.random.default_rng(3).normal(size=(2, 40, 50))
    field = ndimage.gaussian_filter(noise, (0, 8, 8))
    return (3 * field / np.abs(field).max()).astype(np.float32)


def test_an_image_is_read_where_the_field_points():
    image = np.arange(600, dtype=np.float32).reshape(20, 30)
    seen = carried(image, shift(2, -3))
    assert seen[5, 10] == image[7, 7]
    assert seen[19, 0] == image[19, 0]  # beyond the border the nearest value counts


def test_several_planes_are_carried_alike():
    planes = np.random.default_rng(0).random((3, 20, 30)).astype(np.float32)
    np.testing.assert_array_equal(carried(planes, shift(1, 2))[1], carried(planes[1], shift(1, 2)))


def test_shifts_one_after_the_other_add_up():
    np.testing.assert_allclose(composed(shift(1, 2), shift(3, -5)), shift(4, -3))


def test_there_and_back_is_nowhere(smooth_field):
    there_and_back = composed(smooth_field, inverse(smooth_field))
    inside = there_and_back[:, 6:-6, 6:-6]
    assert np.abs(inside).max() < 0.05


def test_the_jacobian_of_a_stretch_is_the_product_of_its_factors():
    rows, columns = np.mgrid[:20, :30].astype(np.float32)
    np.testing.assert_allclose(jacobian(np.stack([0.5 * rows, -0.2 * columns])), 1.5 * 0.8, rtol=1e-5)


def test_the_jacobian_of_a_mirror_is_negative():
    columns = np.broadcast_to(np.arange(30, dtype=np.float32), (20, 30))
    assert (jacobian(np.stack([np.zeros((20, 30)), 29 - 2 * columns])) < 0).all()


def test_a_plane_one_pixel_high_has_a_jacobian():
    np.testing.assert_array_equal(jacobian(np.zeros((2, 1, 9))), np.ones((1, 9)))


def test_equal_control_points_shift_by_their_value_in_pixels_of_each_axis():
    coefficients = np.stack([np.full((7, 9), 4.0), np.full((7, 9), -1.5)])
    field = bspline_field(coefficients, (-10.0, -10.0), (10.0, 10.0), (20, 30), (2.0, 0.5))
    np.testing.assert_allclose(field[0], 2.0, rtol=1e-6)
    np.testing.assert_allclose(field[1, :, :], -3.0, rtol=1e-6)


def test_one_control_point_moves_its_place_by_two_thirds_and_the_next_by_a_sixth():
    coefficients = np.zeros((2, 5, 5))
    coefficients[0, 2, 2] = 9.0
    field = bspline_field(coefficients, (-4.0, -4.0), (4.0, 4.0), (13, 13), (1.0, 1.0))
    assert field[0, 4, 4] == pytest.approx(9 * (2 / 3) ** 2)
    assert field[0, 4, 8] == pytest.approx(9 * (2 / 3) * (1 / 6))
    assert field[0, 4, 12] == 0
    assert not field[1].any()
