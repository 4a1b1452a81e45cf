"""Lessons on disk, so that replay need not read and encode images again; as many as fit in the replay buffer."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.records.array_file import read_arrays
from InteractiveSegLib.system.files import make_folder, replacing


class LessonStore:
    """A folder of arrays by number of the acceptance. It is a cache: missing or damaged lessons are recreated."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, number: int) -> dict[str, NDArray] | None:
        try:
            return read_arrays(self._path(number), "the lesson")
        except InputError:
            return None

    def save(self, number: int, arrays: dict[str, NDArray]) -> None:
        """OutputError if the folder cannot be written."""
        make_folder(self.folder)
        with replacing(self._path(number)) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)

    def prune(self, kept: Collection[int]) -> None:
        """Delete all but these, including files left by a killed process."""
        names = {self._path(number).name for number in kept}
        for path in self.folder.glob("*.npz") if self.folder.is_dir() else ():
            if path.name not in names:
                path.unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number}.npz"
