"""``interactiveseg casebook ignite``: a study that starts from a small labelled set of images."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from InteractiveSegLib.commands.casebook_list import told
from InteractiveSegLib.commands.terminal import PARTLY_DONE, add_common, count_of, say, shown
from InteractiveSegLib.device import device_named
from InteractiveSegLib.wording.plain_text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from InteractiveSegLib.learning.starting import Started
    from InteractiveSegLib.progress import Progress, Steps

_Result = TypeVar("_Result")
_LINES, _PAUSE_S = 20, 5.0  # of progress, where no terminal draws a bar: as many at least, and how often in between


def add_ignite(actions: argparse._SubParsersAction) -> None:
    action = actions.add_parser(
        "ignite",
        help="start the cases from a small labelled set of images",
        description="Train a network on labelled images, even from another scanner, contrast or hospital, and give "
        "every new case a starting mask. All of it is unverified until a person accepts organs or slices of it. Cases "
        "of the test split get no starting mask and are not learnt from. Run it again to resume after an interruption, "
        "or when cases were added.",
    )
    action.add_argument("casebook", type=Path, metavar="CASEBOOK", help="its folder")
    action.add_argument("--images", type=Path, required=True, metavar="FOLDER", help="NIfTI, NRRD or MHA files")
    action.add_argument(
        "--labels", type=Path, required=True, metavar="FOLDER", help="their labelmaps, of the same names"
    )
    action.add_argument(
        "--names",
        type=Path,
        metavar="FILE",
        help='names of the labels, as JSON: {"1": "liver"}; they are then matched by name instead of number',
    )
    action.add_argument("--steps", type=count_of, default=1200, metavar="N", help="of the training")
    action.add_argument("--low-priority", action="store_true", help="yield to all other programs, use one core")
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
        print(f"{printable(case)}\tstarting mask\t{told(confidences, names)}")
    say(options, *started.notes, *started.left_out)


def shown_in_lines(steps: Steps[_Result], options: argparse.Namespace) -> _Result:
    """With a bar on a terminal; elsewhere a line on standard error for every twentieth part, and every 5 s."""
    from InteractiveSegLib.progress import finish

    if options.quiet or sys.stderr.isatty():
        return shown(steps, options)
    last, told_at = None, 0.0

    def tell(progress: Progress) -> None:
        nonlocal last, told_at
        part = (progress.total, progress.done * _LINES // max(progress.total, 1))
        if part != last or time.monotonic() > told_at + _PAUSE_S:
            last, told_at = part, time.monotonic()
            print(f"{progress.done} of {progress.total}: {printable(progress.text)}", file=sys.stderr, flush=True)

    return finish(steps, tell)
