"""``interactiveseg learn``: networks that learn from the accepted cases of a casebook."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from InteractiveSegLib.casebook.orders import ORDERS
from InteractiveSegLib.commands.casebook_action import add_casebook_folder
from InteractiveSegLib.commands.ignite_command import tell_started
from InteractiveSegLib.commands.scribble_learn import learn_from_scribbles
from InteractiveSegLib.commands.terminal import (
    PARTLY_DONE,
    add_common,
    add_json,
    add_low_priority,
    count_of,
    count_or_none,
    say,
    shown,
)
from InteractiveSegLib.device import device_named
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.learning.settings import REPLAYS
from InteractiveSegLib.wording.counting import counted
from InteractiveSegLib.wording.plain_text import printable

if TYPE_CHECKING:
    from InteractiveSegLib.casebook.casebook import Casebook

_NETWORKS = ("prompted", "automatic", "sustainer")
_FOR_MASKS = ("network", "together", "replay", "buffer", "expected_cases", "order")  # not for scribbles


def add_learn(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "learn",
        help="learn from the accepted cases of a casebook",
        description="Learn from the accepted cases of a casebook that were not learnt yet: one training per case, or, "
        "for the sustainer, one for all of them. A new version is used only if it is not worse on the validation "
        "cases. Run it again to resume after an interruption.",
    )
    add_casebook_folder(command)
    command.add_argument(
        "--network",
        choices=_NETWORKS,
        help=f"network to train (default: {_NETWORKS[0]}); sustainer starts from the network of casebook ignite",
    )
    command.add_argument(
        "--from",
        choices=("masks", "scribbles"),
        default="masks",
        dest="source",
        help="scribbles: train a network on the scribbles of cases without an accepted mask, on all of them at once",
    )
    command.add_argument(
        "--updates",
        type=count_of,
        metavar="N",
        help="optimiser steps per training (default: 150; sustainer: 200 and 40 for every case; scribbles: 12000)",
    )
    command.add_argument(
        "--together",
        type=count_of,
        metavar="N",
        help="maximum number of accepted cases per training (default: 1; sustainer: 40)",
    )
    command.add_argument("--replay", choices=REPLAYS, help=f"how earlier cases are replayed (default: {REPLAYS[0]})")
    command.add_argument(
        "--buffer", type=count_of, metavar="N", help="earlier cases kept for replay (default: 24; sustainer: 80)"
    )
    command.add_argument(
        "--expected-cases",
        type=count_of,
        metavar="N",
        help="length of the stream; by default all cases of the casebook",
    )
    command.add_argument(
        "--look-at",
        type=count_or_none,
        default=8,
        metavar="N",
        help="maximum number of new cases to predict afterwards, for the order 'uncertain' of casebook next (default: "
        "8); the sustainer and --from scribbles give them starting masks",
    )
    command.add_argument(
        "--order",
        choices=ORDERS,
        help="order in which the sustainer gives cases starting masks, as for casebook next --batch (default: "
        f"{ORDERS[0]})",
    )
    add_low_priority(command)
    instead = command.add_mutually_exclusive_group()
    instead.add_argument("--versions", action="store_true", help="show the versions and learn nothing")
    instead.add_argument("--roll-back", action="store_true", help="go back to the previous version and learn nothing")
    add_json(command, "with --versions: ")
    add_common(command)
    command.set_defaults(run=_learn)


def _learn(options: argparse.Namespace) -> int:
    from InteractiveSegLib.casebook.casebook import Casebook

    with Casebook(options.casebook) as casebook:
        try:
            _settle(options)
            if options.versions:
                _show(casebook, options)
            elif options.roll_back:
                _roll_back(casebook, options)
            elif options.source == "scribbles":
                return learn_from_scribbles(casebook, options)
            else:
                return _teach(casebook, options)
        finally:
            say(options, *casebook.notes)
    return 0


def _settle(options: argparse.Namespace) -> None:
    """Fill in the defaults. InputError for an option that the source does not use."""
    if options.source == "scribbles":
        for name in _FOR_MASKS:
            if getattr(options, name) is not None:
                raise InputError(f"--{name.replace('_', '-')} does not apply to --from scribbles")
        options.network = options.source
    options.network = options.network or _NETWORKS[0]
    options.replay = options.replay or REPLAYS[0]
    options.order = options.order or ORDERS[0]


def _teach(casebook: Casebook, options: argparse.Namespace) -> int:
    """The exit code: 3 where every case was postponed."""
    from InteractiveSegLib.casebook.batches import next_batch
    from InteractiveSegLib.learning.background import lower_priority
    from InteractiveSegLib.learning.learner import StreamLearner, teacher_named
    from InteractiveSegLib.learning.settings import LearnSettings
    from InteractiveSegLib.learning.sustainer import (
        SUSTAINER,
        SUSTAINER_SETTINGS,
        SustainerTeacher,
        sustain_start_steps,
    )
    from InteractiveSegLib.learning.uncertainty import UncertaintySettings

    if options.low_priority:
        lower_priority()
    sustains = options.network == SUSTAINER
    said = {name: getattr(options, name) for name in ("updates", "together", "buffer")}
    said["updates_per_case"] = None if options.updates is None else 0
    settings = replace(
        SUSTAINER_SETTINGS if sustains else LearnSettings(),
        replay=options.replay,
        expected_cases=options.expected_cases or max(1, len(casebook.cases())),
        seed=options.seed,
        **{name: value for name, value in said.items() if value is not None},
    )
    teacher = SustainerTeacher.of(casebook) if sustains else teacher_named(options.network)
    uncertainty = UncertaintySettings(0 if sustains else options.look_at)  # which go with the starting masks
    learner = StreamLearner(casebook, teacher, settings, device=device_named(options.device), uncertainty=uncertainty)
    learnt = shown(learner.steps(), options)
    if not learnt:
        say(options, "every accepted case for training has been learnt")
    for case in learnt:
        print(f"{printable(case.case)}\tversion {case.version or 'none'}\t{printable(case.reason)}")
    if sustains:
        batch = next_batch(casebook, options.order, options.look_at).cases if options.look_at else ()
        started = shown(sustain_start_steps(casebook, teacher, None, [entry.name for entry in batch]), options)
        if started is not None:
            tell_started(started, casebook.labels(), options)
    return PARTLY_DONE if learnt and all(case.postponed for case in learnt) else 0


def _show(casebook: Casebook, options: argparse.Namespace) -> None:
    from InteractiveSegLib.learning.versions import versions

    found = versions(casebook, options.network)
    if options.json:
        kept = [
            {
                "version": each.id,
                "state": each.state,
                "parent": each.parent,
                "at": each.at,
                "cases": [casebook.case_of_id(number).name for number in each.cases],
                "weights": str(each.folder) if each.folder else None,
                "reason": each.reason,
            }
            for each in found
        ]
        print(json.dumps({"network": options.network, "versions": kept}))
        return
    for each in found:
        cases = counted(len(each.cases), "case", "cases")
        print(f"version {each.id}\t{each.state}\t{cases}\t{printable(each.reason)}")
    if not any(each.state == "in use" for each in found):
        say(options, "no version is in use: the network is the initial one")


def _roll_back(casebook: Casebook, options: argparse.Namespace) -> None:
    from InteractiveSegLib.learning.versions import roll_back

    used = roll_back(casebook, options.network)
    print(f"version {used.id} is in use" if used else "no version is in use")
