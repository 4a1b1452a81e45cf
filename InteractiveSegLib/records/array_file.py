"""Arrays in an ``.npz`` file; any damage raises an error of our own."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError

_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    SyntaxError,
    RuntimeError,  # a flag says that it is encrypted; NotImplementedError, of an unknown compression
    MemoryError,  # a header asks for more memory than there is
    OverflowError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_arrays(path: Path, what: str) -> dict[str, NDArray]:
    """All arrays of a file by name.

    Raises
    ------
    InputError : the file is missing or damaged. Each array carries a checksum, which is compared.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except _DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise InputError(f"{what} {path} cannot be read: {reason}") from error
