"""Images by reference: where a file is, what it contains, and whether it is unchanged."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.detached_header import data_files
from InteractiveSegLib.image.dicom_series import series_in
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.image.image_io import read_volume

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, eq=False)
class ImageReference:
    """An image that is not copied.

    path : file, or folder with the DICOM files of the series
    sha256 : of the file's content; for several files, such as a series or a header with a separate file of voxels, of
        the sorted SHA-256 of each
    size_bytes : of all files together
    """

    path: Path
    series_uid: str | None
    sha256: str
    size_bytes: int
    geometry: Geometry

    @classmethod
    def of(cls, path: Path, series_uid: str | None = None) -> ImageReference:
        """Read an image once, completely.

        Raises
        ------
        InputError : as ``read_volume``.
        """
        volume = read_volume(path, series_uid)
        digest, size = _content(files_of(path, series_uid))
        return cls(path.resolve(), series_uid, digest, size, volume.geometry)

    def load(self, name: str) -> Volume:
        """The image of the case of this name.

        Raises
        ------
        InputError : as ``require_unchanged``, or it cannot be read.
        """
        self.require_unchanged(name)
        volume = read_volume(self.path, self.series_uid)
        self.geometry.require_same(volume.geometry, f"the image of case {name!r}")
        return volume

    def require_unchanged(self, name: str) -> None:
        """InputError if the image of the case of this name was moved or deleted, or has changed since it was added.

        Reads it once, completely.
        """
        if not (self.path.is_file() or self.path.is_dir()):  # reading a device or a pipe may never end
            raise InputError(
                f"the image of case {name!r} is not at {self.path}: it was moved, renamed or deleted; if it was "
                "moved, add it at its new place with 'casebook add'"
            )
        files = files_of(self.path, self.series_uid)
        missing = [file for file in files if not file.exists()]
        if missing:
            raise InputError(f"the image of case {name!r}, {self.path}, has lost its voxels: {missing[0]} is missing")
        digest, size = _content(files)
        if digest == self.sha256 or self._is_unchanged_header():
            return
        is_other_size = size != self.size_bytes
        what = f"{size} bytes instead of {self.size_bytes}" if is_other_size else "different content of the same size"
        raise InputError(f"the image of case {name!r}, {self.path}, has changed on disk since it was added: {what}")

    @property
    def is_of_header_alone(self) -> bool:
        """Whether it is a header that was hashed without its files of voxels, as in earlier versions."""
        return len(files_of(self.path, self.series_uid)) > 1 and self._is_unchanged_header()

    def _is_unchanged_header(self) -> bool:
        if self.path.is_dir() or self.path.stat().st_size != self.size_bytes:
            return False
        return _content([self.path]) == (self.sha256, self.size_bytes)


def files_of(path: Path, series_uid: str | None) -> list[Path]:
    """The file and its separate files of voxels, if any, or the files of a DICOM series in a folder."""
    if not path.is_dir():
        return [path, *data_files(path)]
    found = series_in(path)
    if series_uid is None and len(found) == 1:
        return next(iter(found.values()))
    return found.get(series_uid or "", [])


def relative_to(folder: Path, path: Path) -> str | None:
    """Relative path from a casebook to an image, so that both can be moved together; None between two drives."""
    try:
        return os.path.relpath(path, folder)
    except ValueError:
        return None


def _content(files: Sequence[Path]) -> tuple[str, int]:
    """SHA-256 and total size of files; for several files, the SHA-256 of their sorted digests."""
    digests, size = [], 0
    for path in files:
        digest = hashlib.sha256()
        try:
            with path.open("rb") as file:
                while block := file.read(_BLOCK_BYTES):
                    digest.update(block)
                    size += len(block)
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
        digests.append(digest.hexdigest())
    if len(digests) == 1:
        return digests[0], size
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest(), size
