"""Pictures of the best, the median and the worst case of every dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from InteractiveSegLib.evaluation.data.datasets import Dataset, FolderDataset
from InteractiveSegLib.evaluation.overlay import save_overlay
from InteractiveSegLib.evaluation.prompted.benchmark import BenchmarkSettings, Unit, load_mask
from InteractiveSegLib.evaluation.prompted.panels import Panel, case_means, panels, reference
from InteractiveSegLib.evaluation.prompted.trial import Score
from InteractiveSegLib.progress import Progress, Steps
from InteractiveSegLib.prompts.prompts import Prompts


def save_showcase(
    scores: Sequence[Score],
    datasets: Sequence[Dataset | FolderDataset],
    data: Path,
    output: Path,
    settings: BenchmarkSettings,
) -> Steps[list[Path]]:
    """Write ``cases/<dataset>_<user>_<best|median|worst>.png`` into ``output``, of the first network.

    Each shows the mask after the last tabulated round, in three planes through the object with the lowest Dice.
    """
    folder = output / "cases"
    folder.mkdir(parents=True, exist_ok=True)
    method = reference(settings.methods)
    last = {panel.name: panel for panel in panels(settings)}
    jobs = [(dataset, panel) for dataset in datasets for panel in last.values()]
    written: list[Path] = []
    for done, (dataset, panel) in enumerate(jobs):
        yield Progress(done, len(jobs), f"pictures of {dataset.name}")
        chosen = [s for s in panel.chosen(scores) if (s.dataset, s.method) == (dataset.name, method)]
        last_person = {s.case: s.person for s in chosen}  # whose mask is kept
        chosen = [s for s in chosen if s.person == last_person[s.case]]
        for rank, case, dice in _ranked(chosen, method):
            unit = Unit(dataset, case, panel.user, method, panel.prompted)
            path = folder / f"{unit.slug(dataset.name)}_{panel.name}_{rank}.png"
            if _draw(unit, data, output, panel, chosen, path, f"{dataset.name}, {case}, {rank}: Dice {dice:.3f}"):
                written.append(path)
    return written


def _ranked(scores: Sequence[Score], method: str) -> Iterator[tuple[str, str, float]]:
    """Rank, case and Dice of the worst, the median and the best case; fewer ranks where there are fewer cases."""
    means = case_means(scores, "dice").get(method, {})
    order = sorted((value, key[1]) for key, value in means.items() if not np.isnan(value))
    for rank, index in (("worst", 0), ("median", len(order) // 2), ("best", len(order) - 1)):
        if order and (rank == "worst" or index > 0) and (rank != "median" or index < len(order) - 1):
            yield rank, order[index][1], order[index][0]


def _draw(unit: Unit, data: Path, output: Path, panel: Panel, scores: Sequence[Score], path: Path, title: str) -> bool:
    found = load_mask(output, unit)
    if found is None:
        return False
    case = unit.dataset.load(data, unit.case)
    missed = min((s for s in scores if s.case == unit.case), key=lambda score: score.dice)
    number = next(value for value, name in case.objects.items() if name == missed.object)
    truth = case.truth == number
    at = [int(truth.sum(axis=tuple(a for a in range(3) if a != axis)).argmax()) for axis in range(3)]
    save_overlay(
        path, case.volume, found == number, Prompts(), at, truth, f"{title} ({missed.object} {missed.dice:.3f})"
    )
    return True
