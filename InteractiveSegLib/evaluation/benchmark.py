"""What every stage adds, and what it costs, on annotated images."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.datasets import DATASETS, Dataset
from InteractiveSegLib.evaluation.metrics import dice
from InteractiveSegLib.evaluation.robot import correct
from InteractiveSegLib.evaluation.tables import markdown_table
from InteractiveSegLib.files import replacing
from InteractiveSegLib.networks.checkpoint import load_network
from InteractiveSegLib.progress import Steps, part
from InteractiveSegLib.prompts import BoundingBox, Scribbles
from InteractiveSegLib.session import ImageSession

STAGES = ("plain", "label step", "unsupervised", "supervised")


@dataclass(frozen=True)
class BenchmarkSettings:
    """What to run.

    model : as in ``load_network``
    cases : of each dataset, evenly spread
    seed, device : as in ``ImageSession``
    """

    model: str
    cases: int
    seed: int
    device: torch.device


@dataclass(frozen=True)
class Score:
    """Dice and seconds of a stage on one object of one case."""

    dataset: str
    case: str
    object: str
    stage: str
    dice: float
    seconds: float


def stages_steps(data: Path, output: Path | None, settings: BenchmarkSettings) -> Steps[str]:
    """Score the stages of BIFSeg on the datasets found under ``data``, with the truth's own box.

    plain : network in the box, cut at 0.5
    label step : its probabilities after energy minimisation
    unsupervised : fine-tuned to the image without scribbles
    supervised : fine-tuned with a person's scribbles where the dataset has them, else with one round of the robot's

    Returns
    -------
    a Markdown table; ``output`` receives it as ``stages.md`` and every score in ``stages.csv``

    Raises
    ------
    InputError : none of the datasets lies under ``data``.
    """
    work = [(dataset, case) for dataset in DATASETS for case in _spread(dataset.cases(data), settings.cases)]
    if not work:
        raise InputError(f"no dataset found under {data}: expected folders such as {DATASETS[0].folder}")
    scores: list[Score] = []
    for done, (dataset, case) in enumerate(work):
        case_steps = _case_steps(data, dataset, case, settings)
        scores += yield from part(case_steps, done, len(work), f"{dataset.name}: {case}")
    table = _stage_table(scores)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        with replacing(output / "stages.md") as temporary:
            temporary.write_text(table + "\n")
        with replacing(output / "stages.csv") as temporary, temporary.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(Score.__dataclass_fields__)
            writer.writerows(vars(score).values() for score in scores)
    return table


def _spread(cases: Sequence[str], count: int) -> list[str]:
    """At most ``count`` cases, evenly spread over the list."""
    if len(cases) <= count:
        return list(cases)
    return [cases[index] for index in np.linspace(0, len(cases) - 1, count).round().astype(int)]


def _case_steps(data: Path, dataset: Dataset, case: str, settings: BenchmarkSettings) -> Steps[list[Score]]:
    volume, labelmap = dataset.load(data, case)
    truths = list(dataset.truths(labelmap))
    network = load_network(settings.model)
    session = ImageSession(volume, network, seed=settings.seed, device=settings.device)
    for number, _, truth in truths:
        session.set_box(number, BoundingBox.of_mask(truth))
    scores: list[Score] = []

    def score(stage: str, seconds: float) -> None:
        found = session.labelmap()
        scores.extend(
            Score(dataset.name, case, name, stage, dice(found == number, truth), seconds)
            for number, name, truth in truths
        )

    smooth = session.settings
    session.settings = replace(smooth, smoothness_voxels=0.0)
    score("plain", (yield from session.segment(adapt=False)).seconds)
    session.settings = smooth
    score("label step", (yield from session.segment(adapt=False)).seconds)
    score("unsupervised", (yield from session.segment(adapt=True)).seconds)
    drawn = dataset.load_scribbles(data, case, volume)
    if drawn is not None:
        session.add_scribbles(Scribbles.from_labelmap(drawn))
    else:
        found = session.labelmap()
        for number, _, truth in truths:
            session.add_scribbles(correct(found == number, truth, number))
    score("supervised", (yield from session.segment(adapt=True)).seconds)
    return scores


def _stage_table(scores: Sequence[Score]) -> str:
    """Mean Dice a dataset and stage, over objects and cases; then the mean over datasets, and seconds."""
    names = list(dict.fromkeys(score.dataset for score in scores))
    means = {
        name: [np.nanmean([s.dice for s in scores if (s.dataset, s.stage) == (name, stage)]) for stage in STAGES]
        for name in names
    }
    rows = [
        (name, str(len({s.case for s in scores if s.dataset == name})), *(f"{mean:.3f}" for mean in means[name]))
        for name in names
    ]
    rows.append(("mean over datasets", "", *(f"{mean:.3f}" for mean in np.mean(list(means.values()), axis=0))))
    seconds = [np.mean([s.seconds for s in scores if s.stage == stage]) for stage in STAGES]
    rows.append(("seconds a step", "", *(f"{mean:.2f}" for mean in seconds)))
    return markdown_table(("Dice", "cases", *STAGES), rows)
