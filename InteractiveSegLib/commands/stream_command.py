"""``interactiveseg benchmark --task stream``: the benefit of learning from accepted cases."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from InteractiveSegLib.commands.results_page import ResultsPage
from InteractiveSegLib.commands.terminal import say, shown
from InteractiveSegLib.errors import InputError

if TYPE_CHECKING:
    from InteractiveSegLib.evaluation.data.datasets import Dataset

TITLES = {
    "interactive": "Patients accepted one by one, ACDC, experts' scribbles",
    "automatic": "A stream of hippocampi, a few slices of each annotated",
    "forgetting": "Forgetting: Dice on hippocampi",
    "effort": "Effort a case along a stream of hippocampi, interactive network",
    "slowdown": "Rounds of scribbles while the learner trains, ACDC",
}
PARTS = tuple(TITLES)


def run_streams(options: argparse.Namespace) -> None:
    """The parts of ``--parts``, one after the other, each in a folder of its own; finished work is not repeated."""
    if options.data is None:
        raise InputError("name the images: --data FOLDER, which holds those of ACDC, hippocampus and left atrium")
    wanted = [word.strip() for word in options.parts.split(",")] if options.parts else list(PARTS)
    if wrong := [word for word in wanted if word not in PARTS]:
        raise InputError(f"--parts {', '.join(wrong)}: there are {', '.join(PARTS)}")
    page = ResultsPage(options, [f"stream {part}" for part in wanted])
    runs: dict[str, Callable[[argparse.Namespace, Path], str]] = {
        "interactive": _interactive,
        "automatic": _automatic,
        "forgetting": _forgetting,
        "effort": _effort,
        "slowdown": _slowdown,
    }
    for part in wanted:
        folder = options.output / part
        folder.mkdir(parents=True, exist_ok=True)
        table = runs[part](options, folder)
        print(f"### {TITLES[part]}\n\n{table}\n", flush=True)
        page.write({f"stream {part}": table}, parts=part)
    say(options, f"plots and single results: {options.output}")


def _interactive(options: argparse.Namespace, folder: Path) -> str:
    from InteractiveSegLib.evaluation.streams.interactive_stream import (
        InteractiveStreamSettings,
        interactive_stream_steps,
    )
    from InteractiveSegLib.evaluation.streams.stream_report import interactive_table
    from InteractiveSegLib.learning.settings import LearnSettings

    settings = InteractiveStreamSettings(start=_taught(options), learn=LearnSettings(seed=options.seed))
    if options.cases is not None:
        settings = replace(settings, after=tuple(number for number in settings.after if number <= options.cases))
    place = folder / _name(options)
    scores = shown(interactive_stream_steps(_listed("ACDC"), options.data, place, settings), options)
    return interactive_table(scores)


def _automatic(options: argparse.Namespace, folder: Path) -> str:
    from InteractiveSegLib.evaluation.streams.automatic_stream import AutomaticStreamSettings, automatic_stream_steps
    from InteractiveSegLib.evaluation.streams.stream_report import automatic_table, save_curve

    results = []
    for seed in range(options.seed, options.seed + options.seeds):
        settings = AutomaticStreamSettings(jobs=options.jobs).with_seed(seed)
        settings = settings.shortened(options.cases or settings.streamed)
        place = folder / f"seed-{seed}-of-{settings.streamed}"
        results.append(shown(automatic_stream_steps(_hippocampus(), options.data, place, settings), options))
    save_curve(results, folder / "curve.png")
    return automatic_table(results)


def _forgetting(options: argparse.Namespace, folder: Path) -> str:
    from InteractiveSegLib.evaluation.streams.forgetting import ForgettingSettings, forgetting_steps
    from InteractiveSegLib.evaluation.streams.stream_report import forgetting_table

    settings = ForgettingSettings()
    settings = replace(settings, learn=replace(settings.learn, seed=options.seed))
    if options.cases is not None:
        first, second, again = (min(n, options.cases) for n in (settings.first, settings.second, settings.again))
        settings = replace(settings, first=first, second=second, again=again)
    place = folder / f"{settings.first}-{settings.second}-{settings.again}-seed-{options.seed}"
    steps = forgetting_steps(_hippocampus(), _listed("left atrium"), options.data, place, settings)
    return forgetting_table(shown(steps, options), "hippocampus", "left atrium")


def _effort(options: argparse.Namespace, folder: Path) -> str:
    from InteractiveSegLib.evaluation.streams.effort_stream import EffortStreamSettings, effort_stream_steps
    from InteractiveSegLib.evaluation.streams.stream_report import effort_table, save_effort
    from InteractiveSegLib.learning.settings import LearnSettings

    costs = []
    for learning in (True, False):
        learn = LearnSettings(seed=options.seed)
        settings = EffortStreamSettings(start=_taught(options), learning=learning, learn=learn)
        settings = replace(settings, cases=min(settings.cases, options.cases or settings.cases))
        place = folder / _name(options) / ("learning" if learning else "fixed")
        costs.append(shown(effort_stream_steps(_listed("hippocampus"), options.data, place, settings), options))
    save_effort(*costs, folder / "effort.png")
    return effort_table(*costs)


def _slowdown(options: argparse.Namespace, folder: Path) -> str:
    from InteractiveSegLib.evaluation.streams.slowdown import SlowdownSettings, slowdown_steps, slowdown_table

    settings = SlowdownSettings(model=options.model)
    return slowdown_table(shown(slowdown_steps(_listed("ACDC"), options.data, folder, settings), options))


def _name(options: argparse.Namespace) -> str:
    """Of the folder of a stream: results of other networks and orders are not mixed up."""
    start = _taught(options)
    where = f"-{hashlib.sha256(str(Path(start).resolve()).encode()).hexdigest()[:8]}" if Path(start).is_dir() else ""
    return f"{Path(start).name}{where}-seed-{options.seed}"


def _taught(options: argparse.Namespace) -> str:
    """The network that the interactive learner starts from."""
    from InteractiveSegLib.networks import DEFAULT_NETWORK

    return "prompted" if options.model == DEFAULT_NETWORK else options.model


def _listed(word: str) -> Dataset:
    from InteractiveSegLib.evaluation.data.datasets import listed_datasets

    return next(dataset for dataset in listed_datasets() if word in dataset.name)


def _hippocampus() -> Dataset:
    """Both parts as separate labels: the automatic network segments several."""
    return replace(_listed("hippocampus"), objects={"anterior": (1,), "posterior": (2,)})
