"""NaN and infinite voxels of a NIfTI are preserved for all types, byte orders and compressions."""

import nibabel
import numpy as np
import pytest

from InteractiveSegLib.image.image_io import read_volume, write_image

WRONG = {(0, 0, 0): np.nan, (1, 2, 3): np.inf, (4, 3, 2): -np.inf}


def values():
    array = np.random.default_rng(0).normal(size=(5, 6, 7))
    array[0, 0, 1] = 0
    return array


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_what_is_no_number_is_read_as_nan_and_all_else_as_it_was(tmp_path, dtype, suffix):
    array = values().astype(dtype)
    for at, value in WRONG.items():
        array[at] = value
    path = tmp_path / f"image{suffix}"
    header = nibabel.Nifti1Header(endianness=dtype[0])
    header.set_data_dtype(array.dtype)
    nibabel.save(nibabel.Nifti1Image(array.T, np.eye(4), header), path)
    found = read_volume(path).array_kji
    assert {tuple(at) for at in np.argwhere(np.isnan(found)).tolist()} == set(WRONG)
    finite = np.isfinite(array)
    np.testing.assert_array_equal(found[finite], array[finite])


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32])
def test_an_image_of_numbers_is_not_changed(tmp_path, oblique_geometry, dtype):
    array = np.arange(10 * 20 * 31).reshape(10, 20, 31).astype(dtype)
    write_image(tmp_path / "image.nii.gz", array, oblique_geometry)
    np.testing.assert_array_equal(read_volume(tmp_path / "image.nii.gz").array_kji, array)


def test_another_format_is_left_alone(tmp_path, oblique_geometry):
    array = np.full((10, 20, 31), np.nan, np.float32)
    write_image(tmp_path / "image.nrrd", array, oblique_geometry)
    assert np.isnan(read_volume(tmp_path / "image.nrrd").array_kji).all()
