"""Common options, progress bars and messages of the commands."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from InteractiveSegLib.errors import InputError, OutputError
from InteractiveSegLib.wording.plain_text import printable

if TYPE_CHECKING:
    from InteractiveSegLib.progress import Progress, Steps

Result = TypeVar("Result")
_LINES, _PAUSE_S = 20, 5.0  # of progress, where no terminal draws a bar: as many at least, and how often in between
PARTLY_DONE = 3
"""Exit code of a command that left something out and reported it."""


def add_common(command: argparse.ArgumentParser) -> None:
    """Options of every command."""
    command.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="device to compute on; auto uses CUDA where available",
    )
    command.add_argument(
        "--seed", type=_seed, default=0, metavar="N", help="seed of all random choices, 0 to 2**32 - 1"
    )
    add_quiet(command)


def add_quiet(command: argparse.ArgumentParser) -> None:
    """The option of commands that print messages."""
    command.add_argument("--quiet", action="store_true", help="no progress bars, no messages")


def add_low_priority(command: argparse.ArgumentParser) -> None:
    """The option of trainings that run beside other work."""
    command.add_argument("--low-priority", action="store_true", help="yield to all other programs, use one core")


def add_json(command: argparse.ArgumentParser, where: str = "") -> None:
    """The option of commands that list something.

    where : with which other option it counts, such as "with --versions: "
    """
    command.add_argument("--json", action="store_true", help=f"{where}one JSON object on standard output")


def add_training_images(command: argparse.ArgumentParser) -> None:
    """The images of a command that trains a network on a folder."""
    command.add_argument("--images", type=Path, required=True, metavar="FOLDER", help="NIfTI, NRRD or MHA files")


def add_training_steps(command: argparse.ArgumentParser, default: int) -> None:
    """The length of such a training."""
    command.add_argument("--steps", type=count_of, default=default, metavar="N", help="number of optimiser steps")


def add_label_names(command: argparse.ArgumentParser, remark: str = "") -> None:
    """The names of the labels in such a folder.

    remark : on their use
    """
    command.add_argument(
        "--names", type=Path, metavar="FILE", help=f'names of the labels, as JSON: {{"1": "liver"}}{remark}'
    )


def add_trust(command: argparse.ArgumentParser) -> None:
    """The option of commands that take a model."""
    command.add_argument(
        "--trust-model",
        action="store_true",
        help="run the model although it is a program (model.ts) from elsewhere; remembered for this exact file",
    )


def count_of(word: str) -> int:
    """A whole number of at least 1, as the value of an option."""
    try:
        count = int(word)
    except ValueError:
        count = 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"{word!r} is not a whole number of at least 1")
    return count


def count_or_none(word: str) -> int:
    """A whole number of at least 0, as the value of an option."""
    if word.strip() == "0":
        return 0
    try:
        return count_of(word)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{word!r} is not a whole number of at least 0") from None


def add_image(command: argparse.ArgumentParser) -> None:
    """The image of a command that takes a single one."""
    command.add_argument("image", type=Path, help="NIfTI, NRRD, MHA or DICOM file, or a folder with a DICOM series")
    add_choice(command)


def add_choice(command: argparse.ArgumentParser) -> None:
    """Which image of a file or folder that holds several."""
    command.add_argument(
        "--series",
        metavar="UID",
        help="DICOM series to read from the folder: its UID, or its number in the list that the error message shows",
    )
    command.add_argument("--time", type=int, metavar="N", help="image to read from a 4D file or series, counted from 0")


def _seed(word: str) -> int:
    seed = int(word)
    if not 0 <= seed < 2**32:
        raise argparse.ArgumentTypeError(f"{word} is not between 0 and {2**32 - 1}")
    return seed


def say(options: argparse.Namespace, *texts: str) -> None:
    """Messages for the user, on standard error."""
    if not options.quiet:
        for text in texts:
            print(f"note: {printable(text)}", file=sys.stderr)


def add_overwrite(command: argparse.ArgumentParser) -> None:
    """The option of commands that write files."""
    command.add_argument("--overwrite", action="store_true", help="replace files that this command did not write")


def require_outputs(
    outputs: Iterable[Path | None], inputs: Iterable[Path | None], command: str = "", overwrite: bool = False
) -> list[str]:
    """Check the outputs before any work is done.

    command, overwrite : as for ``output_files.require_free``

    Returns
    -------
    notes on what is replaced

    Raises
    ------
    InputError : an output cannot be written, or would replace an input or another file.
    """
    from InteractiveSegLib.image.image_io import require_writable_folder, require_writable_name
    from InteractiveSegLib.image.output_files import require_free, require_no_input

    wanted = [path for path in outputs if path is not None]
    for path in wanted:
        require_writable_name(path)
        try:
            require_writable_folder(path)
        except OutputError as error:
            raise InputError(str(error)) from error
    require_no_input(wanted, inputs)
    with one_voice():
        return [note for path in wanted for note in require_free(path, command, overwrite)]


@contextmanager
def one_voice() -> Iterator[None]:
    """Hold back what C++ readers print to standard error, and drop it if an error of our own says it in one line."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as said, os.fdopen(os.dup(2), "wb", buffering=0) as standard_error:
        os.dup2(said.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(standard_error.fileno(), 2)
        said.seek(0)
        standard_error.write(said.read())


def shown(steps: Steps[Result], options: argparse.Namespace) -> Result:
    """Run a long step with a progress bar on a terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress as Bar

    from InteractiveSegLib.progress import finish

    console = Console(stderr=True)
    if options.quiet or getattr(options, "json", False) or not console.is_terminal:
        return finish(steps)
    with Bar(console=console, transient=True) as bar:
        task = bar.add_task("")

        def show(progress: Progress) -> None:
            text = escape(printable(progress.text))  # a name in brackets is not markup
            bar.update(task, total=progress.total, completed=progress.done, description=text)

        return finish(steps, show)


def shown_in_lines(steps: Steps[Result], options: argparse.Namespace) -> Result:
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
