"""Uncertainty of a version about new cases, from its probabilities without a person's marks."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.casebook.acceptance import load_labels, stream
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.entries import CaseEntry
from InteractiveSegLib.casebook.states import State
from InteractiveSegLib.casebook.uncertainties import keep_uncertainties, uncertainties_of
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.learning.image_lesson import PatientAxes
from InteractiveSegLib.learning.teacher import Teacher
from InteractiveSegLib.learning.versions import Version
from InteractiveSegLib.progress import Progress, Steps

_POSSIBLE = 0.1  # probability from which a voxel may be the object


@dataclass(frozen=True)
class UncertaintySettings:
    """cases : maximum number of new cases to predict, drawn at random; 0 predicts none.

    boxes_from : number of latest accepted cases that determine where objects are expected
    """

    cases: int = 8
    boxes_from: int = 12

    def __post_init__(self) -> None:
        if self.cases < 0 or self.boxes_from < 1:
            raise InputError(f"cases {self.cases} must be at least 0, and boxes_from {self.boxes_from} at least 1")


def uncertainty(foreground: NDArray[np.floating]) -> float:
    """Mean entropy in bits, 0 to 1, of the voxels that may be the object; 1 if there are none, so it was not found.

    foreground : (K, J, I) probability
    """
    possible = foreground[foreground >= _POSSIBLE].astype(np.float64)
    if not possible.size:
        return 1.0
    other = 1 - possible
    entropy = -possible * np.log2(possible) - other * np.log2(np.maximum(other, 1e-12))
    return float(entropy.mean())


def uncertainty_steps(
    casebook: Casebook, teacher: Teacher[Any, Any], version: Version, settings: UncertaintySettings
) -> Steps[dict[str, float]]:
    """Predict new cases with a version, and store its uncertainty about each, the mean over labels.

    Cases that it has predicted already and cases whose image cannot be read are left out.
    """
    known = uncertainties_of(casebook, version.id)
    wanted = [entry for entry in _drawn(casebook, settings.cases) if entry.name not in known]
    if not wanted:
        return {}
    network = teacher.load(version.folder)
    places = usual_places(casebook, settings.boxes_from)
    found: dict[str, float] = {}
    for number, entry in enumerate(wanted):
        yield Progress(number, len(wanted), f"predicting {entry.name}, a new case")
        try:
            volume = casebook.volume(entry)
        except InputError:
            continue
        boxes = {label: box_at(place, volume.geometry) for label, place in places.items()}
        foregrounds = teacher.foregrounds(network, volume, boxes)
        if foregrounds:
            found[entry.name] = float(np.mean([uncertainty(each) for each in foregrounds.values()]))
    keep_uncertainties(casebook, version.id, found)
    return found


def usual_places(casebook: Casebook, cases: int) -> dict[int, NDArray[np.float64]]:
    """Label -> (2, 3): median start and end of its box, as fractions of the image along S, A and R."""
    places: dict[int, list[NDArray[np.float64]]] = defaultdict(list)
    for acceptance in stream(casebook)[-cases:]:
        try:
            entry = casebook.case_of_id(acceptance.case_id)
            labels = load_labels(entry, acceptance)
        except InputError:  # the other cases suffice
            continue
        for label in acceptance.labels:
            places[label].append(place_of(BoundingBox.of_mask(labels == label), entry.image.geometry))
    return {label: np.median(each, axis=0) for label, each in places.items()}


def place_of(box: BoundingBox, geometry: Geometry) -> NDArray[np.float64]:
    """(2, 3): start and end of a box, as fractions of the image along S, A and R."""
    axes = PatientAxes.of(geometry)
    ends = np.array([box.start_kji, box.stop_kji]) / geometry.shape_kji
    ends = ends[:, axes.order]
    ends[:, list(axes.flipped)] = 1 - ends[::-1, list(axes.flipped)]
    return ends


def box_at(place: NDArray[np.floating], geometry: Geometry) -> BoundingBox:
    """Inverse of ``place_of``, on another image's grid; at least one voxel."""
    axes = PatientAxes.of(geometry)
    turned = np.array(place, float)
    turned[:, list(axes.flipped)] = 1 - turned[::-1, list(axes.flipped)]
    ends = np.empty_like(turned)
    ends[:, axes.order] = turned
    sides = np.array(geometry.shape_kji)
    start = np.clip(np.floor(ends[0] * sides + 1e-6), 0, sides - 1).astype(int)
    stop = np.clip(np.ceil(ends[1] * sides - 1e-6), start + 1, sides).astype(int)
    return BoundingBox(tuple(start.tolist()), tuple(stop.tolist()))


def _drawn(casebook: Casebook, count: int) -> list[CaseEntry]:
    """New cases in a random but reproducible order."""
    seed = casebook.splits.seed
    new = [entry for entry in casebook.cases() if entry.state is State.NEW]
    return sorted(new, key=lambda entry: hashlib.sha256(f"{seed}/doubt/{entry.name}".encode()).digest())[:count]
