"""An annotated image, and reading its files."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.image.image_io import read_labelmap, read_volume
from InteractiveSegLib.prompts.scribbles import BACKGROUND

SPLITS = ("report", "tuning", "all")
MOST_OBJECTS = BACKGROUND - 1
_LISTED_VALUES = 10


@dataclass(frozen=True, eq=False)
class Case:
    """An image with its truth.

    truth : (K, J, I), 0 background, otherwise the number of the object
    objects : number -> name, of the objects that occur in this case
    scribbles : one labelmap (K, J, I) per person: 0 not marked, 255 background, otherwise the number of the object
    notes : for the reader of the scores, e.g. "label values 7, 9 belong to no object"
    """

    dataset: str
    name: str
    volume: Volume
    truth: NDArray[np.uint8]
    objects: Mapping[int, str]
    scribbles: tuple[NDArray[np.uint8], ...] = ()
    notes: tuple[str, ...] = ()


def require_split(split: str) -> None:
    if split not in SPLITS:
        raise InputError(f"split must be one of {', '.join(SPLITS)}, not {split!r}")


def read_pair(image: Path, label: Path, notes: list[str]) -> tuple[Volume, NDArray[np.integer]]:
    """Image and labels (K, J, I). InputError if a file is missing or unusable, or the grids differ.

    notes : sentences on what was assumed or converted are added
    """
    for path, what in ((image, "image"), (label, "label file")):
        if not path.exists():
            raise InputError(f"the {what} {path} does not exist")
    volume = read_volume(image)
    notes += volume.notes
    return volume, read_labelmap(label, volume.geometry, notes)


def read_npz(path: Path, notes: list[str]) -> tuple[Volume, NDArray[np.integer], tuple[NDArray[np.uint8], ...]]:
    """Image, labels and marks (1, H, W) of a MedScribble file, on a grid of 1 mm.

    Positive marks become 1, negative ones 255. A pixel that a person marked as both is left unmarked and noted.

    Raises
    ------
    InputError : missing or damaged file, img or seg missing, wrong shapes, or labels that are not whole numbers.
    """
    arrays = _arrays(path)
    if missing := {"img", "seg"} - set(arrays):
        raise InputError(f"{path} lacks the arrays {', '.join(sorted(missing))}; it has {', '.join(arrays) or 'none'}")
    image, labels = arrays["img"], arrays["seg"]
    if image.ndim != 2 or image.size == 0 or labels.shape != image.shape:
        raise InputError(f"{path}: img and seg must be (H, W), not {image.shape} and {labels.shape}")
    if image.dtype.kind not in "buif" or labels.dtype.kind not in "buif":
        raise InputError(f"{path}: img and seg must be real numbers, not {image.dtype} and {labels.dtype}")
    with np.errstate(invalid="ignore"):
        wrong = labels[~(np.isfinite(labels) & (labels == np.rint(labels)))]
    if wrong.size:
        raise InputError(f"{path}: seg holds values that are not labels, such as {wrong[0]}")
    marks = []
    for key in sorted((key for key in arrays if key.startswith("scribble_")), key=lambda key: (len(key), key)):
        drawn = arrays[key]
        if drawn.shape != (2, *image.shape) or drawn.dtype.kind not in "buif":
            raise InputError(f"{path}: {key} must be (2, H, W) = {(2, *image.shape)}, not {drawn.dtype} {drawn.shape}")
        positive, negative = drawn > 0
        if both := np.count_nonzero(positive & negative):
            notes.append(f"{key} marks {both} pixels as both object and background; they are left unmarked")
        marks.append((positive & ~negative) * np.uint8(1) + (negative & ~positive) * np.uint8(BACKGROUND))
    if image.dtype == np.float16:
        image = image.astype(np.float32)  # float16 is beyond SimpleITK and slow in torch
    volume = Volume(image[None], Geometry((1, *image.shape), np.eye(4)), path.stem)
    return volume, labels[None].astype(np.int64), tuple(mark[None] for mark in marks)


def numbered_truth(
    labels: NDArray[np.integer], objects: Mapping[str, tuple[int, ...]], path: Path, notes: list[str]
) -> tuple[NDArray[np.uint8], dict[int, str]]:
    """Labels by the objects' numbers (1, 2, ... in their order), and the names of those that occur.

    Label values that belong to no object become background and are noted.

    Raises
    ------
    InputError : no object occurs.
    """
    present = set(np.unique(labels).tolist()) - {0}
    truth = np.zeros(labels.shape, np.uint8)
    occurring: dict[int, str] = {}
    for number, (name, values) in enumerate(objects.items(), 1):
        if present & set(values):
            truth[np.isin(labels, values)] = number
            occurring[number] = name
        present -= set(values)
    if not occurring:
        held = f"the label values {listed(present)}" if present else "background only"
        raise InputError(f"no object ({', '.join(objects) or 'a label above 0'}) occurs in {path}: it holds {held}")
    if present:
        notes.append(f"label values {listed(present)} belong to no object")
    return truth, occurring


def listed(values: Iterable[int]) -> str:
    """The first ten numbers, as text."""
    ordered = sorted(values)
    rest = len(ordered) - _LISTED_VALUES
    return ", ".join(map(str, ordered[:_LISTED_VALUES])) + (f" and {rest} more" if rest > 0 else "")


def _arrays(path: Path) -> dict[str, NDArray]:
    if not path.exists():
        raise InputError(f"{path} does not exist")
    try:
        archive = np.load(path)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise InputError(f"{path} is not a .npz archive of arrays")
        with archive:
            return {key: archive[key] for key in archive.files}
    except InputError:
        raise
    except (OSError, EOFError, ValueError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} is unreadable or cut short: {error}") from error
