"""Voxels of a NIfTI that are not finite: ITK's reader silently replaces them by 0."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.image.nifti_checks import stored_voxels
from InteractiveSegLib.image.nifti_header import NiftiHeader

_TYPES = {16: "f4", 64: "f8"}  # NIfTI's codes
_BLOCK_VOXELS = 1 << 18


def restore_missing(path: Path, header: NiftiHeader, packed: bool, array: NDArray, time: int) -> None:
    """Put NaN and infinite values of the file back into an image of floats.

    Parameters
    ----------
    path : of the file, complete
    array : voxels of one time as ITK reads them, changed in place
    time : which of several images, from 0
    """
    kind = _TYPES.get(header.datatype)
    if kind is None or array.dtype.kind != "f":
        return
    voxels = array.reshape(-1)  # a view: ITK's memory is contiguous
    dtype = np.dtype((">" if header.big_endian else "<") + kind)
    file, packed, start = stored_voxels(path, header, packed)
    with gzip.open(file) if packed else file.open("rb") as stream:
        stream.seek(start + time * voxels.size * dtype.itemsize)
        for first in range(0, voxels.size, _BLOCK_VOXELS):
            part = voxels[first : first + _BLOCK_VOXELS]
            stored = np.frombuffer(stream.read(part.size * dtype.itemsize), dtype)
            missing = ~np.isfinite(stored)
            part[missing] = stored[missing]
