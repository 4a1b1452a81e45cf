"""Which images and labelmaps of a person's folders belong together, by their names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from InteractiveSegLib.errors import InputError

_SUFFIX = re.compile(r"(\.seg)?\.(nii\.gz|nii|nrrd|nhdr|mha|mhd)$", re.IGNORECASE)
_IMAGE_WORD = re.compile(r"[-_. ](image|img|volume|vol|scan|0000)$|^(image|img|volume)[-_. ]?(?=\d)", re.IGNORECASE)
_LABEL_WORD = re.compile(
    r"[-_. ](labels?|labelmap|seg|segmentation|mask|gt|truth)$|^(labels?|seg|segmentation|mask)[-_. ]?(?=\d)",
    re.IGNORECASE,
)
_SCRIBBLE_WORD = re.compile(r"[-_. ]scribbles?$", re.IGNORECASE)
_LISTED = 6


@dataclass(frozen=True)
class FilePairs:
    """Images with their labelmaps, and the files that have no partner.

    pairs : what the names share -> image, labelmap
    """

    pairs: Mapping[str, tuple[Path, Path]]
    images_alone: tuple[Path, ...]
    labels_alone: tuple[Path, ...]


def file_names(folder: Path) -> list[str]:
    """Sorted names of the files in a folder, without hidden ones. InputError if it cannot be read."""
    try:
        return sorted(path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be read: {error.strerror or error}") from error


def file_pairs(images: Path, labels: Path) -> FilePairs:
    """Images and labels of the same name, or of the same name except for words such as ``_image`` and ``_label``.

    NIfTI, NRRD and MetaImage files are used; suffixes may differ. Equal names are matched first. Both folders may be
    the same: then files with a word for labels are the labels. ``case_0000`` is the image of the label ``case``.
    Scribbles (``case_scribble``) are neither.

    Raises
    ------
    InputError : a folder is missing, no image has a label, or several files could be the partner of one.
    """
    image_names, label_names = _images_in(images), _images_in(labels)
    if images.resolve() == labels.resolve():
        label_names = [name for name in image_names if _LABEL_WORD.search(_stem(name))]
        image_names = [name for name in image_names if name not in label_names]
    return _paired(images, labels, image_names, label_names, _LABEL_WORD, "a label")


def scribble_pairs(images: Path, scribbles: Path) -> FilePairs:
    """Images and scribbles as ``file_pairs`` matches images and labels; the word is ``_scribble``.

    Both folders may be the same: then files with a word for labels are neither. InputError as there.
    """
    image_names = _images_in(images)
    scribble_names = [name for name in file_names(scribbles) if _SUFFIX.search(name)]
    if images.resolve() == scribbles.resolve():
        scribble_names = [name for name in scribble_names if _SCRIBBLE_WORD.search(_stem(name))]
        image_names = [name for name in image_names if not _LABEL_WORD.search(_stem(name))]
    return _paired(images, scribbles, image_names, scribble_names, _SCRIBBLE_WORD, "scribbles")


def _paired(
    images: Path, labels: Path, image_names: list[str], label_names: list[str], word: re.Pattern[str], what: str
) -> FilePairs:
    pairs: dict[str, tuple[Path, Path]] = {}
    for image_key, label_key in ((_stem, _stem), (_without(_IMAGE_WORD), _without(word))):
        image_of, label_of = _by_key(image_names, image_key), _by_key(label_names, label_key)
        for key in sorted(set(image_of) & set(label_of)):
            several = [*image_of[key], *label_of[key]]
            if len(several) > 2 or key in pairs:
                raise InputError(f"it is unclear which files of case {key!r} belong together: {', '.join(several)}")
            pairs[key] = (images / image_of[key][0], labels / label_of[key][0])
        taken = {path for pair in pairs.values() for path in pair}
        image_names = [name for name in image_names if images / name not in taken]
        label_names = [name for name in label_names if labels / name not in taken]
    if not pairs:
        found = listed([*image_names, *label_names]) or "no images at all"
        raise InputError(f"no image in {images} has {what} of the same name in {labels}: found {found}")
    return FilePairs(pairs, tuple(images / name for name in image_names), tuple(labels / name for name in label_names))


def listed(names: Sequence[str]) -> str:
    """The first few names."""
    return ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")


def _images_in(folder: Path) -> list[str]:
    return [name for name in file_names(folder) if _SUFFIX.search(name) and not _SCRIBBLE_WORD.search(_stem(name))]


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
