"""Headers that are text: NRRD and MetaImage, their numbers, units and the files that hold their voxels."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.compressed import unpacked
from InteractiveSegLib.image.detached_header import data_files

_MOST_HEADER_BYTES = 1 << 20
_OF_TIME = ("", "s", "ms", "us", "sec", "second", "seconds")
_NRRD_BYTES = {
    1: "signed char|int8|int8_t|uchar|unsigned char|uint8|uint8_t",
    2: "short|short int|signed short|signed short int|int16|int16_t|ushort|unsigned short|unsigned short int|uint16|"
    "uint16_t",
    4: "int|signed int|int32|int32_t|uint|unsigned int|uint32|uint32_t|float",
    8: "longlong|long long|long long int|signed long long|signed long long int|int64|int64_t|ulonglong|"
    "unsigned long long|unsigned long long int|uint64|uint64_t|double",
}
_META_BYTES = {
    **dict.fromkeys(("MET_CHAR", "MET_UCHAR"), 1),
    **dict.fromkeys(("MET_SHORT", "MET_USHORT"), 2),
    **dict.fromkeys(("MET_INT", "MET_UINT", "MET_FLOAT"), 4),
    **dict.fromkeys(("MET_LONG_LONG", "MET_ULONG_LONG", "MET_DOUBLE"), 8),
}
_MM_A_UNIT = {
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "millimetres"), 1.0),
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 1e3),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre", "centimetres"), 10.0),
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometer", "micrometers", "micrometre"), 1e-3),
    **dict.fromkeys(("nm", "nanometer", "nanometers", "nanometre", "nanometres"), 1e-6),
    **dict.fromkeys(("in", "inch", "inches"), 25.4),
}
_NUMBERS = {
    "spacings": "spacing",
    "space directions": "direction",
    "space origin": "origin",
    "ElementSpacing": "spacing",
    "ElementSize": "size",
    "Offset": "origin",
    "Position": "origin",
    "Origin": "origin",
    "TransformMatrix": "direction",
    "Rotation": "direction",
    "Orientation": "direction",
}


@dataclass(frozen=True, eq=False)
class TextHeader:
    """A header as far as it is compared with what ITK reads.

    fields : as they are in the file, without NRRD's key/value pairs
    start : where the voxels begin in ``voxels``
    voxels : the files that contain them, possibly one per slice; the header's own file if it is not detached
    data_bytes : their unpacked size; None if unknown, such as for text
    packed : compressed with gzip or zlib
    mm_a_unit : mm per unit of the lengths in the header; None if its unit is not a length
    unit : as named in the header, "" if it names none
    has_spacing : the header holds a distance between voxels
    """

    fields: Mapping[str, str]
    start: int
    voxels: tuple[Path, ...]
    data_bytes: int | None
    packed: bool
    mm_a_unit: float | None
    unit: str
    has_spacing: bool

    @property
    def big_endian(self) -> bool:
        """How the voxels are stored."""
        msb = self.fields.get("BinaryDataByteOrderMSB", self.fields.get("ElementByteOrderMSB", "False"))
        return self.fields.get("endian", "").lower() == "big" or msb.lower() == "true"


def surplus_bytes(header: TextHeader) -> int:
    """Bytes in the single file of the voxels beyond them; 0 if unknown."""
    if len(header.voxels) != 1 or header.data_bytes is None or header.packed:
        return 0
    return header.voxels[0].stat().st_size - header.start - header.data_bytes


def read_nrrd_header(path: Path) -> TextHeader:
    """Read the header of an NRRD file. InputError if it is damaged or contains invalid numbers."""
    text, start = _text(path, b"\n\n", b"\r\n\r\n")
    fields = {}
    for line in text.splitlines()[1:]:
        key, separator, value = line.partition(": ")
        if separator and not line.startswith("#") and ":=" not in key:
            fields[key.strip().lower()] = value.strip()
    _require_numbers(path, fields)
    beside = data_files(path)
    size = next((size for size, names in _NRRD_BYTES.items() if fields.get("type", "") in names.split("|")), None)
    encoding = fields.get("encoding", "").lower()
    skips = any(fields.get(key, "0") != "0" for key in ("line skip", "lineskip", "byte skip", "byteskip"))
    known = size is not None and not skips and encoding in ("raw", "gzip", "gz")
    units = re.findall(r'"([^"]*)"', fields.get("space units", fields.get("units", "")))
    return TextHeader(
        fields,
        0 if beside else start,
        tuple(beside) or (path,),
        size * math.prod(_integers(path, fields, "sizes")) if known and size else None,
        encoding in ("gzip", "gz") and not skips,
        *_unit(path, [unit for unit in units if unit not in _OF_TIME]),
        "space directions" in fields or "spacings" in fields,
    )


def read_meta_header(path: Path) -> TextHeader:
    """Read the header of a MetaImage. InputError if it is damaged or contains invalid numbers."""
    text, start = _text(path, b"ElementDataFile")
    fields = {}
    for line in text.splitlines():
        key, separator, value = line.partition("=")
        if separator:
            fields[key.strip()] = value.strip()
    _require_numbers(path, fields)
    data_file = fields.get("ElementDataFile", "")
    local = data_file.upper() == "LOCAL"
    beside = data_files(path)
    voxels = (path,) if local else tuple(beside) if len(beside) == 1 else ()  # one file per slice: ITK opens each
    size = _META_BYTES.get(fields.get("ElementType", ""))
    skips = fields.get("HeaderSize", "0") != "0"
    packed = fields.get("CompressedData", "").lower() == "true" and not skips
    channels = math.prod(_integers(path, {"ElementNumberOfChannels": "1", **fields}, "ElementNumberOfChannels"))
    known = size is not None and fields.get("BinaryData", "True").lower() == "true" and not skips
    return TextHeader(
        fields,
        start if local else 0,
        voxels,
        size * channels * math.prod(_integers(path, fields, "DimSize")) if known and size else None,
        packed,
        *_unit(path, [unit for unit in [fields.get("DistanceUnits", "")] if unit not in ("", "?")]),
        "ElementSpacing" in fields or "ElementSize" in fields,
    )


def require_voxels(path: Path, header: TextHeader) -> int | None:
    """InputError if a file of voxels is missing, cut short, or does not match its checksum.

    Returns
    -------
    CRC-32 of the voxels as they are stored, None where they are not compressed
    """
    for voxels in header.voxels:
        if not voxels.is_file():
            raise InputError(f"{path} is only a header: {voxels.name}, the file with its voxels, is missing")
    if len(header.voxels) != 1:
        return None
    voxels = header.voxels[0]
    content = unpacked(voxels, header.start, 0, header.data_bytes) if header.packed else None
    found = content.size if content else voxels.stat().st_size - header.start
    if content is not None and header.data_bytes is not None and found > header.data_bytes:
        raise InputError(f"{path} is damaged: {found} bytes of voxels, where its header says {header.data_bytes}")
    if header.data_bytes is not None and found < header.data_bytes:
        raise InputError(f"{voxels} is cut short: {found} bytes of voxels, where the header says {header.data_bytes}")
    return content.crc if content else None


def spacing_notes(path: Path, header: TextHeader) -> list[str]:
    """Sentences on what is assumed or converted about lengths."""
    if not header.has_spacing:
        return [f"{path.name} holds no voxel spacing: 1 mm is assumed"]
    if header.mm_a_unit is None:
        return [f"the lengths in {path.name} are in {header.unit!r}, which is not a known unit: mm is assumed"]
    if header.mm_a_unit != 1:
        return [f"the lengths in {path.name} are in {header.unit!r} and are converted to mm; so are those of its masks"]
    return []


def _text(path: Path, *ends: bytes) -> tuple[str, int]:
    """The header's text, and the byte at which what follows it begins."""
    with path.open("rb") as file:
        head = file.read(_MOST_HEADER_BYTES)
    found = [(head.index(end), end) for end in ends if end in head]
    if not found:
        return head.decode("utf-8", "replace"), len(head)
    at, end = min(found)
    stop = at + len(end) if end.endswith(b"\n") else head.find(b"\n", at) + 1 or len(head)
    return head[:stop].decode("utf-8", "replace"), stop


def _dimensions(fields: Mapping[str, str]) -> int:
    """Of space in an NRRD: a vector with more numbers has commas within them."""
    said = fields.get("space dimension", "")
    return int(said) if said.isdecimal() else 4 if fields.get("space", "").lower().endswith(("time", "t")) else 3


def _require_numbers(path: Path, fields: Mapping[str, str]) -> None:
    for key, meaning in _NUMBERS.items():
        words = re.sub(r"\bnone\b", "", fields.get(key, ""))
        vectors = re.findall(r"\(([^)]*)\)", words)
        if vectors and all(vector.count(",") < _dimensions(fields) for vector in vectors):
            words = re.sub(r"[(),]", " ", words)
        try:
            numbers = [float(word) for word in words.split()]
        except ValueError:
            raise InputError(f"{path}: the {meaning} {key} {fields[key]!r} is not made of numbers") from None
        if meaning in ("spacing", "size") and any(number <= 0 for number in numbers):
            raise InputError(f"{path}: the {meaning} {key} {fields[key]!r} must be above 0")


def _integers(path: Path, fields: Mapping[str, str], key: str) -> list[int]:
    try:
        return [int(word) for word in fields[key].split()]
    except (KeyError, ValueError):
        raise InputError(f"{path} is damaged: its {key} {fields.get(key, '')!r} is not a list of integers") from None


def _unit(path: Path, units: list[str]) -> tuple[float | None, str]:
    if not units:
        return 1.0, ""
    if len(set(units)) > 1:
        raise InputError(f"{path} has lengths in several units: {', '.join(units)}")
    return _MM_A_UNIT.get(units[0].strip().lower()), units[0]
