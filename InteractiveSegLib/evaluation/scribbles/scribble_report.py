"""Tables and learning curves of ``benchmark --task scribbles``."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from InteractiveSegLib.evaluation.scribbles.scribble_benchmark import FoldResult
from InteractiveSegLib.evaluation.scribbles.variants import VARIANTS
from InteractiveSegLib.evaluation.statistics import mean_interval, paired_p
from InteractiveSegLib.evaluation.tables import markdown_table
from InteractiveSegLib.system.figures import new_figure, save_figure
from InteractiveSegLib.system.files import replacing

_FIELDS = ("variant", "fold", "case", "patient", "object", "dice", "hd95_mm", "all_parts_dice")


def scribble_table(results: Sequence[FoldResult]) -> str:
    """A row for every variant: mean Dice by patient and its interval, with all parts, HD95, by object, and p against
    other rows.

    p is of the Wilcoxon signed-rank test of the patients that both rows were tested on.
    """
    by_patient = {name: _by_patient(results, name, "dice") for name in _variants(results)}
    objects = list(dict.fromkeys(row["object"] for result in results for row in result.scores))
    against = [name for name in ("partial", "strong", "crf", "full") if name in by_patient]
    rows = []
    for name, patients in by_patient.items():
        own = [result for result in results if result.variant == name]
        mean, low, high = mean_interval(list(patients.values()))
        all_parts = _by_patient(results, name, "all_parts_dice").values()
        far = float(np.nanmean([row["hd95_mm"] for result in own for row in result.scores]))
        each = [
            f"{np.nanmean([row['dice'] for result in own for row in result.scores if row['object'] == thing]):.3f}"
            for thing in objects
        ]
        tests = []
        for other in against:
            common = [patient for patient in patients if patient in by_patient[other]]
            p = paired_p([patients[one] for one in common], [by_patient[other][one] for one in common])
            tests.append("" if other == name else f"{p:.2g}")
        taught_by = np.nanmean([result.taught_by for result in own]) if any(r.taught_by > 0 for r in own) else None
        rows.append(
            [
                VARIANTS[name].title,
                ", ".join(str(result.fold) for result in own),
                str(len(patients)),
                f"{mean:.3f}",
                f"{low:.3f}-{high:.3f}",
                f"{np.mean(list(all_parts)):.3f}",
                f"{far:.1f}",
                *each,
                *tests,
                "" if taught_by is None else f"{taught_by:.3f}",
                f"{np.mean([result.processor_seconds for result in own]) / 60:.1f}",
            ]
        )
    header = ["", "folds", "patients", "Dice", "95 % interval", "all parts kept", "HD95 mm", *objects]
    header += [f"p against {VARIANTS[other].title}" for other in against]
    return markdown_table([*header, "masks learnt from", "CPU min"], rows)


def write_scribble_scores(results: Sequence[FoldResult], path: Path) -> None:
    """All single scores as CSV."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _FIELDS)
        writer.writeheader()
        for result in results:
            writer.writerows({"variant": result.variant, "fold": result.fold, **row} for row in result.scores)


def save_learning_curves(results: Sequence[FoldResult], path: Path) -> None:
    """Dice on the validation patients against the updates, a line for every variant and fold."""
    figure = new_figure((7, 4.5), "the plots of the benchmark")
    axes = figure.subplots()
    for result in results:
        label = f"{VARIANTS[result.variant].title}, fold {result.fold}"
        axes.plot(list(result.curve), list(result.curve.values()), "o-", markersize=3, label=label)
    axes.set(xlabel="updates", ylabel="mean Dice on validation patients")
    axes.grid(alpha=0.3)
    if results:
        axes.legend(fontsize=7)
    save_figure(figure, path)


def _variants(results: Sequence[FoldResult]) -> list[str]:
    return list(dict.fromkeys(result.variant for result in results))


def _by_patient(results: Sequence[FoldResult], variant: str, score: str) -> dict[str, float]:
    """Patient -> mean over images and objects."""
    values: dict[str, list[float]] = defaultdict(list)
    for result in results:
        if result.variant == variant:
            for row in result.scores:
                values[row["patient"]].append(row[score])
    return {patient: float(np.nanmean(each)) for patient, each in values.items()}
