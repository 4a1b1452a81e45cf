"""A folder of scribbled images: which files belong together, what is marked, and which images can be learnt from."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.file_pairs import listed, scribble_pairs
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.learning.image_lesson import PatientAxes
from InteractiveSegLib.learning.source_set import SourcePair
from InteractiveSegLib.progress import Progress, Steps
from InteractiveSegLib.prompts.scribbles import BACKGROUND
from InteractiveSegLib.wording.counting import counted

_MOSTLY = 0.5  # of the voxels: too many for marks
_SHOWN = 2 / 3  # share of a patch's side that the marked objects fill
_COARSEST = 2.0

Scribbled = tuple[Volume, Mapping[int, NDArray[np.bool_]]]
"""An image and its marks, as of ``ScribbledImage``."""


@dataclass(frozen=True)
class ScribbleValues:
    """Meaning of the values in a file of scribbles; every other value marks a label.

    background, unmarked : values
    """

    background: int = BACKGROUND
    unmarked: int = 0

    def __post_init__(self) -> None:
        if self.background == self.unmarked:
            raise InputError(f"background and unmarked are both {self.background}: they must differ")


@dataclass(frozen=True, eq=False)
class ScribbledImage:
    """name : of the case
    patient : whose image it is
    marks : label -> (K, J, I) bool, 0 is the background; of those that occur
    file : of the image, if it comes from a folder
    """

    name: str
    patient: str
    volume: Volume
    marks: Mapping[int, NDArray[np.bool_]]
    file: Path | None = None


@dataclass(frozen=True, eq=False)
class ScribbleSet:
    """Scribbled images that can be learnt from.

    images : in the order of their names
    labels : that are marked in any image
    """

    images: tuple[ScribbledImage, ...]
    labels: tuple[int, ...]

    @property
    def patients(self) -> list[str]:
        return sorted({each.patient for each in self.images})

    def known(self, image: ScribbledImage) -> tuple[int, ...]:
        """The labels that the marks of an image cover: those that are marked in it."""
        return tuple(label for label in self.labels if label in image.marks)


def scribbled_images(
    images: Path, scribbles: Path, values: ScribbleValues, patient: str | None, notes: list[str]
) -> Steps[ScribbleSet]:
    """Read a folder of images and one of scribbles, which may be the same.

    Parameters
    ----------
    patient : regular expression; images in whose names it matches the same text belong to one patient; if None, every
        image is a patient of its own
    notes : receives sentences on what was left out, and on labels that are not marked in every image

    Raises
    ------
    InputError : as ``scribble_pairs``, ``SourcePair.read``, ``marks_of`` and ``checked_set``; or the regular expression
        is invalid.
    """
    expression = _expression(patient)
    found = scribble_pairs(images, scribbles)
    for alone, what in ((found.images_alone, "scribbles"), (found.labels_alone, "image")):
        if alone:
            notes.append(f"left out, since they have no {what}: {listed([path.name for path in alone])}")
    read = []
    for number, name in enumerate(sorted(found.pairs)):
        yield Progress(number, len(found.pairs), f"reading {name}")
        pair = SourcePair(name, *found.pairs[name])
        volume, drawn = pair.read(notes)
        marks = marks_of(drawn, values, pair.labels)
        match = expression.search(name) if expression else None
        read.append(ScribbledImage(name, match.group() if match else name, volume, marks, pair.image))
    return checked_set(read, notes)


def marks_of(drawn: NDArray[np.integer], values: ScribbleValues, path: Path) -> dict[int, NDArray[np.bool_]]:
    """Label -> (K, J, I) where it is marked; 0 is the background.

    Raises
    ------
    InputError : a value that is not a label, or that covers more than half of the image, too much for a mark.
    """
    marks = {}
    for value in np.unique(drawn).tolist():
        if value == values.unmarked:
            continue
        where = drawn == value
        label = 0 if value == values.background else int(value)
        if where.mean() > _MOSTLY:
            raise InputError(
                f"value {value} covers {100 * where.mean():.0f} % of {path}, too much for a mark: use "
                f"--unmarked {value} if it means that nothing is marked, and --background for the value that marks the "
                "background"
            )
        if (not label and value != values.background) or not 0 <= label < BACKGROUND:
            raise InputError(
                f"{path} contains the value {value}, which is not a label (1 to {BACKGROUND - 1}): give its meaning "
                "with --background or --unmarked"
            )
        marks[label] = where
    return marks


def checked_set(read: Sequence[ScribbledImage], notes: list[str]) -> ScribbleSet:
    """The images that can be learnt from.

    Images without a mark and images of uniform intensity are left out with a note. The same image under several names
    becomes one with the marks of all; voxels with contradictory marks count as unmarked.

    Raises
    ------
    InputError : no image is left, or no label or no background is marked.
    """
    kept = []
    for each in _marked(read, notes):
        array = each.volume.array_kji
        if np.isfinite(array).any() and np.ptp(array[np.isfinite(array)]):
            kept.append(each)
        else:
            notes.append(f"{each.name} is left out: the image has the same intensity everywhere")
    kept = _marked(_merged(kept, notes), notes)
    if not kept:
        raise InputError("there is nothing to learn from: none of the images has both contrast and scribbles")
    images_of = Counter(label for each in kept for label in each.marks)
    labels = tuple(sorted(set(images_of) - {0}))
    if not labels:
        raise InputError("nothing but background is marked: scribble on the objects, too")
    if not images_of[0]:
        raise InputError(
            f"{_named(labels)} marked, but no background in any image: a network could not learn where the objects "
            "end. Scribble on the background, too, with the value of --background"
        )
    for label in labels:
        if images_of[label] < len(kept):
            images = counted(len(kept), "image", "images")
            notes.append(
                f"label {label} is marked in {images_of[label]} of {images}; in the others, background may be this "
                "label, too"
            )
    return ScribbleSet(tuple(kept), labels)


def split_patients(patients: Iterable[str], validation: int, seed: int) -> tuple[list[str], list[str]]:
    """Patients to learn from, and patients on whom the checkpoint is chosen; drawn at random by the seed.

    InputError if no patient would be left to learn from.
    """
    names = sorted(set(patients))
    if not 0 <= validation < len(names):
        raise InputError(
            f"{validation} of {counted(len(names), 'patient', 'patients')} for validation leave no patient to learn "
            "from"
        )
    order = np.random.default_rng([seed, 27]).permutation(len(names))
    drawn = {names[place] for place in order[:validation]}
    return [name for name in names if name not in drawn], sorted(drawn)


def spacing_of(images: Sequence[Scribbled], thick: float, side: int) -> tuple[tuple[float, float, float], bool]:
    """Size of the voxels that a network should see, mm, along slices or S, A and R; and whether slices come first.

    It is the median of the images. Pixels of slices that are processed one by one are up to twice as large, so that a
    patch shows the objects of most images together, and half as much again round them. Single slices are processed as
    slices, whatever thickness their files state.

    Parameters
    ----------
    images : with their marks
    thick : slices at least so many times as thick as their pixels are processed one by one
    side : of a patch of a slice, in pixels
    """
    geometries = [volume.geometry for volume, _ in images]
    if any(1 in geometry.shape_kji for geometry in geometries):
        sizes = [sorted(_in_plane(geometry)) for geometry in geometries]
        pixel = float(np.median([mm for pair in sizes for mm in pair]))
        pixel *= _coarsened(images, pixel, side)
        slices = [max(geometry.spacing_kji_mm) for geometry in geometries]
        return (max(float(np.median(slices)), thick * pixel), pixel, pixel), True
    first = [PatientAxes.slices_first(each).spacing_mm(each) for each in geometries]
    s, p, q = (float(mm) for mm in np.median(first, axis=0))
    if s >= thick * max(p, q):
        factor = min(_coarsened(images, max(p, q), side), s / (thick * max(p, q)))
        return (max(s, thick * max(p * factor, q * factor)), p * factor, q * factor), True  # not thinner by rounding
    along = [PatientAxes.of(each).spacing_mm(each) for each in geometries]
    s, p, q = (float(mm) for mm in np.median(along, axis=0))
    return (s, p, q), False


def _coarsened(images: Sequence[Scribbled], pixel_mm: float, side: int) -> float:
    """Factor by which pixels should be larger, 1 to 2."""
    extents = []
    for volume, marks in images:
        if drawn := [where for label, where in marks.items() if label and where.any()]:
            _, rows, columns = PatientAxes.slices_first(volume.geometry).order
            box = BoundingBox.of_mask(np.logical_or.reduce(drawn))
            extents.append(max(box.shape_kji[axis] * volume.geometry.spacing_kji_mm[axis] for axis in (rows, columns)))
    return float(np.clip(np.median(extents) / (_SHOWN * side * pixel_mm), 1, _COARSEST)) if extents else 1.0


def _in_plane(geometry: Geometry) -> list[float]:
    """Spacing along the axes that are longer than one voxel, two at most; if there are none, the smallest."""
    found = [mm for n, mm in zip(geometry.shape_kji, geometry.spacing_kji_mm, strict=True) if n > 1]
    return (found or [min(geometry.spacing_kji_mm)])[:2]


def _marked(images: Iterable[ScribbledImage], notes: list[str]) -> list[ScribbledImage]:
    """Those in which anything is marked; each of the others gets a note."""
    found = []
    for each in images:
        if each.marks:
            found.append(each)
        else:
            notes.append(f"{each.name} is left out: nothing is marked in it")
    return found


def _merged(images: Sequence[ScribbledImage], notes: list[str]) -> list[ScribbledImage]:
    merged: dict[str, ScribbledImage] = {}
    for each in images:
        key = hashlib.sha256(np.ascontiguousarray(each.volume.array_kji).tobytes()).hexdigest()
        key += str(each.volume.geometry.shape_kji)
        if key not in merged:
            merged[key] = each
            continue
        first = merged[key]
        labels = sorted(set(first.marks) | set(each.marks))
        nothing = np.zeros(each.volume.geometry.shape_kji, bool)
        either = {label: first.marks.get(label, nothing) | each.marks.get(label, nothing) for label in labels}
        contradictory = np.sum([either[label] for label in labels], axis=0) > 1
        marks = {label: where & ~contradictory for label, where in either.items()}
        merged[key] = replace(first, marks={label: where for label, where in marks.items() if where.any()})
        note = f"{first.name} and {each.name} are the same image and count as one, with the marks of both"
        if contradictory.any():
            voxels = counted(int(contradictory.sum()), "voxel", "voxels")
            note += f"; {voxels} that they mark differently count as unmarked"
        notes.append(note)
    return list(merged.values())


def _expression(patient: str | None) -> re.Pattern[str] | None:
    try:
        return None if patient is None else re.compile(patient)
    except re.error as error:
        raise InputError(f"{patient!r} is not a regular expression: {error}") from error


def _named(labels: Sequence[int]) -> str:
    listed_labels = ", ".join(map(str, labels))
    return f"label {listed_labels} is" if len(labels) == 1 else f"labels {listed_labels} are"
