"""``interactiveseg benchmark --task transfer``: a small labelled set that starts a large unlabelled one."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from InteractiveSegLib.commands.results_page import ResultsPage
from InteractiveSegLib.commands.terminal import say, shown
from InteractiveSegLib.errors import InputError

if TYPE_CHECKING:
    from InteractiveSegLib.evaluation.streams.transfer_report import Transferred
    from InteractiveSegLib.evaluation.streams.transfer_study import TransferSettings
    from InteractiveSegLib.evaluation.streams.transfer_task import TransferTask

PARTS = (
    "random",
    "full",
    "nothing",
    "uncertain",
    "diverse",
    "no-replay",
    "no-augmentation",
    "strong-augmentation",
    "flexible",
    "control",
)
_QUICK = (60, 30, 5, 4)  # steps, updates, cases, test cases
_COMPARED = 2
"""Training from nothing is compared with the sustainer after so many batches, one by one."""


def run_transfer(options: argparse.Namespace) -> None:
    """The parts of ``--parts``; each study lies in a folder of its own, and finished work is not repeated."""
    from InteractiveSegLib.evaluation.streams.transfer_report import effort_table, save_plots
    from InteractiveSegLib.evaluation.streams.transfer_task import transfer_tasks
    from InteractiveSegLib.system.files import replacing

    if options.data is None:
        raise InputError("name the images: --data FOLDER, which holds those of MS-CMRSeg, ACDC and hippocampus")
    parts = [word.strip() for word in options.parts.split(",")] if options.parts else list(PARTS)
    if wrong := [word for word in parts if word not in PARTS]:
        raise InputError(f"--parts {', '.join(wrong)}: there are {', '.join(PARTS)}")
    page = ResultsPage(options, ("transfer", "transfer effort"))
    settings, tasks = _settings(options), transfer_tasks()
    wanted = {"heart": [part for part in parts if part != "control"]}
    if "control" in parts:
        wanted["control"] = ["random", "full", "nothing"]
    texts = []
    for name, ways in wanted.items():
        if ways:
            folder = options.output / name
            found = _transferred(tasks[name], ways, folder, settings, options)
            save_plots(found, folder)
            texts.append(_tables(tasks[name], found))
            print(texts[-1], flush=True)
    model = effort_table(settings.effort)
    text = "\n".join([*texts, "### Model of a person's time", "", model, ""])
    with replacing(options.output / "transfer.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    page.write({"transfer": "\n".join(texts), "transfer effort": model})
    say(options, f"tables, plots and single results: {options.output}")


def _settings(options: argparse.Namespace) -> TransferSettings:
    from InteractiveSegLib.evaluation.streams.transfer_study import TransferSettings
    from InteractiveSegLib.learning.igniter import IgniteSettings

    default = TransferSettings()
    steps, updates, cases, tested = _QUICK if options.quick else (None, None, None, default.tested)
    steps, updates, cases = options.steps or steps, options.updates or updates, options.cases or cases
    learn = default.learn if updates is None else replace(default.learn, updates=updates, updates_per_case=0)
    batches: list[int] = []
    for size in default.batches:  # the last one may be cut
        left = size if cases is None else min(size, cases - sum(batches))
        batches += [left] if left > 0 else []
    return TransferSettings(
        IgniteSettings(steps=steps or default.ignite.steps),
        learn,
        tuple(batches),
        tested=options.tested or tested,
    )


def _transferred(
    task: TransferTask, parts: list[str], output: Path, settings: TransferSettings, options: argparse.Namespace
) -> Transferred:
    from InteractiveSegLib.evaluation.streams.transfer_references import from_nothing_steps
    from InteractiveSegLib.evaluation.streams.transfer_report import Transferred
    from InteractiveSegLib.evaluation.streams.transfer_study import MAIN, WAYS, study_steps

    studies, full, nothing = [], {}, {}
    ways = [WAYS[part.replace("-", " ")] for part in parts if part.replace("-", " ") in WAYS]
    if MAIN not in ways:  # all others are compared with it
        ways.insert(0, MAIN)
    for seed in range(options.seed, options.seed + options.seeds):
        place = output / f"{settings.name}-seed-{seed}"
        for way in ways:
            studies.append(shown(study_steps(task, options.data, place, settings, way, seed), options))
        if "full" in parts:
            full[seed] = shown(from_nothing_steps(task, options.data, place, settings, seed, None), options)
        for batches in range(1, min(_COMPARED, len(settings.batches)) + 1) if "nothing" in parts else ():
            steps = from_nothing_steps(task, options.data, place, settings, seed, batches)
            nothing[seed, batches] = shown(steps, options)
    return Transferred(task.name, task.labels, studies, full, nothing)


def _tables(task: TransferTask, found: Transferred) -> str:
    from InteractiveSegLib.evaluation.streams.transfer_report import (
        batches_table,
        curves_table,
        organs_table,
        requirements_table,
    )

    tables = [requirements_table(found), curves_table(found), organs_table(found), batches_table(found)]
    return "\n\n".join([f"### {task.title}", *tables]) + "\n"
