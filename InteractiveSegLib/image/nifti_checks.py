"""Checks of a NIfTI file against ITK's reading of it."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.compressed import unpacked
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.nifti_header import NiftiForms, NiftiHeader, beginning
from InteractiveSegLib.wording.counting import counted

_HEADER_BYTES, _MARK = 348, 344
_MOST_BITS = 4  # by which a magic number changed by accident differs; Analyze has a number in its place
_OTHER_UNITS = {1: "m", 3: "um"}
SAME_GRID_VOXELS = 0.01
"""Grids of one image that are closer than this fraction of a voxel differ only by rounding."""


def require_whole(path: Path, header: NiftiHeader, packed: bool, notes: list[str] | None = None) -> int | None:
    """InputError if the voxels' file is missing, cut short or damaged: ITK reads such a file without an error.

    notes : gets a note if the file contains more than its header describes

    Returns
    -------
    CRC-32 of the voxels as they are stored, None where they are not compressed
    """
    if not header.detached and header.data_start < _HEADER_BYTES:
        raise InputError(
            f"{path} is damaged: by its header (vox_offset) its voxels begin at byte {header.data_start}, within the "
            "header itself"
        )
    voxels, packed, start = stored_voxels(path, header, packed)
    if not voxels.exists():
        raise InputError(f"{path} is only a header: {voxels.name}, the file with its voxels, is missing")
    content = unpacked(voxels, 0, start, header.data_bytes) if packed else None
    found = content.size if content else voxels.stat().st_size
    expected = start + header.data_bytes
    if found < expected:
        raise InputError(f"{voxels} is cut short: {found} bytes of {expected}")
    if notes is not None:
        notes += surplus_notes(voxels, found - expected)
    return content.crc if content and not header.scaled else None


def surplus_notes(path: Path, surplus: int) -> list[str]:
    """A note if a file contains more bytes than its header describes; the header may have lost a size."""
    if surplus <= 0:
        return []
    return [
        f"{path.name} holds {counted(surplus, 'byte', 'bytes')} more than the voxels that its header describes: if the "
        "image looks torn or ends early, its header is damaged"
    ]


def stored_voxels(path: Path, header: NiftiHeader, packed: bool) -> tuple[Path, bool, int]:
    """The file that holds the voxels, whether it is compressed, and at which of its unpacked bytes they begin."""
    start = 0 if header.detached else header.data_start
    voxels = path if path.suffix.lower() != ".hdr" else voxels_of_header(path)
    return voxels, packed if voxels == path else voxels.suffix == ".gz", start


def voxels_of_header(path: Path) -> Path:
    """The file beside a ``.hdr`` that holds its voxels; ``.img`` where there is none."""
    names = [path.with_suffix(suffix) for suffix in (".img", ".IMG", ".img.gz")]
    return next((name for name in names if name.exists()), names[0])


def unit_notes(path: Path, header: NiftiHeader) -> list[str]:
    """A note if lengths are not in mm."""
    unit = _OTHER_UNITS.get(header.forms.unit & 7)
    if unit is None:
        return []
    return [f"the lengths in {path.name} are in {unit!r} and are converted to mm; so are those of its masks"]


def require_marked(path: Path, packed: bool) -> None:
    """InputError for a NIfTI file with a damaged magic number, which ITK would read as Analyze, without its position.

    Analyze files have their header and voxels in two files.
    """
    start = beginning(path, packed)
    if len(start) < _HEADER_BYTES or _HEADER_BYTES not in (struct.unpack_from(f"{order}i", start)[0] for order in "<>"):
        return
    mark = start[_MARK:_HEADER_BYTES]
    in_two = path.name.lower().endswith((".hdr", ".img", ".hdr.gz", ".img.gz"))
    wrong_bits = min(_differing_bits(mark, known) for known in (b"ni1\0", b"n+1\0"))
    if wrong_bits and (not in_two or wrong_bits <= _MOST_BITS):
        raise InputError(f"{path} is damaged: it begins as NIfTI does, but its magic number is {mark!r}")


def _differing_bits(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()


def compared(path: Path, header: NiftiHeader, geometry: Geometry) -> tuple[list[str], NiftiForms | None]:
    """Compare the two grids of a header with each other and with the one that was read.

    Returns
    -------
    notes, forms : the forms if sform and qform differ, so that a mask can keep both

    Raises
    ------
    InputError : the grid that was read is neither of them, or the header has no usable voxel size.
    """
    sizes_mm = header.forms.pixdim[1 : len(header.size_ijk) + 1]
    if header.qform is None and header.sform is None:
        return _of_sizes_alone(path, sizes_mm), None
    allowed_mm = min(geometry.spacing_kji_mm) * SAME_GRID_VOXELS
    away_mm = {
        name: _distance_mm(geometry, matrix)
        for name, matrix in (("qform", header.qform), ("sform", header.sform))
        if matrix is not None
    }
    chosen = min(away_mm, key=lambda name: away_mm[name])
    if away_mm[chosen] > 10 * allowed_mm:
        raise InputError(
            f"{path}: neither its qform nor its sform is a grid of voxels with axes at right angles, or they "
            f"contradict the voxel size {tuple(map(float, sizes_mm))}; save it again with a regular grid"
        )
    notes = []
    if away_mm[chosen] > allowed_mm:
        notes.append(f"the {chosen} of {path.name} is sheared; its voxels lie up to {away_mm[chosen]:.2g} mm away")
    other = next((name for name in away_mm if name != chosen), None)
    if other is None or away_mm[other] <= allowed_mm:
        return notes, None
    by = "and cannot be inverted" if math.isinf(away_mm[other]) else f"by up to {away_mm[other]:.4g} mm"
    notes.append(
        f"the sform and the qform of {path.name} differ {by}: the {chosen} is used, as in 3D Slicer; "
        "a mask written as NIfTI keeps both"
    )
    return notes, header.forms


def _of_sizes_alone(path: Path, sizes_mm: tuple[float, ...]) -> list[str]:
    if any(not math.isfinite(size) or size < 0 for size in sizes_mm):
        raise InputError(f"{path} has the voxel size {tuple(map(float, sizes_mm))}, which is not valid")
    if not all(sizes_mm):
        return [f"{path.name} holds no voxel size and no position: 1 mm is assumed where it is 0"]
    return [f"{path.name} holds no position and no orientation (sform and qform are not set): ITK's default is used"]


def _distance_mm(geometry: Geometry, matrix: NDArray[np.float64]) -> float:
    try:
        return geometry.difference_mm(Geometry(geometry.shape_kji, matrix))
    except InputError:  # zeros or not finite
        return math.inf
