"""Uncertainty of a network about unfinished cases."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping

from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.entries import event, undamaged
from InteractiveSegLib.errors import InputError

_KIND = "doubt"


def keep_uncertainties(casebook: Casebook, version: int, uncertainties: Mapping[str, float]) -> None:
    """Store the uncertainties of a version of a network: name -> 0, certain, to 1. All of them or none."""
    now = time.time()
    values = [
        (casebook.case(name).id, _KIND, now, json.dumps({"version": version, "value": value}))
        for name, value in uncertainties.items()
    ]
    with casebook.database.writing() as rows:
        rows.executemany("INSERT INTO event (case_id, kind, at, data) VALUES (?, ?, ?, ?)", values)


def uncertainties_of(casebook: Casebook, version: int) -> dict[str, float]:
    """Name -> uncertainty of the cases that a version has predicted."""
    return {name: value for name, at, value in _uncertainties(casebook) if at == version}


def known_uncertainties(casebook: Casebook) -> dict[str, float]:
    """Uncertainties of the version in use; if two networks are in use, of the one that predicted last.

    Uncertainties of two versions are not comparable: a network that has learnt more is more certain of everything.
    """
    found = list(_uncertainties(casebook))
    used = {row["id"] for row in casebook.database.rows("SELECT id FROM version WHERE state = 'in use'")}
    latest = next((version for _, version, _ in reversed(found) if version in used), None)
    return {name: value for name, version, value in found if version == latest}


def _uncertainties(casebook: Casebook) -> Iterator[tuple[str, int, float]]:
    """Name of a case, version and uncertainty, in the order stored. Damaged entries are left out with a note."""
    rows = casebook.database.rows(
        "SELECT event.id AS id, name, kind, at, data FROM event JOIN case_ ON case_.id = case_id WHERE kind = ?"
        " ORDER BY event.id",
        [_KIND],
    )
    yield from undamaged(rows, _uncertainty, casebook.note)


def _uncertainty(row: sqlite3.Row) -> tuple[str, int, float]:
    data = event(row).data
    try:
        return str(row["name"]), int(data["version"]), float(data["value"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"entry {row['id']} of a case's log is damaged in the database: {error!r}") from error
