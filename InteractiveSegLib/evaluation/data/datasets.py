"""The annotated images on which results are reported, as a declarative list that users extend in JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.data.cases import (
    MOST_OBJECTS,
    SPLITS,
    Case,
    listed,
    numbered_truth,
    read_npz,
    read_pair,
    require_split,
)
from InteractiveSegLib.evaluation.data.folder_dataset import FolderDataset, folder_dataset
from InteractiveSegLib.image.file_pairs import file_names
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.image.image_io import read_labelmap
from InteractiveSegLib.prompts.scribbles import BACKGROUND

__all__ = [
    "SPLITS",
    "Case",
    "Dataset",
    "FolderDataset",
    "ScribbleFiles",
    "folder_dataset",
    "listed_datasets",
]

SHIPPED = Path(__file__).with_name("datasets.json")
REFERENCES = ("manual", "model", "automatic")
UNLABELLED = ("refuse", "skip")
KINDS = ("volumes", "medscribble")
_TUNING_EVERY = 4


@dataclass(frozen=True)
class ScribbleFiles:
    """Labelmaps ``<case><ending>`` with a person's scribbles; values other than these two are those of the labels."""

    ending: str
    background: int
    unmarked: int


@dataclass(frozen=True)
class Dataset:
    """Images and labels in one folder.

    name : for tables
    folder : below the root of the data
    objects : name -> its values in the labelmap; objects get the numbers 1, 2, ... in this order
    image, label : endings of ``<case><image>`` and ``<case><label>``
    scribbles : files with scribbles, or None
    kind : "volumes"; or "medscribble", where ``<case><image>`` is a .npz of img (H, W), seg (H, W) and scribble_0, ...
        (2, H, W; positive, negative), which becomes a volume of one slice of 1 mm, and ``label`` is not used
    reference : who made the labels: "manual", "model" or "automatic"
    group : regular expression; cases in whose names it matches the same text stay on the same side of the split
    unlabelled : how an image without labels is treated: "refuse", a case that does not load; or "skip", not a case
    spacing_ijk_mm : replaces the spacing in the files if that is wrong
    terms : of use
    note : for the reader of the scores; added to every case

    Raises
    ------
    InputError : a value of the wrong type or range, or a label value shared by two objects.
    """

    name: str
    folder: str
    objects: Mapping[str, tuple[int, ...]] = field(hash=False)
    image: str = "_image.nii.gz"
    label: str = "_label.nii.gz"
    scribbles: ScribbleFiles | None = None
    kind: str = "volumes"
    reference: str = "manual"
    group: str | None = None
    unlabelled: str = "refuse"
    spacing_ijk_mm: tuple[float, float, float] | None = None
    terms: str = "not stated"
    note: str = ""

    def __post_init__(self) -> None:
        for key in ("name", "folder", "image", "label"):
            value = getattr(self, key)
            self._require(isinstance(value, str) and value, key, "a non-empty string")
        for key in ("terms", "note"):
            self._require(isinstance(getattr(self, key), str), key, "a text")
        self._require(self.image != self.label, "image", "an ending other than that of the labels")
        self._require(self.kind in KINDS, "kind", f"one of {', '.join(KINDS)}")
        self._require(self.reference in REFERENCES, "reference", f"one of {', '.join(REFERENCES)}")
        self._require(self.unlabelled in UNLABELLED, "unlabelled", f"one of {', '.join(UNLABELLED)}")
        self._require(self.group is None or isinstance(self.group, str), "group", "a regular expression")
        try:
            re.compile(self.group or "")
        except (re.error, RecursionError, OverflowError) as error:
            raise InputError(f"group of {self.name} is not a regular expression: {self.group!r} ({error})") from error
        if self.spacing_ijk_mm is not None:
            object.__setattr__(self, "spacing_ijk_mm", self._checked_spacing())
        object.__setattr__(self, "objects", self._checked_objects())
        if self.scribbles is not None:
            self._check_scribbles(self.scribbles)
        if self.kind == "medscribble" and (self.scribbles is not None or len(self.objects) != 1):
            raise InputError(f"{self.name}: a medscribble file holds one object, and the scribbles too")

    @property
    def has_scribbles(self) -> bool:
        """Whether people drew on its cases, according to the list."""
        return self.scribbles is not None or self.kind == "medscribble"

    def with_objects(self, words: Sequence[str]) -> Dataset | None:
        """The dataset with only those objects whose name contains one of these lower-case words; None if there is none.

        Other objects become background, and the cases stay on their sides of the split.
        """
        kept = {name: values for name, values in self.objects.items() if any(word in name.lower() for word in words)}
        return replace(self, objects=kept) if kept else None

    def cases(self, root: Path, split: str = "report") -> list[str]:
        """Names of the cases found under ``root``, sorted; none if the folder does not exist.

        Every fourth group of cases (see ``group``), in the order of their names, is for tuning; scores are reported on
        the others.

        Parameters
        ----------
        split : "report", "tuning" or "all"

        Raises
        ------
        InputError : another split, or a folder that cannot be read.
        """
        require_split(split)
        folder = root / self.folder
        if not folder.exists():
            return []
        files = file_names(folder)
        names = sorted(name.removesuffix(self.image) for name in files if self._is_image(name))
        if self.unlabelled == "skip" and self.kind == "volumes":
            labelled = set(files)
            names = [name for name in names if name + self.label in labelled]
        group_of = {name: self.group_of(name) for name in names}
        tuning = set(sorted(set(group_of.values()))[_TUNING_EVERY - 1 :: _TUNING_EVERY])
        return [name for name in names if split == "all" or (group_of[name] in tuning) == (split == "tuning")]

    def load(self, root: Path, case: str) -> Case:
        """Image, truth and scribbles of a case.

        Raises
        ------
        InputError : a file is missing, unreadable, cut short or on another grid than its image, or no object occurs.
        """
        image, label = (root / self.folder / f"{case}{ending}" for ending in (self.image, self.label))
        notes = [self.note] if self.note else []
        if self.kind == "medscribble":
            volume, labels, marks = read_npz(image, notes)
            truth, objects = numbered_truth(labels, self.objects, image, notes)
        else:
            volume, labels = read_pair(image, label, notes)
            truth, objects = numbered_truth(labels, self.objects, label, notes)
            marks = ()
            if self.scribbles is not None:
                path = root / self.folder / f"{case}{self.scribbles.ending}"
                marks = self._read_scribbles(path, self.scribbles, volume.geometry, objects, notes)
        return Case(self.name, case, self._with_spacing(volume), truth, objects, marks, tuple(notes))

    def _require(self, right: Any, key: str, wanted: str) -> None:
        if not right:
            raise InputError(f"{key} of dataset {self.name!r} must be {wanted}, not {getattr(self, key)!r}")

    def _checked_spacing(self) -> tuple[float, ...]:
        spacing = self.spacing_ijk_mm
        right = isinstance(spacing, (tuple, list)) and len(spacing) == 3
        right = right and all(type(mm) in (int, float) and 0 < mm < math.inf for mm in spacing)
        self._require(right, "spacing_ijk_mm", "three positive numbers")
        return tuple(map(float, spacing))

    def _checked_objects(self) -> dict[str, tuple[int, ...]]:
        right = isinstance(self.objects, Mapping) and 0 < len(self.objects) <= MOST_OBJECTS
        self._require(right, "objects", f"1 to {MOST_OBJECTS} names with lists of label values")
        owner: dict[int, str] = {}
        for name, values in self.objects.items():
            if not isinstance(name, str) or not isinstance(values, (list, tuple)) or not values:
                raise InputError(f"object {name!r} of {self.name} needs a list of label values, not {values!r}")
            for value in values:
                if type(value) is not int or value < 1:
                    raise InputError(f"object {name!r} of {self.name}: {value!r} is not a label value (1, 2, ...)")
                if owner.setdefault(value, name) != name:
                    raise InputError(f"{self.name}: label value {value} belongs to both {owner[value]!r} and {name!r}")
        return {name: tuple(values) for name, values in self.objects.items()}

    def _check_scribbles(self, files: ScribbleFiles) -> None:
        right = isinstance(files, ScribbleFiles) and isinstance(files.ending, str) and files.ending
        right = right and type(files.background) is int and type(files.unmarked) is int
        self._require(right, "scribbles", "an ending, and whole numbers for background and unmarked")
        values = {value for values in self.objects.values() for value in values}
        if files.background == files.unmarked or {files.background, files.unmarked} & values:
            raise InputError(
                f"scribbles of {self.name}: background {files.background}, unmarked {files.unmarked} and the label "
                f"values {listed(values)} must all differ"
            )

    def _is_image(self, name: str) -> bool:
        """Whether the ending of images matches, and no longer one (``.nii.gz`` fits ``_label.nii.gz`` too)."""
        others = [self.label] + ([self.scribbles.ending] if self.scribbles else [])
        longer = any(name.endswith(other) and len(other) > len(self.image) for other in others)
        return name.endswith(self.image) and len(name) > len(self.image) and not longer

    def group_of(self, case: str) -> str:
        """What the cases of one patient share."""
        match = re.search(self.group, case) if self.group else None
        return match.group() if match else case

    def _with_spacing(self, volume: Volume) -> Volume:
        if self.spacing_ijk_mm is None:
            return volume
        matrix = volume.geometry.ijk_to_ras.copy()
        matrix[:3, :3] *= np.array(self.spacing_ijk_mm) / np.linalg.norm(matrix[:3, :3], axis=0)
        return replace(volume, geometry=Geometry(volume.geometry.shape_kji, matrix))

    def _read_scribbles(
        self, path: Path, files: ScribbleFiles, geometry: Geometry, objects: Mapping[int, str], notes: list[str]
    ) -> tuple[NDArray[np.uint8], ...]:
        if not path.exists():
            notes.append(f"no scribbles: {path.name} does not exist")
            return ()
        drawn = read_labelmap(path, geometry, notes)
        marks = np.zeros(drawn.shape, np.uint8)
        marks[drawn == files.background] = BACKGROUND
        unknown = set(np.unique(drawn).tolist()) - {files.background, files.unmarked}
        for number, name in objects.items():
            marks[np.isin(drawn, self.objects[name])] = number
            unknown -= set(self.objects[name])
        if unknown:
            notes.append(f"scribble values {listed(unknown)} belong to no object of this case and are left out")
        return (marks,)


def listed_datasets(path: Path | None = None) -> tuple[Dataset, ...]:
    """The datasets in a JSON list of objects with the fields of ``Dataset``: the shipped list, or a user's file.

    Raises
    ------
    InputError : unreadable, not JSON, unknown or missing keys, values that ``Dataset`` refuses, or a name used twice.
    """
    path = SHIPPED if path is None else Path(path)
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_each_key_once)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a list of datasets in JSON: {error}") from error
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path} must hold a JSON list of datasets: [{{...}}, ...]")
    datasets: dict[str, Dataset] = {}
    for number, entry in enumerate(entries, 1):
        try:
            dataset = _from_entry(entry)
        except InputError as error:
            raise InputError(f"{path}, entry {number}: {error}") from error
        if dataset.name in datasets:
            raise InputError(f"{path}, entry {number}: the name {dataset.name!r} is used twice")
        datasets[dataset.name] = dataset
    return tuple(datasets.values())


def _from_entry(entry: Any) -> Dataset:
    _require_keys(entry, Dataset, "a dataset")
    if entry.get("scribbles") is not None:
        _require_keys(entry["scribbles"], ScribbleFiles, "scribbles")
        entry = {**entry, "scribbles": ScribbleFiles(**entry["scribbles"])}
    return Dataset(**entry)


def _require_keys(entry: Any, kind: type, what: str) -> None:
    if not isinstance(entry, dict):
        raise InputError(f"{what} is written as {{...}}, not {entry!r}")
    known = {each.name: each.default is MISSING for each in fields(kind)}
    if unknown := [key for key in entry if key not in known]:
        raise InputError(f"{what} has no key {', '.join(map(repr, unknown))}; its keys are {', '.join(known)}")
    if missing := [key for key, required in known.items() if required and key not in entry]:
        raise InputError(f"{what} lacks the key {', '.join(map(repr, missing))}")


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """As JSON's own objects, but a duplicate key is an error instead of overwriting the first."""
    content = dict(pairs)
    if len(content) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} is given twice")
    return content
