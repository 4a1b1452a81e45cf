"""Fusion of two propagated slices: by nearness where they look alike, by similarity where they do not."""

import numpy as np
import pytest
from moving_shapes import disc

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.propagate.label_fusion import FusionSettings, Side, fuse
from InteractiveSegLib.propagate.shape_interpolation import signed_distance_mm

SHAPE = (40, 40)
MM = (1.0, 1.0)
FLAT = np.full(SHAPE, 0.5, np.float32)


def side(mask, weight, image=FLAT):
    return Side(image, signed_distance_mm(mask, MM)[None], np.array([weight], np.float32))


def test_in_a_flat_image_the_shapes_are_blended_by_nearness():
    small, large = disc((20, 20), 8, SHAPE), disc((20, 20), 12, SHAPE)
    for share in (0.25, 0.5, 0.75):
        levels, _ = fuse(FLAT, [side(small, 1 - share), side(large, share)], MM, FusionSettings(ramp=20))
        radius = np.sqrt(np.count_nonzero(levels[0] > 0) / np.pi)
        assert radius == pytest.approx(8 + 4 * share, abs=0.4)


def test_the_side_that_looks_the_same_decides():
    mask, nothing = disc((20, 20), 8, SHAPE), np.zeros(SHAPE, bool)
    bright = np.where(mask, 0.9, 0.2).astype(np.float32)
    dark = np.full(SHAPE, 0.2, np.float32)
    for image, expected in ((bright, mask), (dark, nothing)):
        both = [side(mask, 0.5, bright), Side(dark, np.full((1, *SHAPE), -8, np.float32), np.full(1, 0.5, np.float32))]
        levels, apart = fuse(image, both, MM, FusionSettings())
        assert np.count_nonzero((levels[0] > 0) != expected) < 10
        assert apart[0, 20, 20] > 0.4


def test_a_shape_that_lies_a_pixel_off_is_drawn_to_the_image():
    truth, off = disc((20, 21.5), 8, SHAPE), disc((20, 20), 8, SHAPE)
    image, before = (np.where(mask, 0.8, 0.2).astype(np.float32) for mask in (truth, off))
    levels, _ = fuse(image, [side(off, 0.5, before)] * 2, MM, FusionSettings())
    assert np.count_nonzero((levels[0] > 0) != truth) < np.count_nonzero(off != truth) / 3


def test_certain_pixels_are_left_as_they_are():
    mask = disc((20, 20), 8, SHAPE)
    levels, apart = fuse(FLAT, [side(mask, 0.5)] * 2, MM, FusionSettings(ramp=1))
    assert levels[0, 0, 0] == pytest.approx(-1, abs=1e-3)
    assert levels[0, 20, 20] == pytest.approx(1, abs=1e-3)
    assert apart.max() == pytest.approx(0, abs=1e-6)


def test_along_an_axis_of_thick_pixels_no_place_is_asked():
    mask = disc((20, 20), 8, SHAPE)
    distance = signed_distance_mm(mask, (10.0, 1.0))[None]
    rows = np.where(np.arange(40)[:, None] % 2, 0.9, 0.1) + np.zeros(40)
    sides = [Side(rows.astype(np.float32), distance, np.full(1, 0.5, np.float32))] * 2
    levels, _ = fuse(np.roll(rows, 1, axis=0).astype(np.float32), sides, (10.0, 1.0), FusionSettings())
    assert np.count_nonzero((levels[0] > 0) != mask) <= 2


@pytest.mark.parametrize("wrong", [{"ramp": 0}, {"sharpness": -1}, {"search": -1}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        FusionSettings(**wrong)
