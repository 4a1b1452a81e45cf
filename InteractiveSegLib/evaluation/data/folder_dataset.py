"""A user's own folders of images and labels, as a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.data.cases import (
    MOST_OBJECTS,
    Case,
    numbered_truth,
    read_pair,
    require_split,
)
from InteractiveSegLib.image.file_pairs import file_pairs


@dataclass(frozen=True, eq=False)
class FolderDataset:
    """Images and labels whose every value above 0 is an object. Made by ``folder_dataset``.

    folder : of the images
    pairs : case -> image, label
    unmatched : names of the files that have no partner
    """

    name: str
    folder: Path
    pairs: Mapping[str, tuple[Path, Path]]
    unmatched: tuple[str, ...]
    reference: str = "not stated"
    terms: str = "not stated"
    has_scribbles: bool = False

    def cases(self, root: Path | None = None, split: str = "report") -> list[str]:
        """Names of all cases; none for the split "tuning", since they are not used for tuning. ``root`` is not used."""
        require_split(split)
        return [] if split == "tuning" else sorted(self.pairs)

    def load(self, root: Path | None, case: str) -> Case:
        """Image and truth. Objects are named "label N" and numbered in ascending order of N. ``root`` is not used.

        Raises
        ------
        InputError : no such case, more than 254 objects or none, unreadable files, or different grids.
        """
        if case not in self.pairs:
            raise InputError(f"{self.name} has no case {case!r}")
        image, label = self.pairs[case]
        notes: list[str] = []
        volume, labels = read_pair(image, label, notes)
        values = [value for value in np.unique(labels).tolist() if value > 0]
        if len(values) > MOST_OBJECTS:
            raise InputError(f"{label} holds {len(values)} label values: at most {MOST_OBJECTS} objects are possible")
        truth, objects = numbered_truth(labels, {f"label {value}": (value,) for value in values}, label, notes)
        return Case(self.name, case, volume, truth, objects, (), tuple(notes))


def folder_dataset(images: Path, labels: Path) -> FolderDataset:
    """Images and labels of the same name, or of the same name except for words such as ``_image`` and ``_label``.

    Which belong together, ``file_pairs`` says.

    Raises
    ------
    InputError : a folder is missing, no image has a label, or several files could be the partner of one.
    """
    images = Path(images)
    found = file_pairs(images, Path(labels))
    unmatched = tuple(path.name for path in (*found.images_alone, *found.labels_alone))
    return FolderDataset(images.resolve().name, images, found.pairs, unmatched)
