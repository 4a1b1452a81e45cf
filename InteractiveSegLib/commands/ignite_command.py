"""``interactiveseg casebook ignite``: a study that starts from a small labelled set of images."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from InteractiveSegLib.commands.casebook_action import add_casebook_folder
from InteractiveSegLib.commands.casebook_list import confidences_text
from InteractiveSegLib.commands.terminal import (
    PARTLY_DONE,
    add_common,
    add_label_names,
    add_low_priority,
    add_training_images,
    add_training_steps,
    say,
    shown_in_lines,
)
from InteractiveSegLib.device import device_named
from InteractiveSegLib.wording.plain_text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from InteractiveSegLib.learning.starting import Started


def add_ignite(actions: argparse._SubParsersAction) -> None:
    action = actions.add_parser(
        "ignite",
        help="start the cases from a small labelled set of images",
        description="Train a network on labelled images, even from another scanner, contrast or hospital, and give "
        "every new case a starting mask. All of it is unverified until a person accepts organs or slices of it. Cases "
        "of the test split get no starting mask and are not learnt from. Run it again to resume after an interruption, "
        "or when cases were added.",
    )
    add_casebook_folder(action)
    add_training_images(action)
    action.add_argument(
        "--labels", type=Path, required=True, metavar="FOLDER", help="their labelmaps, of the same names"
    )
    add_label_names(action, "; they are then matched by name instead of number")
    add_training_steps(action, 1200)
    add_low_priority(action)
    add_common(action)
    action.set_defaults(run=_ignite)


def _ignite(options: argparse.Namespace) -> int:
    from InteractiveSegLib.casebook.casebook import Casebook
    from InteractiveSegLib.learning.background import lower_priority
    from InteractiveSegLib.learning.igniter import Igniter, IgniteSettings
    from InteractiveSegLib.learning.source_set import read_names

    if options.low_priority:
        lower_priority()
    named = None if options.names is None else read_names(options.names)
    settings = IgniteSettings(steps=options.steps, seed=options.seed)
    with Casebook(options.casebook) as casebook:
        igniter = Igniter(casebook, options.images, options.labels, named, settings, device_named(options.device))
        try:
            ignited = shown_in_lines(igniter.steps(), options)
            names = casebook.labels()
        finally:
            say(options, *casebook.notes)
    if not ignited.started.confidences and not ignited.started.left_out:
        say(options, "every case that may have a starting mask has one of this network")
    tell_started(ignited.started, names, options)
    return PARTLY_DONE if ignited.started.left_out else 0


def tell_started(started: Started, names: Mapping[int, str], options: argparse.Namespace) -> None:
    """A line for every case that got a starting mask, and notes."""
    for case, confidences in started.confidences.items():
        print(f"{printable(case)}\tstarting mask\t{confidences_text(confidences, names)}")
    say(options, *started.notes, *started.left_out)
