"""``interactiveseg learn --from scribbles``."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from InteractiveSegLib.commands.ignite_command import tell_started
from InteractiveSegLib.commands.terminal import PARTLY_DONE, say, shown_in_lines
from InteractiveSegLib.device import device_named
from InteractiveSegLib.wording.plain_text import printable

if TYPE_CHECKING:
    from InteractiveSegLib.casebook.casebook import Casebook


def learn_from_scribbles(casebook: Casebook, options: argparse.Namespace) -> int:
    """The exit code: 3 where cases could not be given starting masks."""
    from InteractiveSegLib.learning.background import lower_priority
    from InteractiveSegLib.learning.scribble_learner import ScribbleLearner
    from InteractiveSegLib.learning.scribble_training import ScribbleSettings

    if options.low_priority:
        lower_priority()
    settings = ScribbleSettings(seed=options.seed)
    settings = replace(settings, steps=options.updates or settings.steps)
    learner = ScribbleLearner(casebook, settings, device_named(options.device))
    learnt = shown_in_lines(learner.steps(options.look_at), options)
    say(options, *learnt.notes)
    print(f"version {learnt.version}\t{'in use' if learnt.good else 'not used'}\t{printable(learnt.reason)}")
    if learnt.started is None:
        return 0
    tell_started(learnt.started, casebook.labels(), options)
    return PARTLY_DONE if learnt.started.left_out else 0
