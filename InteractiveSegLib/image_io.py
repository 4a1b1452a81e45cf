"""Images and labelmaps from files and into files; beside markups and registration the only place that knows LPS."""

from __future__ import annotations

import gzip
import math
import os
import re
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from InteractiveSegLib.compressed_voxels import require_sound
from InteractiveSegLib.dicom_series import read_series
from InteractiveSegLib.errors import InputError, OutputError
from InteractiveSegLib.files import replaced_file, replacing
from InteractiveSegLib.geometry import Geometry, Volume
from InteractiveSegLib.itk_reading import execute, read_header, reason
from InteractiveSegLib.nifti_floats import restore_missing

WRITABLE_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")
_VOXEL_TYPES = {f"{kind}{8 * size}" for kind in ("int", "uint") for size in (1, 2, 4, 8)} | {"float32", "float64"}
_NIFTI_GRID_ERROR_MM = 1e-3  # float32 headers: 4e-5 mm were measured at 600 mm from the origin
_GRID_ERROR_MM = 1e-6
_BLOCK_BYTES = 1 << 20


def read_volume(path: str | os.PathLike[str], series_uid: str | None = None) -> Volume:
    """A scalar 3D image with its own voxel type (except that NIfTI and DICOM scale factors are applied).

    NIfTI, NRRD, MetaImage and whatever else SimpleITK reads; a DICOM series as its folder. A 2D image becomes one
    slice of 1 mm. Where a NIfTI's sform and qform differ, ITK's choice stands, which is also what Slicer shows.

    Parameters
    ----------
    path : file, or folder with DICOM files of one series
    series_uid : which series, where the folder has several

    Raises
    ------
    InputError : missing, unreadable, incomplete, 4D or colour file; no, several or irregular DICOM series.
    """
    path = Path(path)
    if path.is_dir():
        return _to_volume(*read_series(path, series_uid))
    if series_uid is not None:
        raise InputError(f"{path} is not a folder: the DICOM series {series_uid} cannot be chosen in it")
    if not path.exists():
        raise InputError(f"{path} does not exist")
    header = read_header(path)
    _require_complete(path, header)
    require_sound(path, math.prod(header.GetSize()) * _bytes_per_voxel(header))
    image = execute(header, path)
    volume = _to_volume(image, path.name.removesuffix(".gz").rsplit(".", 1)[0].removesuffix(".seg"))
    restore_missing(path, header, volume.array_kji)
    return volume


def read_labelmap(path: str | os.PathLike[str], geometry: Geometry) -> NDArray[np.integer]:
    """Labels (K, J, I) on a known grid, as the smallest integer type that holds them (mostly uint8).

    Raises
    ------
    InputError : as ``read_volume``, another grid than ``geometry``, or values that are not whole numbers.
    """
    volume = read_volume(path)
    geometry.require_same(volume.geometry, f"the labelmap {path}")
    labels = volume.array_kji
    if labels.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            wrong = labels[~((labels == np.rint(labels)) & (np.abs(labels) < 2**31))]
        if wrong.size:
            raise InputError(f"the labelmap {path} holds values that are not labels, such as {wrong[0]}")
    return _smallest_integers(labels)


def write_labelmap(
    path: str | os.PathLike[str], array_kji: NDArray, geometry: Geometry, header: Mapping[str, str] | None = None
) -> None:
    """Labels or a mask (K, J, I; integer or bool) into a compressed file, as the smallest integer type.

    header : as of ``write_image``

    Raises
    ------
    InputError, OutputError : as ``write_image``.
    """
    if array_kji.dtype.kind not in "bui":
        raise InputError(f"a labelmap holds integers or bool, not {array_kji.dtype}")
    write_image(path, _smallest_integers(array_kji), geometry, header)


def write_image(
    path: str | os.PathLike[str], array_kji: NDArray, geometry: Geometry, header: Mapping[str, str] | None = None
) -> None:
    """An image (K, J, I) into a compressed .nii.gz, .nii, .nrrd or .mha file, which appears whole or not at all.

    NRRD and MetaImage keep the grid to 1e-6 mm. NIfTI headers are float32: the grid of an image that was read from a
    NIfTI is kept so too, any other moves by up to about 1e-4 mm.

    header : further entries, such as the names of segments; NIfTI keeps 80 letters of ``ITK_FileNotes`` alone

    Raises
    ------
    InputError : unknown suffix, shape not of the grid, voxel type or sheared grid that files cannot hold.
    OutputError : the folder is missing or read-only, the disk is full, or the format cannot hold this grid.
    """
    path = Path(path)
    require_writable_name(path)
    Volume(array_kji, geometry)
    if array_kji.dtype.name not in _VOXEL_TYPES:
        raise InputError(f"voxels of type {array_kji.dtype} cannot be written: convert them first")
    origin, spacing, direction = geometry.to_lps()
    image = sitk.GetImageFromArray(array_kji.astype(array_kji.dtype.newbyteorder("="), copy=False))
    image.SetOrigin(origin)
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    for key, text in (header or {}).items():
        image.SetMetaData(key, text)
    require_writable_folder(path)
    with replacing(path) as temporary:
        try:
            sitk.WriteImage(image, str(temporary), useCompression=True)
            # ITK reports no error for a NIfTI that did not fit on the disk.
            _require_kept(temporary, geometry)
        except (RuntimeError, InputError) as error:
            raise OSError(reason(error)) from error


def require_writable_name(path: Path) -> None:
    """InputError where the suffix is of no format that images are written in."""
    if not path.name.endswith(WRITABLE_SUFFIXES):
        raise InputError(f"{path}: images are written as {', '.join(WRITABLE_SUFFIXES)}")


def require_writable_folder(path: Path) -> None:
    """OutputError where a file of this name cannot be made: no such folder, a read-only one, a folder of that name."""
    path = replaced_file(path)
    if not path.parent.is_dir():
        raise OutputError(f"cannot write {path}: the folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"cannot write {path}: the folder {path.parent} is read-only")


def _grid(header: sitk.ImageFileReader | sitk.Image) -> Geometry:
    """Grid of a 3D image, or of a 2D one as a slice of 1 mm."""
    size, origin, spacing = header.GetSize(), header.GetOrigin(), header.GetSpacing()
    direction = np.eye(3)
    direction[: len(size), : len(size)] = np.reshape(header.GetDirection(), (len(size), len(size)))
    if len(size) == 2:
        size, origin, spacing = (*size, 1), (*origin, 0.0), (*spacing, 1.0)
    return Geometry.from_lps(size[::-1], origin, spacing, direction)


def _to_volume(image: sitk.Image, name: str) -> Volume:
    geometry = _grid(image)
    return Volume(np.asarray(_Pixels(image)).reshape(geometry.shape_kji), geometry, name)


class _Pixels:
    """Lends an image's memory to NumPy: the array keeps the image alive, and nothing is copied.

    ``sitk.GetArrayViewFromImage`` does not keep it: its array crashes once the image is gone.
    """

    def __init__(self, image: sitk.Image) -> None:
        self._image = image
        view = sitk.GetArrayViewFromImage(image)
        self.__array_interface__ = {**view.__array_interface__, "data": (view.ctypes.data, False)}


def _smallest_integers(labels: NDArray) -> NDArray[np.integer]:
    extremes = (np.min_scalar_type(int(labels.min())), np.min_scalar_type(int(labels.max())))
    return labels.astype(np.result_type(np.uint8, *extremes), copy=False)


def _require_complete(path: Path, header: sitk.ImageFileReader) -> None:
    """InputError for a NIfTI cut short or damaged in its compression: ITK reads it without an error."""
    if not header.HasMetaDataKey("vox_offset") or path.suffix.lower() in (".hdr", ".img"):
        return
    voxels = math.prod(header.GetSize())
    expected = float(header.GetMetaData("vox_offset")) + voxels * int(header.GetMetaData("bitpix")) // 8
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    try:
        found = _unpacked_bytes(path) if packed else path.stat().st_size
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} is cut short or damaged: {error}") from error
    if found < expected:
        raise InputError(f"{path} is cut short: {found} bytes of {expected:.0f}")


def _bytes_per_voxel(header: sitk.ImageFileReader) -> int:
    pixels = sitk.GetPixelIDValueAsString(header.GetPixelIDValue())  # such as "16-bit signed integer"
    bits = re.search(r"(\d+)-bit", pixels)
    return int(bits.group(1)) // 8 * (2 if pixels.startswith("complex") else 1) if bits else 0


def _unpacked_bytes(path: Path) -> int:
    with gzip.open(path) as stream:
        return sum(len(block) for block in iter(lambda: stream.read(_BLOCK_BYTES), b""))


def _require_kept(path: Path, geometry: Geometry) -> None:
    """InputError where a file just written is not complete or not on the grid."""
    header = read_header(path)
    _require_complete(path, header)
    tolerance_mm = _NIFTI_GRID_ERROR_MM if header.HasMetaDataKey("vox_offset") else _GRID_ERROR_MM
    geometry.require_same(_grid(header), "the grid that this format can hold", tolerance_mm)
