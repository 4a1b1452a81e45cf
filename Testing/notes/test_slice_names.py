"""Names of slices: by index, and by plane and position in the patient, on straight, flipped and rotated grids."""

import numpy as np
import pytest

from InteractiveSegLib.image.geometry import Geometry, kji_to_ras
from InteractiveSegLib.notes.slice_names import ByIndex, InBoth, InPatient

SHAPE = (40, 30, 20)


def grid(columns_ijk, origin, shape=SHAPE):
    """Geometry of the voxel axes' steps (mm, RAS) and the first voxel's centre."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(columns_ijk, float).T
    matrix[:3, 3] = origin
    return Geometry(shape, matrix)


def turned(degrees, axis):
    """(3, 3) rotation about a patient axis."""
    one, other = (each for each in range(3) if each != axis)
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    matrix = np.eye(3)
    matrix[[one, other, one, other], [one, other, other, one]] = c, c, -s, s
    return matrix


LPS = grid([(-0.5, 0, 0), (0, -0.7, 0), (0, 0, 5)], (10, 20, -100))
SAGITTAL = grid([(0, -1, 0), (0, 0, -1), (3, 0, 0)], (0, 0, -12.5))
CORONAL = grid([(1, 0, 0), (0, 0, 1), (0, -4, 0)], (0, 6, 0))
MICRO = grid([(0.04, 0, 0), (0, 0.04, 0), (0, 0, 0.1)], (0, 0, 0))


@pytest.mark.parametrize(
    ("geometry", "place", "name"),
    [
        (LPS, (0, 30), "axial, S 50 mm"),
        (LPS, (0, 20), "axial, S 0 mm"),
        (LPS, (0, 1), "axial, I 95 mm"),
        (LPS, (1, 10), "coronal, A 13 mm"),
        (LPS, (1, 29), "coronal, P 0.3 mm"),
        (LPS, (2, 13), "sagittal, R 3.5 mm"),
        (LPS, (2, 30), "sagittal, L 5 mm"),
        (SAGITTAL, (0, 4), "sagittal, R 12 mm"),
        (SAGITTAL, (1, 3), "axial, I 15.5 mm"),
        (SAGITTAL, (2, 7), "coronal, P 7 mm"),
        (CORONAL, (0, 0), "coronal, A 6 mm"),
        (CORONAL, (0, 5), "coronal, P 14 mm"),
        (MICRO, (0, 1), "axial, S 0.1 mm"),
        (MICRO, (2, 3), "sagittal, R 0.12 mm"),
    ],
)
def test_a_slice_is_called_by_its_plane_and_its_place(geometry, place, name):
    assert InPatient(geometry).one(place) == name


@pytest.mark.parametrize("degrees", [0.0, 0.5, -0.9])
def test_a_plane_that_is_hardly_off_is_not_called_oblique(degrees):
    geometry = grid((turned(degrees, 0) @ np.diag([1, 1, 5.0])).T, (0, 0, 0))
    assert [InPatient(geometry).plane(axis) for axis in range(3)] == ["axial", "coronal", "sagittal"]


@pytest.mark.parametrize("degrees", [1.5, -12.0, 44.0])
def test_of_a_volume_turned_about_one_axis_the_two_planes_that_left_the_patient_s_are_oblique(degrees):
    geometry = grid((turned(degrees, 0) @ np.diag([1, 1, 5.0])).T, (7, 8, 9))
    planes = [InPatient(geometry).plane(axis) for axis in range(3)]
    assert planes == ["axial (oblique)", "coronal (oblique)", "sagittal"]


def test_the_place_of_an_oblique_slice_is_that_of_its_middle():
    geometry = grid((turned(30, 0) @ np.diag([1, 1, 5.0])).T, (0, 0, 0))
    middle = kji_to_ras(np.array([[12, 14.5, 9.5]]), geometry)[0]
    assert InPatient(geometry).one((0, 12)) == f"axial (oblique), S {middle[2]:.1f} mm"
    assert middle[2] == pytest.approx(12 * 5 * np.cos(np.pi / 6) + 14.5 * np.sin(np.pi / 6))


@pytest.mark.parametrize("seed", range(8))
def test_however_a_volume_lies_each_axis_has_a_plane_of_its_own_and_no_two_slices_one_name(seed):
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    geometry = grid((rotation @ np.diag(rng.uniform(0.02, 6, 3))).T, rng.uniform(-300, 300, 3), (12, 9, 14))
    called = InPatient(geometry)
    assert len({called.plane(axis).split()[0] for axis in range(3)}) == 3
    places = [(axis, index) for axis, length in enumerate(geometry.shape_kji) for index in range(length)]
    assert len({called.one(place) for place in places}) == len(places)


def test_of_a_sheared_grid_the_slices_normal_counts():
    """A tilted gantry: the k axis leans, the slices themselves are axial."""
    tilted = grid([(1, 0, 0), (0, 1, 0), (0, 2, 5)], (0, 0, 0))
    assert InPatient(tilted).one((0, 3)) == "axial, S 15 mm"
    assert InPatient(tilted).plane(1) == "coronal (oblique)"


def test_neighbours_are_named_by_both_ends():
    assert ByIndex().run(0, 4, 6) == "k slices 4 to 6"
    assert InPatient(LPS).run(0, 19, 22) == "axial, I 5 mm to S 10 mm"
    assert InBoth(LPS).run(1, 0, 2) == "j slices 0 to 2, coronal, A 20 mm to A 18.6 mm"


def test_the_command_line_shows_index_and_place():
    assert InBoth(LPS).one((0, 30)) == "k slice 30, axial, S 50 mm"
    assert ByIndex().one((2, 13)) == "i slice 13"
