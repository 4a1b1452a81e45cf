"""Tables of the accuracy of propagation."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np

from InteractiveSegLib.evaluation.slices.propagation_benchmark import (
    GOALS,
    Between,
    Effort,
    PropagationOutcome,
    PropagationSettings,
)
from InteractiveSegLib.evaluation.slices.propagation_methods import TITLES
from InteractiveSegLib.evaluation.statistics import mean_interval, paired_p
from InteractiveSegLib.evaluation.tables import markdown_table
from InteractiveSegLib.evaluation.users.slice_annotator import STRATEGIES
from InteractiveSegLib.system.files import replacing
from InteractiveSegLib.wording.plain_text import spreadsheet_row

TABLE_TITLES = {
    "propagate dice": "Every n-th slice annotated: Dice on the slices between",
    "propagate nsd": "Every n-th slice annotated: NSD 2 mm, slice by slice on the slices between",
    "propagate effort": "Boundary drawn until a Dice is reached, as a share of all",
}
"""Of the tables, by their names in a page."""

_MEAN = "mean over datasets"


def propagation_report(outcome: PropagationOutcome, settings: PropagationSettings) -> str:
    """All tables, and the notes."""
    parts = [f"Every mean is over cases, of the mean over the objects of a case; split: {settings.split}."]
    for name, table in propagation_tables(outcome, settings).items():
        parts += [f"### {TABLE_TITLES[name]}", table]
    if outcome.notes:
        parts += ["### Notes", "\n".join(f"- {note}" for note in outcome.notes)]
    return "\n\n".join(parts) + "\n"


def propagation_tables(outcome: PropagationOutcome, settings: PropagationSettings) -> dict[str, str]:
    """The tables by their names in a page."""
    return {
        "propagate dice": _between(outcome, "dice", settings),
        "propagate nsd": _between(outcome, "surface_dice", settings),
        "propagate effort": _efforts(outcome.efforts),
    }


def write_scores(outcome: PropagationOutcome, folder: Path) -> None:
    """``between.csv`` and ``effort.csv``, one row per score."""
    for name, kind, scores in (("between", Between, outcome.between), ("effort", Effort, outcome.efforts)):
        with (
            replacing(folder / f"{name}.csv") as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, [entry.name for entry in fields(kind)])
            writer.writeheader()
            writer.writerows(spreadsheet_row(asdict(score)) for score in scores)


def _between(outcome: PropagationOutcome, measure: str, settings: PropagationSettings) -> str:
    rows, methods = [], settings.methods
    names = list(dict.fromkeys(score.dataset for score in outcome.between))
    for every in settings.every:
        columns: dict[str, list[float]] = {method: [] for method in methods}
        pairs: dict[str, list[float]] = {method: [] for method in methods}
        for name in names:
            scores = [score for score in outcome.between if score.dataset == name and score.every == every]
            cases = list(dict.fromkeys(score.case for score in scores))
            cells = []
            for method in methods:
                values = [_case_mean(scores, case, method, measure) for case in cases]
                mean, low, high = mean_interval(values)
                columns[method].append(mean)
                pairs[method] += values
                cells.append(f"{mean:.3f} ({low:.2f}-{high:.2f})")
            scored = sum(not np.isnan(_case_mean(scores, case, methods[0], measure)) for case in cases)
            if scored:
                rows.append([str(every), name, str(scored), *cells])
        means = [_mean(columns[method]) for method in methods]
        tests = [paired_p(pairs[methods[0]], pairs[method]) for method in methods[1:]]
        rows.append([str(every), _MEAN, "", *(f"{mean:.3f}" for mean in means)])
        rows.append([str(every), f"p against {methods[0]}", "", "", *(f"{p:.2g}" for p in tests)])
    return markdown_table(("n", "dataset", "cases", *(TITLES[method] for method in methods)), rows)


def _case_mean(scores: Sequence[Between], case: str, method: str, measure: str) -> float:
    return _mean([getattr(score, measure) for score in scores if (score.case, score.method) == (case, method)])


def _efforts(efforts: Sequence[Effort]) -> str:
    rows = []
    names = list(dict.fromkeys(each.dataset for each in efforts))
    for goal in GOALS:
        columns: dict[str, list[float]] = {strategy: [] for strategy in STRATEGIES}
        for name in names:
            cells = []
            for strategy in STRATEGIES:
                found = [e for e in efforts if (e.dataset, e.strategy, e.goal) == (name, strategy, goal)]
                effort, slices = _mean([e.effort for e in found]), _mean([e.slices for e in found])
                columns[strategy].append(effort)
                cells.append(f"{effort:.3f} ({slices:.1f} slices)")
            count = len({e.case for e in efforts if e.dataset == name})
            rows.append([f"{goal:.2f}", name, str(count), *cells])
        rows.append([f"{goal:.2f}", _MEAN, "", *(f"{_mean(columns[strategy]):.3f}" for strategy in STRATEGIES)])
    return markdown_table(("Dice", "dataset", "cases", *STRATEGIES), rows)


def _mean(values: Sequence[float]) -> float:
    kept = [value for value in values if not np.isnan(value)]
    return float(np.mean(kept)) if kept else float("nan")
