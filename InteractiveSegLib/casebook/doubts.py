"""How unsure a network is of cases that are still to be done."""

from __future__ import annotations

import time
from collections.abc import Mapping

from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.effort import Event

_KIND = "doubt"


def keep_doubts(casebook: Casebook, version: int, doubts: Mapping[str, float]) -> None:
    """Write down how unsure a version of the network is of cases: name -> voxels in doubt to voxels found."""
    for name, value in doubts.items():
        casebook.record(casebook.case(name), [Event(_KIND, time.time(), {"version": version, "value": value})])


def known_doubts(casebook: Casebook) -> dict[str, float]:
    """Name -> latest doubt, of the cases that a network has looked at."""
    rows = casebook.database.rows(
        "SELECT name, json_extract(data, '$.value') AS value FROM event JOIN case_ ON case_.id = case_id"
        " WHERE event.id IN (SELECT max(id) FROM event WHERE kind = ? GROUP BY case_id)",
        [_KIND],
    )
    return {row["name"]: float(row["value"]) for row in rows}
