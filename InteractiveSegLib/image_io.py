"""Images, labelmaps and ROIs from files and into files; with registration the only place that knows LPS."""

from __future__ import annotations

import gzip
import json
import math
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from InteractiveSegLib.dicom_series import read_series
from InteractiveSegLib.errors import InputError, OutputError
from InteractiveSegLib.files import replacing
from InteractiveSegLib.geometry import Geometry, Volume, ras_to_kji
from InteractiveSegLib.itk_reading import execute, read_header, reason
from InteractiveSegLib.prompts import BoundingBox

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
    image = execute(header, path)
    return _to_volume(image, path.name.removesuffix(".gz").rsplit(".", 1)[0].removesuffix(".seg"))


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


def write_labelmap(path: str | os.PathLike[str], array_kji: NDArray, geometry: Geometry) -> None:
    """Labels or a mask (K, J, I; integer or bool) into a compressed file, as the smallest integer type.

    Raises
    ------
    InputError, OutputError : as ``write_image``.
    """
    if array_kji.dtype.kind not in "bui":
        raise InputError(f"a labelmap holds integers or bool, not {array_kji.dtype}")
    write_image(path, _smallest_integers(array_kji), geometry)


def write_image(path: str | os.PathLike[str], array_kji: NDArray, geometry: Geometry) -> None:
    """An image (K, J, I) into a compressed .nii.gz, .nii, .nrrd or .mha file, which appears whole or not at all.

    NRRD and MetaImage keep the grid to 1e-6 mm. NIfTI headers are float32: the grid of an image that was read from a
    NIfTI is kept so too, any other moves by up to about 1e-4 mm.

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
    if not path.parent.is_dir():
        raise OutputError(f"cannot write {path}: the folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"cannot write {path}: the folder {path.parent} is read-only")
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder")


def read_roi(path: str | os.PathLike[str], geometry: Geometry) -> tuple[BoundingBox, str]:
    """Box of voxels whose centres lie within a Slicer markups ROI (``.mrk.json``).

    A rotated ROI is taken as its enclosing box along the voxel axes. Where it is thinner than a voxel and holds no
    centre, the voxel nearest to its middle counts. The box is not clipped to the image.

    Returns
    -------
    box, note : the note says in a sentence what was done to a rotated or thin ROI, and is empty otherwise.

    Raises
    ------
    InputError : no such file, no JSON, not exactly one ROI, or one without a place, size or axes.
    """
    roi = _the_roi(Path(path))
    center = _numbers(roi, "center", 3, path)
    size_mm = _numbers(roi, "size", 3, path)
    axes = _numbers(roi, "orientation", 9, path).reshape(3, 3)
    frame = roi.get("coordinateSystem", "LPS")
    if frame not in ("LPS", "RAS") or roi.get("coordinateUnits", "mm") not in ("mm", ["mm", "mm", "mm"]):
        raise InputError(f"{path}: the ROI must be in mm in LPS or RAS, not {roi.get('coordinateUnits')} in {frame}")
    if size_mm.min() <= 0 or np.abs(axes.T @ axes - np.eye(3)).max() > 1e-3:
        raise InputError(f"{path}: the ROI needs a size above 0 and an orthonormal orientation, not {size_mm.tolist()}")
    to_ras = np.array([-1.0, -1.0, 1.0]) if frame == "LPS" else np.ones(3)
    signs = np.stack(np.meshgrid(*[(-0.5, 0.5)] * 3), axis=-1).reshape(-1, 3)
    corners_kji = ras_to_kji((center + (signs * size_mm) @ axes.T) * to_ras, geometry)
    low, high = corners_kji.min(axis=0), corners_kji.max(axis=0)
    start = np.ceil(low - 1e-6).astype(int)
    stop = np.floor(high + 1e-6).astype(int) + 1
    thin = stop <= start
    start = np.where(thin, np.rint((low + high) / 2).astype(int), start)
    notes = []
    voxel_axes = geometry.ijk_to_ras[:3, :3] / np.linalg.norm(geometry.ijk_to_ras[:3, :3], axis=0)
    cosines = np.sort(np.abs(voxel_axes.T @ (to_ras[:, None] * axes)), axis=0)
    if cosines[:2].max() > 1e-3:
        notes.append("The ROI is rotated against the volume; its enclosing box of voxels is used.")
    if thin.any():
        notes.append("The ROI is thinner than a voxel; the nearest voxel is used.")
    return BoundingBox(start.tolist(), np.where(thin, start + 1, stop).tolist()), " ".join(notes)


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


def _unpacked_bytes(path: Path) -> int:
    with gzip.open(path) as stream:
        return sum(len(block) for block in iter(lambda: stream.read(_BLOCK_BYTES), b""))


def _require_kept(path: Path, geometry: Geometry) -> None:
    """InputError where a file just written is not complete or not on the grid."""
    header = read_header(path)
    _require_complete(path, header)
    tolerance_mm = _NIFTI_GRID_ERROR_MM if header.HasMetaDataKey("vox_offset") else _GRID_ERROR_MM
    geometry.require_same(_grid(header), "the grid that this format can hold", tolerance_mm)


def _the_roi(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        markups = [markup for markup in content["markups"] if markup["type"] == "ROI"]
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a Slicer markups file ({type(error).__name__}: {error})") from error
    if len(markups) != 1:
        raise InputError(f"{path} must hold exactly one ROI, not {len(markups)}")
    return markups[0]


def _numbers(roi: dict[str, Any], key: str, count: int, path: str | os.PathLike[str]) -> NDArray[np.float64]:
    try:
        values = np.array(roi[key], dtype=np.float64).ravel()
    except (KeyError, TypeError, ValueError):
        values = np.empty(0)
    if values.size != count or not np.isfinite(values).all():
        raise InputError(f"{path}: the ROI's {key} must be {count} numbers, not {roi.get(key)!r}")
    return values
