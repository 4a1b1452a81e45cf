"""The kind of image in a file, by its content: names can be wrong."""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from InteractiveSegLib.errors import InputError

_HEAD_BYTES = 1 << 14
_NIFTI1_BYTES, _NIFTI2_BYTES = 348, 540
_MGH_TYPES = (0, 1, 3, 4)
_GZIP = b"\x1f\x8b"
_BARE_DICOM = re.compile(rb"[\x02\x08]\x00[\x00-\x20]\x00")  # without the preamble: group 2 or 8, a low element


class Format(Enum):
    """Formats whose headers are checked; OTHER is left to ITK. The value is the name for the user."""

    NIFTI = "NIfTI"
    NIFTI2 = "NIfTI-2"
    FREESURFER = "FreeSurfer's MGH"
    NRRD = "NRRD"
    METAIMAGE = "MetaImage"
    DICOM = "DICOM"
    OTHER = "another format"


@dataclass(frozen=True)
class FileKind:
    """packed : the whole file is compressed with gzip"""

    format: Format
    packed: bool = False


def kind_of(path: Path) -> FileKind:
    """Look into a file.

    Raises
    ------
    InputError : it does not exist, cannot be read, is empty or damaged at its beginning.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist")
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    if not head:
        raise InputError(f"{path} is empty: 0 bytes, so it was cut short or never written")
    if not head.startswith(_GZIP):
        return FileKind(_format_of(head))
    try:
        content = zlib.decompressobj(wbits=31).decompress(head, _HEAD_BYTES)
    except zlib.error as error:
        raise InputError(f"{path} is cut short or damaged: {error}") from error
    return FileKind(_format_of(content), packed=True)


def _format_of(head: bytes) -> Format:
    if head[128:132] == b"DICM" or _BARE_DICOM.match(head):
        return Format.DICOM
    if head.startswith(b"NRRD000"):
        return Format.NRRD
    for order in "<>":
        if len(head) >= 4 and struct.unpack(order + "i", head[:4])[0] == _NIFTI1_BYTES:
            if head[344:347] in (b"n+1", b"ni1"):
                return Format.NIFTI
        elif head[4:7] in (b"n+2", b"ni2") and struct.unpack(order + "i", head[:4])[0] == _NIFTI2_BYTES:
            return Format.NIFTI2
    if len(head) >= 24:
        version, *size, frames, voxel_type = struct.unpack(">6i", head[:24])
        if version == 1 and voxel_type in _MGH_TYPES and all(0 < count < 1 << 16 for count in (*size, frames)):
            return Format.FREESURFER
    if head.lstrip()[:200].startswith((b"ObjectType", b"NDims", b"Comment")) and b"NDims" in head and b"=" in head:
        return Format.METAIMAGE
    return Format.OTHER
