"""The header of a NIfTI-1 file: its two grids, its unit, its size."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError

_BYTES = 348
_PIXDIM, _UNITS, _FORMS = 76, 123, 252  # where these fields begin
_MM_A_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # unknown, m, mm, um


@dataclass(frozen=True, eq=False)
class NiftiForms:
    """The fields that hold both grids of a NIfTI file: pixdim, the unit, and all of qform and sform."""

    pixdim: tuple[float, ...]
    unit: int
    codes: tuple[int, int]
    numbers: tuple[float, ...]

    def written_into(self, header: bytes) -> bytes:
        """The beginning of another NIfTI file, of at least 348 bytes, with these fields in place of its own."""
        order = _byte_order(header)
        changed = bytearray(header)
        struct.pack_into(order + "4f", changed, _PIXDIM, *self.pixdim)
        changed[_UNITS] = self.unit
        struct.pack_into(order + "2h18f", changed, _FORMS, *self.codes, *self.numbers)
        return bytes(changed)


@dataclass(frozen=True, eq=False)
class NiftiHeader:
    """What is compared with ITK's reading.

    size_ijk : without the time
    datatype : of the voxels, by NIfTI's code
    data_bytes : size of the voxels, of all times
    data_start : where they begin in their file
    detached : they are in a separate file
    scaled : the stored values are multiplied or moved by the reader
    forms : its fields, unchanged
    qform, sform : (4, 4) voxels to RAS, mm; None if the file says that it is not set
    """

    size_ijk: tuple[int, ...]
    datatype: int
    data_bytes: int
    data_start: int
    detached: bool
    big_endian: bool
    scaled: bool
    forms: NiftiForms
    qform: NDArray[np.float64] | None
    sform: NDArray[np.float64] | None


def read_nifti_header(path: Path, packed: bool) -> NiftiHeader:
    """Read it. InputError if the file ends before the header."""
    header = beginning(path, packed)
    if len(header) < _BYTES:
        raise InputError(f"{path} is cut short: its NIfTI header takes {_BYTES} bytes, the file has {len(header)}")
    order = _byte_order(header)
    dims = struct.unpack_from(order + "8h", header, 40)
    if not 1 <= dims[0] <= 7 or min(dims[1 : dims[0] + 1]) < 1:
        raise InputError(f"{path} is damaged: its size is {dims[1:]} in {dims[0]} dimensions")
    size = dims[1 : dims[0] + 1]
    bits = struct.unpack_from(order + "h", header, 72)[0]
    pixdim = struct.unpack_from(order + "4f", header, _PIXDIM)
    start = struct.unpack_from(order + "f", header, 108)[0]
    codes = struct.unpack_from(order + "2h", header, _FORMS)
    numbers = struct.unpack_from(order + "18f", header, _FORMS + 4)
    forms = NiftiForms(pixdim, header[_UNITS], codes, numbers)
    scale = np.diag([*[_MM_A_UNIT.get(header[_UNITS] & 7, 1.0)] * 3, 1.0])
    sform = np.vstack([np.reshape(numbers[6:], (3, 4)), [0, 0, 0, 1]])
    return NiftiHeader(
        size[:3],
        struct.unpack_from(order + "h", header, 70)[0],
        math.prod(size) * bits // 8,
        int(start) if math.isfinite(start) else 0,
        header[344:347] == b"ni1",
        order == ">",
        struct.unpack_from(order + "2f", header, 112) not in ((0.0, 0.0), (1.0, 0.0)),
        forms,
        scale @ _of_quaternion(pixdim, numbers) if codes[0] > 0 else None,
        scale @ sform if codes[1] > 0 else None,
    )


def beginning(path: Path, packed: bool) -> bytes:
    """The bytes of a header; fewer if the file is shorter. InputError if it cannot be read."""
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            return file.read(_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} is cut short or damaged: {error}") from error


def _byte_order(header: bytes) -> str:
    return "<" if struct.unpack_from("<i", header)[0] == _BYTES else ">"


def _of_quaternion(pixdim: tuple[float, ...], numbers: tuple[float, ...]) -> NDArray[np.float64]:
    """The qform's matrix, as defined by the NIfTI-1 standard."""
    b, c, d = numbers[:3]
    a = math.sqrt(max(0.0, 1 - b * b - c * c - d * d))
    turn = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
    matrix = np.eye(4)
    flip = -1.0 if pixdim[0] < 0 else 1.0
    matrix[:3, :3] = turn * (pixdim[1], pixdim[2], flip * pixdim[3])
    matrix[:3, 3] = numbers[3:6]
    return matrix
