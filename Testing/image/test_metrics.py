"""Metrics against numbers worked out by hand, in grids where swapped axes must fail."""

import math
import warnings

import numpy as np
import pytest
import torch

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.metrics import calibration_error, dice, hd95_mm, surface_dice

SHAPE = (10, 20, 31)
SPACING = (3.0, 0.7, 0.5)
# 3 x 5 x 10 voxels, of which 1 x 3 x 8 lie inside: 126 are surface
BLOCK = (slice(2, 5), slice(5, 10), slice(8, 18))


def block(k=0, j=0, i=0, shape=SHAPE):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(part.start + n, part.stop + n) for part, n in zip(BLOCK, (k, j, i), strict=True))] = True
    return mask


def square(i=0):
    mask = np.zeros((1, 12, 14), bool)
    mask[0, 3:8, 2 + i : 7 + i] = True
    return mask


def test_dice_of_masks_worked_out_by_hand():
    mask = np.zeros((2, 3, 4), bool)
    truth = mask.copy()
    mask[0, 0, :3] = True
    truth[0, 0, 1:] = True
    truth[1, 0, 0] = True
    assert dice(mask, truth) == pytest.approx(2 * 2 / (3 + 4))


def test_dice_counts_every_label_above_zero_as_the_object():
    assert dice(np.array([[[0, 1, 1]]], np.uint8), np.array([[[0, 2, 2]]], np.uint8)) == 1


def test_an_object_that_is_nowhere_is_no_score():
    empty = np.zeros((2, 2, 2), bool)
    assert math.isnan(dice(empty, empty))
    assert math.isnan(surface_dice(empty, empty, (1, 1, 1)))
    assert math.isnan(hd95_mm(empty, empty, (1, 1, 1)))


def test_a_shift_by_one_thick_slice_is_3_mm():
    # of 126 surface voxels the 50 of the outer slice are 3 mm away, the 24 above the inside of the other block up to
    # 1.4 mm (its rim is 1 or 2 rows of 0.7 mm away, or less), 52 lie on it
    mask, truth = block(), block(k=1)
    assert hd95_mm(mask, truth, SPACING) == pytest.approx(3)
    assert surface_dice(mask, truth, SPACING) == pytest.approx(76 / 126)
    assert surface_dice(mask, truth, SPACING, tolerance_mm=0) == pytest.approx(52 / 126)
    assert surface_dice(mask, truth, SPACING, tolerance_mm=3) == 1


def test_a_shift_by_six_thin_columns_is_3_mm():
    # of 126 surface voxels 15 are 3 mm away and 12 each 2.5, 2, 1.5, 1 and 0.5; the rest is nearer than 1.4 mm
    mask, truth = block(), block(i=6)
    assert hd95_mm(mask, truth, SPACING) == pytest.approx(3)
    assert surface_dice(mask, truth, SPACING) == pytest.approx(99 / 126)
    assert surface_dice(mask, truth, SPACING, tolerance_mm=2.4) == pytest.approx(99 / 126)
    assert surface_dice(mask, truth, SPACING, tolerance_mm=2.6) == pytest.approx(111 / 126)


def test_hd95_takes_the_direction_that_is_worse():
    truth = block()
    mask = truth.copy()
    mask[9, 5:10, 8:18] = True  # 50 voxels, 5 slices beyond the truth: only seen from the mask
    assert hd95_mm(mask, truth, SPACING) == hd95_mm(truth, mask, SPACING) == pytest.approx(15)


def test_hd95_passes_over_a_twentieth_of_the_surface():
    truth = block()
    mask = truth.copy()
    mask[9, 5, 8:14] = True  # 6 of then 132 surface voxels: less than a twentieth
    assert hd95_mm(mask, truth, SPACING) == 0
    mask[9, 5, 8:15] = True  # 7 of 133 are more
    assert hd95_mm(mask, truth, SPACING) > 0


def test_a_mask_that_misses_everything_gets_the_diagonal():
    empty, truth = np.zeros((2, 3, 4), bool), np.ones((2, 3, 4), bool)
    assert (
        hd95_mm(empty, truth, (3, 2, 1)) == hd95_mm(truth, empty, (3, 2, 1)) == pytest.approx(math.sqrt(36 + 36 + 16))
    )
    assert hd95_mm(empty[:1], truth[:1], (10, 1, 1)) == 5  # one slice has no depth
    assert surface_dice(empty, truth, (3, 2, 1)) == surface_dice(truth, empty, (3, 2, 1)) == 0


def test_one_slice_is_scored_by_its_outline():
    # 16 voxels are outline; on the shifted outline lie the 8 of the upper and lower side that both have in common
    assert surface_dice(square(), square(i=1), (10, 1, 1), tolerance_mm=0.5) == pytest.approx(8 / 16)
    assert hd95_mm(square(), square(i=1), (10, 1, 1)) == pytest.approx(1)
    assert hd95_mm(square(), square(i=4), (10, 1, 0.5)) == pytest.approx(2)


@pytest.mark.parametrize("axis", [1, 2])
def test_a_slice_may_lie_along_any_axis(axis):
    mask, truth = (np.moveaxis(array, 0, axis) for array in (square(), square(i=1)))
    spacing = [1.0, 1.0, 1.0]
    spacing[axis] = 10.0
    assert surface_dice(mask, truth, spacing, tolerance_mm=0.5) == pytest.approx(8 / 16)


def test_one_voxel_is_its_own_surface():
    mask, truth = np.zeros((5, 5, 5), bool), np.zeros((5, 5, 5), bool)
    mask[2, 2, 2] = truth[2, 2, 4] = True
    assert hd95_mm(mask, truth, (1, 1, 1.5)) == pytest.approx(3)
    assert surface_dice(mask, truth, (1, 1, 1.5), tolerance_mm=3) == 1


def test_a_rounded_spacing_does_not_push_a_distance_over_the_tolerance():
    mask, truth = np.zeros((5, 5, 5), bool), np.zeros((5, 5, 5), bool)
    mask[2, 2, 2] = truth[2, 2, 4] = True
    assert surface_dice(mask, truth, (1, 1, 1.000001)) == 1
    assert surface_dice(mask, truth, (1, 1, 1.001)) == 0


@pytest.mark.parametrize("shape", [(9, 14, 11), (1, 14, 11)])
def test_looking_only_around_the_masks_changes_nothing(shape):
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    rng = np.random.default_rng(3)
    spacing = (3.0, 0.7, 0.5)
    flat = shape[0] == 1
    for low in (0, 3, 5):  # blobs that touch the border of the image, and such that do not
        mask, truth = np.zeros(shape, bool), np.zeros(shape, bool)
        inside = (slice(0 if flat else low, None), slice(low, 9), slice(low, 10))
        mask[inside], truth[inside] = (rng.random(mask[inside].shape) > 0.4 for _ in range(2))
        whole = [torch.from_numpy(array[0] if flat else array)[None, None] for array in (mask, truth)]
        options = {"include_background": True, "spacing": spacing[1:] if flat else spacing}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            expected = compute_surface_dice(*whole, [0.6], **options).item()
            distance = compute_hausdorff_distance(*whole, percentile=95, **options).item()
        assert 0 < expected < 1
        assert surface_dice(mask, truth, spacing, tolerance_mm=0.6) == expected
        assert hd95_mm(mask, truth, spacing) == distance


def test_surfaces_are_found_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        surface_dice(block(), block(k=1), SPACING)
        hd95_mm(block(), block(k=1), SPACING)


def test_calibration_error_worked_out_by_hand():
    # up to a half: mean 0.2, share 0.5, 2 voxels; above: mean 0.75, share 1, 2 voxels
    probability, truth = np.array([[[0.1, 0.3, 0.6, 0.9]]]), np.array([[[False, True, True, True]]])
    assert calibration_error(probability, truth, bins=2) == pytest.approx((2 * 0.3 + 2 * 0.25) / 4)


def test_certain_and_right_is_calibrated_and_certain_and_wrong_is_not():
    truth = np.array([False, True, True])
    assert calibration_error(truth.astype(np.float32), truth) == 0
    assert calibration_error((~truth).astype(np.float32), truth) == 1


def test_calibration_weighs_bins_by_their_voxels():
    probability = np.repeat(np.array([0.9, 0.1], np.float32), [9, 1])
    truth = np.ones(10, bool)
    assert calibration_error(probability, truth) == pytest.approx((9 * 0.1 + 1 * 0.9) / 10)
    # the last of two bins holds both: mean 0.95, share 0.5
    assert calibration_error(np.array([0.9, 1.0]), np.array([True, False]), bins=2) == pytest.approx(0.45)
    assert math.isnan(calibration_error(probability[:0], truth[:0]))


@pytest.mark.parametrize("metric", [dice, lambda *a: hd95_mm(*a, SPACING), lambda *a: surface_dice(*a, SPACING)])
def test_masks_of_different_shapes_are_refused(metric):
    with pytest.raises(InputError, match=r"\(1, 20, 31\).*\(10, 20, 31\)"):
        metric(block(), block()[:1])


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.0, 0.0, 1.0), (1.0, math.nan, 1.0)])
def test_an_invalid_spacing_is_refused(spacing):
    for metric in (hd95_mm, surface_dice):
        with pytest.raises(InputError, match="spacing_kji_mm"):
            metric(block(), block(), spacing)


def test_what_a_metric_cannot_use_is_refused():
    with pytest.raises(InputError, match="-1"):
        surface_dice(block(), block(), SPACING, tolerance_mm=-1)
    with pytest.raises(InputError, match=r"\(20, 31\)"):
        hd95_mm(block()[2], block()[2], SPACING)
    for wrong in (1.25, -0.25, math.nan):
        with pytest.raises(InputError, match=str(wrong)):
            calibration_error(np.array([0.5, wrong]), np.array([True, False]))
    with pytest.raises(InputError, match="bins"):
        calibration_error(np.array([0.5]), np.array([True]), bins=0)
