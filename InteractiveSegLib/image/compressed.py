"""Compressed voxels: their checksums, which ITK's readers leave out, and how many bytes they unpack to."""

from __future__ import annotations

import zlib
from pathlib import Path

from InteractiveSegLib.errors import InputError

_BLOCK_BYTES = 1 << 20
_MOST_BYTES = 1 << 24  # that are unpacked at a time
_GZIP = b"\x1f\x8b"
_GZIP_OR_ZLIB = 47  # wbits


def unpacked_bytes(path: Path, start: int = 0) -> int:
    """Unpack gzip or zlib data from this byte to the end of a file, and count.

    Raises
    ------
    InputError : the file cannot be read, ends too early, or a checksum does not fit.
    """
    count = 0
    stream = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        with path.open("rb") as file:
            file.seek(start)
            while block := file.read(_BLOCK_BYTES):
                while block:
                    if stream.eof:
                        if not block.startswith(_GZIP):  # what follows the data is no part of them
                            return count
                        stream = zlib.decompressobj(_GZIP_OR_ZLIB)  # members of gzip may follow one another
                    count += len(stream.decompress(block, _MOST_BYTES))
                    block = stream.unused_data if stream.eof else stream.unconsumed_tail
            count += len(stream.flush())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except zlib.error as error:
        raise InputError(f"{path} is cut short or damaged: {error}") from error
    if not stream.eof:
        raise InputError(f"{path} is cut short: its compressed data end too early")
    return count
