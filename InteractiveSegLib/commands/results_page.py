"""``interactiveseg benchmark --page``: where the tables of a run go, and the command that is shown above them."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

from InteractiveSegLib.commands.terminal import say
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.pages import places_in, write_into

_SHOWN = {  # options that change the numbers of a task; --data and --images are shown without their folders
    "accuracy": "only objects cases methods prompts users model rounds cap seed split quick",
    "speed": "model device seed",
    "propagate": "only objects cases methods model seed split quick",
    "stream": "parts cases model seeds seed",
    "transfer": "parts cases tested steps updates seeds seed quick",
    "scribbles": "sets variants folds methods updates seed",
}
_ANY_IMAGES = ("accuracy", "propagate")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]*(-[A-Za-z0-9]+)*")  # a number would name another round


def add_page_options(command: argparse.ArgumentParser) -> None:
    """``--page`` and ``--place``."""
    page = command.add_argument_group("a page of results")
    page.add_argument(
        "--page",
        type=Path,
        metavar="FILE",
        help="Markdown page, such as docs/results.md, into which the tables are written, below the command that made "
        "them. Each replaces what is between <!-- begin NAME --> and <!-- end NAME -->; tables without such a place "
        "are left out. Names: 'none clicks' (--prompts none --users clicks, by interactions), 'box robot 3' (by "
        "dataset, after round 3), human, rounds (with --cap); speed; 'propagate dice', 'propagate nsd', 'propagate "
        "effort', 'propagate speed'; 'stream interactive' and so on, one for each part; transfer, 'transfer effort'; "
        "'scribbles acdc', 'scribbles mscmr'",
    )
    page.add_argument(
        "--place",
        type=_place_word,
        metavar="WORD",
        help="word added to these names ('box robot 3 WORD'), for tables of the same kind with other methods or images",
    )


class ResultsPage:
    """The page of ``--page``; without one, nothing is written.

    names : of the tables that the run can make

    Raises
    ------
    InputError : the page has a place for none of them, or a damaged one; ``--place`` without a page, or with a word
        that gives one table the name of another.
    """

    def __init__(self, options: argparse.Namespace, names: Iterable[str]) -> None:
        self._options = options
        self._places: dict[str, str] = {}
        word = options.place
        if options.page is None:
            if word is not None:
                raise InputError(f"--place {word} chooses places of a page: it goes with --page")
            return
        wanted = {name: name if word is None else f"{name} {word}" for name in names}
        if word is not None and (taken := set(wanted) & set(wanted.values())):
            raise InputError(f"--place {word}: {taken.pop()} is the name of another table; choose another word")
        found = places_in(options.page, wanted.values())
        self._places = {name: place for name, place in wanted.items() if place in found}

    def write(self, tables: Mapping[str, str], **instead: str) -> None:
        """Write those that have a place, each below the command; of an empty one the old table stays, with a note.

        instead : options that the command is shown with, in place of those of the run
        """
        command = f"`{shown_command(self._options, **instead)}`"
        if "split" in _SHOWN[self._options.task].split():
            command += f", split: {self._options.split}."
        blocks = {}
        for name, text in tables.items():
            if name in self._places and text:
                blocks[self._places[name]] = f"{command}\n\n{text}"
            elif name in self._places:
                say(self._options, f"{self._options.page}: the table {self._places[name]} stays, nothing was scored")
        if blocks:
            write_into(self._options.page, blocks)


def shown_command(options: argparse.Namespace, **instead: str) -> str:
    """The command that gives the same numbers, without folders of this machine.

    instead : values of options that replace those of the run
    """
    words = ["interactiveseg", "benchmark"]
    words += [] if options.task == "accuracy" else ["--task", options.task]
    if options.task in _ANY_IMAGES and options.images is not None:
        words += ["--images", "FOLDER", "--labels", "FOLDER"]
    elif options.task != "speed":
        words += ["--data", "FOLDER"]
    words += ["--datasets", "FILE"] if options.task in _ANY_IMAGES and options.datasets is not None else []
    for name in _SHOWN[options.task].split():
        value = instead.get(name, getattr(options, name))
        if _has_effect(name, value, options):
            if name in ("model", "methods"):
                value = re.sub(r"[^,]*[/\\]", "", value)
            words += [f"--{name}"] if value is True else [f"--{name}", shlex.quote(str(value))]
    return " ".join(words)


def _has_effect(name: str, value: object, options: argparse.Namespace) -> bool:
    """Whether an option belongs to a command: it differs from its default, and no other one takes its place."""
    if options.task == "accuracy":
        if name in ("prompts", "rounds"):  # also where they are the default: the table is about them
            return name == "prompts" or not options.quick
        if name == "model" and options.methods is not None:
            return False
    return value != options.default_of(name)


def _place_word(word: str) -> str:
    if not _WORD.fullmatch(word):
        raise argparse.ArgumentTypeError(f"{word!r} is not a word of letters, digits and hyphens after a letter")
    return word
