"""The command line: a contract that scripts rely on.

Exit codes: 0 done, 1 an error that is not the input's, 2 the input or the command line is wrong, 3 something was
left out that could not be done, and was named, 130 stopped by Ctrl-C.
Results go to standard output, progress and messages to standard error.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from InteractiveSegLib import __version__
from InteractiveSegLib.casebook_command import add_casebook
from InteractiveSegLib.device import device_named
from InteractiveSegLib.errors import MEMORY_IS_FULL, InputError, InteractiveSegError, is_out_of_memory
from InteractiveSegLib.evaluation.benchmark_command import add_benchmark
from InteractiveSegLib.learn_command import add_learn
from InteractiveSegLib.plain_text import printable
from InteractiveSegLib.propagate_command import add_propagate, add_suggest
from InteractiveSegLib.segment_command import add_segment
from InteractiveSegLib.terminal import add_common, shown
from InteractiveSegLib.worker_command import add_worker


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except InputError as error:
        return _fail(error, 2)
    except (InteractiveSegError, OSError) as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        return _fail("stopped", 130)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return _fail(MEMORY_IS_FULL, 1)


def _fail(error: BaseException | str, code: int) -> int:
    text = " ".join(str(error).split()) or type(error).__name__
    print(f"interactiveseg: {printable(text)}", file=sys.stderr)
    return code


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage above it."""

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
        _add_train,
        _add_demo,
        add_benchmark,
    ):
        add(commands)
    return parser


def _add_train(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "train",
        help="train a network from procedural images",
        description="Train a network from procedural images. Run again with the same folder to go on where it stopped.",
    )
    command.add_argument("network", choices=("prompted", "pnet", "pcnet"))
    command.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="checkpoints and weights")
    command.add_argument("--steps", type=int, help="optimiser steps in all; without it, those of the shipped weights")
    command.add_argument("--workers", type=int, default=0, help="processes that make images")
    add_common(command)
    command.set_defaults(run=_train)


def _add_demo(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "demo",
        help="box, scribbles and fine-tuning on a real scan",
        description="Segment the lateral ventricles of a brain MRI that comes with the Python package nilearn: "
        "prints Dice and seconds by round, writes pictures.",
    )
    command.add_argument("-o", "--output", type=Path, default=Path("demo_output"), metavar="FOLDER")
    add_common(command)
    command.set_defaults(run=_demo)


def _train(options: argparse.Namespace) -> None:
    from InteractiveSegLib.training.recipes import train_steps

    steps = train_steps(
        options.network,
        options.output,
        steps=options.steps,
        seed=options.seed,
        workers=options.workers,
        device=device_named(options.device),
    )
    print(shown(steps, options))


def _demo(options: argparse.Namespace) -> None:
    from InteractiveSegLib.evaluation.demo import demo_steps

    table = shown(demo_steps(options.output, options.seed, device_named(options.device)), options)
    print(table)


if __name__ == "__main__":
    sys.exit(main())
