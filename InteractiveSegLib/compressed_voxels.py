"""Compressed voxels of NRRD and MetaImage files: their checksums, which ITK's readers do not look at."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from InteractiveSegLib.detached_header import data_files
from InteractiveSegLib.errors import InputError

_BLOCK_BYTES = 1 << 16  # which unpacks to 64 MiB at most
_HEADER_BYTES = 1 << 20
_GZIP, _EITHER = 31, 47  # as zlib's wbits; zlib or gzip
_GZIP_MAGIC = b"\x1f\x8b"
_DATA_FILE = re.compile(rb"^ElementDataFile\s*=[^\n]*(\n|\Z)", re.MULTILINE)


@dataclass(frozen=True)
class _Packed:
    """Where compressed voxels lie.

    start, size : bytes; None for all up to the end
    form : as zlib's wbits
    """

    path: Path
    start: int
    size: int | None
    form: int


def require_sound(path: Path, expected_bytes: int) -> None:
    """Unpack the compressed voxels of an image once, and compare.

    Other formats, voxels that are not compressed, and those in several files are left to their readers.

    Parameters
    ----------
    expected_bytes : of the voxels, by the header

    Raises
    ------
    InputError : the checksum is another one than that of the voxels, these are fewer or more than the header says, or
        the header contradicts itself.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_HEADER_BYTES)
        if start.startswith(b"NRRD"):
            packed = _of_nrrd(path, start)
        elif _DATA_FILE.search(start):
            packed = _of_meta_image(path, start)
        else:
            packed = None
        if packed is None:
            return
        with packed.path.open("rb") as file:
            file.seek(packed.start)
            found = _unpacked_bytes(file, packed)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{path} is cut short or damaged: {error}") from error
    if found != expected_bytes:
        raise InputError(
            f"{path} is cut short or damaged: it holds {found} bytes of voxels, but its header says {expected_bytes}"
        )


def _of_nrrd(path: Path, start: bytes) -> _Packed | None:
    end = re.search(rb"\r?\n\r?\n|\Z", start)
    header = start[: end.start()] if end else start
    is_packed = re.search(rb"^encoding:\s*gz(ip)?\s*$", header, re.MULTILINE | re.IGNORECASE)
    skips = re.search(rb"^(line|byte) ?skip:\s*-?0*[1-9]", header, re.MULTILINE | re.IGNORECASE)
    beside = data_files(path)
    if not is_packed or skips or len(beside) > 1 or end is None:
        return None
    return _Packed(beside[0], 0, None, _GZIP) if beside else _Packed(path, end.end(), None, _GZIP)


def _of_meta_image(path: Path, start: bytes) -> _Packed | None:
    data = _DATA_FILE.search(start)
    header = start[: data.end()] if data else start
    is_packed = re.search(rb"^CompressedData\s*=\s*[tT1]", header, re.MULTILINE)
    sizes = re.search(rb"^CompressedDataSize\s*=\s*([1-9]\d{0,17})\s*$", header, re.MULTILINE)
    beside = data_files(path)
    if len(beside) > 1 or not (is_packed or sizes):
        return None
    if not is_packed or (not beside and not sizes):  # ITK then takes the compressed bytes for voxels
        raise ValueError("its header does not say whether its voxels are compressed, and to how many bytes")
    size = int(sizes.group(1)) if sizes else None
    return _Packed(beside[0], 0, size, _EITHER) if beside else _Packed(path, len(header), size, _EITHER)


def _unpacked_bytes(file: BinaryIO, packed: _Packed) -> int:
    """How many there are. zlib.error where a checksum is wrong, EOFError where the end is missing."""
    total, left, rest = 0, packed.size, b""

    def read() -> bytes:
        nonlocal left
        block = file.read(_BLOCK_BYTES if left is None else min(left, _BLOCK_BYTES))
        left = None if left is None else left - len(block)
        return block

    while True:
        stream = zlib.decompressobj(packed.form)
        while not stream.eof:
            block, rest = rest or read(), b""
            if not block:
                raise EOFError("the compressed voxels end too early")
            total += len(stream.decompress(block))
        rest = stream.unused_data or read()
        if not rest.startswith(_GZIP_MAGIC):  # only gzip goes on with a further member
            return total
