"""Options of the command line that hold prompts, and their way into a drawing."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.terminal import one_voice

if TYPE_CHECKING:
    from InteractiveSegLib.drawing import Drawing


def add_prompts(command: argparse.ArgumentParser) -> None:
    """Add the options to a command."""
    command.add_argument(
        "--scribbles",
        type=Path,
        metavar="FILE",
        help="labelmap on the image's grid: 0 not marked, 255 background, 1-254 the label",
    )
    command.add_argument(
        "--box",
        action="append",
        nargs="+",
        default=[],
        metavar="BOX",
        help="i0 j0 k0 i1 j1 k1 in voxels (half-open), or a Slicer ROI (.mrk.json); repeat for several labels",
    )
    _add_labels(command, "box")
    _add_file(command, "points", "Slicer point list (.mrk.json), each point a scribble of one voxel; may be repeated")
    _add_labels(command, "points", "; 255 is background")
    _add_file(command, "lasso", "Slicer closed curve (.mrk.json) round the object in one slice; may be repeated")
    _add_labels(command, "lasso")
    command.add_argument(
        "--start", type=Path, metavar="MASK", help="labelmap on the image's grid: masks to start from, for each label"
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
        help=f"label of each --{name} in their order; without it they are 1, 2, 3, ...{more}",
    )


def require_prompts(options: argparse.Namespace) -> None:
    """InputError where the command line holds no prompt, or not one label for each."""
    if not (options.box or options.scribbles or options.points or options.lasso or options.start):
        raise InputError("give a --box, --scribbles, --points, --lasso or --start")
    for name in ("box", "points", "lasso"):
        count, labels = len(getattr(options, name)), getattr(options, f"{name}_label")
        if labels and len(labels) != count:
            raise InputError(f"{count} --{name} but {len(labels)} --{name}-label: give each --{name} one label")
    if len(set(options.box_label)) != len(options.box_label):
        raise InputError(f"--box-label {options.box_label}: a label has one box")


def set_prompts(drawing: Drawing, options: argparse.Namespace) -> list[str]:
    """Draw what the command line holds: boxes and masks first, and later marks over earlier ones.

    Returns
    -------
    notes of the readers; those of drawing are the drawing's

    Raises
    ------
    InputError : a file cannot be read as what it should be, or lies outside the image.
    """
    import numpy as np

    from InteractiveSegLib.image_io import read_labelmap
    from InteractiveSegLib.markups import read_lasso, read_points
    from InteractiveSegLib.prompts import Scribbles

    geometry = drawing.geometry
    notes = []
    for label, words in _labelled(options, "box"):
        box, note = _box(words, drawing)
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


def _box(words: list[str], drawing: Drawing) -> tuple[Any, str]:
    from InteractiveSegLib.markups import read_roi
    from InteractiveSegLib.prompts import BoundingBox

    if len(words) == 1:
        return read_roi(words[0], drawing.geometry)
    return BoundingBox.from_ijk(*_six_integers(words)), ""


def _six_integers(words: list[str]) -> list[int]:
    try:
        numbers = [int(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) != 6:
        raise InputError(f"--box {' '.join(words)}: expected six integers i0 j0 k0 i1 j1 k1, or one .mrk.json file")
    return numbers


def _set_starts(drawing: Drawing, path: Path, notes: list[str]) -> None:
    import numpy as np

    from InteractiveSegLib.image_io import read_labelmap

    with one_voice():
        masks = read_labelmap(path, drawing.geometry, notes)
    labels = [label for label in np.unique(masks).tolist() if label]
    if not labels:
        raise InputError(f"the start mask {path} is empty")
    for label in labels:
        drawing.set_start(label, masks == label)
