"""What all actions of ``interactiveseg casebook`` share."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from InteractiveSegLib.commands.terminal import add_quiet, say

if TYPE_CHECKING:
    from InteractiveSegLib.casebook.casebook import Casebook


def action_of(
    actions: argparse._SubParsersAction, name: str, help_text: str, run: object, text: str = ""
) -> argparse.ArgumentParser:
    """A subcommand on a casebook; ``text`` replaces the short help in its own help."""
    action = actions.add_parser(name, help=help_text, description=text or f"{help_text[0].upper()}{help_text[1:]}.")
    add_casebook_folder(action)
    add_quiet(action)
    action.set_defaults(run=run)
    return action


def add_casebook_folder(command: argparse.ArgumentParser) -> None:
    """The casebook of a command."""
    command.add_argument("casebook", type=Path, metavar="CASEBOOK", help="its folder")


def add_case(command: argparse.ArgumentParser) -> None:
    """The case of a command."""
    command.add_argument("case", metavar="CASE", help="its name")


@contextmanager
def opened(options: argparse.Namespace) -> Iterator[Casebook]:
    """The casebook of the command line; its notes are printed at the end."""
    from InteractiveSegLib.casebook.casebook import Casebook

    with Casebook(options.casebook) as casebook:
        try:
            yield casebook
        finally:
            say(options, *casebook.notes)
