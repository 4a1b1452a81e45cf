import numpy as np
import pytest
import torch
from scipy import ndimage

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.working_grid import WorkingGrid
from InteractiveSegLib.progress import finish
from InteractiveSegLib.segmenting import full_resolution
from InteractiveSegLib.segmenting.full_resolution import full_resolution_steps
from InteractiveSegLib.segmenting.refine import EnergySettings

SPACING_KJI_MM = (1.0, 0.7, 0.5)
SHAPE_KJI = (30, 42, 51)
WORKING_KJI = (10, 14, 17)
SETTINGS = EnergySettings()


def ellipsoid(shape_kji=SHAPE_KJI, centre=(14.2, 20.5, 26.1), radius_mm=9.0, spacing_kji_mm=SPACING_KJI_MM):
    """A ball in mm, an ellipsoid in voxels."""
    axes = [(np.arange(n) - c) * mm for n, c, mm in zip(shape_kji, centre, spacing_kji_mm, strict=True)]
    return sum(a**2 for a in np.meshgrid(*axes, indexing="ij")) < radius_mm**2


def grid_of(shape_kji=SHAPE_KJI, working_kji=WORKING_KJI, spacing_kji_mm=SPACING_KJI_MM):
    spacing = tuple(mm * n / w for mm, n, w in zip(spacing_kji_mm, shape_kji, working_kji, strict=True))
    return WorkingGrid(BoundingBox.whole(shape_kji), working_kji, spacing)


def seen(truth, grid, noise=0.03):
    """What the working grid knows of the truth, and the image: (probability, labels, intensities)."""
    share = grid.averaged(torch.from_numpy(truth).float())
    intensities = 0.2 + 0.5 * truth + noise * np.random.default_rng(0).standard_normal(truth.shape)
    return share.clamp(0.02, 0.98), share > 0.5, intensities.astype(np.float32)


def full(truth, grid, labels=None, settings=SETTINGS):
    probability, coarse, intensities = seen(truth, grid)
    labels = coarse if labels is None else labels
    return finish(full_resolution_steps(grid, probability, labels, intensities, SPACING_KJI_MM, settings))


def repeated(labels, grid):
    factors = [n // w for n, w in zip(grid.crop.shape_kji, grid.shape_kji, strict=True)]
    return labels.numpy().repeat(factors[0], 0).repeat(factors[1], 1).repeat(factors[2], 2)


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def test_a_grid_that_is_the_crop_keeps_its_labels():
    grid = grid_of(working_kji=SHAPE_KJI)
    labels = torch.from_numpy(np.random.default_rng(1).random(SHAPE_KJI) > 0.5)
    found = full(ellipsoid(), grid, labels)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, labels.numpy())


@pytest.mark.parametrize("working_kji", [WORKING_KJI, (30, 14, 17), (30, 42, 17), (11, 13, 19)])
def test_a_ball_gets_the_border_that_the_image_shows(working_kji):
    truth = ellipsoid()
    grid = grid_of(working_kji=working_kji)
    found = full(truth, grid)
    assert found.shape == SHAPE_KJI
    assert dice(found, truth) > 0.97
    if working_kji == WORKING_KJI:
        assert dice(repeated(seen(truth, grid)[1], grid), truth) < 0.95  # as it would be without the fit


def test_axes_that_are_swapped_miss_the_ball():
    truth = ellipsoid()
    moved = ellipsoid(centre=(20.5, 14.2, 26.1))
    assert dice(full(truth, grid_of()), moved) < 0.8


def test_voxels_far_from_the_border_keep_their_labels_whatever_the_image_shows():
    grid = grid_of()
    labels = torch.from_numpy(ellipsoid(WORKING_KJI, (4.5, 7.0, 8.0), 3.5, (1.0, 1.0, 1.0)))
    probability = torch.full(WORKING_KJI, 0.5)
    intensities = np.random.default_rng(3).random(SHAPE_KJI, dtype=np.float32)
    found = finish(full_resolution_steps(grid, probability, labels, intensities, SPACING_KJI_MM, SETTINGS))
    cube = np.ones((3, 3, 3), bool)
    inner = repeated(torch.from_numpy(ndimage.binary_erosion(labels.numpy(), cube, border_value=1)), grid)
    outer = repeated(torch.from_numpy(ndimage.binary_dilation(labels.numpy(), cube)), grid)
    assert inner.any()
    assert found[inner].all()
    assert not found[~outer].any()
    far = inner | ~outer
    np.testing.assert_array_equal(found[far], repeated(labels, grid)[far])


@pytest.mark.parametrize("block", [8, 13, 29])
def test_blocks_make_hardly_a_difference(monkeypatch, block):
    truth, grid = ellipsoid(), grid_of()
    monkeypatch.setattr(full_resolution, "_BLOCK", 51)
    whole = full(truth, grid)
    monkeypatch.setattr(full_resolution, "_BLOCK", block)
    blocks = full(truth, grid)
    assert (blocks != whole).sum() <= 0.002 * truth.sum()
    assert dice(blocks, truth) > 0.97


@pytest.mark.parametrize("value", [True, False])
def test_a_grid_without_a_border_needs_no_fit(value):
    grid = grid_of()
    labels = torch.full(WORKING_KJI, value)
    intensities = np.zeros(SHAPE_KJI, np.float32)
    steps = full_resolution_steps(grid, torch.full(WORKING_KJI, 0.5), labels, intensities, SPACING_KJI_MM, SETTINGS)
    assert finish(steps, lambda progress: pytest.fail(progress.text)).tolist() == np.full(SHAPE_KJI, value).tolist()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_sheet_of_one_working_voxel_is_not_lost(axis):
    truth = np.zeros(SHAPE_KJI, bool)
    truth[6:24, 6:36, 6:45] = True
    truth.swapaxes(0, axis)[:12] = False
    truth.swapaxes(0, axis)[15:] = False  # what is left is the fifth working voxel
    found = full(truth, grid_of(), settings=EnergySettings(smoothness_mm=0.3))
    assert dice(found, truth) > 0.95


def test_an_object_at_the_border_of_the_crop_reaches_it():
    truth = ellipsoid(centre=(0.0, 0.0, 50.0), radius_mm=12.0)
    found = full(truth, grid_of())
    assert dice(found, truth) > 0.97
    assert found[0, 0, 50]


def test_a_single_slice_is_fitted():
    shape_kji, working_kji = (1, 42, 51), (1, 14, 17)
    truth = ellipsoid(shape_kji, (0.0, 20.5, 26.1))
    found = full(truth, grid_of(shape_kji, working_kji))
    assert found.shape == shape_kji
    assert dice(found, truth) > 0.97


def test_the_inputs_are_not_changed():
    truth, grid = ellipsoid(), grid_of()
    inputs = seen(truth, grid)
    before = [values.clone() if isinstance(values, torch.Tensor) else values.copy() for values in inputs]
    finish(full_resolution_steps(grid, *inputs, SPACING_KJI_MM, SETTINGS))
    for values, expected in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(np.asarray(values), np.asarray(expected))
