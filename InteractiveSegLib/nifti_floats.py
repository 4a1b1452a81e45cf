"""Voxels of a NIfTI that are no numbers: ITK's reader silently puts 0 in their place."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

_TYPES = {"16": "f4", "64": "f8"}  # NIfTI's codes
_HEADER_BYTES = 348  # the first number of a file, which tells the byte order
_BLOCK_VOXELS = 1 << 18


def restore_missing(path: Path, header: sitk.ImageFileReader, array_kji: NDArray) -> None:
    """Put NaN back into an image of floats where the file has NaN or an infinite value.

    Parameters
    ----------
    path : of the file, complete; of another format nothing is done
    header : as ITK reads it
    array_kji : its voxels as ITK reads them, changed in place
    """
    if not header.HasMetaDataKey("vox_offset") or path.suffix.lower() in (".hdr", ".img"):
        return
    kind = _TYPES.get(header.GetMetaData("datatype").strip())
    if kind is None or array_kji.dtype.kind != "f":
        return
    voxels = array_kji.reshape(-1)  # a view: ITK's memory is contiguous
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with gzip.open(path) if packed else path.open("rb") as stream:
        start = stream.read(4)
        order = "<" if int.from_bytes(start, "little") == _HEADER_BYTES else ">"
        stream.read(int(float(header.GetMetaData("vox_offset"))) - len(start))
        dtype = np.dtype(order + kind)
        for first in range(0, voxels.size, _BLOCK_VOXELS):
            part = voxels[first : first + _BLOCK_VOXELS]
            stored = np.frombuffer(stream.read(part.size * dtype.itemsize), dtype)
            part[~np.isfinite(stored)] = np.nan
