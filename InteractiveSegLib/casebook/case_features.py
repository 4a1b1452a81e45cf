"""Features of a case: a network's summary of its image, by which cases are compared."""

from __future__ import annotations

import math
import sqlite3
import time
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.effort import Event
from InteractiveSegLib.casebook.entries import event, undamaged
from InteractiveSegLib.errors import InputError

_KIND = "features"


def keep_features(casebook: Casebook, version: int, name: str, features: NDArray[np.floating]) -> None:
    """Store the features (n,) of a case, as computed by a version of a network."""
    told = {"version": version, "values": [float(f"{value:.5g}") for value in features.tolist()]}
    casebook.record(casebook.case(name), [Event(_KIND, time.time(), told)])


def known_features(casebook: Casebook) -> dict[str, NDArray[np.float64]]:
    """Name -> features of the version that has predicted most cases, of several the latest. Damaged ones are noted.

    Features of different versions are not comparable. The igniter predicts all cases that are new when it is trained.
    """
    rows = casebook.database.rows(
        "SELECT event.id AS id, name, kind, at, data FROM event JOIN case_ ON case_.id = case_id WHERE kind = ?"
        " ORDER BY event.id",
        [_KIND],
    )
    found: dict[int, dict[str, NDArray[np.float64]]] = defaultdict(dict)
    for name, version, values in undamaged(rows, _features, casebook.note):
        found[version][name] = values
    return max(found.items(), key=lambda each: (len(each[1]), each[0]))[1] if found else {}


def _features(row: sqlite3.Row) -> tuple[str, int, NDArray[np.float64]]:
    data = event(row).data
    try:
        values = np.array(data["values"], np.float64)
        if values.ndim != 1 or not values.size or not all(map(math.isfinite, values.tolist())):
            raise ValueError("they are not numbers")
        return str(row["name"]), int(data["version"]), values
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"entry {row['id']} of a case's log is damaged in the database: {error!r}") from error
