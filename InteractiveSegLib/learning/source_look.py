"""Reading all of a labelled set before the training, so that its faults are reported at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.image_reference import ImageReference
from InteractiveSegLib.casebook.splits import TEST
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.learning.source_set import SourcePair
from InteractiveSegLib.progress import Progress, Steps


@dataclass(frozen=True, eq=False)
class SourceLook:
    """Contents of labelled images.

    geometries : of each image
    occurring : labels that each image shows, as in its file, without 0
    """

    geometries: Sequence[Geometry]
    occurring: Sequence[frozenset[int]]

    @property
    def images_with(self) -> dict[int, int]:
        """Label -> how many images show it, ascending."""
        return dict(sorted(Counter(label for each in self.occurring for label in each).items()))


def look_steps(casebook: Casebook, pairs: Sequence[SourcePair], notes: list[str]) -> Steps[SourceLook]:
    """Read every image and its labels.

    Raises
    ------
    InputError : as ``SourcePair.read``; an image is a case of the test split.
    """
    geometries: list[Geometry] = []
    occurring: list[frozenset[int]] = []
    for number, pair in enumerate(pairs):
        yield Progress(number, len(pairs), f"checking {pair.name}")
        volume, labels = pair.read(notes)
        geometries.append(volume.geometry)
        occurring.append(frozenset(int(value) for value in np.unique(labels)) - {0})
        known = casebook.case_with(ImageReference.of(pair.image).sha256)
        if known is not None and known.split == TEST:
            raise InputError(
                f"{pair.image} is case {known.name!r} of the test split, from which nothing must be learnt: remove "
                "it from the source"
            )
    return SourceLook(geometries, occurring)
