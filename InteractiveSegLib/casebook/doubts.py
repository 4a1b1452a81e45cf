"""How unsure a network is of cases that are still to be done."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

from InteractiveSegLib.casebook.casebook import Casebook

_KIND = "doubt"


def keep_doubts(casebook: Casebook, version: int, doubts: Mapping[str, float]) -> None:
    """Write down how unsure a version of a network is of cases: name -> 0, sure, to 1. All of them or none."""
    now = time.time()
    values = [
        (casebook.case(name).id, _KIND, now, json.dumps({"version": version, "value": value}))
        for name, value in doubts.items()
    ]
    with casebook.database.writing() as rows:
        rows.executemany("INSERT INTO event (case_id, kind, at, data) VALUES (?, ?, ?, ?)", values)


def doubts_of(casebook: Casebook, version: int) -> dict[str, float]:
    """Name -> doubt, of the cases that a version has looked at."""
    rows = casebook.database.rows(
        "SELECT name, json_extract(data, '$.value') AS value FROM event JOIN case_ ON case_.id = case_id"
        " WHERE kind = ? AND json_extract(data, '$.version') = ? ORDER BY event.id",
        [_KIND, version],
    )
    return {row["name"]: float(row["value"]) for row in rows}


def known_doubts(casebook: Casebook) -> dict[str, float]:
    """Those of the version in use; of the one that looked last where versions of two networks are.

    Doubts of two versions are not compared: a network that has learnt more is surer of everything.
    """
    found = casebook.database.rows(
        "SELECT version.id AS id FROM event JOIN version ON version.id = json_extract(data, '$.version')"
        " WHERE kind = ? AND version.state = 'in use' ORDER BY event.id DESC LIMIT 1",
        [_KIND],
    )
    return doubts_of(casebook, found[0]["id"]) if found else {}
