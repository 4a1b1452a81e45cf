"""Which organs were reviewed in which slices, as a table beside exported masks."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from InteractiveSegLib.casebook.review import Review, SliceState
from InteractiveSegLib.system.files import replacing
from InteractiveSegLib.wording.plain_text import spreadsheet_row

REVIEW_FILE = "review.csv"


def write_review_table(path: Path, rows: Iterable[tuple[str, str, Review]], names: Mapping[int, str]) -> None:
    """One row for every organ of every case, with the slices in each state, counted from 0.

    rows : case, its file, and its review
    names : label -> name

    Raises
    ------
    OutputError : the file cannot be written.
    """
    states = [state.name.lower() for state in SliceState]
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["case", "file", "label", "name", "axis", *states])
        writer.writeheader()
        for case, mask, review in rows:
            for label in review.states:
                row: dict[str, object] = {"case": case, "file": mask, "label": label}
                row |= {"name": names.get(label, f"label {label}"), "axis": "kji"[review.axis]}
                row |= {state.name.lower(): slices_in(review, label, state) for state in SliceState}
                writer.writerow(spreadsheet_row(row))


def slices_in(review: Review, label: int, state: SliceState) -> str:
    """The slices in which an organ is in a state, such as "0-3 7"; "" if there are none."""
    found = [number for number, each in enumerate(review.of(label)) if each is state]
    runs: list[list[int]] = []
    for number in found:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return " ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
