import gc
import os
import signal

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from InteractiveSegLib.errors import InputError, OutputError
from InteractiveSegLib.image.geometry import Geometry, kji_to_ras
from InteractiveSegLib.image.image_io import read_labelmap, read_volume, write_image, write_labelmap

FORMATS = (".nii.gz", ".nii", ".nrrd", ".mha", ".seg.nrrd")
SHAPE_KJI = (10, 20, 31)


def noise(dtype, shape_kji=SHAPE_KJI):
    return np.random.default_rng(5).integers(0, 100, shape_kji).astype(dtype)


def corners_lps(path):
    image = sitk.ReadImage(str(path))
    ends = [(0.0, n - 1.0) for n in image.GetSize()]
    return np.array(
        [image.TransformContinuousIndexToPhysicalPoint((i, j, k)) for k in ends[2] for j in ends[1] for i in ends[0]]
    )


def write_dicom(folder, positions_lps, uid="1.2.3", description="axial"):
    """One slice a position, 6 rows of 0.7 mm and 7 columns of 0.5 mm, its number as voxel value."""
    folder.mkdir(exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for number, position in enumerate(positions_lps):
        image = sitk.GetImageFromArray(np.full((1, 6, 7), number, np.int16))
        image.SetSpacing((0.5, 0.7, 3.0))
        tags = {
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0008|0018": f"{uid}.{number + 1}",
            "0008|0060": "CT",
            "0008|103e": description,
            "0020|000d": "1.2",
            "0020|000e": uid,
            "0020|0013": str(number),
            "0020|0032": "\\".join(map(str, position)),
            "0020|0037": "1\\0\\0\\0\\1\\0",
        }
        for key, value in tags.items():
            image.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"{uid}-{number}.dcm"))
        writer.Execute(image)
    return folder


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64])
def test_an_image_comes_back_exactly_in_each_format(tmp_path, oblique_geometry, suffix, dtype):
    array = noise(dtype)
    write_image(tmp_path / f"case 1é{suffix}", array, oblique_geometry)
    volume = read_volume(tmp_path / f"case 1é{suffix}")
    assert volume.array_kji.dtype == dtype
    np.testing.assert_array_equal(volume.array_kji, array)
    assert [file.name for file in tmp_path.iterdir()] == [f"case 1é{suffix}"]


@pytest.mark.parametrize(("suffix", "error_mm"), [(".nrrd", 1e-9), (".mha", 1e-9), (".nii.gz", 1e-4)])
def test_the_grid_comes_back(tmp_path, oblique_geometry, suffix, error_mm):
    path = tmp_path / f"oblique{suffix}"
    write_image(path, noise(np.int16), oblique_geometry)
    assert read_volume(path).geometry.difference_mm(oblique_geometry) < error_mm
    expected_ras = kji_to_ras(np.array([(k, j, i) for k in (0, 9) for j in (0, 19) for i in (0, 30)]), oblique_geometry)
    np.testing.assert_allclose(corners_lps(path), expected_ras * (-1, -1, 1), rtol=0, atol=error_mm)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_a_mask_lies_on_the_grid_of_the_nifti_it_was_drawn_on(tmp_path, oblique_geometry, suffix):
    write_image(tmp_path / "image.nii", noise(np.int16), oblique_geometry)
    geometry = read_volume(tmp_path / "image.nii").geometry
    write_labelmap(tmp_path / f"mask{suffix}", noise(bool), geometry)
    assert read_volume(tmp_path / f"mask{suffix}").geometry.difference_mm(geometry) < 1e-6


def test_a_single_slice_stays_a_volume(tmp_path):
    geometry = Geometry((1, 20, 31), np.diag([0.5, 0.7, 3.0, 1.0]))
    write_image(tmp_path / "slice.nii.gz", noise(np.uint8, (1, 20, 31)), geometry)
    assert read_volume(tmp_path / "slice.nii.gz").geometry.difference_mm(geometry) < 1e-6


def test_a_2d_file_becomes_one_slice(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(noise(np.uint8)[0]), str(tmp_path / "photo.png"))
    volume = read_volume(tmp_path / "photo.png")
    np.testing.assert_array_equal(volume.array_kji, noise(np.uint8)[:1])
    assert volume.geometry.spacing_kji_mm == (1, 1, 1)


def test_the_array_stays_valid_when_nothing_else_holds_the_image(tmp_path, oblique_geometry):
    write_image(tmp_path / "a.nrrd", noise(np.int16), oblique_geometry)
    array = read_volume(tmp_path / "a.nrrd").array_kji
    gc.collect()
    others = [sitk.Image(31, 20, 10, sitk.sitkInt16) + n for n in range(20)]
    np.testing.assert_array_equal(array, noise(np.int16))
    array[0, 0, 0] = 12
    assert len(others) == 20


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.999])
def test_a_file_cut_short_is_refused(tmp_path, oblique_geometry, suffix, kept):
    path = tmp_path / f"cut{suffix}"
    write_image(path, noise(np.int16), oblique_geometry)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(InputError, match="cut") as refusal:
        read_volume(path)
    assert "\n" not in str(refusal.value)


def test_a_damaged_nifti_is_refused(tmp_path):
    path, shape_kji = tmp_path / "damaged.nii.gz", (10, 200, 310)
    write_image(path, noise(np.int16, shape_kji), Geometry(shape_kji, np.eye(4)))
    content = bytearray(path.read_bytes())
    content[len(content) * 9 // 10] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"damaged\.nii\.gz is cut short or damaged"):
        read_volume(path)


def test_what_is_no_image_is_refused(tmp_path):
    (tmp_path / "note.nii").write_text("hello")
    with pytest.raises(InputError, match=r"note\.nii cannot be read: it is not in a known format"):
        read_volume(tmp_path / "note.nii")
    with pytest.raises(InputError, match=r"none\.nii does not exist"):
        read_volume(tmp_path / "none.nii")
    with pytest.raises(InputError, match="no DICOM"):
        read_volume(tmp_path)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_colour_and_time_are_refused(tmp_path, suffix):
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((2, 3, 4, 3), np.uint8), isVector=True), tmp_path / f"c{suffix}")
    with pytest.raises(InputError, match="3 values per voxel"):
        read_volume(tmp_path / f"c{suffix}")
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((2, 3, 4, 5), np.uint8), isVector=False), tmp_path / f"t{suffix}")
    with pytest.raises(InputError, match=r"not one 3D image but 2 \(4D\): choose one by --time 0 to 1"):
        read_volume(tmp_path / f"t{suffix}")


@pytest.mark.parametrize(
    ("values", "dtype"), [((0, 255), np.uint8), ((0, 256), np.uint16), ((-1, 3), np.int16), ((0, 70000), np.uint32)]
)
def test_labels_take_the_smallest_integers(tmp_path, oblique_geometry, values, dtype):
    labels = np.resize(np.array(values), SHAPE_KJI)
    write_labelmap(tmp_path / "l.nrrd", labels, oblique_geometry)
    write_image(tmp_path / "f.nrrd", labels.astype(np.float64), oblique_geometry)
    for name in ("l.nrrd", "f.nrrd"):
        again = read_labelmap(tmp_path / name, oblique_geometry)
        assert again.dtype == dtype
        np.testing.assert_array_equal(again, labels)
    assert read_volume(tmp_path / "l.nrrd").array_kji.dtype == dtype


def test_a_labelmap_of_fractions_or_on_another_grid_is_refused(tmp_path, oblique_geometry):
    write_image(tmp_path / "p.nrrd", np.full(SHAPE_KJI, 0.25), oblique_geometry)
    with pytest.raises(InputError, match=r"p\.nrrd.*not labels, such as 0\.25"):
        read_labelmap(tmp_path / "p.nrrd", oblique_geometry)
    write_labelmap(tmp_path / "l.nrrd", noise(bool), oblique_geometry)
    moved = oblique_geometry.ijk_to_ras.copy()
    moved[2, 3] += 0.06
    with pytest.raises(InputError, match=r"l\.nrrd.*0\.06 mm"):
        read_labelmap(tmp_path / "l.nrrd", Geometry(SHAPE_KJI, moved))


def test_what_files_cannot_hold_is_refused_before_anything_is_written(tmp_path, oblique_geometry):
    sheared = oblique_geometry.ijk_to_ras.copy()
    sheared[:3, 2] += 0.1 * sheared[:3, 0]
    with pytest.raises(InputError, match="sheared"):
        write_image(tmp_path / "a.nrrd", noise(np.int16), Geometry(SHAPE_KJI, sheared))
    with pytest.raises(InputError, match=r"\.nii\.gz, \.nii, \.nrrd, \.mha"):
        write_image(tmp_path / "a.png", noise(np.int16), oblique_geometry)
    with pytest.raises(InputError, match="float16"):
        write_image(tmp_path / "a.nrrd", noise(np.float16), oblique_geometry)
    with pytest.raises(InputError, match="float32"):
        write_labelmap(tmp_path / "a.nrrd", noise(np.float32), oblique_geometry)
    with pytest.raises(InputError, match=r"\(31, 20, 10\)"):
        write_image(tmp_path / "a.nrrd", noise(np.int16).T, oblique_geometry)
    assert not list(tmp_path.iterdir())


def test_transposed_and_big_endian_arrays_are_written_as_they_read(tmp_path, oblique_geometry):
    array = np.asfortranarray(noise(">i2"))
    write_image(tmp_path / "a.mha", array, oblique_geometry)
    np.testing.assert_array_equal(read_volume(tmp_path / "a.mha").array_kji, array)


def test_a_grid_that_nifti_cannot_hold_leaves_no_file(tmp_path):
    barely_sheared = np.diag([0.5, 0.7, 3.0, 1.0])
    barely_sheared[0, 2] = 0.00024
    with pytest.raises(OutputError, match=r"a\.nii.*mm away"):
        write_image(tmp_path / "a.nii", noise(np.uint8, (100, 100, 100)), Geometry((100, 100, 100), barely_sheared))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_a_full_disk_keeps_the_file_that_was_there(tmp_path, oblique_geometry, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"before")
    resource = pytest.importorskip("resource", reason="a limit of file size stands in for a full disk")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OutputError, match=rf"a\{suffix}"):
            write_image(path, np.random.default_rng(0).normal(size=SHAPE_KJI), oblique_geometry)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"before"


def test_a_missing_folder_is_named(tmp_path, oblique_geometry):
    with pytest.raises(OutputError, match=r"gone does not exist"):
        write_image(tmp_path / "gone" / "a.nrrd", noise(np.int16), oblique_geometry)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="this user writes everywhere")
def test_a_read_only_folder_is_named(tmp_path, oblique_geometry):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match=r"a\.nrrd"):
        write_image(tmp_path / "a.nrrd", noise(np.int16), oblique_geometry)


def test_a_dicom_series_is_stacked_by_position(tmp_path):
    folder = write_dicom(tmp_path / "s", [(10, 20, z) for z in (36, 30, 33, 39)])
    volume = read_volume(folder)
    assert volume.name == "axial"
    assert volume.array_kji[:, 0, 0].tolist() == [1, 2, 0, 3]
    assert volume.geometry.spacing_kji_mm == pytest.approx((3.0, 0.7, 0.5))
    np.testing.assert_allclose(kji_to_ras(np.array([[0, 0, 0], [3, 5, 6]]), volume.geometry)[0], (-10, -20, 30))
    np.testing.assert_allclose(kji_to_ras(np.array([[3, 5, 6]]), volume.geometry)[0], (-13, -23.5, 39))


def test_one_of_several_dicom_series_is_chosen_by_uid(tmp_path):
    folder = write_dicom(tmp_path / "s", [(0, 0, 0), (0, 0, 3)], "1.2.3", "axial")
    write_dicom(folder, [(0, 0, 0), (0, 0, 3), (0, 0, 6)], "1.2.4", "late")
    with pytest.raises(InputError, match=r"--series: 1: 1\.2\.3 \(axial, 2 files\); 2: 1\.2\.4 \(late, 3 files\)"):
        read_volume(folder)
    assert read_volume(folder, "1.2.4").array_kji.shape == read_volume(folder, "2").array_kji.shape == (3, 6, 7)
    with pytest.raises(InputError, match=r"no series 9\.9"):
        read_volume(folder, "9.9")


@pytest.mark.parametrize(
    ("positions", "text"),
    [
        ([(0, 0, z) for z in (0, 3, 6, 12, 15)], "slices 3 and 4 of 5 are 6 mm apart, the others 3 mm"),
        ([(0, 0, z) for z in (0, 3, 6, 6, 9)], "0 mm apart"),
        ([(0, 0, z) for z in (0, 3, 6, 9.5, 12)], "3.5 mm apart"),
        ([(0, 0.9 * n, 3 * n) for n in range(5)], "tilted gantry.*3.6 mm"),
    ],
)
def test_a_dicom_series_that_no_regular_grid_holds_is_refused(tmp_path, positions, text):
    with pytest.raises(InputError, match=text):
        read_volume(write_dicom(tmp_path / "s", positions))


@pytest.mark.parametrize("name", ["ProstateX-0000_t2_tse_tra", "ProstateX-0000_t2_tse_sag"])
def test_a_real_dicom_series_lies_where_its_slices_say(shared_data, name):
    volume = read_volume(shared_data / "dicom_import" / name)
    assert volume.array_kji.shape[0] == 19
    header = sitk.ImageFileReader()
    for file in sorted((shared_data / "dicom_import" / name).glob("*.dcm"))[::6]:
        header.SetFileName(str(file))
        one = header.Execute()
        position_lps = [float(number) for number in header.GetMetaData("0020|0032").split("\\")]
        distances = [
            np.linalg.norm(kji_to_ras(np.array([[k, 0, 0]]), volume.geometry)[0] * (-1, -1, 1) - position_lps)
            for k in range(19)
        ]
        k = int(np.argmin(distances))
        assert distances[k] < 1e-3
        np.testing.assert_array_equal(volume.array_kji[k], sitk.GetArrayFromImage(one)[0])


def test_a_dicom_segmentation_is_no_image(shared_data):
    with pytest.raises(InputError, match="DICOM segmentation"):
        read_volume(shared_data / "dicom_import" / "dcmqi_ct_liver_seg" / "liver.dcm")


def test_a_real_nifti_and_its_labels_come_back(shared_data, tmp_path):
    folder = shared_data / "hippocampus_msd"
    volume = read_volume(folder / "hippocampus_001_image.nii.gz")
    assert volume.name == "hippocampus_001_image"
    labels = read_labelmap(folder / "hippocampus_001_label.nii.gz", volume.geometry)
    assert labels.dtype == np.uint8
    write_labelmap(tmp_path / "l.nii.gz", labels, volume.geometry)
    np.testing.assert_array_equal(read_labelmap(tmp_path / "l.nii.gz", volume.geometry), labels)
    assert read_volume(tmp_path / "l.nii.gz").geometry.difference_mm(volume.geometry) < 1e-6
