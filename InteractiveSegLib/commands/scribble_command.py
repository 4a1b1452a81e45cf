"""``interactiveseg benchmark --task scribbles``: networks that scribbles teach, against other ways to teach them."""

from __future__ import annotations

import argparse
from dataclasses import replace

from InteractiveSegLib.commands.results_page import ResultsPage
from InteractiveSegLib.commands.terminal import say, shown_in_lines
from InteractiveSegLib.errors import InputError

SETS = ("acdc", "mscmr")
_MSCMR_VALIDATION = 5


def add_scribble_options(command: argparse.ArgumentParser) -> None:
    """Those of the task."""
    group = command.add_argument_group("networks that scribbles teach")
    group.add_argument(
        "--variants",
        metavar="A,B,...",
        help="of partial, strong, crf, attentive, both, ensemble, ensemble-attentive and full (default: all)",
    )
    group.add_argument("--folds", default="0", metavar="A,B,...", help="of the five folds by patient, from 0 to 4")
    group.add_argument("--sets", default="acdc", metavar="A,B", help="any of acdc and mscmr")


def run_scribbles(options: argparse.Namespace) -> None:
    """The sets of ``--sets``, each in a folder of its own; finished trainings are not repeated."""
    from InteractiveSegLib.evaluation.data.scribbled_cases import ACDC, MSCMR, scribbled_cases
    from InteractiveSegLib.evaluation.scribbles.scribble_benchmark import (
        ScribbleBenchmarkSettings,
        fixed_fold,
        folds_of,
        scribble_benchmark_steps,
    )
    from InteractiveSegLib.evaluation.scribbles.scribble_report import (
        save_learning_curves,
        scribble_table,
        write_scribble_scores,
    )
    from InteractiveSegLib.evaluation.scribbles.variants import MASKS, variants_named
    from InteractiveSegLib.learning.scribble_training import ScribbleSettings
    from InteractiveSegLib.system.files import replacing

    if options.data is None:
        raise InputError("name the images: --data FOLDER, which holds acdc_cardiac, acdc_cardiac_more or mscmr_lge")
    sets = [word.strip() for word in options.sets.split(",")]
    if unknown := [word for word in sets if word not in SETS]:
        raise InputError(f"--sets {', '.join(unknown)}: there are {', '.join(SETS)}")
    variants = variants_named(options.variants)
    try:
        folds = tuple(int(word) for word in options.folds.split(","))
    except ValueError:
        raise InputError(f"--folds {options.folds}: expected numbers such as 0,1,2") from None
    training = ScribbleSettings(seed=options.seed)
    training = replace(training, steps=options.updates or training.steps)
    settings = ScribbleBenchmarkSettings(
        tuple(variants),
        folds,
        method=options.methods or "ensemble",
        training=training,
    )
    page = ResultsPage(options, [f"scribbles {word}" for word in sets])
    for word in sets:
        found = {"acdc": ACDC, "mscmr": MSCMR}[word]
        cases = scribbled_cases(options.data, found)
        own, parts = settings, []
        if word == "mscmr":  # nobody outlined its training images
            kept = tuple(each for each in variants if each.learns_from != MASKS)
            own, parts = replace(settings, variants=kept, folds=(0,)), [fixed_fold(cases, _MSCMR_VALIDATION)]
        parts = parts or folds_of(cases, own)
        folder = options.output / word
        results = shown_in_lines(scribble_benchmark_steps(cases, parts, folder, own), options)
        write_scribble_scores(results, folder / "scores.csv")
        save_learning_curves(results, folder / "curves.png")
        table = scribble_table(results)
        text = f"### {found.name}, {training.steps} updates\n\n{table}\n"
        with replacing(folder / "scribbles.md") as temporary:
            temporary.write_text(text, encoding="utf-8")
        print(text, flush=True)
        page.write({f"scribbles {word}": table}, sets=word)
    say(options, f"tables, curves and pictures: {options.output}")
