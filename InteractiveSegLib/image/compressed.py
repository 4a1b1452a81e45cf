"""Compressed voxels: their checksums, which ITK's readers do not check, and their unpacked data."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

from InteractiveSegLib.errors import InputError

_BLOCK_BYTES = 1 << 20
_MOST_BYTES = 1 << 24  # unpacked at a time
_GZIP = b"\x1f\x8b"
_GZIP_OR_ZLIB = 47  # wbits


@dataclass(frozen=True)
class Unpacked:
    """size : in bytes; crc : CRC-32 of the requested part."""

    size: int
    crc: int


def unpacked(path: Path, start: int = 0, skipped: int = 0, counted: int | None = None) -> Unpacked:
    """Unpack gzip or zlib data from this byte to the end of a file.

    skipped, counted : the CRC-32 is taken of ``counted`` unpacked bytes after the first ``skipped``

    Raises
    ------
    InputError : the file cannot be read, ends too early, or a checksum does not match.
    """
    size = crc = 0
    end = None if counted is None else skipped + counted

    def add(part: bytes) -> None:
        nonlocal size, crc
        crc = zlib.crc32(part[max(0, skipped - size) : None if end is None else max(0, end - size)], crc)
        size += len(part)

    stream = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        with path.open("rb") as file:
            file.seek(start)
            while block := file.read(_BLOCK_BYTES):
                while block:
                    if stream.eof:
                        if not block.startswith(_GZIP):  # anything after the data does not belong to them
                            return Unpacked(size, crc)
                        stream = zlib.decompressobj(_GZIP_OR_ZLIB)  # members of gzip may follow one another
                    add(stream.decompress(block, _MOST_BYTES))
                    block = stream.unused_data if stream.eof else stream.unconsumed_tail
            add(stream.flush())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except zlib.error as error:
        raise InputError(f"{path} is cut short or damaged: {error}") from error
    if not stream.eof:
        raise InputError(f"{path} is cut short: its compressed data end too early")
    return Unpacked(size, crc)
