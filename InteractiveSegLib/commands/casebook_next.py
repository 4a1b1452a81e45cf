"""``interactiveseg casebook next`` and ``status``: what to work on, and whether to go on."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from InteractiveSegLib.casebook.orders import ORDERS
from InteractiveSegLib.commands.casebook_action import action_of, opened
from InteractiveSegLib.commands.casebook_list import confidences_text
from InteractiveSegLib.commands.terminal import add_json, count_of, say
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.wording.plain_text import printable


def add_next(actions: argparse._SubParsersAction) -> None:
    action = action_of(actions, "next", "name the next case and the reason", _next)
    action.add_argument("--order", choices=ORDERS, default="fixed", help="which case comes first")
    action.add_argument(
        "--batch",
        nargs="?",
        type=count_of,
        const=0,
        metavar="N",
        help="print the cases of the next batch instead, one per line: N cases, or the remaining ones of the current "
        "batch (5, 10, 20, then 40 cases); none of the test split, which is annotated without help",
    )


def add_status(actions: argparse._SubParsersAction) -> None:
    action = action_of(
        actions,
        "status",
        "show the progress and effort of the study, and whether to stop",
        _status,
        "Show how many cases and organs are verified and, for each batch, the median time per case and how much of the "
        "starting masks was changed. Suggests stopping if the median time has levelled off from one batch to the next, "
        "or if fewer than 2 percent of the voxels change.",
    )
    add_json(action)


def _next(options: argparse.Namespace) -> None:
    from InteractiveSegLib.casebook.starting_masks import starting_mask
    from InteractiveSegLib.casebook.uncertainties import known_uncertainties
    from InteractiveSegLib.casebook.worklist import next_case

    if options.batch is not None:
        _next_batch(options)
        return
    with opened(options) as casebook:
        found = next_case(casebook, options.order, known_uncertainties(casebook))
        start = None if found is None else starting_mask(casebook, found.entry)
        labels = casebook.labels()
    if found is None:
        raise InputError(f"nothing is left to do in {options.casebook}: no case is new or reopened")
    print(printable(found.entry.name))
    say(options, *found.notes, found.reason)
    if start is not None:
        say(options, f"its starting mask is {start.mask} (confidence: {confidences_text(start.confidences, labels)})")


def _next_batch(options: argparse.Namespace) -> None:
    from InteractiveSegLib.casebook.batches import next_batch

    with opened(options) as casebook:
        found = next_batch(casebook, options.order, options.batch or None)
    if not found.cases:
        raise InputError(f"no case is left for a batch in {options.casebook}: no case outside the test split is new")
    for entry in found.cases:
        print(printable(entry.name))
    say(options, found.reason)


def _status(options: argparse.Namespace) -> None:
    from InteractiveSegLib.casebook.study_status import study_status

    with opened(options) as casebook:
        status = study_status(casebook)
    if options.json:
        fields = {**asdict(status), "cases": {state.value: count for state, count in status.cases.items()}}
        print(json.dumps(fields))
    else:
        print("\n".join(status.lines()))
