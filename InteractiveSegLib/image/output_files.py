"""Files that a command is about to write: never over its inputs, and over an existing file only if nothing is lost.

A mask that a command wrote carries, in its header, the name of the command and a digest of its voxels. If the digest
still matches, the file is what the command once wrote, and can be written again; if it does not, somebody changed the
file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError

_KEY = "ITK_FileNotes"  # NIfTI's one field for notes, which NRRD and MetaImage keep under this name
_DIGITS = 32  # the field holds 80 letters


def written_by(command: str, array_kji: NDArray) -> Mapping[str, str]:
    """Entries of a file's header, for ``write_image``, that say which command wrote these voxels."""
    return {_KEY: f"interactiveseg {command} {_digest(array_kji)}"}


def require_no_input(outputs: Iterable[Path], inputs: Iterable[Path | None]) -> None:
    """InputError for an output that is one of the inputs, or of their files, by whatever name; or another output."""
    taken = {path.resolve() for given in inputs if given is not None for path in _files_of(given)}
    identities = {_identity(path) for path in taken}
    for path in outputs:
        if path.resolve() in taken or (path.exists() and _identity(path) in identities):
            raise InputError(f"{path} is given twice: an output must not replace an input or the other output")
        taken.add(path.resolve())


def require_free(
    path: Path, command: str, overwrite: bool, is_own: Callable[[str, Path], bool] | None = None
) -> list[str]:
    """Whether a command may write a file.

    An existing file must be what the same command wrote before, or a link, which was made to be written through; for
    anything else the user must agree.

    Parameters
    ----------
    command : the command whose own output may be replaced; "" for none
    overwrite : the user agreed
    is_own : whether a file is what the command wrote; ``is_output_of`` where None

    Returns
    -------
    sentences on what is replaced

    Raises
    ------
    InputError : an existing file would be lost.
    """
    if not path.exists():
        return []
    what = what_is_there(path)
    if command and (is_own or is_output_of)(command, path):
        return [f"{path} is replaced: {command} wrote it before ({what})"]
    if path.is_symlink():
        return [f"{path} is a link to {path.resolve()}, which is replaced ({what})"]
    if overwrite:
        return [f"{path} is replaced ({what})"]
    by = f", and is not what {command} wrote" if command else ""
    raise InputError(f"{path} exists already{by} ({what}): use --overwrite to replace it, or give another name")


def is_output_of(command: str, path: Path) -> bool:
    """Whether a file is a command's own, and nobody has changed its voxels since."""
    from InteractiveSegLib.image.image_io import read_volume
    from InteractiveSegLib.image.itk_reading import opened

    with suppress(InputError):
        with opened(path) as header:
            noted = header.GetMetaData(_KEY).strip() if header.HasMetaDataKey(_KEY) else ""
        start = f"interactiveseg {command} "
        return noted.startswith(start) and noted == start + _digest(read_volume(path).array_kji)
    return False


def what_is_there(path: Path) -> str:
    """Size and date of a file, in words."""
    found = path.stat()
    changed = datetime.fromtimestamp(found.st_mtime).astimezone()
    return f"{found.st_size} bytes of {changed:%Y-%m-%d %H:%M}"


def _digest(array_kji: NDArray) -> str:
    kept = np.dtype("<f4" if array_kji.dtype.kind == "f" else "<i8")  # as one type, since files choose their own
    digest = hashlib.sha256(str(array_kji.shape).encode())
    for plane in array_kji:
        digest.update(np.ascontiguousarray(plane, kept))
    return digest.hexdigest()[:_DIGITS]


def _files_of(path: Path) -> list[Path]:
    """A file with the files of its voxels, or the DICOM files of a folder."""
    from InteractiveSegLib.image.detached_header import data_files

    if not path.is_dir():
        return [path, *data_files(path)]
    return [file for file in path.iterdir() if _is_dicom(file)]


def _is_dicom(path: Path) -> bool:
    with suppress(OSError), path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"
    return False


def _identity(path: Path) -> tuple[int, int] | None:
    """Identity of a file, the same under all its names; None if it does not exist."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
