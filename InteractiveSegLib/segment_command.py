"""The command ``interactiveseg segment``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from InteractiveSegLib.networks import DEFAULT_NETWORK
from InteractiveSegLib.prompt_options import add_prompts, require_prompts, set_prompts
from InteractiveSegLib.terminal import add_common, device_named, one_voice, require_outputs, say, shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from InteractiveSegLib.geometry import Volume
    from InteractiveSegLib.session import ImageSession


def add_segment(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "segment",
        help="mask an object from a box, scribbles, points, lassos or a mask",
        description="Mask one or several objects of a medical image from boxes, scribbles, points, lassos and masks.",
    )
    command.add_argument("image", type=Path, help="NIfTI, NRRD or MHA file, or a folder with one DICOM series")
    add_prompts(command)
    command.add_argument("-o", "--output", type=Path, required=True, metavar="MASK", help="where the labelmap goes")
    command.add_argument("--probability", type=Path, metavar="FILE", help="also write the foreground probability")
    command.add_argument(
        "--adapt",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="fine-tune the last block of the network to this image",
    )
    command.add_argument(
        "--model",
        default=DEFAULT_NETWORK,
        help="prompted (sees the prompts), pnet (2D, slice by slice), pcnet (3D), or a folder with a model; "
        f"{DEFAULT_NETWORK} where none is named",
    )
    add_common(command)
    command.add_argument("--json", action="store_true", help="print the result as one JSON object")
    command.set_defaults(run=_segment)


def _segment(options: argparse.Namespace) -> None:
    require_prompts(options)
    require_outputs((options.output, options.probability), (options.image, options.scribbles, options.start))

    from InteractiveSegLib.image_io import read_volume, write_image, write_labelmap
    from InteractiveSegLib.networks.checkpoint import load_network
    from InteractiveSegLib.session import ImageSession

    device = device_named(options.device)
    with one_voice():
        volume = read_volume(options.image)
    network = load_network(options.model)
    session = ImageSession(volume, network, seed=options.seed, device=device)
    notes = set_prompts(session, options)
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
            "device": str(session.segmenter.device),
            "notes": notes,
        }
        print(json.dumps(report))
    else:
        say(options, *notes)
        for label, found in objects.items():
            print(f"label {label}: {found['voxels']} voxels, {found['ml']} ml")


def _probabilities(session: ImageSession) -> NDArray:
    """Of one object its probability; of several the largest."""
    from functools import reduce

    import numpy as np

    probabilities = (session.probability(label) for label in session.current.objects)
    return reduce(lambda most, other: np.maximum(most, other, out=most), probabilities)


def _millilitres(voxels: int, volume: Volume) -> float:
    import math

    return float(voxels) * math.prod(volume.geometry.spacing_kji_mm) / 1000
