"""ITK's readers, with errors that say in one line what is wrong with a file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import SimpleITK as sitk  # noqa: N813

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.itk_name import itk_name


@contextmanager
def opened(
    path: Path, suffixes: Sequence[str] = (), beside: Sequence[Path] = (), *, io: str = ""
) -> Iterator[sitk.ImageFileReader]:
    """Reader with the header read.

    Parameters
    ----------
    suffixes, beside : as for ``itk_name``
    io : which of ITK's readers; without it ITK chooses one

    Raises
    ------
    InputError : the file cannot be read, here or by what the caller does with the reader.
    """
    with itk_name(path, suffixes, beside) as name, _without_warnings():
        reader = sitk.ImageFileReader()
        reader.SetFileName(name)
        reader.SetImageIO(io)
        try:
            reader.ReadImageInformation()
            yield reader
        except RuntimeError as error:
            said = reason(error).replace(name, str(path)).replace(Path(name).name, path.name)
            if said.startswith("Unable to determine ImageIO"):
                said = "it is not in a known format (NIfTI, NRRD, MetaImage, DICOM and others), or it is damaged"
            raise InputError(f"{path} cannot be read: {said}") from error


@contextmanager
def _without_warnings() -> Iterator[None]:
    """ITK's warnings are about assumptions of its readers: these are compared with the headers, and reported in
    notes.
    """
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)


def reason(error: Exception) -> str:
    """The line of a reader's complaint that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # MetaImage's reader ends on an errno of its own that is misleading ("No such file or directory").
    lines = [line for line in lines if not line.startswith("Reason: No such file")]
    return re.sub(r"^.*ERROR: (\w+\(0x[0-9a-f]+\): )?", "", lines[-1])
