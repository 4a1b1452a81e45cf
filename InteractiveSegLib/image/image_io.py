"""Images and labelmaps from files and into files."""

from __future__ import annotations

import gzip
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError, OutputError
from InteractiveSegLib.image.dicom_series import read_dicom_file, read_series
from InteractiveSegLib.image.file_kind import Format, kind_of
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.image.itk_name import as_utf8, itk_target
from InteractiveSegLib.image.itk_reading import opened, reason
from InteractiveSegLib.image.itk_volume import ItkImage, grid_of, read_itk_image
from InteractiveSegLib.image.nibabel_reading import read_by_nibabel
from InteractiveSegLib.image.nifti_checks import require_whole
from InteractiveSegLib.image.nifti_header import NiftiForms, read_nifti_header
from InteractiveSegLib.image.same_grid import on_grid
from InteractiveSegLib.image.segments import is_segmentation, merged
from InteractiveSegLib.system.files import replaced_file, replacing

WRITABLE_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")
_VOXEL_TYPES = {f"{kind}{8 * size}" for kind in ("int", "uint") for size in (1, 2, 4, 8)} | {"float32", "float64"}
_NIFTI_GRID_ERROR_MM = 1e-3  # float32 headers: 4e-5 mm were measured at 600 mm from the origin
_GRID_ERROR_MM = 1e-6
_NIFTI = (".nii", ".nii.gz")
_SPACINGS_MM = (1e-7, 1e5)
_FARTHEST_MM = 1e7
_NIFTI_HEADER_BYTES = 348


def read_volume(path: str | os.PathLike[str], series: str | None = None, time: int | None = None) -> Volume:
    """A scalar 3D image with its own voxel type (except that NIfTI and DICOM scale factors are applied).

    NIfTI, NRRD, MetaImage and whatever else SimpleITK reads; NIfTI-2 and FreeSurfer's files through nibabel; a DICOM
    series as its folder, or the folder above it. The type of a file is recognised by its content. The data read are
    compared with the header; the volume's notes report what was assumed or converted. A 2D image becomes one slice of 1
    mm. If a NIfTI's sform and qform differ, ITK's choice is used, which is also what Slicer shows.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "image.nrrd"
    >>> write_image(path, np.zeros((3, 4, 5), np.float32), Geometry((3, 4, 5), np.diag([0.5, 0.5, 2, 1])))
    >>> volume = read_volume(path)
    >>> volume.array_kji.shape, volume.geometry.spacing_kji_mm
    ((3, 4, 5), (2.0, 0.5, 0.5))

    Parameters
    ----------
    path : file, or folder with DICOM files
    series : UID of the DICOM series, or its number in the list of the error, where the folder has several
    time : which of several images (4D), from 0

    Raises
    ------
    InputError : missing, unreadable, incomplete or damaged file, colours; 4D and no time chosen; no, several or
        irregular DICOM series; headers that contradict themselves or what is read.
    MissingPackageError : the format needs a package that is not installed.
    """
    path = Path(path)
    image, name = _read(path, series, time)
    _require_plausible(image.geometry, path)
    return Volume(image.array, image.geometry, as_utf8(name), image.notes, image.forms)


def read_labelmap(
    path: str | os.PathLike[str], geometry: Geometry, notes: list[str] | None = None
) -> NDArray[np.integer]:
    """Labels (K, J, I) on a known grid, as the smallest integer type that holds them (mostly uint8).

    In a segmentation from 3D Slicer, the segments are the labels; it may be cropped. A labelmap whose axes are in
    another order is reordered, one that is off the grid by less than a tenth of a voxel is taken as on it.

    >>> import tempfile
    >>> path, geometry = Path(tempfile.mkdtemp()) / "labels.nii.gz", Geometry((3, 4, 5), np.eye(4))
    >>> write_labelmap(path, np.full((3, 4, 5), 2), geometry)
    >>> int(read_labelmap(path, geometry)[0, 0, 0])
    2

    Parameters
    ----------
    notes : sentences on what was assumed or converted are added

    Raises
    ------
    InputError : as ``read_volume``, another grid than ``geometry``, or values that are not whole numbers.
    """
    path = Path(path)
    notes = [] if notes is None else notes
    image, _ = _read(path, None, None, layered=True)
    notes += image.notes
    labels = image.array
    segmentation = is_segmentation(image.metadata)
    if labels.ndim == 4 and not segmentation:
        raise InputError(f"{path} has {labels.shape[3]} values per voxel, not one")
    if labels.dtype.kind not in "buif":
        raise InputError(f"the labelmap {path} holds {labels.dtype}, not labels")
    if labels.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            wrong = labels[~((labels == np.rint(labels)) & (np.abs(labels) < 2**31))]
        if wrong.size:
            raise InputError(f"the labelmap {path} holds values that are not labels, such as {wrong[0]}")
    labels = _smallest_integers(labels)
    if segmentation:
        labels, more = merged(labels, image.metadata, path)
        notes += more
    return on_grid(labels, image.geometry, geometry, f"the labelmap {path}", notes, part=segmentation)


def write_labelmap(
    path: str | os.PathLike[str],
    array_kji: NDArray,
    geometry: Geometry,
    header: Mapping[str, str] | None = None,
    forms: NiftiForms | None = None,
) -> None:
    """Labels or a mask (K, J, I; integer or bool) into a compressed file, as the smallest integer type.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "mask.nii.gz"
    >>> write_labelmap(path, np.ones((3, 4, 5), bool), Geometry((3, 4, 5), np.diag([0.5, 0.5, 2, 1])))
    >>> read_volume(path).geometry.spacing_kji_mm
    (2.0, 0.5, 0.5)

    header, forms : as for ``write_image``

    Raises
    ------
    InputError, OutputError : as ``write_image``.
    """
    if array_kji.dtype.kind not in "bui":
        raise InputError(f"a labelmap holds integers or bool, not {array_kji.dtype}")
    write_image(path, _smallest_integers(array_kji), geometry, header, forms)


def write_image(
    path: str | os.PathLike[str],
    array_kji: NDArray,
    geometry: Geometry,
    header: Mapping[str, str] | None = None,
    forms: NiftiForms | None = None,
) -> None:
    """An image (K, J, I) into a compressed .nii.gz, .nii, .nrrd or .mha file, which is written completely or not at
    all.

    NRRD and MetaImage keep the grid to 1e-6 mm. NIfTI headers are float32: the grid of an image that was read from a
    NIfTI is kept so too, any other moves by up to about 1e-4 mm.

    header : further entries, such as the names of segments; NIfTI keeps only 80 characters of ``ITK_FileNotes``
    forms : sform and qform of the image whose grid this is, which only NIfTI keeps

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
        image.SetMetaData(key, as_utf8(text))
    require_writable_folder(path)
    with replacing(path) as temporary:
        try:
            with itk_target(temporary) as name:
                sitk.WriteImage(image, name, useCompression=True)
            if forms is not None and path.name.endswith(_NIFTI):
                _keep_forms(temporary, forms)
            # ITK reports no error for a NIfTI that did not fit on the disk.
            _require_kept(temporary, geometry)
        except (RuntimeError, InputError) as error:
            raise OSError(reason(error)) from error


def require_writable_name(path: Path) -> None:
    """InputError if the suffix is of no format that images are written in."""
    if not path.name.endswith(WRITABLE_SUFFIXES):
        raise InputError(f"{path}: images are written as {', '.join(WRITABLE_SUFFIXES)}")


def require_writable_folder(path: Path) -> None:
    """OutputError if a file of this name cannot be written: no such folder, a read-only one, a folder of that name."""
    path = replaced_file(path)
    if not path.parent.is_dir():
        raise OutputError(f"cannot write {path}: the folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"cannot write {path}: the folder {path.parent} is read-only")


def _read(path: Path, series: str | None, time: int | None, layered: bool = False) -> tuple[ItkImage, str]:
    """The image in a file or folder by its format, and its name."""
    if path.is_dir():
        return read_series(path, series, time)
    if series is not None:
        raise InputError(f"{path} is not a folder: the DICOM series {series} cannot be chosen in it")
    kind = kind_of(path)
    name = path.name.removesuffix(".gz").rsplit(".", 1)[0].removesuffix(".seg")
    if kind.format is Format.DICOM:
        return read_dicom_file(path, time), name
    if kind.format in (Format.NIFTI2, Format.FREESURFER):
        return read_by_nibabel(path, kind, time), name
    return read_itk_image(path, kind, time, layered), name


def _require_plausible(geometry: Geometry, path: Path) -> None:
    """InputError for impossible lengths: from a damaged header, or in a unit that it does not name."""
    low_mm, high_mm = _SPACINGS_MM
    if not all(low_mm <= spacing <= high_mm for spacing in geometry.spacing_kji_mm):
        spacing = " x ".join(f"{mm:.4g}" for mm in geometry.spacing_kji_mm[::-1])
        raise InputError(f"{path} has voxels of {spacing} mm, which is impossible: correct the spacing in its header")
    origin = geometry.ijk_to_ras[:3, 3]
    if np.abs(origin).max() > _FARTHEST_MM:
        raise InputError(f"{path} lies at {origin.tolist()} mm, which is impossible: correct the origin in its header")


def _smallest_integers(labels: NDArray) -> NDArray[np.integer]:
    extremes = (np.min_scalar_type(int(labels.min())), np.min_scalar_type(int(labels.max())))
    return labels.astype(np.result_type(np.uint8, *extremes), copy=False)


def _keep_forms(path: Path, forms: NiftiForms) -> None:
    """Put both grids of the image into a NIfTI file just written; ITK writes only one."""
    packed = kind_of(path).packed
    opener = gzip.open if packed else open
    with opener(path, "rb") as file:
        content = file.read()
    changed = forms.written_into(content[:_NIFTI_HEADER_BYTES]) + content[_NIFTI_HEADER_BYTES:]
    with opener(path, "wb") as file:
        file.write(changed)


def _require_kept(path: Path, geometry: Geometry) -> None:
    """InputError if a file just written is not complete or not on the grid."""
    kind = kind_of(path)
    is_nifti = kind.format is Format.NIFTI
    with opened(path) as reader:
        written = grid_of(reader)
    if is_nifti:
        require_whole(path, read_nifti_header(path, kind.packed), kind.packed)
    geometry.require_same(
        written, "the grid that this format can hold", _NIFTI_GRID_ERROR_MM if is_nifti else _GRID_ERROR_MM
    )
