"""A small labelled set of images to start a study from: matching its files, and translating its labels."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.file_pairs import file_pairs, listed
from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.image.image_io import read_labelmap, read_volume
from InteractiveSegLib.image.itk_reading import opened

MOST_SOURCE_VOXELS = 512**3
"""Maximum of an image, which limits the memory for reading it."""


@dataclass(frozen=True)
class SourcePair:
    """An image and its labelmap. name : common part of their file names"""

    name: str
    image: Path
    labels: Path

    def read(self, notes: list[str]) -> tuple[Volume, NDArray[np.integer]]:
        """Image and labels (K, J, I) on its grid.

        Raises
        ------
        InputError : a file cannot be read, the image has more than ``MOST_SOURCE_VOXELS``, or the grids differ.
        """
        with opened(self.image) as header:
            size = header.GetSize()
        voxels = int(np.prod(size, dtype=np.int64))
        if voxels > MOST_SOURCE_VOXELS:
            raise InputError(
                f"{self.image} has {' x '.join(map(str, size))} = {voxels} voxels; a labelled image may have at "
                f"most {MOST_SOURCE_VOXELS} (512 x 512 x 512): crop it, or resample it to larger voxels"
            )
        volume = read_volume(self.image)
        notes += volume.notes
        return volume, read_labelmap(self.labels, volume.geometry, notes)


@dataclass(frozen=True)
class LabelTable:
    """Translation of the source's labels to those of the study.

    labels : value in the source -> value in the study; other values of the source are background
    names : value in the study -> name of these labels, which may be new to the study
    """

    labels: Mapping[int, int]
    names: Mapping[int, str]

    def translated(self, source: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Labels of the study (K, J, I)."""
        found = np.zeros(source.shape, np.uint8)
        for value, own in self.labels.items():
            found[source == value] = own
        return found


def source_pairs(images: Path, labels: Path, notes: list[str]) -> list[SourcePair]:
    """Images and labelmaps with the same name apart from words such as ``_image`` and ``_label``.

    They are matched by ``file_pairs``. Files without a partner are left out with a note.

    Raises
    ------
    InputError : as ``file_pairs``.
    """
    found = file_pairs(images, labels)
    for alone, what in ((found.images_alone, "labelmap"), (found.labels_alone, "image")):
        if alone:
            notes.append(f"left out, since they have no {what}: {listed([path.name for path in alone])}")
    return [SourcePair(name, *found.pairs[name]) for name in sorted(found.pairs)]


def read_names(path: Path) -> dict[int, str]:
    """Value -> name, from a JSON object of either numbers to names or names to numbers; 0, background, is left out.

    InputError if it cannot be read or is not such a table.
    """
    try:
        given = json.loads(path.read_text("utf-8"))
        pairs = [(int(key), value) if isinstance(value, str) else (value, key) for key, value in given.items()]
        if not all(type(n) is int and n >= 0 and not name.strip().isdecimal() and name.strip() for n, name in pairs):
            raise ValueError(f"{given} is not a table of labels")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, AttributeError) as error:
        raise InputError(
            f'{path} contains no names of labels, such as {{"1": "liver", "2": "spleen"}}: {error}'
        ) from error
    if len({number for number, _ in pairs}) < len(pairs):
        raise InputError(f"{path} names a label twice")
    return {number: name.strip() for number, name in pairs if number}


def label_table(
    occurring: Iterable[int], named: Mapping[int, str] | None, study: Mapping[int, str], notes: list[str]
) -> LabelTable:
    """Translation of a source's labels to those of a study.

    If the source's labels have names, they are matched by name; two labels of the same name become one organ. Otherwise
    they are matched by number. A study without labels gets those of the source.

    Parameters
    ----------
    occurring : labels in the source's files
    named : value -> name in the source; None if they are not given
    study : value -> name

    Raises
    ------
    InputError : a label without a name; without names, a label that the study does not have; or no label in common
        with the study.
    """
    occurring = sorted(set(occurring))
    if not occurring:
        raise InputError("the labelmaps of the source are empty: there is nothing to learn from them")
    if named is None:
        unknown = [value for value in occurring if value not in study] if study else []
        if unknown:
            raise InputError(
                f"the source contains label {unknown[0]}, which the study does not have ({_table(study)}): name the "
                "source's labels with --names"
            )
        if not study:
            _require_numbers(occurring)
        names = {value: study.get(value, f"label {value}") for value in occurring}
        notes.append(f"labels are matched by number, since the source's labels have no names: {_table(names)}")
        return LabelTable({value: value for value in occurring}, names)
    nameless = [value for value in occurring if value not in named]
    if nameless:
        raise InputError(f"the source contains label {nameless[0]}, which --names does not name ({_table(named)})")
    if not study:
        _require_numbers(occurring)
        first = {}
        for value in occurring:
            first.setdefault(_folded(named[value]), value)
        table = {value: first[_folded(named[value])] for value in occurring}
        return LabelTable(table, {value: named[value] for value in sorted(set(table.values()))})
    own = {_folded(name): value for value, name in study.items()}
    table = {value: own[_folded(named[value])] for value in occurring if _folded(named[value]) in own}
    if not table:
        raise InputError(
            f"the source's organs ({_table(named)}) and the study's ({_table(study)}) have no name in common"
        )
    if left := [value for value in occurring if value not in table]:
        unused = ", ".join(f"{value} ({named[value]})" for value in left)
        notes.append(f"the source's labels {unused} count as background, since the study has no organ of that name")
    if missing := [name for value, name in study.items() if value not in table.values()]:
        notes.append(f"the source does not show {', '.join(missing)}: there is no starting mask of it")
    return LabelTable(table, {value: study[value] for value in sorted(set(table.values()))})


def _require_numbers(values: Sequence[int]) -> None:
    if values[0] < 1 or values[-1] > 254:
        wrong = values[0] if values[0] < 1 else values[-1]
        raise InputError(
            f"label {wrong} of the source cannot be used in the study: labels must be between 1 and 254. Name the "
            "study's organs with 'casebook init --label', and the source's with --names"
        )


def _folded(name: str) -> str:
    """A name without differences in case, spaces, hyphens and underscores."""
    return " ".join(re.split(r"[\s_-]+", name.casefold().strip()))


def _table(names: Mapping[int, str]) -> str:
    return ", ".join(f"{value} {name}" for value, name in names.items())
