"""The cases of a casebook, as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.wording.plain_text import printable

if TYPE_CHECKING:
    from InteractiveSegLib.casebook.casebook import Casebook
    from InteractiveSegLib.casebook.effort import Effort
    from InteractiveSegLib.casebook.entries import CaseEntry
    from InteractiveSegLib.casebook.review import Review
    from InteractiveSegLib.casebook.starting_masks import StartingMask

_HEADER = ("case", "split", "state", "active s", "strokes", "slices", "verified", "starting mask")


def json_list(casebook: Casebook) -> str:
    """One JSON object, for programs."""
    from dataclasses import asdict

    cases = [
        {
            "name": entry.name,
            "patient": entry.patient,
            "split": entry.split,
            "state": entry.state.value,
            "image": str(entry.image.path),
            "effort": asdict(effort),
            "slices_of_organs": {state.name.lower(): count for state, count in review.counts().items()},
            "starting_mask": start and {"version": start.version, "confidences": dict(start.confidences)},
        }
        for entry, effort, review, start in _rows(casebook)
    ]
    return json.dumps({"labels": casebook.labels(), "cases": cases})


def table_list(casebook: Casebook) -> str:
    """A table for the terminal; ``verified`` counts reviewed slices of organs."""
    from InteractiveSegLib.casebook.review import SliceState
    from InteractiveSegLib.evaluation.tables import markdown_table

    labels = casebook.labels()
    cells = []
    for entry, effort, review, start in _rows(casebook):
        total = review.slices * len(review.states)
        cells.append(
            (
                printable(entry.name),
                entry.split,
                entry.state.value,
                f"{effort.active_s:.0f}",
                str(effort.strokes),
                str(effort.slices),
                f"{total - review.counts()[SliceState.UNVERIFIED]} of {total}",
                confidences_text(start.confidences, labels) if start else "",
            )
        )
    return markdown_table(_HEADER, cells)


def confidences_text(confidences: Mapping[int, float], labels: Mapping[int, str]) -> str:
    """Organs with their confidences, in one line."""
    return ", ".join(
        f"{printable(labels.get(label, f'label {label}'))} {confidence:.2f}"
        for label, confidence in confidences.items()
    )


def _rows(casebook: Casebook) -> list[tuple[CaseEntry, Effort, Review, StartingMask | None]]:
    from InteractiveSegLib.casebook.starting_masks import starting_masks

    labels, started = casebook.labels(), starting_masks(casebook)
    return [
        (entry, casebook.effort(entry), _review(casebook, entry, labels), started.get(entry.id))
        for entry in casebook.cases()
    ]


def _review(casebook: Casebook, entry: CaseEntry, labels: Iterable[int]) -> Review:
    """Of the mask that was accepted last; nothing of all organs where none was."""
    from InteractiveSegLib.casebook.acceptance import latest
    from InteractiveSegLib.casebook.review import Review

    try:
        found = latest(casebook, entry)
        if found is not None:
            return found.reviewed(entry).naming(labels)
    except InputError as error:
        casebook.note(f"{error}; 'casebook check' lists all faults")
    return Review.of_all(entry.image.geometry, labels)
