"""A series is read according to its headers, or refused; irregularities are noted."""

import shutil

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from dicom_files import MR, PET, ramp, replace_value, write_frames, write_series

from InteractiveSegLib.errors import InputError, MissingPackageError
from InteractiveSegLib.image.dicom_headers import read_dicom_header
from InteractiveSegLib.image.dicom_series import series_in
from InteractiveSegLib.image.image_io import read_volume
from InteractiveSegLib.image.itk_volume import grid_of


def scaled(slopes, intercepts):
    def change(ds, number):
        ds.RescaleSlope, ds.RescaleIntercept = f"{slopes[number]:.10g}", f"{intercepts[number]:.10g}"

    return change


def test_a_regular_series_is_what_itk_reads_without_a_note(tmp_path):
    places = [(10 + 0.01 * n, 20, 30 + 3 * n) for n in range(5)]
    folder = write_series(tmp_path / "s", ramp(5), places=places, change=scaled([2] * 5, [-1024] * 5))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(sorted(map(str, folder.iterdir())))
    image = reader.Execute()
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.array_kji, sitk.GetArrayFromImage(image))
    assert volume.array_kji.dtype == sitk.GetArrayViewFromImage(image).dtype
    np.testing.assert_array_equal(volume.geometry.ijk_to_ras, grid_of(image).ijk_to_ras)
    assert read_volume(write_series(tmp_path / "even", ramp(5))).notes == ()


@pytest.mark.parametrize(
    ("sop", "slopes", "intercepts"),
    [
        (PET, [1, 1e-4, 1e-4, 1e-4], [0, 0, 0, 0]),
        (PET, [0.5, 0.25, 0.125, 3], [0, 0, 0, 0]),
        (MR, [2, 2, 2, 2.5], [0, 0, 0, 1]),
        (MR, [1, 1, 1, 1], [0, 10, -20, 0.5]),
    ],
)
def test_each_slice_has_its_own_scale(tmp_path, sop, slopes, intercepts):
    folder = write_series(tmp_path / "s", ramp(4), sop=sop, change=scaled(slopes, intercepts))
    volume = read_volume(folder)
    expected = ramp(4) * np.reshape(slopes, (4, 1, 1)) + np.reshape(intercepts, (4, 1, 1))
    np.testing.assert_allclose(volume.array_kji, expected, rtol=1e-6)
    assert "scaled slice by slice" in volume.notes[0]


def in_slice(number, **values):
    def change(ds, at):
        for keyword, value in values.items() if at == number else ():
            setattr(ds, keyword, value)

    return change


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (in_slice(2, PixelSpacing=[0.7, 0.6]), "different PixelSpacing.*0.6.* mm in 1.2.3-000.dcm and 1.2.3-002.dcm"),
        (in_slice(0, PixelSpacing=[0.8, 0.5]), "different PixelSpacing"),
        (in_slice(3, PixelSpacing=None), "different PixelSpacing"),
        (in_slice(1, Rows=3), "different sizes: 7 x 6 and 7 x 3"),
        (in_slice(3, Columns=8), "1.2.3-003.dcm is cut short"),
        (in_slice(3, PixelData=b"\0" * 40), "1.2.3-003.dcm is cut short: its pixel data are incomplete"),
        (in_slice(0, PixelData=b"\0" * 82), "1.2.3-000.dcm is cut short"),
        (in_slice(2, PhotometricInterpretation="MONOCHROME1"), "different PhotometricInterpretation"),
        (in_slice(1, ImageOrientationPatient=[0, 1, 0, 1, 0, 0]), "different orientations"),
        (in_slice(1, ImagePositionPatient=None), "without position"),
        (in_slice(2, RescaleSlope="0"), "RescaleSlope is 0"),
    ],
)
def test_a_slice_that_does_not_fit_is_refused(tmp_path, change, text):
    with pytest.raises(InputError, match=text):
        read_volume(write_series(tmp_path / "s", ramp(4), change=change))


def test_slices_of_several_bit_depths_are_read_each_as_it_is(tmp_path):
    folder = write_series(tmp_path / "s", ramp(3) * 100)
    write_series(tmp_path / "t", (ramp(3) % 200).astype(np.uint8))
    shutil.move(tmp_path / "t" / "1.2.3-002.dcm", folder / "1.2.3-002.dcm")
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.array_kji[:2], ramp(3)[:2] * 100)
    np.testing.assert_array_equal(volume.array_kji[2], ramp(3)[2] % 200)
    assert any("different BitsAllocated (8, 16)" in note for note in volume.notes)


@pytest.mark.parametrize(
    ("tag", "vr", "value", "text"),
    [
        (b"\x28\x00\x30\x00", b"DS", b"1,50\\1,50 ", r"PixelSpacing '1,50\\\\1,50' is not 2 numbers"),
        (b"\x28\x00\x30\x00", b"DS", b"0.5 ", "PixelSpacing '0.5' is not 2 numbers"),
        (b"\x28\x00\x30\x00", b"DS", b"0\\0.5 ", "must be above 0"),
        (b"\x28\x00\x30\x00", b"DS", b"nan\\1 ", "PixelSpacing"),
        (b"\x28\x00\x30\x00", b"DS", b"1e30\\1e30 ", "is impossible"),
        (b"\x28\x00\x30\x00", b"DS", b"1e-40\\1e-40 ", "is impossible"),
        (b"\x20\x00\x32\x00", b"DS", b"0,5\\1\\2 ", "ImagePositionPatient '0,5"),
        (b"\x20\x00\x37\x00", b"DS", b"1\\0\\0\\0\\1 ", "ImageOrientationPatient"),
        (b"\x28\x00\x53\x10", b"DS", b"2,5 ", "RescaleSlope '2,5' is not a number"),
    ],
)
def test_an_invalid_number_is_named(tmp_path, tag, vr, value, text):
    folder = write_series(tmp_path / "s", ramp(1), change=scaled([1], [0]))
    replace_value(folder, tag, vr, value)
    with pytest.raises(InputError, match=text):
        read_volume(folder)


def test_a_missing_pixel_spacing_is_reported(tmp_path):
    def change(ds, number):
        del ds.PixelSpacing

    volume = read_volume(write_series(tmp_path / "s", ramp(3), change=change))
    assert "holds no PixelSpacing: 1 x 1 mm is assumed" in volume.notes[0]


@pytest.mark.parametrize(
    ("spacing_mm", "places", "away"),
    [
        (0.6263, [round(0.625 * n, 1) for n in range(20)], "0.074"),
        (2.5, [2.5 * n + (0.03 if n == 9 else 0) for n in range(20)], "0.03"),
        (5.03, [round(5.03 * n, 1) for n in range(11)], "0.05"),
        (3.0, [0, 3, 6.09, 9, 12], "0.09"),
    ],
)
def test_positions_that_are_rounded_or_a_little_off_are_read_with_a_note(tmp_path, spacing_mm, places, away):
    folder = write_series(tmp_path / "s", ramp(len(places)), places=[(0, 0, z) for z in places])
    volume = read_volume(folder)
    assert volume.geometry.spacing_kji_mm[0] == pytest.approx(spacing_mm, abs=1e-4)
    assert f"not evenly spaced: they lie up to {away}" in volume.notes[0]


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda content: content[: len(content) - 30], "1.2.3-003.dcm is cut short"),
        (lambda content: content[:500], "1.2.3-003.dcm is cut short"),
        (lambda content: content[:200], "may be incomplete: .*1.2.3-003.dcm"),
        (lambda content: content[:132] + b"\xff" * 400, "1.2.3-003.dcm"),
    ],
)
def test_a_damaged_last_file_is_not_left_out(tmp_path, damage, text):
    folder = write_series(tmp_path / "s", ramp(4))
    last = folder / "1.2.3-003.dcm"
    last.write_bytes(damage(last.read_bytes()))
    with pytest.raises(InputError, match=text):
        read_volume(folder)


@pytest.mark.parametrize("content", [b"", b"\0" * 900, b"no DICOM at all" * 20])
def test_a_file_beside_the_series_that_is_no_dicom_is_reported(tmp_path, content):
    folder = write_series(tmp_path / "s", ramp(4))
    (folder / "1.2.3-003.dcm").write_bytes(content)
    (folder / "notes.txt").write_text("a text is no slice")
    volume = read_volume(folder)
    assert volume.array_kji.shape[0] == 3
    assert volume.notes[0].startswith("1.2.3-003.dcm beside the series cannot be read")
    assert "notes.txt" not in volume.notes[0]


def test_series_below_the_folder_are_found(tmp_path):
    write_series(tmp_path / "study" / "a" / "thin", ramp(3))
    assert read_volume(tmp_path / "study").array_kji.shape == (3, 6, 7)
    write_series(tmp_path / "study" / "b", ramp(2), uid="1.2.4")
    with pytest.raises(InputError, match=r"--series: 1: 1\.2\.3 \(axial, 3 files\); 2: 1\.2\.4"):
        read_volume(tmp_path / "study")
    for series in ("2", "1.2.4"):
        assert read_volume(tmp_path / "study", series).array_kji.shape == (2, 6, 7)
    with pytest.raises(InputError, match="has no series 3"):
        read_volume(tmp_path / "study", "3")
    assert series_in(tmp_path / "study") == {}


def test_a_series_spread_over_folders_is_one(tmp_path):
    folder = write_series(tmp_path / "s" / "a", ramp(4))
    (tmp_path / "s" / "b").mkdir()
    for number in (1, 3):
        shutil.move(folder / f"1.2.3-00{number}.dcm", tmp_path / "s" / "b")
    np.testing.assert_array_equal(read_volume(tmp_path / "s").array_kji, ramp(4))


@pytest.mark.parametrize("by_place", [True, False])
def test_a_time_of_a_4d_series_is_chosen(tmp_path, by_place):
    times, slices = 3, 4
    volume = ramp(times * slices)
    at = [divmod(n, times) if by_place else divmod(n, slices)[::-1] for n in range(times * slices)]
    folder = write_series(tmp_path / "s", volume, places=[(0, 0, 3 * place) for place, _ in at])
    with pytest.raises(InputError, match=r"but 3 \(4D\): choose one by --time 0 to 2"):
        read_volume(folder)
    for time in range(times):
        expected = [volume[at.index((place, time))] for place in range(slices)]
        np.testing.assert_array_equal(read_volume(folder, time=time).array_kji, expected)
    with pytest.raises(InputError, match="no image 3"):
        read_volume(folder, time=3)


def test_copies_of_a_series_are_no_times(tmp_path):
    folder = write_series(tmp_path / "s", ramp(3))
    for path in list(folder.iterdir()):
        shutil.copy(path, folder / f"copy of {path.name}")
    with pytest.raises(InputError, match="the same image in several files"):
        read_volume(folder)


@pytest.mark.parametrize("slopes", [None, [2, 2, 2, 2], [1, 0.5, 0.25, 2]])
def test_a_multi_frame_file_is_stacked_by_its_frames_places(tmp_path, slopes):
    volume = read_volume(write_frames(tmp_path / "m.dcm", ramp(4), slopes, order=[2, 0, 3, 1]))
    np.testing.assert_allclose(volume.array_kji, ramp(4) * np.reshape(slopes or [1] * 4, (4, 1, 1)))
    matrix = np.array([[-0.5, 0, 0, -10], [0, -0.7, 0, -20], [0, 0, 3, 30], [0, 0, 0, 1]])
    np.testing.assert_allclose(volume.geometry.ijk_to_ras, matrix)
    assert any("scaled slice by slice" in note for note in volume.notes) == (len(set(slopes or [1])) > 1)


def test_frames_without_places_are_stacked_at_the_distance_of_the_header_with_a_note(tmp_path):
    def frames(ds, number):
        ds.NumberOfFrames, ds.Rows = 3, 2

    def no_distance(ds, number):
        frames(ds, number)
        del ds.SliceThickness

    volume = read_volume(write_series(tmp_path / "s", ramp(1), change=frames))
    np.testing.assert_array_equal(volume.array_kji, ramp(1).reshape(3, 2, 7))
    assert "stacked 3 mm apart" in volume.notes[0]
    with pytest.raises(InputError, match="neither their positions nor their spacing"):
        read_volume(write_series(tmp_path / "t", ramp(1), change=no_distance))


def test_without_pydicom_the_package_is_named(tmp_path, monkeypatch):
    folder = write_series(tmp_path / "s", ramp(2))
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(MissingPackageError, match="reading DICOM files needs the Python package 'pydicom'"):
        read_volume(folder)


def test_a_description_is_read_in_its_character_set(tmp_path):
    def change(ds, number):
        ds.SpecificCharacterSet, ds.SeriesDescription = "ISO_IR 100", "Schädel"

    folder = write_series(tmp_path / "s", ramp(2), change=change)
    assert read_volume(folder).name == "Schädel"
    assert read_dicom_header(folder / "1.2.3-000.dcm").text("SeriesDescription") == "Schädel"


def test_the_files_of_a_series_are_listed_in_the_order_of_their_slices(tmp_path):
    folder = write_series(tmp_path / "s", ramp(4), places=[(0, 0, z) for z in (9, 0, 6, 3)])
    assert [path.name[-5] for path in series_in(folder)["1.2.3"]] == ["1", "3", "2", "0"]
    np.testing.assert_array_equal(read_volume(folder).array_kji, ramp(4)[[1, 3, 2, 0]])
