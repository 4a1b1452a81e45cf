import math

import numpy as np
import pytest
import torch

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.working_grid import GridSettings, WorkingGrid, working_grid

CROP = BoundingBox((2, 10, 30), (8, 41, 75))  # (6, 31, 45) voxels
GRID = WorkingGrid(CROP, (6, 11, 15), (3.0, 0.7 * 31 / 11, 0.5 * 3))


def geometry_of(shape_kji, spacing_kji_mm):
    return Geometry(shape_kji, np.diag([*spacing_kji_mm[::-1], 1.0]))


@pytest.mark.parametrize(
    ("shape_kji", "spacing_kji_mm"),
    [
        ((200, 200, 200), (1.0, 1.0, 1.0)),
        ((30, 400, 500), (3.0, 0.7, 0.5)),
        ((300, 60, 500), (0.5, 5.0, 0.7)),
        ((1, 2000, 3000), (1.0, 0.1, 0.1)),
        ((1, 1, 500_000), (1.0, 1.0, 1.0)),
    ],
)
@pytest.mark.parametrize("max_voxels", [500, 64**3])
def test_a_grid_is_no_larger_than_allowed_and_hardly_smaller(shape_kji, spacing_kji_mm, max_voxels):
    geometry = geometry_of(shape_kji, spacing_kji_mm)
    box = BoundingBox.whole(shape_kji)
    grid = working_grid(box, geometry, GridSettings(max_voxels=max_voxels))
    assert math.prod(grid.shape_kji) <= max_voxels
    assert math.prod(grid.shape_kji) > 0.6 * max_voxels
    assert all(a <= b for a, b in zip(grid.shape_kji, grid.crop.shape_kji, strict=True))
    extent_mm = [n * mm for n, mm in zip(grid.shape_kji, grid.spacing_kji_mm, strict=True)]
    assert extent_mm == pytest.approx([n * mm for n, mm in zip(shape_kji, spacing_kji_mm, strict=True)])


def test_the_smallest_allowance_gives_one_voxel():
    grid = working_grid(BoundingBox.whole((9, 9, 9)), geometry_of((9, 9, 9), (3, 1, 1)), GridSettings(max_voxels=1))
    assert grid.shape_kji == (1, 1, 1)


def test_voxels_of_the_finest_axes_are_made_coarser_first():
    box = BoundingBox((5, 50, 50), (25, 350, 450))
    grid = working_grid(box, geometry_of((30, 400, 500), (3.0, 0.7, 0.5)), GridSettings(max_voxels=64**3))
    assert grid.shape_kji[0] == grid.crop.shape_kji[0]
    assert grid.spacing_kji_mm[0] == 3.0
    assert 0.7 < grid.spacing_kji_mm[1] == pytest.approx(grid.spacing_kji_mm[2], rel=0.01)
    assert grid.spacing_kji_mm[1] < 3.0


def test_thick_slices_are_resampled_only_when_voxels_are_cubes():
    geometry = geometry_of((30, 400, 500), (3.0, 0.7, 0.5))
    grid = working_grid(BoundingBox.whole(geometry.shape_kji), geometry, GridSettings(max_voxels=5000))
    assert grid.shape_kji[0] < 30
    assert max(grid.spacing_kji_mm) < 1.1 * min(grid.spacing_kji_mm)


def test_a_small_box_is_worked_on_at_full_resolution_with_its_margin():
    geometry = geometry_of((40, 50, 60), (3.0, 0.7, 0.5))
    grid = working_grid(BoundingBox((10, 20, 30), (12, 25, 36)), geometry)
    # five voxels of the finest axis are 2.5 mm: one slice of 3 mm, four rows of 0.7 mm, five columns
    assert grid.crop == BoundingBox((9, 16, 25), (13, 29, 41))
    assert grid.is_full_resolution
    assert grid.spacing_kji_mm == pytest.approx((3.0, 0.7, 0.5))


def test_the_margin_grows_with_the_working_voxels():
    geometry = geometry_of((200, 200, 200), (1.0, 1.0, 1.0))
    box = BoundingBox((80, 80, 80), (120, 120, 120))
    grid = working_grid(box, geometry, GridSettings(max_voxels=20**3))
    margin = 80 - grid.crop.start_kji[0]
    assert 5 * grid.spacing_kji_mm[0] == pytest.approx(margin, abs=1.5)
    assert margin > 10


def test_the_margin_ends_at_the_border_of_the_image():
    geometry = geometry_of((10, 50, 60), (3.0, 0.7, 0.5))
    grid = working_grid(BoundingBox((0, 0, 58), (10, 2, 60)), geometry)
    assert grid.crop == BoundingBox((0, 0, 53), (10, 6, 60))


def test_a_grid_of_the_shape_of_its_crop_leaves_values_alone():
    whole = WorkingGrid(CROP, CROP.shape_kji, (3.0, 0.7, 0.5))
    assert whole.is_full_resolution
    assert not GRID.is_full_resolution
    values = torch.rand(CROP.shape_kji)
    assert whole.averaged(values) is values
    assert whole.interpolated(values) is values
    indices = np.array([[2, 10, 30], [7, 40, 74], [5, 20, 33]])
    assert [axis.tolist() for axis in whole.working_indices(indices)] == [[0, 5, 3], [0, 30, 10], [0, 44, 3]]


def test_averages_are_those_worked_out_by_hand():
    grid = WorkingGrid(BoundingBox((4, 5, 6), (5, 7, 12)), (1, 1, 2), (1.0, 2.0, 3.0))
    values = torch.arange(12.0).reshape(1, 2, 6)
    assert grid.averaged(values).tolist() == [[[(0 + 1 + 2 + 6 + 7 + 8) / 6, (3 + 4 + 5 + 9 + 10 + 11) / 6]]]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_ramp_survives_the_way_there_and_back(axis):
    grid = WorkingGrid(BoundingBox((1, 2, 3), (13, 23, 33)), (4, 7, 10), (1.0, 1.0, 1.0))  # threes
    ramp = torch.arange(float(grid.crop.shape_kji[axis]))
    values = ramp.reshape([-1 if other == axis else 1 for other in range(3)]).expand(grid.crop.shape_kji)
    there = grid.averaged(values)
    centres = 3 * torch.arange(float(grid.shape_kji[axis])) + 1
    assert there.shape == grid.shape_kji
    assert torch.equal(there.movedim(axis, 0)[:, 0, 0], centres)
    back = grid.interpolated(there)
    assert back.shape == grid.crop.shape_kji
    inner = back.movedim(axis, 0)[1:-1]  # beyond the outermost centres the values stay level
    torch.testing.assert_close(inner, values.movedim(axis, 0)[1:-1], rtol=1e-5, atol=1e-4)


def test_a_ramp_survives_an_uneven_ratio_within_half_a_voxel():
    values = torch.arange(31.0)[None, :, None].expand(CROP.shape_kji)
    back = GRID.interpolated(GRID.averaged(values))
    assert (back - values)[:, 2:-2].abs().max() <= 0.5


def test_a_mark_lies_in_the_working_voxel_that_covers_its_centre():
    rng = np.random.default_rng(2)
    indices = rng.integers(CROP.start_kji, CROP.stop_kji, (200, 3))
    found = torch.stack(GRID.working_indices(indices), dim=1).numpy()
    ratio = np.array(CROP.shape_kji) / np.array(GRID.shape_kji)
    centres = indices - np.array(CROP.start_kji) + 0.5
    assert (found * ratio <= centres + 1e-9).all()
    assert (centres < (found + 1) * ratio + 1e-9).all()
    marked = torch.zeros(CROP.shape_kji)
    local = tuple((indices - np.array(CROP.start_kji)).T)
    marked[local] = 1
    assert (GRID.averaged(marked)[tuple(found.T)] > 0).all()


def test_every_voxel_of_the_crop_has_a_working_voxel():
    indices = np.argwhere(np.ones(CROP.shape_kji, bool)) + np.array(CROP.start_kji)
    found = torch.stack(GRID.working_indices(indices), dim=1)
    assert found.min() == 0
    assert found.amax(dim=0).tolist() == [5, 10, 14]
    assert found.unique(dim=0).shape[0] == math.prod(GRID.shape_kji)


def test_inside_marks_the_working_voxels_whose_centre_is_in_the_box():
    # columns are 3 voxels wide, centres at 31.5, 34.5, ...; rows 31/11 voxels, centres at 10 + 2.82 * (n + 0.5)
    inside = GRID.inside(BoundingBox((3, 14, 34), (5, 30, 41)))
    assert inside.shape == GRID.shape_kji
    assert torch.nonzero(inside.any(dim=2).any(dim=1)).flatten().tolist() == [1, 2]
    rows = [n for n in range(11) if 14 < 10 + 31 / 11 * (n + 0.5) < 30]
    assert torch.nonzero(inside.any(dim=2).any(dim=0)).flatten().tolist() == rows == [1, 2, 3, 4, 5, 6]
    assert torch.nonzero(inside.any(dim=1).any(dim=0)).flatten().tolist() == [1, 2, 3]
    assert inside.sum() == 2 * 6 * 3
    assert GRID.inside(CROP).all()


def test_marks_in_a_box_of_whole_working_voxels_are_inside_it():
    grid = WorkingGrid(BoundingBox((0, 0, 0), (6, 12, 20)), (3, 4, 5), (1.0, 1.0, 1.0))
    box = BoundingBox((2, 3, 8), (6, 9, 12))
    inside = grid.inside(box)
    indices = np.argwhere(np.ones((6, 12, 20), bool))
    np.testing.assert_array_equal(inside[grid.working_indices(indices)].numpy(), box.contains(indices))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_ramp_on_one_grid_is_the_same_ramp_on_another_one_within_it(axis):
    inner = WorkingGrid(BoundingBox((3, 13, 35), (7, 33, 70)), (4, 13, 35), (3.0, 1.1, 0.5))

    def ramp(grid):
        start, stop = grid.crop.start_kji[axis], grid.crop.stop_kji[axis]
        count = grid.shape_kji[axis]
        centres = start + (torch.arange(count) + 0.5) * (stop - start) / count
        return centres.reshape([-1 if other == axis else 1 for other in range(3)]).expand(grid.shape_kji)

    values = torch.stack([ramp(GRID), 2 - ramp(GRID)])
    found = GRID.resampled(values, inner)
    torch.testing.assert_close(found, torch.stack([ramp(inner), 2 - ramp(inner)]))


def test_beyond_the_outermost_centres_of_a_grid_its_nearest_value_counts():
    flat = WorkingGrid(BoundingBox((0, 0, 0), (1, 4, 4)), (1, 2, 2), (1.0, 2.0, 2.0))
    wider = WorkingGrid(BoundingBox((0, 0, 0), (3, 8, 4)), (3, 4, 2), (1.0, 2.0, 2.0))
    values = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    found = flat.resampled(values, wider)
    assert found.tolist() == [[[1.0, 2.0], [3.0, 4.0], [3.0, 4.0], [3.0, 4.0]]] * 3
    assert flat.resampled(values, flat) is values
