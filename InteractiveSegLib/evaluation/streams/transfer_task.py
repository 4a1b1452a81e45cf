"""A small labelled set and a larger unlabelled one, of which some patients are set aside, as a study in a casebook."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.image_reference import ImageReference
from InteractiveSegLib.casebook.splits import TEST, TRAIN, VALIDATION, SplitSettings
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.data.cases import Case
from InteractiveSegLib.evaluation.data.datasets import Dataset, listed_datasets
from InteractiveSegLib.image.image_io import write_labelmap
from InteractiveSegLib.system.files import replacing

_CHOICE = 4 / 3  # cases to choose from, for each that is annotated


@dataclass(frozen=True)
class Place:
    """A case of a dataset."""

    dataset: Dataset
    name: str

    def load(self, data: Path) -> Case:
        return self.dataset.load(data, self.name)

    def image(self, data: Path) -> Path:
        return data / self.dataset.folder / f"{self.name}{self.dataset.image}"


@dataclass(frozen=True)
class TransferTask:
    """What is transferred to what. Numbers are of groups of cases, such as patients.

    name : of a folder. title : of tables
    source, targets : their objects have the same names
    sources : of the source; where the source is a target as well, these are no targets
    tested, validated : of the targets
    """

    name: str
    title: str
    source: Dataset
    targets: tuple[Dataset, ...]
    sources: int
    tested: int
    validated: int

    @property
    def labels(self) -> Mapping[int, str]:
        return dict(enumerate(self.source.objects, 1))

    def parts(self, data: Path, annotated: int | None = None) -> TransferParts:
        """Who belongs where, always the same.

        annotated : cases that are to be annotated for training; the others among which they are chosen are then a third
            of as many, or one patient's more. All where None

        Raises
        ------
        InputError : too few cases.
        """
        source = _groups([self.source], data)
        targets = _groups(self.targets, data)
        chosen = _spread(list(source), self.sources, self.name, "labelled")
        targets = {key: places for key, places in targets.items() if key not in chosen}
        tested = _spread(list(targets), self.tested, self.name, "target")
        rest = [key for key in targets if key not in tested]
        validated = _spread(rest, self.validated, self.name, "target")
        trained = [key for key in rest if key not in validated]
        if annotated is not None:
            counts = np.cumsum([len(targets[key]) for key in trained])
            enough = int(np.searchsorted(counts, annotated * _CHOICE)) + 1
            trained = _spread(trained, min(enough, len(trained)), self.name, "target")
        if not trained:
            raise InputError(f"{self.name}: no target case is left to learn from under {data}")
        split = {TEST: tested, VALIDATION: validated, TRAIN: trained}
        return TransferParts(
            tuple(place for key in chosen for place in source[key]),
            {name: tuple(place for key in keys for place in targets[key]) for name, keys in split.items()},
        )


@dataclass(frozen=True)
class TransferParts:
    """source : labelled cases. targets : split -> cases"""

    source: tuple[Place, ...]
    targets: Mapping[str, tuple[Place, ...]]

    def place(self, name: str) -> Place:
        """A target by its name."""
        return next(place for places in self.targets.values() for place in places if place.name == name)


def transfer_tasks(datasets: Sequence[Dataset] | None = None) -> dict[str, TransferTask]:
    """``heart``, from late-enhancement to cine MR, and ``control``, from hippocampi to others of the same kind."""
    by_name = {each.name: each for each in (datasets or listed_datasets())}
    hippocampus = replace(by_name["hippocampus T1 MR"], objects={"anterior": (1,), "posterior": (2,)})
    cine = tuple(each for name, each in by_name.items() if name.startswith("ACDC"))
    return {
        "heart": TransferTask(
            "heart", "From late-enhancement to cine MR of the heart", by_name["MS-CMRSeg LGE MR"], cine, 12, 20, 2
        ),
        "control": TransferTask(
            "control", "From hippocampi to others of the same kind", hippocampus, (hippocampus,), 8, 24, 4
        ),
    }


def write_source(parts: TransferParts, data: Path, folder: Path) -> None:
    """The labelled images and their masks, numbered as the objects are; those that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    for place in parts.source:
        image, labels = (folder / f"{place.name}_{what}.nii.gz" for what in ("image", "label"))
        if not labels.is_file():
            case = place.load(data)
            with replacing(image) as temporary:
                shutil.copyfile(place.image(data), temporary)
            write_labelmap(labels, case.truth, case.volume.geometry)


def new_study(task: TransferTask, parts: TransferParts, data: Path, folder: Path, seed: int) -> None:
    """A casebook of all targets; one that is there is made whole.

    The seed is that of random orders.
    """
    splits = SplitSettings(0, 0, seed)
    with Casebook(folder) if folder.is_dir() else Casebook.created(folder, splits, task.labels) as casebook:
        known = {entry.name for entry in casebook.cases()}
        for split, places in parts.targets.items():
            for place in places:
                if place.name not in known:
                    casebook.add(ImageReference.of(place.image(data)), place.name, split=split)


def truth_on(case: Case, labels: Iterable[int]) -> dict[int, np.ndarray]:
    """Label -> (K, J, I) float32, whether or not the case shows it."""
    return {label: (case.truth == label).astype(np.float32) for label in labels}


def _groups(datasets: Sequence[Dataset], data: Path) -> dict[str, list[Place]]:
    """Names of a group -> its cases, sorted."""
    found: dict[str, list[Place]] = {}
    for dataset in datasets:
        for name in dataset.cases(data, "all"):
            found.setdefault(dataset.group_of(name), []).append(Place(dataset, name))
    return dict(sorted(found.items()))


def _spread(keys: list[str], count: int, task: str, what: str) -> list[str]:
    """So many of them, evenly spread."""
    if len(keys) < count:
        raise InputError(f"{task}: there are {len(keys)} {what} cases or patients, but {count} are needed")
    places = np.linspace(0, len(keys) - 1, count).round().astype(int).tolist() if count else []
    return [keys[place] for place in places]
