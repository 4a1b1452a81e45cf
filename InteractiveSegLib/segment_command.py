"""The command ``interactiveseg segment``."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from InteractiveSegLib.errors import InputError, OutputError
from InteractiveSegLib.networks import DEFAULT_NETWORK
from InteractiveSegLib.terminal import add_common, device_named, say, shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from InteractiveSegLib.geometry import Volume
    from InteractiveSegLib.session import ImageSession


def add_segment(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "segment",
        help="mask an object from a box, scribbles, or both",
        description="Mask one or several objects of a medical image from boxes, scribbles, or both.",
    )
    command.add_argument("image", type=Path, help="NIfTI, NRRD or MHA file, or a folder with one DICOM series")
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
    command.add_argument(
        "--box-label",
        action="append",
        type=int,
        default=[],
        metavar="LABEL",
        help="label of each --box in their order; without it they are 1, 2, 3, ...",
    )
    command.add_argument("-o", "--output", type=Path, required=True, metavar="MASK", help="where the labelmap goes")
    command.add_argument("--probability", type=Path, metavar="FILE", help="also write the foreground probability")
    command.add_argument(
        "--adapt",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="fine-tune the last block of the network to this image",
    )
    command.add_argument(
        "--model", default=DEFAULT_NETWORK, help="pnet (2D, slice by slice), pcnet (3D), or a folder with weights"
    )
    add_common(command)
    command.add_argument("--json", action="store_true", help="print the result as one JSON object")
    command.set_defaults(run=_segment)


def _segment(options: argparse.Namespace) -> None:
    if not options.box and options.scribbles is None:
        raise InputError("give a --box, --scribbles, or both")
    _require_writable(options)

    from InteractiveSegLib.image_io import read_labelmap, read_volume, write_image, write_labelmap
    from InteractiveSegLib.networks.checkpoint import load_network
    from InteractiveSegLib.prompts import Scribbles
    from InteractiveSegLib.session import ImageSession

    device = device_named(options.device)
    with _one_voice():
        volume = read_volume(options.image)
    network = load_network(options.model)
    session = ImageSession(volume, network, seed=options.seed, device=device)
    notes = _set_boxes(session, options)
    if options.scribbles is not None:
        with _one_voice():
            marks = read_labelmap(options.scribbles, volume.geometry)
        session.add_scribbles(Scribbles.from_labelmap(marks))
    result = shown(session.segment(adapt=options.adapt), options)
    labelmap = session.labelmap()
    write_labelmap(options.output, labelmap, volume.geometry)
    if options.probability is not None:
        write_image(options.probability, _probabilities(session), volume.geometry)
    notes += result.notes
    objects = {
        str(label): {"voxels": int(found.mask.sum()), "ml": round(_millilitres(found.mask.sum(), volume), 3)}
        for label, found in result.objects.items()
    }
    if options.json:
        report = {
            "mask": str(options.output),
            "objects": objects,
            "seconds": round(result.seconds, 3),
            "device": str(session.device),
            "notes": notes,
        }
        print(json.dumps(report))
    else:
        say(options, *notes)
        for label, found in objects.items():
            print(f"label {label}: {found['voxels']} voxels, {found['ml']} ml")


@contextmanager
def _one_voice() -> Iterator[None]:
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


def _require_writable(options: argparse.Namespace) -> None:
    """InputError, before any work is done, for outputs that cannot be written or would replace an input."""
    from InteractiveSegLib.image_io import require_writable_folder, require_writable_name

    taken = {path.resolve() for path in (options.image, options.scribbles) if path is not None}
    for path in (options.output, options.probability):
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


def _set_boxes(session: ImageSession, options: argparse.Namespace) -> list[str]:
    from InteractiveSegLib.image_io import read_roi
    from InteractiveSegLib.prompts import BoundingBox

    labels = options.box_label or list(range(1, len(options.box) + 1))
    if len(labels) != len(options.box):
        raise InputError(f"{len(options.box)} --box but {len(labels)} --box-label: give one label a box")
    if len(set(labels)) != len(labels):
        raise InputError(f"--box-label {labels}: a label has one box")
    notes = []
    for label, words in zip(labels, options.box, strict=True):
        if len(words) == 1:
            box, note = read_roi(Path(words[0]), session.volume.geometry)
            notes += [note] if note else []
        else:
            box = BoundingBox.from_ijk(*_six_integers(words))
        session.set_box(label, box)
    return notes


def _six_integers(words: list[str]) -> list[int]:
    try:
        numbers = [int(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) != 6:
        raise InputError(f"--box {' '.join(words)}: expected six integers i0 j0 k0 i1 j1 k1, or one .mrk.json file")
    return numbers


def _probabilities(session: ImageSession) -> NDArray:
    """Of one object its probability; of several the largest."""
    from functools import reduce

    import numpy as np

    probabilities = (session.probability(label) for label in session.current.objects)
    return reduce(lambda most, other: np.maximum(most, other, out=most), probabilities)


def _millilitres(voxels: int, volume: Volume) -> float:
    import math

    return float(voxels) * math.prod(volume.geometry.spacing_kji_mm) / 1000
