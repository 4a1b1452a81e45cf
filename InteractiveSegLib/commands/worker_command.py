"""The command ``interactiveseg worker``."""

from __future__ import annotations

import argparse
import sys

from InteractiveSegLib.errors import InputError


def add_worker(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "worker",
        help="compute for another program, over standard input and output",
        description="Compute for a client that speaks the worker's protocol on standard input and output, such as the "
        "module in 3D Slicer; also on another machine, with ssh HOST interactiveseg worker.",
    )
    command.set_defaults(run=_worker)


def _worker(options: argparse.Namespace) -> None:
    if sys.stdin is not None and sys.stdin.isatty():
        raise InputError(
            "worker computes for another program: the module in 3D Slicer starts it automatically (on another machine "
            "with 'ssh HOST interactiveseg worker') and sends it requests; there is nothing to type. To segment an "
            "object on the command line, see interactiveseg segment --help"
        )

    from InteractiveSegLib.worker.server import serve

    serve()
