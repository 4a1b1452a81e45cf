"""Formats that ITK does not read, NIfTI-2 and FreeSurfer's, read by nibabel."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from InteractiveSegLib.errors import InputError, MissingPackageError
from InteractiveSegLib.image.compressed import unpacked
from InteractiveSegLib.image.file_kind import FileKind, Format
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.itk_name import itk_name
from InteractiveSegLib.image.itk_volume import ItkImage, chosen_time
from InteractiveSegLib.image.nifti_checks import SAME_GRID_VOXELS

_MM_A_UNIT = {"meter": 1e3, "micron": 1e-3}
_SUFFIXES = {
    (Format.NIFTI2, False): (".nii",),
    (Format.NIFTI2, True): (".nii.gz",),
    (Format.FREESURFER, False): (".mgh",),
    (Format.FREESURFER, True): (".mgz",),
}


def read_by_nibabel(path: Path, kind: FileKind, time: int | None = None) -> ItkImage:
    """Read a NIfTI-2 or MGH file as ``read_itk_image`` would. For a NIfTI-2 the sform is used if it is set.

    Raises
    ------
    InputError : unreadable or incomplete file, colours, several times and none chosen.
    MissingPackageError : nibabel is not installed.
    """
    try:
        import nibabel
    except ImportError as error:
        raise MissingPackageError(f"reading {path}, which is {kind.format.value},", "nibabel") from error
    there = unpacked(path).size if kind.packed else path.stat().st_size
    notes = []
    try:
        with itk_name(path, _SUFFIXES[kind.format, kind.packed]) as name:
            image = nibabel.load(name, mmap=False)
            if len(image.shape) not in (3, 4):
                raise InputError(f"{path} is not a 3D image but {len(image.shape)}D, of size {image.shape}")
            expected = math.prod(map(int, image.shape)) * image.get_data_dtype().itemsize
            if expected > there:
                raise InputError(f"{path} is cut short: {there} bytes, where its voxels alone take {expected}")
            number = chosen_time(path, (*image.shape, 1)[3], time)
            voxels = np.asanyarray(image.dataobj if len(image.shape) == 3 else image.dataobj[..., number])
            matrix = np.array(image.affine, np.float64)
            if kind.format is Format.NIFTI2:
                scale = _MM_A_UNIT.get(image.header.get_xyzt_units()[0], 1.0)
                matrix[:3] *= scale
                notes = _differing_forms(path, image, scale)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # nibabel has no common base class for the errors from damaged headers
        raise InputError(f"{path} is cut short or damaged: {error}") from error
    array = np.ascontiguousarray(voxels.T)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return ItkImage(array, Geometry(array.shape, matrix), {}, tuple(notes))


def _differing_forms(path: Path, image: Any, scale: float) -> list[str]:
    qform, q_code = image.get_qform(coded=True)
    sform, s_code = image.get_sform(coded=True)
    if not q_code and not s_code:
        return [f"{path.name} holds no position and no orientation (sform and qform are not set)"]
    if not q_code or not s_code:
        return []
    shape_kji = image.shape[2::-1]
    first, second = (
        Geometry(shape_kji, np.diag([scale, scale, scale, 1]) @ np.asarray(form, np.float64)) for form in (sform, qform)
    )
    away_mm = first.difference_mm(second)
    if away_mm <= SAME_GRID_VOXELS * min(first.spacing_kji_mm):
        return []
    return [
        f"the sform and the qform of {path.name} differ by up to {away_mm:.4g} mm: the sform is used, and masks keep "
        "only the sform"
    ]
