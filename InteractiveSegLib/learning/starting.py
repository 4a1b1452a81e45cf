"""Giving the new cases of a study a network's starting masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.casebook.case_features import keep_features
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.splits import TEST
from InteractiveSegLib.casebook.starting_masks import keep_starting_mask, obstacle, starting_masks
from InteractiveSegLib.casebook.uncertainties import keep_uncertainties
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.learning.automatic_network import AutomaticNetwork
from InteractiveSegLib.learning.uncertainty import uncertainty
from InteractiveSegLib.progress import Progress, Steps
from InteractiveSegLib.wording.counting import counted


class Layout(Protocol):
    """What is known of how organs lie, such as an ``OrganLayout``."""

    def likely(
        self, probabilities: NDArray[np.floating], geometry: Geometry, network: AutomaticNetwork
    ) -> NDArray[np.uint8]: ...


@dataclass(frozen=True, eq=False)
class Started:
    """The result.

    confidences : name of a case that got a starting mask -> label -> 0 to 1
    notes : sentences on cases that must not have one, and on organs that were not found in any case
    left_out : sentences on cases that could not be predicted
    """

    confidences: Mapping[str, Mapping[int, float]]
    notes: tuple[str, ...]
    left_out: tuple[str, ...]


def start_steps(
    casebook: Casebook,
    network: AutomaticNetwork,
    version: int,
    layout: Layout,
    most: int | None = None,
    names: Sequence[str] | None = None,
) -> Steps[Started]:
    """Give new cases a starting mask, and store the network's uncertainty about each.

    The features of the image, by which ``diverse`` compares cases, are stored as well. Cases with a starting mask of
    this version keep it, so that a run that was killed can be resumed.

    Parameters
    ----------
    version : of the network, in the casebook
    layout : of organs in the images that the network learnt from
    most : maximum number of cases to predict; all if None
    names : of the cases, in the order of prediction; all, as they were added, if None

    Raises
    ------
    InputError : there is no case of such a name.
    OutputError : the casebook cannot be written, or the disk is full.
    """
    masks = starting_masks(casebook)
    wanted, have, notes = [], [], []
    for entry in casebook.cases() if names is None else [casebook.case(name) for name in names]:
        if entry.split == TEST:
            continue
        if entry.id in masks and masks[entry.id].version == version:
            have.append(masks[entry.id].confidences)
        elif reason := obstacle(casebook, entry):
            notes.append(f"case {entry.name!r} gets no starting mask: {reason}")
        else:
            wanted.append(entry)
    found: dict[str, dict[int, float]] = {}
    left_out: list[str] = []
    for number, entry in enumerate(wanted := wanted[:most]):
        yield Progress(number, len(wanted), f"predicting {entry.name}")
        try:
            probabilities, features = network.described(casebook.volume(entry))
            labels = layout.likely(probabilities, entry.image.geometry, network)
            sure = confidences(labels, probabilities, network.labels)
            keep_starting_mask(casebook, casebook.case_of_id(entry.id), labels, sure, version)
        except InputError as error:
            left_out.append(str(error))
            continue
        unsure = float(np.mean([uncertainty(each) for each in probabilities[1:]]))
        keep_uncertainties(casebook, version, {entry.name: unsure})
        keep_features(casebook, version, entry.name, features)
        found[entry.name] = sure
    looked_at = [*have, *found.values()]
    names = casebook.labels()
    for label in network.labels if looked_at else ():
        if not any(each.get(label) for each in looked_at):
            cases = counted(len(looked_at), "case", "cases")
            notes.append(f"{names.get(label, f'label {label}')} was not found in any of the {cases}")
    return Started(found, tuple(notes), tuple(left_out))


def confidences(
    labelmap: NDArray[np.integer], probabilities: NDArray[np.floating], labels: Sequence[int]
) -> dict[int, float]:
    """Label -> mean probability of its voxels; 0 if it was not found.

    Parameters
    ----------
    labelmap : (K, J, I)
    probabilities : (1 + labels, K, J, I), the background first
    """
    found = {}
    for place, label in enumerate(labels, 1):
        values = probabilities[place][labelmap == label]
        found[int(label)] = float(values.mean(dtype=np.float64)) if values.size else 0.0
    return found
