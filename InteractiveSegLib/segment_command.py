"""The command ``interactiveseg segment``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from InteractiveSegLib.networks import DEFAULT_NETWORK
from InteractiveSegLib.prompt_options import add_prompts, require_prompts, set_prompts
from InteractiveSegLib.terminal import add_common, add_image, one_voice, require_outputs, say, shown


def add_segment(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "segment",
        help="mask an object from a box, scribbles, points, lassos or a mask",
        description="Mask one or several objects of a medical image from boxes, scribbles, points, lassos and masks.",
    )
    add_image(command)
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
        help="ensemble (of prompted and pnet), prompted (sees the prompts), pnet (2D, slice by slice), pcnet (3D), or "
        f"a folder with a model; {DEFAULT_NETWORK} where none is named",
    )
    add_common(command)
    command.add_argument("--json", action="store_true", help="print the result as one JSON object")
    command.set_defaults(run=_segment)


def _segment(options: argparse.Namespace) -> None:
    require_prompts(options)
    require_outputs((options.output, options.probability), (options.image, options.scribbles, options.start))

    from InteractiveSegLib.drawing import Drawing
    from InteractiveSegLib.image_io import read_volume, write_image, write_labelmap
    from InteractiveSegLib.worker.segment_request import SegmentRequest
    from InteractiveSegLib.worker.workbench import WholeImage, Workbench

    request = SegmentRequest(
        options.model, options.adapt, options.device, options.seed, with_probability=options.probability is not None
    )
    with one_voice():
        volume = read_volume(options.image, options.series, options.time)
    drawing = Drawing(volume.geometry)
    notes = [*volume.notes, *set_prompts(drawing, options)]
    result = shown(request.steps(Workbench(WholeImage(volume), drawing.prompts)), options)
    shape = volume.geometry.shape_kji
    write_labelmap(options.output, result.labelmap(shape), volume.geometry, volume.nifti_forms)
    if options.probability is not None:
        write_image(options.probability, result.probability_map(shape), volume.geometry, forms=volume.nifti_forms)
    notes += dict.fromkeys(drawing.notes + result.notes)
    objects = {
        str(label): {"voxels": mask.voxels, "ml": round(result.millilitres(label, volume.geometry), 3)}
        for label, mask in result.masks.items()
    }
    if options.json:
        report = {
            "mask": str(options.output),
            "objects": objects,
            "seconds": round(result.seconds, 3),
            "device": result.device,
            "notes": notes,
        }
        print(json.dumps(report))
    else:
        say(options, *notes)
        for label, found in objects.items():
            print(f"label {label}: {found['voxels']} voxels, {found['ml']} ml")
