"""The content of a file determines its format, and its header is compared with what is read."""

import gzip
import os
import shutil
import subprocess
import sys

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from InteractiveSegLib.errors import InputError, MissingPackageError
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.image_io import read_labelmap, read_volume, write_image, write_labelmap
from InteractiveSegLib.image.itk_volume import nifti_forms_of

SHAPE_KJI = (4, 5, 6)
ARRAY = np.arange(120, dtype=np.int16).reshape(SHAPE_KJI)
LPS = np.diag([-1.0, -1, 1, 1])
SIZES = np.diag([0.5, 0.7, 3.0, 1])


def grid():
    return Geometry(SHAPE_KJI, LPS @ SIZES)


def save_nifti(path, qform=None, sform=None, unit="mm", reads=nibabel.Nifti1Image, array=ARRAY):
    image = reads(array.T, np.eye(4))
    image.set_qform(qform, 0 if qform is None else 1)
    image.set_sform(sform, 0 if sform is None else 2)
    if qform is None and sform is not None:
        image.header.set_zooms(np.linalg.norm(sform[:3, :3], axis=0))
    image.header.set_xyzt_units(unit)
    nibabel.save(image, path)
    return path


def nrrd(path, *lines, array=ARRAY, directions="space directions: (0.5,0,0) (0,0.7,0) (0,0,3)"):
    head = ["NRRD0004", "type: int16", f"dimension: {array.ndim}", "sizes: " + " ".join(map(str, array.shape[::-1]))]
    head += ["endian: little", "encoding: raw", "space: left-posterior-superior", directions, *lines]
    path.write_bytes("\n".join([*filter(None, head), "", ""]).encode() + array.tobytes())
    return path


def mha(path, *lines, spacing="ElementSpacing = 0.5 0.7 3"):
    head = ["ObjectType = Image", "NDims = 3", "DimSize = 6 5 4", spacing, *lines]
    head += ["ElementType = MET_SHORT", "ElementDataFile = LOCAL"]
    path.write_bytes("\n".join(filter(None, head)).encode() + b"\n" + ARRAY.tobytes())
    return path


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii.gz", ".mhd", ".nhdr"])
def test_entries_that_were_carried_over_from_a_nifti_prove_nothing(tmp_path, suffix):
    write_image(tmp_path / "a.nii.gz", ARRAY, grid())
    sitk.WriteImage(sitk.ReadImage(tmp_path / "a.nii.gz"), tmp_path / f"b{suffix}", True)
    volume = read_volume(tmp_path / f"b{suffix}")
    np.testing.assert_array_equal(volume.array_kji, ARRAY)
    assert volume.notes == ()


MISNAMED = ["a.nii.gz>b", "a.nii.gz>b.nii", "a.nii>b.nii.gz", "a.nrrd>b.img", "a.nrrd>b", "a.mha>b.dat", "a.nii>b.nrrd"]


@pytest.mark.parametrize(("was", "name"), [pair.split(">") for pair in MISNAMED])
def test_a_file_is_read_as_what_it_is_whatever_it_is_called(tmp_path, was, name):
    write_image(tmp_path / was, ARRAY, grid())
    (tmp_path / was).rename(tmp_path / name)
    volume = read_volume(tmp_path / name)
    np.testing.assert_array_equal(volume.array_kji, ARRAY)
    assert (name == "b.nii.gz") == (volume.notes == ())


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a"])
def test_an_empty_file_is_called_so(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(InputError, match="is empty"):
        read_volume(tmp_path / name)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti_2_is_read(tmp_path, name):
    volume = read_volume(save_nifti(tmp_path / name, SIZES, SIZES, reads=nibabel.Nifti2Image))
    np.testing.assert_array_equal(volume.array_kji, ARRAY)
    np.testing.assert_allclose(volume.geometry.ijk_to_ras, SIZES, atol=1e-6)


@pytest.mark.parametrize("name", ["a.mgh", "a.mgz"])
def test_files_of_freesurfer_are_read(tmp_path, name):
    nibabel.save(nibabel.MGHImage(ARRAY.T.astype(np.float32), LPS @ SIZES), tmp_path / name)
    volume = read_volume(tmp_path / name)
    np.testing.assert_array_equal(volume.array_kji, ARRAY)
    np.testing.assert_allclose(volume.geometry.ijk_to_ras, LPS @ SIZES, atol=1e-5)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="cut short"):
        read_volume(tmp_path / name)


def test_without_nibabel_the_package_is_named(tmp_path, monkeypatch):
    path = save_nifti(tmp_path / "a.nii", SIZES, SIZES, reads=nibabel.Nifti2Image)
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(MissingPackageError, match=r"a\.nii, which is NIfTI-2, needs the Python package 'nibabel'"):
        read_volume(path)


@pytest.mark.parametrize(
    ("qform", "sform"),
    [(LPS @ SIZES, np.diag([0.5, 0.7, 6, 1])), (SIZES, LPS @ SIZES), (SIZES, SIZES + np.eye(4, k=3) * 2)],
)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_mask_keeps_both_forms_where_they_differ(tmp_path, qform, sform, suffix):
    volume = read_volume(save_nifti(tmp_path / "a.nii", qform, sform))
    assert "the sform and the qform of a.nii differ by up to" in volume.notes[0]
    write_labelmap(tmp_path / f"m{suffix}", ARRAY > 60, volume.geometry, forms=volume.nifti_forms)
    image, mask = nibabel.load(tmp_path / "a.nii"), nibabel.load(tmp_path / f"m{suffix}")
    np.testing.assert_array_equal(mask.affine, image.affine)
    np.testing.assert_array_equal(mask.get_qform(), image.get_qform())
    np.testing.assert_array_equal(read_labelmap(tmp_path / f"m{suffix}", volume.geometry), ARRAY > 60)
    assert nifti_forms_of(tmp_path / "a.nii") is not None


def test_a_voxel_size_that_contradicts_the_only_form_is_refused(tmp_path):
    path = save_nifti(tmp_path / "a.nii", None, SIZES)
    content = bytearray(path.read_bytes())
    content[80:92] = np.ones(3, np.float32).tobytes()
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"contradict the voxel size \(1\.0, 1\.0, 1\.0\)"):
        read_volume(path)


@pytest.mark.parametrize(("qform", "sform"), [(SIZES, SIZES), (SIZES, None), (None, SIZES), (SIZES, SIZES * 1.000001)])
def test_forms_that_agree_are_no_matter(tmp_path, qform, sform):
    volume = read_volume(save_nifti(tmp_path / "a.nii", qform, sform))
    assert volume.notes == ()
    assert volume.nifti_forms is None


@pytest.mark.parametrize(("unit", "mm"), [("mm", 1), ("meter", 1000), ("micron", 0.001), ("unknown", 1)])
def test_the_unit_of_a_nifti_counts(tmp_path, unit, mm):
    volume = read_volume(save_nifti(tmp_path / "a.nii", SIZES, SIZES, unit))
    np.testing.assert_allclose(volume.geometry.ijk_to_ras[:3], mm * SIZES[:3], rtol=1e-6)
    assert [note.partition(" are in ")[2] for note in volume.notes] == (
        [] if mm == 1 else [f"'{'m' if mm > 1 else 'um'}' and are converted to mm; so are those of its masks"]
    )


@pytest.mark.parametrize(
    ("line", "mm", "said"),
    [
        ('space units: "m" "m" "m"', 1000, "in 'm' and are converted to mm"),
        ('space units: "um" "um" "um"', 0.001, "converted"),
        ('space units: "cm" "cm" "cm"', 10, "converted"),
        ('space units: "furlong" "furlong" "furlong"', 1, "'furlong', which is not a known unit"),
        ('space units: "mm" "mm" "mm"', 1, ""),
    ],
)
def test_the_unit_of_an_nrrd_counts(tmp_path, line, mm, said):
    volume = read_volume(nrrd(tmp_path / "a.nrrd", line, "space origin: (1,2,3)"))
    np.testing.assert_allclose(volume.geometry.spacing_kji_mm, np.array((3, 0.7, 0.5)) * mm)
    np.testing.assert_allclose(volume.geometry.ijk_to_ras[:3, 3], np.array((-1, -2, 3)) * mm)
    assert said in " ".join(volume.notes)
    assert bool(said) == bool(volume.notes)


def test_several_units_are_refused(tmp_path):
    with pytest.raises(InputError, match="several units: mm, m, mm"):
        read_volume(nrrd(tmp_path / "a.nrrd", 'space units: "mm" "m" "mm"'))
    assert "converted" in read_volume(mha(tmp_path / "a.mha", "DistanceUnits = um")).notes[0]


@pytest.mark.parametrize(
    ("write", "text"),
    [
        (lambda p: nrrd(p / "a.nrrd", directions="spacings: 0,5 0,7 3"), "spacings '0,5 0,7 3' is not made of numbers"),
        (lambda p: nrrd(p / "a.nrrd", directions="space directions: (0,5,0,0) (0,0,7,0) (0,0,3)"), "space directions"),
        (lambda p: nrrd(p / "a.nrrd", "space origin: (1,5,2,0,3)"), "space origin"),
        (lambda p: mha(p / "a.mha", spacing="ElementSpacing = 0,5 0,7 3"), "ElementSpacing '0,5 0,7 3'"),
        (lambda p: mha(p / "a.mha", spacing="ElementSpacing = 0.5 0 3"), "must be above 0"),
        (lambda p: mha(p / "a.mha", "Offset = 1,5 2 3"), "Offset '1,5 2 3'"),
        (lambda p: mha(p / "a.mha", spacing="ElementSpacing = 1e30 1 1"), "is impossible"),
        (lambda p: nrrd(p / "a.nrrd", directions="space directions: (1e-40,0,0) (0,1,0) (0,0,1)"), "is impossible"),
        (lambda p: save_nifti(p / "a.nii", np.diag([1e30, 1, 1, 1]), None), "is impossible"),
        (lambda p: mha(p / "a.mha", "Offset = 1e30 2 3"), "is impossible"),
    ],
)
def test_missing_or_impossible_lengths_are_refused(tmp_path, write, text):
    with pytest.raises(InputError, match=text):
        read_volume(write(tmp_path))


def test_a_missing_spacing_is_reported(tmp_path):
    assert "1 mm is assumed" in read_volume(nrrd(tmp_path / "a.nrrd", directions="")).notes[0]
    assert "1 mm is assumed" in read_volume(mha(tmp_path / "a.mha", spacing="")).notes[0]
    sitk.WriteImage(sitk.GetImageFromArray(ARRAY[0].astype(np.uint8)), tmp_path / "a.png")
    assert "1 mm is assumed" in read_volume(tmp_path / "a.png").notes[0]
    assert "no position and no orientation" in read_volume(save_nifti(tmp_path / "a.nii")).notes[0]


@pytest.mark.parametrize(("name", "voxels"), [("a.mhd", "a.raw"), ("b.mhd", "b.zraw"), ("a.nhdr", "a.raw.gz")])
def test_the_file_of_voxels_that_is_missing_is_named(tmp_path, name, voxels):
    image = sitk.GetImageFromArray(ARRAY)
    sitk.WriteImage(image, tmp_path / name, name != "a.mhd")
    np.testing.assert_array_equal(read_volume(tmp_path / name).array_kji, ARRAY)
    content = (tmp_path / voxels).read_bytes()
    (tmp_path / voxels).write_bytes(content[:-20])
    with pytest.raises(InputError, match=f"{voxels} is cut short"):
        read_volume(tmp_path / name)
    (tmp_path / voxels).unlink()
    with pytest.raises(InputError, match=f"{voxels}, the file with its voxels, is missing"):
        read_volume(tmp_path / name)


def test_a_pair_of_analyze_and_its_missing_half(tmp_path):
    nibabel.save(nibabel.Nifti1Pair(ARRAY.T, SIZES), tmp_path / "a.hdr")
    for name in ("a.hdr", "a.img"):
        np.testing.assert_array_equal(read_volume(tmp_path / name).array_kji, ARRAY)
    (tmp_path / "a.img").unlink()
    with pytest.raises(InputError, match=r"a\.img, the file with its voxels, is missing"):
        read_volume(tmp_path / "a.hdr")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_a_flipped_bit_in_compressed_voxels_is_found(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    array = np.random.default_rng(3).integers(0, 1000, (20, 20, 20)).astype(np.int16)
    write_image(path, array, Geometry(array.shape, np.eye(4)))
    whole = path.read_bytes()
    for part in (0.5, 0.7, 0.9):
        content = bytearray(whole)
        content[int(part * len(whole))] ^= 4
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"damaged|cut short|cannot be read"):
            read_volume(path)


def test_what_is_packed_as_a_whole_is_named(tmp_path):
    (tmp_path / "a.nrrd.gz").write_bytes(gzip.compress(nrrd(tmp_path / "a.nrrd").read_bytes()))
    with pytest.raises(InputError, match=r"compressed by gzip as a whole \(NRRD\)"):
        read_volume(tmp_path / "a.nrrd.gz")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha", "2.nii.gz", ".mgz"])
def test_a_time_of_a_4d_file_is_chosen(tmp_path, suffix):
    times = np.stack([ARRAY, ARRAY + 1, ARRAY * 2])
    path = tmp_path / f"a{suffix}"
    if suffix == ".mgz":
        nibabel.save(nibabel.MGHImage(times.T.astype(np.float32), SIZES), path)
    elif suffix == "2.nii.gz":
        save_nifti(path, SIZES, SIZES, reads=nibabel.Nifti2Image, array=times)
    else:
        sitk.WriteImage(sitk.GetImageFromArray(times, isVector=False), path)
    with pytest.raises(InputError, match=r"but 3 \(4D\): choose one by --time 0 to 2"):
        read_volume(path)
    for time, expected in enumerate(times):
        np.testing.assert_array_equal(read_volume(path, time=time).array_kji, expected)
    with pytest.raises(InputError, match="no image 3 "):
        read_volume(path, time=3)


def test_a_sequence_of_slicer_is_4d_and_one_time_alone_is_3d(tmp_path):
    times = np.stack([ARRAY, ARRAY + 7], axis=-1)
    path = nrrd(tmp_path / "a.seq.nrrd", "kinds: list domain domain domain", array=times,
                directions="space directions: none (0.5,0,0) (0,0.7,0) (0,0,3)")  # fmt: skip
    np.testing.assert_array_equal(read_volume(path, time=1).array_kji, ARRAY + 7)
    sitk.WriteImage(sitk.GetImageFromArray(ARRAY[None], isVector=False), tmp_path / "one.nrrd")
    np.testing.assert_array_equal(read_volume(tmp_path / "one.nrrd").array_kji, ARRAY)


NAMES = [b"b\xfc", "läber".encode(), b"\xff\xfe", "腫瘍".encode()]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have names of Unicode alone")
@pytest.mark.parametrize("name", NAMES, ids=repr)
@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_a_file_may_have_any_name(tmp_path, name, suffix):
    folder = tmp_path / os.fsdecode(b"of " + name)
    folder.mkdir()
    path = folder / os.fsdecode(name + suffix.encode())
    write_image(path, ARRAY, grid())
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array_kji, ARRAY)
    volume.name.encode()
    assert [each.name for each in folder.iterdir()] == [path.name]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have names of Unicode alone")
def test_names_are_read_where_the_locale_knows_ascii_alone(tmp_path):
    write_image(tmp_path / "läber.nii.gz", ARRAY, grid())
    sitk.WriteImage(sitk.GetImageFromArray(ARRAY), tmp_path / "b.mhd")
    shutil.move(tmp_path / "b.mhd", tmp_path / os.fsdecode(b"b\xfc.mhd"))
    code = (
        "import sys\nfrom InteractiveSegLib.image.image_io import read_volume, write_image\n"
        "for name in sys.argv[1:]:\n    v = read_volume(name)\n    print(v.array_kji.sum())\n"
        "write_image(sys.argv[1] + '.nrrd', v.array_kji, v.geometry)"
    )
    names = [os.fsencode(tmp_path) + name for name in ("/läber.nii.gz".encode(), b"/b\xfc.mhd")]
    done = subprocess.run(
        [sys.executable, "-c", code, *names],
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.split()) == (0, [str(ARRAY.sum())] * 2), done.stderr
    assert (tmp_path / "läber.nii.gz.nrrd").exists()


def changed(path, at, content):
    data = bytearray(path.read_bytes())
    data[at : at + len(content)] = content
    path.write_bytes(bytes(data))
    return path


@pytest.mark.parametrize("mark", [b"o+1\0", b"n+0\0", b"n/1\0", b"\0\0\0\0", b"n+2\0"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_nifti_that_has_lost_its_mark_is_not_read_as_one_without_a_position(tmp_path, mark, suffix):
    path = changed(save_nifti(tmp_path / "a.nii", qform=SIZES), 344, mark)
    if suffix == ".nii.gz":
        path = tmp_path / "a.nii.gz"
        path.write_bytes(gzip.compress((tmp_path / "a.nii").read_bytes()))
    with pytest.raises(InputError, match=r"its magic number is"):
        read_volume(path)


@pytest.mark.parametrize("mark", [b"ni0\0", b"nm1\0", b"ni1\1"])
def test_half_a_pair_that_has_nearly_the_mark_of_nifti_is_damaged(tmp_path, mark):
    save_nifti(tmp_path / "a.hdr", qform=SIZES, reads=nibabel.Nifti1Pair)
    changed(tmp_path / "a.hdr", 344, mark)
    with pytest.raises(InputError, match=r"a\.hdr is damaged: .* its magic number is|a\.hdr: neither its qform"):
        read_volume(tmp_path / "a.hdr")


@pytest.mark.parametrize("start", [0.0, 22.0, 320.0, 347.0, -352.0])
def test_voxels_do_not_begin_within_the_header(tmp_path, start):
    path = changed(save_nifti(tmp_path / "a.nii", qform=SIZES), 108, np.float32(start).tobytes())
    with pytest.raises(InputError, match="within the header itself"):
        read_volume(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_a_header_that_speaks_of_fewer_voxels_than_the_file_holds_is_reported(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    if suffix == ".nii.gz":
        changed(save_nifti(tmp_path / "b.nii", qform=SIZES), 42, np.int16(5).tobytes())
        path.write_bytes(gzip.compress((tmp_path / "b.nii").read_bytes()))
    elif suffix == ".nii":
        changed(save_nifti(path, qform=SIZES), 42, np.int16(5).tobytes())
    else:
        write = nrrd if suffix == ".nrrd" else mha
        old, new = (b"sizes: 6 5 4", b"sizes: 5 5 4") if suffix == ".nrrd" else (b"= 6 5 4", b"= 5 5 4")
        path.write_bytes(write(path).read_bytes().replace(old, new))
    volume = read_volume(path)
    assert volume.array_kji.shape == (4, 5, 5)
    (note,) = volume.notes
    assert "holds 40 bytes more than the voxels that its header describes" in note
