"""Headers of DICOM files: what they say about each slice, and whether the file is complete."""

from __future__ import annotations

import math
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from InteractiveSegLib.errors import InputError, MissingPackageError
from InteractiveSegLib.image.file_kind import Format, kind_of

if TYPE_CHECKING:
    from pydicom import Dataset

_UNDEFINED = 0xFFFFFFFF
_LONG_FORMS = (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"UN")
_BINARY_NUMBERS = ("US", "SS", "UL", "SL", "FL", "FD")
_PIXEL_DATA = (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10", b"\xe0\x7f\x08\x00", b"\xe0\x7f\x09\x00")
_LOOKED_AT = """
    SpecificCharacterSet SOPClassUID SOPInstanceUID Modality SeriesDescription PatientID SliceThickness
    SpacingBetweenSlices SeriesInstanceUID SeriesNumber InstanceNumber ImagePositionPatient ImageOrientationPatient
    TemporalPositionIdentifier SamplesPerPixel PhotometricInterpretation NumberOfFrames Rows Columns PixelSpacing
    BitsAllocated BitsStored PixelRepresentation RescaleIntercept RescaleSlope
    SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence
"""


@dataclass(frozen=True, eq=False)
class DicomHeader:
    """The header of a DICOM file that belongs to a series.

    fields : those of pydicom's that are used
    lacks : bytes of pixel data that are missing at the end; infinite where the file ends before them
    compressed : whether the pixel data are compressed
    """

    path: Path
    fields: Dataset
    lacks: float
    compressed: bool

    @property
    def series_uid(self) -> str:
        return raw(self.fields, "SeriesInstanceUID")

    @property
    def is_image(self) -> bool:
        """Pixels, or the beginning of a header that announces them."""
        return "Rows" in self.fields and "Columns" in self.fields

    @property
    def frames(self) -> int:
        return int(number(self.fields, "NumberOfFrames", 1, self.path))

    def text(self, keyword: str) -> str:
        """A text in its character set, "" if there is none."""
        try:
            return str(self.fields.get(keyword) or "").strip()
        except Exception:  # pydicom raises what its decoders raise
            return raw(self.fields, keyword)


def read_dicom_header(path: Path) -> DicomHeader | None:
    """The header of a file, None if it is not a DICOM file.

    Raises
    ------
    InputError : the file begins like DICOM but cannot be parsed.
    MissingPackageError : pydicom is not installed.
    """
    try:
        import pydicom
    except ImportError as error:
        raise MissingPackageError("reading DICOM files", "pydicom") from error
    try:
        if kind_of(path).format is not Format.DICOM:
            return None
    except InputError:  # empty, for example
        return None
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what pydicom warns about is checked below, or does not matter
            fields = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=_LOOKED_AT.split())
            syntax = fields.file_meta.get("TransferSyntaxUID", "") if hasattr(fields, "file_meta") else ""
            deflated = syntax == pydicom.uid.DeflatedExplicitVRLittleEndian
            compressed = bool(syntax) and syntax.is_compressed and not deflated
            lacks = 0.0 if deflated else _lacking(file, fields, path)
    except InputError:
        raise
    except Exception as error:  # a damaged header can raise anything in pydicom
        raise InputError(f"{path} is a damaged DICOM file: {error}") from error
    return DicomHeader(path, fields, lacks, compressed)


def raw(fields: Dataset, keyword: str) -> str:
    """A value as it is in the file, before conversion; "" if there is none."""
    element = fields.get_item(keyword) if keyword in fields else None
    value = element.value if element is not None else None
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("latin-1").strip(" \0")
    return "\\".join(map(str, value)) if isinstance(value, (list, tuple)) or hasattr(value, "append") else str(value)


def number(fields: Dataset, keyword: str, otherwise: float, path: Path) -> float:
    """A number from a header. InputError if the value is not a number."""
    values = numbers(fields, keyword, 1, path)
    return values[0] if values else otherwise


def numbers(fields: Dataset, keyword: str, count: int, path: Path) -> tuple[float, ...]:
    """``count`` numbers from a header, none if the value is missing or empty. InputError if it is anything else."""
    element = fields.get_item(keyword) if keyword in fields else None
    if element is None or element.value in (None, b"", ""):
        return ()
    from pydicom.datadict import dictionary_VR

    binary = (element.VR or dictionary_VR(keyword)) in _BINARY_NUMBERS
    try:
        text = str(fields[keyword].value) if binary else raw(fields, keyword)
    except Exception as error:  # whatever a damaged element leads pydicom into
        raise InputError(f"{path}: its {keyword} cannot be understood: {error}") from error
    try:
        values = tuple(float(word) for word in text.split("\\"))
    except ValueError:
        values = ()
    if len(values) != count or not all(map(math.isfinite, values)):
        wanted = "a number" if count == 1 else f"{count} numbers"
        raise InputError(f"{path}: its {keyword} {text!r} is not {wanted}")
    return values


def parts(fields: Dataset, keyword: str) -> Iterator[Any]:
    """The items of a sequence, none if it is missing."""
    yield from fields[keyword].value if keyword in fields else ()


def _lacking(file: BinaryIO, fields: Dataset, path: Path) -> float:
    """Bytes of pixel data that are missing in a file that was read up to them."""
    element = file.read(12)
    if element[:4] not in _PIXEL_DATA:
        return math.inf
    order = ">" if element[:4] == b"\x7f\xe0\x00\x10" else "<"
    if element[4:6] in _LONG_FORMS:
        length = struct.unpack(order + "I", element[8:12])[0]
    else:
        length = struct.unpack(order + "I", element[4:8])[0]
        file.seek(-4, 1)
    start = file.tell()
    there = file.seek(0, 2) - start
    if length == _UNDEFINED:
        file.seek(start)
        return _fragments_lack(file)
    bits = number(fields, "BitsAllocated", 0, path) * number(fields, "SamplesPerPixel", 1, path)
    voxels = number(fields, "Rows", 0, path) * number(fields, "Columns", 0, path)
    expected = math.ceil(voxels * number(fields, "NumberOfFrames", 1, path) * bits / 8)
    return max(0.0, expected - min(there, length))


def _fragments_lack(file: BinaryIO) -> float:
    """Go through the fragments of compressed pixel data: 0 where their end is reached, 1 where the file ends before."""
    while len(item := file.read(8)) == 8:
        length = struct.unpack("<I", item[4:])[0]
        if item[:4] == b"\xfe\xff\xdd\xe0":
            return 0.0
        if item[:4] != b"\xfe\xff\x00\xe0" or length == _UNDEFINED:
            break
        file.seek(length, 1)
    return 1.0
