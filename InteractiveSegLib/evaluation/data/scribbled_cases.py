"""The real images on which experts scribbled, whole sets of them by patient."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.data.datasets import Dataset, listed_datasets
from InteractiveSegLib.image.file_pairs import file_names
from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.image.image_io import read_labelmap, read_volume

BACKGROUND, UNMARKED = 0, 4
"""What the values of these sets' scribbles mean."""


@dataclass(frozen=True)
class ScribbledSet:
    """Folders of one set.

    patient : regular expression
    """

    name: str
    folders: tuple[str, ...]
    patient: str


ACDC = ScribbledSet("ACDC", ("acdc_cardiac", "acdc_cardiac_more"), "^patient[0-9]+")
MSCMR = ScribbledSet("MSCMR LGE", ("mscmr_lge",), "^subject[0-9]+")


@dataclass(frozen=True, eq=False)
class ScribbledCase:
    """An image, and what people drew.

    objects : label -> name
    truth : (K, J, I) uint8, or None where nobody outlined it in full
    scribbles : (K, J, I) uint8 with ``BACKGROUND`` and ``UNMARKED``, or None
    """

    name: str
    patient: str
    volume: Volume
    objects: Mapping[int, str]
    truth: NDArray[np.uint8] | None
    scribbles: NDArray[np.uint8] | None

    @property
    def marks(self) -> dict[int, NDArray[np.bool_]]:
        """Label -> where it is marked, 0 for the background. InputError without scribbles."""
        if self.scribbles is None:
            raise InputError(f"{self.name} has no scribbles")
        return {int(value): self.scribbles == value for value in np.unique(self.scribbles) if value != UNMARKED}


def scribbled_cases(root: Path, found: ScribbledSet) -> list[ScribbledCase]:
    """All cases of a set below a folder of data sets, in the order of their names.

    InputError where a folder is missing or holds no image, or a file cannot be read.
    """
    cases = []
    for folder in found.folders:
        listed = _listed(folder)
        names = file_names(root / folder)
        stems = sorted(name.removesuffix(listed.image) for name in names if name.endswith(listed.image))
        if not stems:
            raise InputError(f"{root / folder} holds no images ({listed.image})")
        for stem in stems:
            volume = read_volume(root / folder / f"{stem}{listed.image}")
            drawn = {}
            for what, ending in (("truth", listed.label), ("scribbles", "_scribble.nii.gz")):
                path = root / folder / f"{stem}{ending}"
                labels = read_labelmap(path, volume.geometry, []) if path.name in names else None
                drawn[what] = None if labels is None else labels.astype(np.uint8)
            objects = {values[0]: name for name, values in listed.objects.items()}
            match = re.search(found.patient, stem)
            cases.append(ScribbledCase(stem, match.group() if match else stem, volume, objects, **drawn))
    return cases


def _listed(folder: str) -> Dataset:
    return next(dataset for dataset in listed_datasets() if dataset.folder == folder)
