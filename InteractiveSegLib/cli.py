"""The command line, on which scripts rely.

Exit codes: 0 done, 1 an error that is not caused by the input, 2 the input or the command line is wrong, 3 something
that could not be done was left out and reported, 130 stopped by Ctrl-C, 141 the reader of the output has gone. Results
go to standard output, progress and messages to standard error.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from InteractiveSegLib import __version__
from InteractiveSegLib.commands.benchmark_command import add_benchmark
from InteractiveSegLib.commands.casebook_command import add_casebook
from InteractiveSegLib.commands.command_examples import EXAMPLES
from InteractiveSegLib.commands.learn_command import add_learn
from InteractiveSegLib.commands.prompt_options import with_joined_boxes
from InteractiveSegLib.commands.propagate_command import add_propagate, add_suggest
from InteractiveSegLib.commands.segment_command import add_segment
from InteractiveSegLib.commands.terminal import add_common, shown
from InteractiveSegLib.commands.train_command import add_train
from InteractiveSegLib.commands.worker_command import add_worker
from InteractiveSegLib.device import device_named
from InteractiveSegLib.errors import MEMORY_IS_FULL, InputError, InteractiveSegError, OutputError, is_out_of_memory
from InteractiveSegLib.wording.plain_text import printable


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    try:
        try:
            options = _parser().parse_args(with_joined_boxes(sys.argv[1:] if arguments is None else arguments))
            return options.run(options) or 0
        finally:
            _flush()
    except BrokenPipeError:
        _drop_output()
        return 141
    except KeyboardInterrupt:
        return _fail("stopped", 130)
    except Exception as error:
        if any(map(is_out_of_memory, _causes(error))):
            return _fail(MEMORY_IS_FULL, 1)
        if isinstance(error, InputError):
            return _fail(error, 2)
        if isinstance(error, (InteractiveSegError, OSError)):
            return _fail(error, 1)
        if isinstance(error, sqlite3.OperationalError):
            return _fail(f"the database of the casebook cannot be used: {error}", 1)
        if isinstance(error, ImportError):
            return _fail(_missing(error), 1)
        raise


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what it was raised from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__


def _missing(error: ImportError) -> str:
    name = (error.name or "of this command").partition(".")[0]
    how = f"pip install {name}" if isinstance(error, ModuleNotFoundError) else f"pip install --force-reinstall {name}"
    return f"the Python package {name} cannot be loaded ({error}): {how}"


def _flush() -> None:
    """Write what was printed, while a full disk or a closed pipe can still be reported."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _drop_output()
        raise OutputError(f"cannot write standard output: {error.strerror or error}") from error


def _drop_output() -> None:
    """The reader of the output has gone, as after ``head``: what Python still has to write is discarded."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with suppress(OSError, ValueError):  # standard output may not be a file
        os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _fail(error: BaseException | str, code: int) -> int:
    text = str(error)
    if isinstance(error, OSError) and error.strerror:  # without its number
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    text = " ".join(text.split()) or type(error).__name__
    print(f"interactiveseg: {printable(text)}", file=sys.stderr)
    return code


class _Help(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of examples, and names the default of every option that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        named = "%(default)" in (action.help or "")
        nothing = any(action.default is none for none in (None, False, argparse.SUPPRESS)) or action.default == []
        if not action.option_strings or named or nothing:
            return action.help
        return f"{action.help} (default: %(default)s)"


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage above it. Its help ends with the examples of the command."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(formatter_class=_Help, **settings)
        self.description = textwrap.fill(self.description or "", 100)
        examples = EXAMPLES.get(self.prog.removeprefix("interactiveseg "), ())
        if examples:
            self.epilog = "\n".join(["examples:", *(f"  interactiveseg {line}" for line in examples)])

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"interactiveseg: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="interactiveseg", description="Interactive segmentation that adapts to the image in front of the user."
    )
    parser.add_argument("--version", action="version", version=f"interactiveseg {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (
        add_segment,
        add_propagate,
        add_suggest,
        add_casebook,
        add_learn,
        add_worker,
        add_train,
        _add_demo,
        add_benchmark,
    ):
        add(commands)
    return parser


def _add_demo(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "demo",
        help="box, scribbles and fine-tuning on a real scan",
        description="Segment the lateral ventricles of a brain MRI that comes with the Python package nilearn: "
        "prints Dice and seconds for each round and writes pictures.",
    )
    command.add_argument("-o", "--output", type=Path, default=Path("demo_output"), metavar="FOLDER", help="pictures")
    add_common(command)
    command.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> None:
    from InteractiveSegLib.evaluation.prompted.demo import demo_steps

    table = shown(demo_steps(options.output, options.seed, device_named(options.device)), options)
    print(table)


if __name__ == "__main__":
    sys.exit(main())
