"""Folds of cross-validation in which all images of a patient stay together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from InteractiveSegLib.errors import InputError


@dataclass(frozen=True)
class Fold:
    """Patients that are learnt from, those on which a checkpoint is chosen, and those on which it is scored."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


def patient_folds(patients: Sequence[str], count: int, validation: int, seed: int = 0) -> list[Fold]:
    """Every patient is tested in exactly one fold. The same patients and seed give the same folds.

    Parameters
    ----------
    count : of the folds, at least 2
    validation : patients of each fold, from those that are not tested

    Raises
    ------
    InputError : a patient is named twice, or a fold would have nobody left to train on or to test.
    """
    names = sorted(patients)
    if len(set(names)) < len(names):
        raise InputError(f"{len(names) - len(set(names))} patients are named twice")
    if not 2 <= count <= len(names):
        raise InputError(f"{count} folds of {len(names)} patients are not possible: 2 to {len(names)} are")
    if validation < 0 or len(names) - -(-len(names) // count) - validation < 1:
        raise InputError(
            f"{validation} validation patients in each of {count} folds of {len(names)} leave nobody to train on"
        )
    order = np.random.default_rng([seed, 26]).permutation(len(names))
    parts = [[names[place] for place in part] for part in np.array_split(order, count)]
    folds = []
    for number, test in enumerate(parts):
        rest = [name for step in range(1, count) for name in parts[(number + step) % count]]
        folds.append(Fold(tuple(sorted(rest[validation:])), tuple(sorted(rest[:validation])), tuple(sorted(test))))
    return folds
