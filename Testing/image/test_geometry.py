import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry, Volume, kji_to_ras, ras_to_kji

SHAPE_KJI = (10, 20, 31)


def flipped_geometry() -> Geometry:
    """The i axis runs to the left, j to superior, k to posterior."""
    return Geometry(SHAPE_KJI, [[-0.5, 0, 0, 100], [0, 0, -3.0, 50], [0, 0.7, 0, -20], [0, 0, 0, 1]])


def itk_image(geometry: Geometry) -> sitk.Image:
    origin, spacing, direction = geometry.to_lps()
    image = sitk.Image([int(n) for n in geometry.shape_kji[::-1]], sitk.sitkUInt8)
    image.SetOrigin(origin)
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    return image


def test_world_points_of_a_flipped_grid_are_those_worked_out_by_hand():
    # k 2, j 3, i 4: 100 - 4 * 0.5, 50 - 2 * 3, -20 + 3 * 0.7
    assert kji_to_ras(np.array([[2, 3, 4]]), flipped_geometry())[0] == pytest.approx((98.0, 44.0, -17.9))
    assert ras_to_kji(np.array([[98.0, 44.0, -17.9]]), flipped_geometry())[0] == pytest.approx((2, 3, 4))


def test_spacing_is_given_along_k_j_i(oblique_geometry):
    assert oblique_geometry.spacing_kji_mm == pytest.approx((3.0, 0.7, 0.5))
    assert flipped_geometry().spacing_kji_mm == pytest.approx((3.0, 0.7, 0.5))
    assert oblique_geometry.voxel_count == 6200


def test_world_points_agree_with_simpleitk(oblique_geometry):
    points_kji = np.random.default_rng(3).uniform(-5, 40, (50, 3))
    image = itk_image(oblique_geometry)
    lps = np.array([image.TransformContinuousIndexToPhysicalPoint(point[::-1].tolist()) for point in points_kji])
    np.testing.assert_allclose(kji_to_ras(points_kji, oblique_geometry), lps * (-1, -1, 1), atol=1e-10)


def test_array_indices_come_back_from_the_world_unclipped(oblique_geometry):
    points_kji = np.array([[-3.25, 25.5, 0.0], [9.0, 19.0, 30.0], [0.0, 0.0, 400.0]])
    back = ras_to_kji(kji_to_ras(points_kji, oblique_geometry), oblique_geometry)
    np.testing.assert_allclose(back, points_kji, atol=1e-9)


@pytest.mark.parametrize("points", [np.zeros(3), np.zeros((2, 2)), np.zeros((3, 2))])
def test_points_that_are_not_n_by_3_are_refused(points):
    with pytest.raises(InputError, match="points_ras"):
        ras_to_kji(points, flipped_geometry())


def test_lps_and_back_is_the_same_grid(oblique_geometry):
    for geometry in (oblique_geometry, flipped_geometry()):
        again = Geometry.from_lps(geometry.shape_kji, *geometry.to_lps())
        np.testing.assert_allclose(again.ijk_to_ras, geometry.ijk_to_ras, rtol=0, atol=1e-12)


def test_lps_of_a_flipped_grid_is_that_worked_out_by_hand():
    origin, spacing, direction = flipped_geometry().to_lps()
    assert origin == (-100, -50, -20)
    assert spacing == pytest.approx((0.5, 0.7, 3.0))
    assert direction == pytest.approx((1, 0, 0, 0, 0, 1, 0, 1, 0))


def test_a_sheared_grid_has_no_lps_form():
    sheared = Geometry(SHAPE_KJI, [[0.5, 0, 0.9, 0], [0, 0.7, 0, 0], [0, 0, 3.0, 0], [0, 0, 0, 1]])
    with pytest.raises(InputError, match="sheared"):
        sheared.to_lps()


def test_a_crop_keeps_its_place_in_the_world(oblique_geometry):
    box = BoundingBox((2, 5, 7), (6, 12, 30))
    cropped = oblique_geometry.cropped(box)
    assert cropped.shape_kji == (4, 7, 23)
    inner, outer = np.array([[1, 2, 3]]), np.array([[3, 7, 10]])
    np.testing.assert_allclose(kji_to_ras(inner, cropped), kji_to_ras(outer, oblique_geometry), atol=1e-10)


def test_a_crop_beyond_the_grid_is_refused(oblique_geometry):
    with pytest.raises(InputError, match="outside"):
        oblique_geometry.cropped(BoundingBox((0, 0, 0), (10, 20, 32)))


def test_difference_is_the_largest_distance_between_corners():
    geometry = flipped_geometry()
    stretched = geometry.ijk_to_ras.copy()
    stretched[1, 2] = -3.1  # nine steps of 0.1 mm along k
    assert geometry.difference_mm(Geometry(SHAPE_KJI, stretched)) == pytest.approx(0.9)
    assert geometry.difference_mm(geometry) == 0
    assert geometry.difference_mm(Geometry((20, 10, 31), geometry.ijk_to_ras)) == np.inf


def test_another_grid_is_refused_with_its_shape_or_distance():
    geometry = flipped_geometry()
    moved = geometry.ijk_to_ras.copy()
    moved[0, 3] += 0.25
    with pytest.raises(InputError, match=r"the mask .*0\.25 mm"):
        geometry.require_same(Geometry(SHAPE_KJI, moved), "the mask")
    with pytest.raises(InputError, match=r"\(31, 10, 20\)"):
        geometry.require_same(Geometry((20, 10, 31), geometry.ijk_to_ras), "the mask")
    geometry.require_same(Geometry(SHAPE_KJI, moved), "the mask", tolerance_mm=0.3)


@pytest.mark.parametrize("shape", [(10, 20), (10, 20, 0), (10, 20, 3.5), None, (10, 20, -1)])
def test_a_shape_that_is_not_three_positive_integers_is_refused(shape):
    with pytest.raises(InputError, match="shape_kji"):
        Geometry(shape, np.eye(4))


@pytest.mark.parametrize(
    "matrix",
    [np.eye(3), np.diag([1, 1, 0, 1]), np.diag([1, 1, np.nan, 1]), np.diag([1, 1, 1, 2]), "no", np.ones((4, 4))],
)
def test_a_matrix_that_is_not_affine_and_invertible_is_refused(matrix):
    with pytest.raises(InputError, match="ijk_to_ras"):
        Geometry(SHAPE_KJI, matrix)


def test_the_grid_cannot_be_changed_through_its_matrix():
    matrix = np.eye(4)
    geometry = Geometry(SHAPE_KJI, matrix)
    matrix[0, 3] = 5
    assert geometry.ijk_to_ras[0, 3] == 0
    with pytest.raises(ValueError, match="read-only"):
        geometry.ijk_to_ras[0, 3] = 5


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32, np.float64, bool])
def test_a_volume_holds_the_same_array_it_was_given(dtype):
    array = np.zeros(SHAPE_KJI, dtype)
    assert Volume(array, flipped_geometry()).array_kji is array


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.zeros((20, 31)), r"one slice: shape \(1, 20, 31\)"),
        (np.zeros((31, 20, 10)), r"\(31, 20, 10\)"),
        (np.zeros((0, 20, 31)), "at least one voxel"),
        (np.zeros((2, 10, 20, 31)), r"\(2, 10, 20, 31\)"),
        (np.zeros(SHAPE_KJI, complex), "complex128"),
        (np.zeros(SHAPE_KJI, object), "object"),
        (np.zeros(SHAPE_KJI, [("r", "u1"), ("g", "u1")]), "real numbers"),
        ([[[1]]], "list"),
    ],
)
def test_an_array_that_is_not_a_real_3d_image_on_its_grid_is_refused(array, text):
    with pytest.raises(InputError, match=text):
        Volume(array, flipped_geometry())
