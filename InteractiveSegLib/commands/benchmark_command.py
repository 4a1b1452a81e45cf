"""``interactiveseg benchmark``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from InteractiveSegLib.commands.results_page import ResultsPage, add_page_options
from InteractiveSegLib.commands.scribble_command import add_scribble_options
from InteractiveSegLib.commands.stream_command import PARTS
from InteractiveSegLib.commands.terminal import add_common, add_trust, count_of, say, shown
from InteractiveSegLib.commands.transfer_command import PARTS as TRANSFER_PARTS
from InteractiveSegLib.device import device_named
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.networks import DEFAULT_NETWORK

if TYPE_CHECKING:
    from InteractiveSegLib.evaluation.data.datasets import Dataset
    from InteractiveSegLib.evaluation.data.folder_dataset import FolderDataset

_QUICK_CASES, _QUICK_ROUNDS = 1, 2
_BASELINES = "box,grabcut,grow,geodesic,mixtures,walker"
_QUICK_BASELINES = "box,grow,mixtures"


def add_benchmark(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "benchmark",
        help="compare methods on annotated images, with the same prompts",
        description="Score methods with the same robot users, or people's scribbles, on annotated images; time the "
        "stages (--task speed); annotate slices and propagate them (--task propagate); accept cases one after the "
        "other and learn from them (--task stream); start a study from a few labelled images and correct its starting "
        "masks, batch by batch (--task transfer); or teach networks by scribbles (--task scribbles). Start a stopped "
        "run again with the same --output to resume it.",
    )
    command.add_argument(
        "--task",
        choices=("accuracy", "speed", "propagate", "stream", "transfer", "scribbles"),
        default="accuracy",
        help="what to measure",
    )
    data = command.add_argument_group("images")
    data.add_argument("--data", type=Path, metavar="FOLDER", help="folder that contains the listed datasets")
    data.add_argument(
        "--datasets", type=Path, metavar="FILE", help="list of datasets to use instead of the shipped one"
    )
    data.add_argument("--only", metavar="A,B,...", help="only datasets whose name contains one of these words")
    data.add_argument(
        "--objects", metavar="A,B,...", help="with --data, only objects whose name contains one of these words"
    )
    data.add_argument("--images", type=Path, metavar="FOLDER", help="any images, with --labels")
    data.add_argument("--labels", type=Path, metavar="FOLDER", help="labelmaps named like the images")
    data.add_argument(
        "--cases",
        type=count_of,
        metavar="N",
        help="at most N cases per dataset, spread evenly over it; at most N accepted cases (or patients) of a stream, "
        "or annotated ones of a transfer",
    )
    data.add_argument(
        "--split",
        choices=("report", "tuning", "all"),
        default="report",
        help="images on which no setting was tuned (report), on which settings were tuned (tuning), or both (all)",
    )
    users = command.add_argument_group("methods and users")
    users.add_argument("--model", default=DEFAULT_NETWORK, help="network whose variants come first in the table")
    users.add_argument(
        "--methods",
        metavar="A,B,...",
        help=f"default: MODEL,MODEL:fixed,MODEL:plain,{_BASELINES}; other models and MODEL:straight are possible. "
        "MODEL:fixed is never fine-tuned (--no-adapt of segment). For networks that scribbles teach, "
        "the one that makes masks of the scribbles (default: ensemble)",
    )
    users.add_argument(
        "--users",
        metavar="A,B,...",
        help="any of robot, sloppy, clicks (one per object and round), strokes (one per object and round), short (one "
        "short stroke per error) and human (default: robot,human)",
    )
    users.add_argument(
        "--prompts",
        default="box",
        metavar="A,B,...",
        help="what every robot draws first: any of box, none, slice-box (on one slice, with a guessed depth), "
        "loose-box (10 to 30 %% larger on every side) and mask (with errors, to be corrected)",
    )
    users.add_argument("--rounds", type=int, default=3, help="rounds of scribbles or clicks by every robot")
    users.add_argument(
        "--cap", type=int, help="continue until the Dice is 0.90, for at most this many rounds (usually 20)"
    )
    streams = command.add_argument_group("streams of cases, and transfer")
    streams.add_argument(
        "--parts",
        metavar="A,B,...",
        help=f"of {', '.join(PARTS)} (--task stream), or of {', '.join(TRANSFER_PARTS)} (--task transfer)",
    )
    streams.add_argument(
        "--seeds", type=count_of, default=1, metavar="N", help="orders of the automatic stream, or runs of a transfer"
    )
    for name, text in (
        ("--steps", "of the igniter of a transfer"),
        ("--updates", "after each batch of a transfer, or of every training from scribbles (default there: 12000)"),
        ("--tested", "test cases of a transfer, at most"),
    ):
        streams.add_argument(name, type=count_of, metavar="N", help=text)
    add_scribble_options(command)
    command.add_argument(
        "--quick",
        action="store_true",
        help=f"a first look in minutes: by default {_QUICK_CASES} case per dataset, {_QUICK_ROUNDS} rounds of one "
        f"robot, the methods MODEL,{_QUICK_BASELINES} and one process per core",
    )
    command.add_argument("--jobs", type=count_of, metavar="N", help="number of parallel processes (default: 1)")
    command.add_argument(
        "-o", "--output", type=Path, default=Path("benchmark_output"), metavar="FOLDER", help="tables and plots"
    )
    add_page_options(command)
    add_trust(command)
    add_common(command)
    command.set_defaults(run=_benchmark, default_of=command.get_default)


def _benchmark(options: argparse.Namespace) -> None:
    device = device_named(options.device)
    if options.trust_model:
        from InteractiveSegLib.networks.checkpoint import trust_programs

        trust_programs(options.model)
    options.jobs = options.jobs or ((os.cpu_count() or 1) if options.quick else 1)
    if options.task == "speed":
        from InteractiveSegLib.evaluation.prompted.speed import speed_steps

        page = ResultsPage(options, ("speed",))
        table = shown(speed_steps(options.model, options.seed, device), options)
        print(table)
        page.write({"speed": table})
        return
    if options.task == "propagate":
        _propagation(options)
        return
    if options.task == "stream":
        from InteractiveSegLib.commands.stream_command import run_streams

        run_streams(options)
        return
    if options.task == "scribbles":
        from InteractiveSegLib.commands.scribble_command import run_scribbles

        run_scribbles(options)
        return
    if options.task == "transfer":
        from InteractiveSegLib.commands.transfer_command import run_transfer

        run_transfer(options)
        return
    from InteractiveSegLib.evaluation.prompted.benchmark import BenchmarkSettings, benchmark_steps, write_csv
    from InteractiveSegLib.evaluation.prompted.plots import save_plots
    from InteractiveSegLib.evaluation.prompted.report import page_names, page_tables, report
    from InteractiveSegLib.evaluation.prompted.showcase import save_showcase
    from InteractiveSegLib.evaluation.prompted.trial import TrialSettings
    from InteractiveSegLib.system.files import replacing

    datasets, data = _datasets(options)
    rounds = _QUICK_ROUNDS if options.quick else options.rounds
    methods = options.methods or _default_methods(options.model, options.quick)
    settings = BenchmarkSettings(
        methods=_words(methods),
        users=_words(options.users or ("robot" if options.quick else "robot,human")),
        prompts=_words(options.prompts),
        cases=_QUICK_CASES if options.quick and options.cases is None else options.cases,
        split=options.split,
        jobs=options.jobs,
        trial=TrialSettings(rounds, options.cap or rounds, seed=options.seed, device=str(device)),
    )
    page = ResultsPage(options, page_names(settings))
    outcome = shown(benchmark_steps(datasets, data, options.output, settings), options)
    if not outcome.scores:
        raise InputError(f"no case could be scored: {'; '.join(outcome.notes)}")
    write_csv(outcome.scores, options.output / "scores.csv")
    text = report(outcome, settings)
    with replacing(options.output / "report.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    save_plots(outcome.scores, settings, options.output)
    shown(save_showcase(outcome.scores, datasets, data, options.output, settings), options)
    print(text)
    page.write(page_tables(outcome, settings))
    say(options, f"table, CSV, plots and pictures: {options.output}")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(","))


def _default_methods(model: str, quick: bool) -> str:
    if quick:
        return f"{model},{_QUICK_BASELINES}"
    return ",".join([*(f"{model}{variant}" for variant in ("", ":fixed", ":plain")), _BASELINES])


def _datasets(options: argparse.Namespace) -> tuple[Sequence[Dataset | FolderDataset], Path]:
    """The datasets of the command line, and the folder that holds them."""
    from InteractiveSegLib.evaluation.data.datasets import folder_dataset, listed_datasets

    if (options.images is None) != (options.labels is None):
        raise InputError("--images and --labels go together")
    if (options.images is None) == (options.data is None):
        raise InputError("name the images: either --data FOLDER or --images FOLDER and --labels FOLDER")
    if options.images is not None:
        datasets, data = (folder_dataset(options.images, options.labels),), options.images
        say(options, *(f"{name} has no matching image or labelmap and is left out" for name in datasets[0].unmatched))
    else:
        datasets, data = listed_datasets(options.datasets), options.data
        words = [word.strip().lower() for word in (options.only or "").split(",")]
        datasets = tuple(d for d in datasets if any(word in d.name.lower() for word in words))
        if not datasets:
            raise InputError(f"--only {options.only}: no dataset has such a name")
    if options.objects:
        wanted = [word.strip().lower() for word in options.objects.split(",")]
        if options.images is not None:
            raise InputError("--objects chooses objects of listed datasets: it goes with --data, not with --images")
        datasets = tuple(chosen for dataset in datasets if (chosen := dataset.with_objects(wanted)) is not None)
        if not datasets:
            raise InputError(f"--objects {options.objects}: no dataset has an object with such a name")
    return datasets, data


def _propagation(options: argparse.Namespace) -> None:
    """Annotated slices instead of prompts."""
    from InteractiveSegLib.evaluation.slices.propagation_benchmark import PropagationSettings, propagation_steps
    from InteractiveSegLib.evaluation.slices.propagation_methods import METHODS
    from InteractiveSegLib.evaluation.slices.propagation_report import (
        TABLE_TITLES,
        propagation_report,
        propagation_tables,
        write_scores,
    )
    from InteractiveSegLib.evaluation.slices.propagation_speed import propagation_speed_steps
    from InteractiveSegLib.system.files import replacing

    datasets, data = _datasets(options)
    cases = _QUICK_CASES if options.quick and options.cases is None else options.cases
    settings = PropagationSettings(
        methods=tuple(word.strip() for word in options.methods.split(",")) if options.methods else METHODS,
        model=options.model,
        cases=cases,
        split=options.split,
        jobs=options.jobs,
        seed=options.seed,
    )
    page = ResultsPage(options, (*TABLE_TITLES, "propagate speed"))
    outcome = shown(propagation_steps(datasets, data, options.output, settings), options)
    speed = shown(propagation_speed_steps(options.jobs), options)
    write_scores(outcome, options.output)
    text = f"{propagation_report(outcome, settings)}\n### Speed\n\n{speed}\n"
    with replacing(options.output / "propagation.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(text)
    page.write({**propagation_tables(outcome, settings), "propagate speed": speed})
    say(options, f"tables and CSV: {options.output}")
