"""Options of the command line for prompts, and their conversion to a drawing."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from InteractiveSegLib.commands.terminal import one_voice
from InteractiveSegLib.errors import InputError

if TYPE_CHECKING:
    from InteractiveSegLib.prompts.drawing import Drawing


def add_prompts(command: argparse.ArgumentParser) -> None:
    """Add the options to a command."""
    command.add_argument(
        "--scribbles",
        type=Path,
        metavar="FILE",
        help="labelmap on the image's grid: 1-254 objects, 255 background, 0 unmarked",
    )
    command.add_argument(
        "--box",
        action="append",
        default=[],
        metavar="BOX",
        help="i0 j0 k0 i1 j1 k1 in voxels (half-open; commas are fine), or a Slicer ROI (.mrk.json); repeat for "
        "several labels",
    )
    _add_labels(command, "box")
    _add_file(command, "points", "Slicer point list (.mrk.json), each point a scribble of one voxel; may be repeated")
    _add_labels(command, "points", "; 255 is background")
    _add_file(command, "lasso", "Slicer closed curve (.mrk.json) round the object in one slice; may be repeated")
    _add_labels(command, "lasso")
    command.add_argument(
        "--start",
        type=Path,
        metavar="MASK",
        help="labelmap on the image's grid with the mask to start from for each label",
    )


def _add_file(command: argparse.ArgumentParser, name: str, help_text: str) -> None:
    command.add_argument(f"--{name}", action="append", type=Path, default=[], metavar="FILE", help=help_text)


def _add_labels(command: argparse.ArgumentParser, name: str, more: str = "") -> None:
    command.add_argument(
        f"--{name}-label",
        action="append",
        type=int,
        default=[],
        metavar="LABEL",
        help=f"label of each --{name}, in order (without it: 1, 2, 3, ...){more}",
    )


def with_joined_boxes(words: Sequence[str]) -> list[str]:
    """A command line with the numbers of each ``--box`` in one word, so that it takes nothing that follows.

    Numbers may be separated by spaces, commas or both; after the sixth, or after a file, the option ends.
    """
    rest, joined = list(words), []
    while rest:
        word = rest.pop(0)
        if word != "--box" or not rest:
            joined.append(word)
            continue
        numbers: list[str] = []
        while rest and len(numbers) < 6 and (found := numbers_in(rest[0])):
            numbers += found
            rest.pop(0)
        joined.append(f"--box={' '.join(numbers) if numbers else rest.pop(0)}")
    return joined


def numbers_in(word: str) -> list[str]:
    """The numbers of "1", "1," or "1,2,3"; none if there is anything else."""
    parts = [part for part in re.split(r"[,\s]+", word) if part]
    return parts if all(re.fullmatch(r"[-+]?\d+(\.\d*)?", part) for part in parts) else []


def slice_indices(text: str) -> list[int]:
    """The slices of a list such as "0,6,12", ascending. InputError if it is not one."""
    try:
        return sorted({int(word) for word in text.split(",")})
    except ValueError:
        raise InputError(f"{text!r} is not a list of slices such as 0,6,12") from None


def has_prompts(options: argparse.Namespace) -> bool:
    """Whether the command line has any prompt."""
    return bool(options.box or options.scribbles or options.points or options.lasso or options.start)


def require_prompts(options: argparse.Namespace) -> None:
    """InputError if the command line has no prompt, or not one label for each."""
    if not has_prompts(options):
        raise InputError("give a --box, --scribbles, --points, --lasso or --start")
    for name in ("box", "points", "lasso"):
        count, labels = len(getattr(options, name)), getattr(options, f"{name}_label")
        if labels and len(labels) != count:
            raise InputError(f"{count} --{name} but {len(labels)} --{name}-label: give each --{name} one label")
    if len(set(options.box_label)) != len(options.box_label):
        raise InputError(f"--box-label {options.box_label}: a label can have only one box")


def set_prompts(drawing: Drawing, options: argparse.Namespace) -> list[str]:
    """Draw the prompts of the command line: boxes and masks first, and later marks over earlier ones.

    Returns
    -------
    notes from reading; those from drawing are in the drawing

    Raises
    ------
    InputError : a file is not of the expected kind, or lies outside the image.
    """
    import numpy as np

    from InteractiveSegLib.image.image_io import read_labelmap
    from InteractiveSegLib.prompts.markups import read_lasso, read_points
    from InteractiveSegLib.prompts.scribbles import Scribbles

    geometry = drawing.geometry
    notes = []
    for label, word in _labelled(options, "box"):
        box, note = _box(word, drawing)
        drawing.set_box(label, box)
        notes.append(note)
    if options.start is not None:
        _set_starts(drawing, options.start, notes)
    if options.scribbles is not None:
        with one_voice():
            marks = read_labelmap(options.scribbles, geometry, notes)
        drawing.add_scribbles(Scribbles.from_labelmap(marks))
    for label, path in _labelled(options, "lasso"):
        lasso, note = read_lasso(path, geometry)
        drawing.add_lasso(label, lasso)
        notes.append(note)
    for label, path in _labelled(options, "points"):
        indices, note = read_points(path, geometry)
        drawing.add_scribbles(Scribbles(indices, np.full(len(indices), label)))
        notes.append(note)
    return [note for note in notes if note]


def _labelled(options: argparse.Namespace, name: str) -> list[tuple[int, Any]]:
    values = getattr(options, name)
    labels = getattr(options, f"{name}_label") or range(1, len(values) + 1)
    return list(zip(labels, values, strict=True))


def _box(word: str, drawing: Drawing) -> tuple[Any, str]:
    from InteractiveSegLib.image.box import BoundingBox
    from InteractiveSegLib.prompts.markups import read_roi

    words = numbers_in(word)
    if not words:
        return read_roi(word, drawing.geometry)
    if len(words) != 6 or any("." in each for each in words):
        raise InputError(f"--box {word}: expected six integers i0 j0 k0 i1 j1 k1, or one .mrk.json file")
    return BoundingBox.from_ijk(*map(int, words)), ""


def _set_starts(drawing: Drawing, path: Path, notes: list[str]) -> None:
    import numpy as np

    from InteractiveSegLib.image.image_io import read_labelmap

    with one_voice():
        masks = read_labelmap(path, drawing.geometry, notes)
    labels = [label for label in np.unique(masks).tolist() if label]
    if not labels:
        raise InputError(f"the start mask {path} is empty")
    for label in labels:
        drawing.set_start(label, masks == label)
