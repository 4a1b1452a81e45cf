"""What the commands share: their common options, progress bars and messages."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from InteractiveSegLib.errors import InputError, OutputError

if TYPE_CHECKING:
    from InteractiveSegLib.progress import Steps

Result = TypeVar("Result")


def add_common(command: argparse.ArgumentParser) -> None:
    """Options that every command has."""
    command.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    command.add_argument("--seed", type=_seed, default=0, help="of all random choices, 0 to 2**32 - 1")
    command.add_argument("--quiet", action="store_true", help="no progress bars, no messages")


def add_image(command: argparse.ArgumentParser) -> None:
    """The image, and which one where a file or folder holds several."""
    command.add_argument("image", type=Path, help="NIfTI, NRRD, MHA or DICOM file, or a folder with a DICOM series")
    command.add_argument(
        "--series",
        metavar="UID",
        help="which DICOM series of the folder: its UID, or its number in the list of the error",
    )
    command.add_argument("--time", type=int, metavar="N", help="which image of a 4D file or series, from 0")


def _seed(word: str) -> int:
    seed = int(word)
    if not 0 <= seed < 2**32:
        raise argparse.ArgumentTypeError(f"{word} is not between 0 and {2**32 - 1}")
    return seed


def say(options: argparse.Namespace, *texts: str) -> None:
    """Messages for a person, on standard error."""
    if not options.quiet:
        for text in texts:
            print(f"note: {text}", file=sys.stderr)


def require_outputs(outputs: Iterable[Path | None], inputs: Iterable[Path | None]) -> None:
    """InputError, before any work is done, for outputs that cannot be written or would replace an input."""
    from InteractiveSegLib.image_io import require_writable_folder, require_writable_name

    taken = {path.resolve() for path in inputs if path is not None}
    for path in outputs:
        if path is None:
            continue
        require_writable_name(path)
        try:
            require_writable_folder(path)
        except OutputError as error:
            raise InputError(str(error)) from error
        if path.resolve() in taken:
            raise InputError(f"{path} is given twice: an output replaces neither an input nor the other output")
        taken.add(path.resolve())


@contextmanager
def one_voice() -> Iterator[None]:
    """Hold back what C++ readers print to standard error, and drop it where an error of our own says it in one line."""
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
    from rich.progress import Progress as Bar

    from InteractiveSegLib.progress import finish

    console = Console(stderr=True)
    if options.quiet or getattr(options, "json", False) or not console.is_terminal:
        return finish(steps)
    with Bar(console=console, transient=True) as bar:
        task = bar.add_task("")
        return finish(steps, lambda p: bar.update(task, total=p.total, completed=p.done, description=p.text))
