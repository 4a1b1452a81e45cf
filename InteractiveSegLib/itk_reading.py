"""ITK's readers, with errors that say in one line what is wrong with a file."""

from __future__ import annotations

import re
from pathlib import Path

import SimpleITK as sitk  # noqa: N813

from InteractiveSegLib.errors import InputError


def read_header(path: Path) -> sitk.ImageFileReader:
    """Reader with the header read; refuses what is not a scalar image of two or three dimensions."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise InputError(f"{path} cannot be read: {reason(error)}") from error
    if reader.GetNumberOfComponents() != 1:
        pixels = sitk.GetPixelIDValueAsString(reader.GetPixelIDValue())
        raise InputError(f"{path} has {reader.GetNumberOfComponents()} values per voxel ({pixels}), not one")
    if int(tag(reader, "0028|0008") or 1) > 1:
        raise InputError(f"{path} is a multi-frame DICOM file, whose slice positions are not read: convert it first")
    if reader.GetDimension() not in (2, 3):
        size = " x ".join(map(str, reader.GetSize()))
        raise InputError(f"{path} is not a 3D image but {reader.GetDimension()}D, of size {size}")
    return reader


def execute(reader: sitk.ImageFileReader | sitk.ImageSeriesReader, path: Path) -> sitk.Image:
    """The image. InputError where it cannot be read."""
    try:
        return reader.Execute()
    except RuntimeError as error:
        raise InputError(f"{path} cannot be read: {reason(error)}") from error


def tag(reader: sitk.ImageFileReader, key: str) -> str:
    """A DICOM tag such as ``0008|103e``, "" where the file has none."""
    return reader.GetMetaData(key).strip() if reader.HasMetaDataKey(key) else ""


def reason(error: Exception) -> str:
    """The line of a reader's complaint that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # MetaImage's reader ends on an errno of its own that misleads ("No such file or directory").
    lines = [line for line in lines if not line.startswith("Reason: No such file")]
    return re.sub(r"^.*ERROR: (\w+\(0x[0-9a-f]+\): )?", "", lines[-1])
