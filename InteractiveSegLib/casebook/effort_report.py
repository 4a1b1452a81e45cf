"""Effort over the cases of a study, as a table and as plots."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from InteractiveSegLib.casebook.acceptance import latest
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.effort import Effort
from InteractiveSegLib.casebook.review import SliceState
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.system.figures import new_figure, save_figure
from InteractiveSegLib.system.files import replacing
from InteractiveSegLib.wording.plain_text import spreadsheet_row

_PANELS = {
    "active_s": "active seconds",
    "strokes": "strokes",
    "edited_voxels": "voxels edited by hand",
    "slices": "slices",
}
_WINDOW = 5


@dataclass(frozen=True)
class CaseEffort:
    """One row.

    order : counts acceptances from 1; 0 for cases that were not accepted
    slices_of_organs : number in each state, in the mask that was accepted last
    """

    case: str
    state: str
    split: str
    order: int
    effort: Effort
    slices_of_organs: Mapping[SliceState, int]


def efforts(casebook: Casebook) -> list[CaseEffort]:
    """Every case with work on it, in the order of acceptance; cases that were not accepted come last."""
    rows = []
    for entry in casebook.cases():
        accepted, effort = latest(casebook, entry), casebook.effort(entry)
        if accepted or effort != Effort():
            counts = accepted.reviewed(entry).counts() if accepted else dict.fromkeys(SliceState, 0)
            rows.append((accepted.id if accepted else None, entry, effort, counts))
    ordered = sorted(rows, key=lambda row: (row[0] is None, row[0] or 0, row[1].id))
    return [
        CaseEffort(entry.name, entry.state.value, entry.split, 0 if number is None else order, effort, counts)
        for order, (number, entry, effort, counts) in enumerate(ordered, 1)
    ]


def write_effort_csv(casebook: Casebook, path: Path) -> None:
    """One row per case; the last columns count slices of organs by state. OutputError if it cannot be written."""
    states = [state.name.lower() for state in SliceState]
    columns = [each.name for each in fields(CaseEffort)][:-2] + [each.name for each in fields(Effort)] + states
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for row in efforts(casebook):
            values = asdict(row)
            counts = {state.name.lower(): count for state, count in values.pop("slices_of_organs").items()}
            writer.writerow(spreadsheet_row({**values.pop("effort"), **values, **counts}))


def save_effort_plot(casebook: Casebook, path: Path) -> None:
    """Effort of every accepted case by its place in the stream, with a running median, as a PNG file.

    Raises
    ------
    InputError : no case was accepted.
    MissingPackageError : matplotlib is not installed.
    OutputError : the file cannot be written.
    """
    rows = [row for row in efforts(casebook) if row.order]
    if not rows:
        raise InputError(f"the casebook {casebook.folder} has no accepted case whose effort could be plotted")
    figure = new_figure((11, 6), "plots of the effort")
    order = [row.order for row in rows]
    for axes, (name, title) in zip(figure.subplots(2, 2).flat, _PANELS.items(), strict=True):
        values = np.array([getattr(row.effort, name) for row in rows], float)
        axes.plot(order, values, "o", markersize=4)
        running = [float(np.median(values[max(0, end - _WINDOW) : end])) for end in range(1, len(values) + 1)]
        axes.plot(order, running, label=f"median of {_WINDOW}")
        axes.set(xlabel="case", ylabel=title, ylim=(0, None))
        axes.grid(alpha=0.3)
    axes.legend()
    save_figure(figure, path)
