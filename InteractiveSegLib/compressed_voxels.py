"""Compressed voxels of NRRD and MetaImage files: their checksums, which ITK's readers do not look at."""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import BinaryIO

from InteractiveSegLib.detached_header import data_files
from InteractiveSegLib.errors import InputError

_BLOCK_BYTES = 1 << 16  # which unpacks to 64 MiB at most
_HEADER_BYTES = 1 << 20
_GZIP, _ZLIB_OR_GZIP = 31, 47  # as zlib's wbits
_GZIP_MAGIC = b"\x1f\x8b"


def require_sound(path: Path, expected_bytes: int) -> None:
    """Unpack the compressed voxels of an image once, and compare.

    Other formats, voxels that are not compressed, and those in several files are left to their readers.

    Parameters
    ----------
    expected_bytes : of the voxels, by the header

    Raises
    ------
    InputError : the checksum is another one than that of the voxels, or these are fewer or more than the header says.
    """
    try:
        with path.open("rb") as file:
            place = _place(path, file.read(_HEADER_BYTES))
        if place is None:
            return
        voxels, start, form = place
        with voxels.open("rb") as file:
            file.seek(start)
            found = _unpacked_bytes(file, form)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} is cut short or damaged: {error}") from error
    if found != expected_bytes:
        raise InputError(
            f"{path} is cut short or damaged: it holds {found} bytes of voxels, but its header says {expected_bytes}"
        )


def _place(path: Path, start: bytes) -> tuple[Path, int, int] | None:
    """File of the compressed voxels, where they begin in it, and how they are packed; None where they are not."""
    end = None
    if start.startswith(b"NRRD"):
        parts = re.match(rb"(.*?)(?:\r?\n\r?\n|\Z)", start, re.DOTALL)
        header = parts.group(1) if parts else start
        form = _GZIP
        is_packed = re.search(rb"^encoding:\s*gz(ip)?\s*$", header, re.MULTILINE | re.IGNORECASE)
        skips = re.search(rb"^(line|byte) ?skip:\s*-?0*[1-9]", header, re.MULTILINE | re.IGNORECASE)
        end = parts.end() if parts else None
        is_packed = is_packed and not skips
    elif b"ElementDataFile" in start:
        data = re.search(rb"^ElementDataFile\s*=[^\n]*(\n|\Z)", start, re.MULTILINE)
        header = start[: data.end()] if data else b""
        form = _ZLIB_OR_GZIP
        is_packed = re.search(rb"^CompressedData\s*=\s*(true|1)\s*$", header, re.MULTILINE | re.IGNORECASE)
        end = data.end() if data else None
    else:
        return None
    if not is_packed or end is None:
        return None
    beside = data_files(path)
    if len(beside) > 1:
        return None
    return (beside[0], 0, form) if beside else (path, end, form)


def _unpacked_bytes(file: BinaryIO, form: int) -> int:
    """How many there are. zlib.error where a checksum is wrong, EOFError where the end is missing."""
    total, rest = 0, b""
    while True:
        stream = zlib.decompressobj(form)
        while not stream.eof:
            block, rest = rest or file.read(_BLOCK_BYTES), b""
            if not block:
                raise EOFError("the compressed voxels end too early")
            total += len(stream.decompress(block))
        rest = stream.unused_data or file.read(_BLOCK_BYTES)
        if not rest.startswith(_GZIP_MAGIC):  # only gzip goes on with a further member
            return total
