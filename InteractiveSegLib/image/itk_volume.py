"""Images read by ITK: one time point, on a 3D grid in mm, compared with the file's own header."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.file_kind import FileKind, Format, kind_of
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.itk_reading import opened
from InteractiveSegLib.image.nifti_checks import (
    compared,
    require_marked,
    require_whole,
    surplus_notes,
    unit_notes,
    voxels_of_header,
)
from InteractiveSegLib.image.nifti_floats import restore_missing
from InteractiveSegLib.image.nifti_header import NiftiForms, read_nifti_header
from InteractiveSegLib.image.text_header import (
    TextHeader,
    read_meta_header,
    read_nrrd_header,
    require_voxels,
    spacing_notes,
    surplus_bytes,
)

_SUFFIXES = {
    Format.NRRD: (".nrrd", ".nhdr"),
    Format.METAIMAGE: (".mha", ".mhd"),
    Format.OTHER: (),
}
_NIFTI = (".nii", ".nii.gz", ".hdr", ".img", ".nia")
_PACKED_NIFTI = (".nii.gz", ".img.gz", ".hdr.gz")
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")


@dataclass(frozen=True, eq=False)
class ItkImage:
    """What a file holds.

    array : (K, J, I), or (K, J, I, C) if several values per voxel were requested
    metadata : the header's entries as ITK names them
    forms : of a NIfTI whose sform and qform differ
    """

    array: NDArray
    geometry: Geometry
    metadata: Mapping[str, str]
    notes: tuple[str, ...]
    forms: NiftiForms | None = None


def read_itk_image(path: Path, kind: FileKind, time: int | None = None, layered: bool = False) -> ItkImage:
    """Read a file, and compare ITK's result with its header.

    Parameters
    ----------
    time : which of several images in the file, from 0
    layered : keep several values per voxel, the layers of a segmentation

    Raises
    ------
    InputError : unreadable, incomplete or damaged file, colours, several times and none chosen.
    """
    if path.suffix.lower() == ".img" and (header := path.with_suffix(".hdr")).exists():
        path = header
    if kind.format is Format.OTHER:
        require_marked(path, kind.packed)
    if kind.packed and kind.format is not Format.NIFTI:
        raise InputError(f"{path} is compressed by gzip as a whole ({kind.format.value}): unpack it, then read it")
    text, crc = _text_header(path, kind)
    nifti = read_nifti_header(path, kind.packed) if kind.format is Format.NIFTI else None
    suffixes = _SUFFIXES.get(kind.format, _PACKED_NIFTI if kind.packed else _NIFTI)
    beside = text.voxels if text is not None else ()
    if nifti is not None and nifti.detached:
        beside = (voxels_of_header(path),)
    with opened(path, suffixes, tuple(other for other in beside if other != path)) as reader:
        notes = _of_its_name(path, kind, suffixes)
        metadata = {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys() if key.isascii()}
        component = _chosen(path, reader, metadata, time, layered)
        geometry = grid_of(reader)
        if nifti is not None:
            crc = require_whole(path, nifti, kind.packed, notes)
        image = reader.Execute()
    geometry = grid_of(image)
    array = np.asarray(_Pixels(image))
    if nifti is not None and component is None and array.ndim == 3:
        restore_missing(path, nifti, kind.packed, array, time or 0)
    header = nifti or text
    if crc is not None and header is not None and array.nbytes == header.data_bytes:
        stored = array.byteswap() if header.big_endian else array
        if zlib.crc32(stored.reshape(-1).view(np.uint8)) != crc:
            raise InputError(f"{path} is damaged: the voxels read differ from those in the file; save it again")
    if nifti is not None and array.dtype.kind == "f":
        array[~np.isfinite(array)] = np.nan
    if component is not None:
        array = np.ascontiguousarray(array[..., component])
    array = array.reshape(*geometry.shape_kji, *array.shape[3:] if layered else ())
    forms = None
    if nifti is not None:
        more, forms = compared(path, nifti, geometry)
        notes += unit_notes(path, nifti) + more
    elif text is not None:
        notes += spacing_notes(path, text) + surplus_notes(path, surplus_bytes(text))
        geometry = _in_mm(geometry, text)
    elif path.suffix.lower() in _PICTURES and set(geometry.spacing_kji_mm) == {1.0}:
        notes.append(f"{path.name} holds no pixel spacing: 1 mm is assumed")
    return ItkImage(array, geometry, metadata, tuple(notes), forms)


def nifti_forms_of(path: Path) -> NiftiForms | None:
    """Both grids of a NIfTI image if they differ, None for any other image. InputError as ``read_itk_image``."""
    kind = kind_of(path)
    if kind.format is not Format.NIFTI:
        return None
    with opened(path, _PACKED_NIFTI if kind.packed else _NIFTI) as reader:
        return compared(path, read_nifti_header(path, kind.packed), grid_of(reader))[1]


def grid_of(header: sitk.ImageFileReader | sitk.Image, slices_mm: float | None = None) -> Geometry:
    """Grid of a 3D image, of a 2D one as a slice of 1 mm, or of one time of a 4D one.

    slices_mm : their spacing, in place of the header's
    """
    dimension = header.GetDimension()
    size, origin, spacing = header.GetSize()[:3], header.GetOrigin()[:3], header.GetSpacing()[:3]
    axes = np.reshape(header.GetDirection(), (dimension, dimension))[:3, :3]
    direction = np.eye(3)
    direction[: len(axes), : len(axes)] = axes
    if dimension == 2:
        size, origin, spacing = (*size, 1), (*origin, 0.0), (*spacing, 1.0)
    if slices_mm is not None:
        spacing = (*spacing[:2], slices_mm)
    return Geometry.from_lps(size[::-1], origin, spacing, direction)


def _text_header(path: Path, kind: FileKind) -> tuple[TextHeader | None, int | None]:
    """The header if it is text, and the CRC-32 of its voxels if they are compressed."""
    readers = {Format.NRRD: read_nrrd_header, Format.METAIMAGE: read_meta_header}
    if kind.format not in readers:
        return None, None
    header = readers[kind.format](path)
    return header, require_voxels(path, header)


def _of_its_name(path: Path, kind: FileKind, suffixes: tuple[str, ...]) -> list[str]:
    if not suffixes or path.name.lower().endswith(suffixes):
        return []
    packed = "compressed " if kind.packed else ""
    return [f"{path.name} is read as {packed}{kind.format.value}, as its content says, not its name"]


def _chosen(
    path: Path, reader: sitk.ImageFileReader, metadata: Mapping[str, str], time: int | None, layered: bool
) -> int | None:
    """Have the reader read one time point; the number of the value if the times are the values of each voxel."""
    size, components = reader.GetSize(), reader.GetNumberOfComponents()
    if components > 1 and not layered:
        if metadata.get("NRRD_kinds[pixel]") != "list":
            pixels = sitk.GetPixelIDValueAsString(reader.GetPixelIDValue())
            raise InputError(f"{path} has {components} values per voxel ({pixels}), not one")
        return chosen_time(path, components, time)
    while len(size) > 4 and size[-1] == 1:
        size = size[:-1]
    if len(size) > 4 or len(size) < 2 or (components > 1 and len(size) > 3):
        described = " x ".join(map(str, reader.GetSize()))
        raise InputError(f"{path} is not a 3D image but {reader.GetDimension()}D, of size {described}")
    number = chosen_time(path, size[3] if len(size) == 4 else 1, time)
    if reader.GetDimension() > 3:
        rest = reader.GetDimension() - 3
        reader.SetExtractSize([*size[:3], *[0] * rest])
        reader.SetExtractIndex([0, 0, 0, number, *[0] * (rest - 1)])
    return None


def chosen_time(what: Path | str, count: int, time: int | None) -> int:
    """Which of several images at one position is read. InputError if none is chosen, or one that does not exist."""
    if time is None:
        if count == 1:
            return 0
        raise InputError(f"{what} is not one 3D image but {count} (4D): choose one by --time 0 to {count - 1}")
    if not 0 <= time < count:
        held = f"{count} images, 0 to {count - 1}" if count > 1 else "one image, number 0"
        raise InputError(f"{what} has no image {time} (--time): it holds {held}")
    return time


def _in_mm(geometry: Geometry, header: TextHeader) -> Geometry:
    if header.mm_a_unit in (None, 1.0) or not header.has_spacing:
        return geometry
    matrix = geometry.ijk_to_ras.copy()
    matrix[:3] *= header.mm_a_unit
    return Geometry(geometry.shape_kji, matrix)


class _Pixels:
    """Lends an image's memory to NumPy: the array keeps the image alive, and nothing is copied.

    ``sitk.GetArrayViewFromImage`` does not keep it: its array crashes once the image is gone.
    """

    def __init__(self, image: sitk.Image) -> None:
        self._image = image
        view = sitk.GetArrayViewFromImage(image)
        self.__array_interface__ = {**view.__array_interface__, "data": (view.ctypes.data, False)}
