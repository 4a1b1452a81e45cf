"""Registration of two slices: known motions are found in mm, and failures are reported."""

import numpy as np
import pytest
from moving_shapes import disc, image_of
from scipy import ndimage

from InteractiveSegLib.errors import InputError, MissingPackageError
from InteractiveSegLib.propagate import registration
from InteractiveSegLib.propagate.displacement import carried
from InteractiveSegLib.propagate.registration import (
    CT,
    MR,
    PairRegistration,
    RegistrationSettings,
    correlation,
    parameter_map,
    register,
)

needs_elastix = pytest.mark.skipif(not registration.has_elastix(), reason="itk-elastix is not installed")


@pytest.fixture
def texture():
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(60, 50)), 4)
    return ((noise - noise.min()) / np.ptp(noise)).astype(np.float32)


def bend(shape):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.stack([2.5 * np.sin(columns / 20), 2 * np.cos(rows / 25)]).astype(np.float32)


@needs_elastix
@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0), (0.4, 0.4), (2.0, 0.5)])
def test_a_known_motion_is_found_whatever_the_spacing(texture, spacing_mm):
    motion = bend(texture.shape)
    found = register(texture, carried(texture, motion), spacing_mm, MR)
    assert not found.failure
    assert np.abs(found.to_lower - motion)[:, 10:-10, 10:-10].mean() < 0.25
    back = carried(texture, motion)
    assert np.abs(carried(back, found.to_upper) - texture)[12:-12, 12:-12].mean() < 0.02
    assert found.after > 0.99 > found.before


@needs_elastix
def test_the_same_slices_give_the_same_motion(texture):
    moved = carried(texture, bend(texture.shape))
    one, other = (register(texture, moved, (1.0, 1.0), MR) for _ in range(2))
    np.testing.assert_array_equal(one.to_lower, other.to_lower)


@needs_elastix
def test_a_constant_slice_is_not_registered(texture):
    found = register(texture, np.full_like(texture, 0.3), (1.0, 1.0), MR)
    assert found.failure == "a slice is constant"
    assert found.quality == 0
    assert not found.to_lower.any()


def test_a_motion_that_is_too_large_counts_as_diverged(texture, monkeypatch):
    assert "diverged" in failure_of(np.full((2, 60, 50), 30.0, np.float32), texture, monkeypatch)


def test_a_motion_that_is_no_number_counts_as_diverged(texture, monkeypatch):
    assert "diverged" in failure_of(np.full((2, 60, 50), np.nan, np.float32), texture, monkeypatch)


def test_a_map_that_folds_is_refused(texture, monkeypatch):
    columns = np.broadcast_to(np.arange(50), (60, 50))
    folding = np.stack([np.zeros((60, 50)), 8 * np.sin(columns)]).astype(np.float32)
    assert "folds" in failure_of(folding, texture, monkeypatch)


def test_a_motion_after_which_slices_agree_less_is_refused(texture, monkeypatch):
    away = np.full((2, 60, 50), 9.0, np.float32)
    assert "agree less" in failure_of(away, texture, monkeypatch)


def test_what_elastix_throws_becomes_a_failure(texture, monkeypatch):
    def thrown(*_):
        raise RuntimeError("itk::ExceptionObject\nitk::ERROR: Error: no samples")

    monkeypatch.setattr(registration, "_elastix_field", thrown)
    monkeypatch.setattr(registration, "has_elastix", lambda: True)
    assert register(texture, texture, (1.0, 1.0), MR).failure == "elastix failed (no samples)"


def test_what_fails_is_tried_once_more_with_stiffer_motion(texture, monkeypatch):
    tried = []

    def only_when_stiff(lower, upper, spacing_mm, settings):
        tried.append(settings)
        return np.full((2, 60, 50), 40.0 if len(tried) == 1 else 0.0, np.float32)

    monkeypatch.setattr(registration, "_elastix_field", only_when_stiff)
    monkeypatch.setattr(registration, "has_elastix", lambda: True)
    assert not register(texture, texture, (1.0, 1.0), MR).failure
    assert [settings.grid_pixels for settings in tried] == [MR.grid_pixels, 2 * MR.grid_pixels]


def failure_of(field, texture, monkeypatch):
    monkeypatch.setattr(registration, "_elastix_field", lambda *_: field)
    monkeypatch.setattr(registration, "has_elastix", lambda: True)
    return register(texture, texture, (1.0, 1.0), MR).failure


def test_without_elastix_the_feature_and_the_package_are_named(texture, monkeypatch):
    monkeypatch.setattr(registration, "has_elastix", lambda: False)
    with pytest.raises(MissingPackageError, match=r"registration.*itk-elastix"):
        register(texture, texture, (1.0, 1.0), MR)


def test_control_points_lie_as_far_apart_in_mm_on_both_axes():
    parameters = parameter_map((60, 60), (3.0, 0.5), MR)
    assert parameters["FinalGridSpacingInPhysicalUnits"] == ["5", "5"]


@pytest.mark.parametrize(("shape", "levels"), [((60, 60), 2), ((31, 60), 1), ((5, 200), 1)])
def test_small_slices_have_fewer_levels(shape, levels):
    assert parameter_map(shape, (1.0, 1.0), MR)["NumberOfResolutions"] == [str(levels)]


def test_correlation_is_one_of_a_slice_and_its_brighter_copy_and_minus_one_of_its_negative():
    image = image_of(disc((20, 20), 8)[None])[0].astype(float)
    assert correlation(image, 3 * image + 5) == pytest.approx(1)
    assert correlation(image, -image) == pytest.approx(-1)
    assert correlation(image, np.ones_like(image)) == 0


def test_quality_is_the_correlation_reached_and_nothing_after_a_failure():
    still = np.zeros((2, 3, 3), np.float32)
    assert PairRegistration(still, still, 0.5, 0.8).quality == 0.8
    assert PairRegistration(still, still, 0.5, -0.1).quality == 0
    assert PairRegistration.failed((3, 3), "why", 0.9).quality == 0


def test_presets_differ_in_how_intensities_are_read():
    assert MR.window is None
    assert CT.window == (-160, 240)


@pytest.mark.parametrize(
    ("wrong", "text"), [({"iterations": 0}, "iterations"), ({"grid_pixels": 1}, "grid"), ({"window": (3, 3)}, "window")]
)
def test_settings_that_make_no_sense_are_refused(wrong, text):
    with pytest.raises(InputError, match=text):
        RegistrationSettings(**wrong)
