"""A user's own folders of images and labels, as a dataset."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.data.cases import (
    MOST_OBJECTS,
    Case,
    file_names,
    numbered_truth,
    read_pair,
    require_split,
)

_SUFFIX = re.compile(r"(\.seg)?\.(nii\.gz|nii|nrrd|nhdr|mha|mhd)$", re.IGNORECASE)
_IMAGE_WORD = re.compile(r"[-_. ](image|img|volume|vol|scan|0000)$|^(image|img|volume)[-_. ]?(?=\d)", re.IGNORECASE)
_LABEL_WORD = re.compile(
    r"[-_. ](labels?|labelmap|seg|segmentation|mask|gt|truth)$|^(labels?|seg|segmentation|mask)[-_. ]?(?=\d)",
    re.IGNORECASE,
)


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

    NIfTI, NRRD and MetaImage files are used; suffixes may differ. Equal names are matched first. Both folders may be
    the same: then files with a word for labels are the labels. ``case_0000`` is the image of the label ``case``.

    Raises
    ------
    InputError : a folder is missing, no image has a label, or several files could be the partner of one.
    """
    images, labels = Path(images), Path(labels)
    image_names, label_names = _images_in(images), _images_in(labels)
    if images.resolve() == labels.resolve():
        label_names = [name for name in image_names if _LABEL_WORD.search(_stem(name))]
        image_names = [name for name in image_names if name not in label_names]
    pairs: dict[str, tuple[Path, Path]] = {}
    for image_key, label_key in ((_stem, _stem), (_without(_IMAGE_WORD), _without(_LABEL_WORD))):
        image_of, label_of = _by_key(image_names, image_key), _by_key(label_names, label_key)
        for key in sorted(set(image_of) & set(label_of)):
            several = [*image_of[key], *label_of[key]]
            if len(several) > 2 or key in pairs:
                raise InputError(f"it is unclear which files of case {key!r} belong together: {', '.join(several)}")
            pairs[key] = (images / image_of[key][0], labels / label_of[key][0])
        taken = {path for pair in pairs.values() for path in pair}
        image_names = [name for name in image_names if images / name not in taken]
        label_names = [name for name in label_names if labels / name not in taken]
    unmatched = (*image_names, *label_names)
    if not pairs:
        found = ", ".join(unmatched[:6]) + (", ..." if len(unmatched) > 6 else "") if unmatched else "no images at all"
        raise InputError(f"no image in {images} has a label of the same name in {labels}: found {found}")
    return FolderDataset(images.resolve().name, images, pairs, unmatched)


def _images_in(folder: Path) -> list[str]:
    return [name for name in file_names(folder) if _SUFFIX.search(name)]


def _stem(name: str) -> str:
    return _SUFFIX.sub("", name)


def _without(word: re.Pattern[str]) -> Callable[[str], str]:
    """Name -> stem without the first such word; the whole stem if nothing would remain."""
    return lambda name: word.sub("", _stem(name), count=1) or _stem(name)


def _by_key(names: list[str], key_of: Callable[[str], str]) -> dict[str, list[str]]:
    keyed: dict[str, list[str]] = {}
    for name in names:
        keyed.setdefault(key_of(name), []).append(name)
    return keyed
