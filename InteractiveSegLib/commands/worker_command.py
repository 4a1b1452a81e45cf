"""The command ``interactiveseg worker``."""

from __future__ import annotations

import argparse
import sys

from InteractiveSegLib.errors import InputError


def add_worker(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "worker",
        help="compute for a window, on standard input and output",
        description="Compute for a client that speaks the worker's protocol on standard input and output, such as the "
        "module in 3D Slicer; also on another machine, by ssh HOST interactiveseg worker.",
    )
    command.set_defaults(run=_worker)


def _worker(options: argparse.Namespace) -> None:
    if sys.stdin is not None and sys.stdin.isatty():
        raise InputError(
            "worker computes for a window: 3D Slicer's module starts it by itself, on another machine by 'ssh HOST "
            "interactiveseg worker', and speaks to it in a protocol of its own; there is nothing to type. To mask "
            "an object from here, see interactiveseg segment --help"
        )

    from InteractiveSegLib.worker.server import serve

    serve()
