"""The commands ``interactiveseg propagate`` and ``interactiveseg suggest``."""

from __future__ import annotations

import argparse
import json
import math
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from InteractiveSegLib.commands.batch import BatchOptions, add_images, batch_cases, run_batch
from InteractiveSegLib.commands.prompt_options import slice_indices
from InteractiveSegLib.commands.terminal import (
    add_common,
    add_image,
    add_overwrite,
    count_of,
    one_voice,
    require_outputs,
    say,
    shown,
)
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.wording.counting import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from InteractiveSegLib.image.geometry import Geometry, Volume
    from InteractiveSegLib.propagate.annotated_slice import AnnotatedSlice
    from InteractiveSegLib.propagate.proxy_mask import ProxyMask
    from InteractiveSegLib.propagate.slice_pool import SlicePool

_VARYING = BatchOptions(("output", "confidence"), ("slices", "annotated"))
_AXES = "kji"
_CT_LIKE = -500  # no MR scanner writes such values


def add_propagate(commands: argparse._SubParsersAction) -> None:
    """Add the command ``propagate`` to the parser."""
    command = commands.add_parser(
        "propagate",
        help="carry the labels of a few slices through the volume",
        description="Carry the labels of a few annotated slices to all others, by registering neighbouring slices.",
    )
    add_images(command, "--slices 'drawn/{name}.nii.gz'")
    _add_slices(command)
    command.add_argument("-o", "--output", type=Path, required=True, metavar="MASK", help="labelmap to write")
    command.add_argument("--confidence", type=Path, metavar="FILE", help="also write the confidence, 0 to 1")
    add_overwrite(command)
    add_common(command)
    command.set_defaults(run=_propagate)


def add_suggest(commands: argparse._SubParsersAction) -> None:
    """Add the command ``suggest`` to the parser."""
    command = commands.add_parser(
        "suggest",
        help="say which slices to annotate next, and why",
        description="Propagate the annotated slices and print which slices are most worth annotating next, and why.",
    )
    add_image(command)
    _add_slices(command)
    command.add_argument("--count", type=int, default=3, metavar="N", help="maximum number of slices to print")
    command.add_argument(
        "--along",
        metavar="k,j,i",
        help="axes to look along (without it: all except those whose slices have elongated pixels, as reformatted "
        "planes do)",
    )
    command.add_argument("--prediction", type=Path, metavar="FILE", help="a model's foreground probability, 0 to 1")
    command.add_argument("--before", type=Path, metavar="FILE", help="the same model's probability one round earlier")
    add_common(command)
    command.set_defaults(run=_suggest)


def _add_slices(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--slices",
        type=Path,
        required=True,
        metavar="LABELS",
        help="labelmap on the image's grid, correct on the annotated slices",
    )
    command.add_argument(
        "--axis",
        action="append",
        choices=tuple(_AXES),
        default=[],
        help="axis across which the annotated slices lie; for several axes, repeat it, each time with --annotated",
    )
    command.add_argument(
        "--annotated",
        action="append",
        type=_indices,
        default=[],
        metavar="0,6,12",
        help="the annotated slices, needed if some of them are empty (without it: all that contain a label)",
    )
    command.add_argument(
        "--preset",
        choices=("mr", "ct"),
        default="mr",
        help="intensity window: percentiles of the image (mr) or soft tissue (ct)",
    )
    command.add_argument(
        "--method",
        choices=("elastix", "shape"),
        default="elastix",
        help="elastix follows the image; shape blends the annotated shapes and needs no additional package",
    )
    command.add_argument(
        "--jobs", type=count_of, metavar="N", help="number of parallel processes (without it: one per core)"
    )
    command.add_argument("--json", action="store_true", help="print the result as one JSON object")


def _indices(words: str) -> list[int]:
    try:
        return slice_indices(words)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _propagate(options: argparse.Namespace) -> int:
    from InteractiveSegLib.propagate.slice_pool import SlicePool

    cases = batch_cases(options, _VARYING)
    if cases is not None:
        lock = threading.Lock()
        with SlicePool(options.jobs) as pool:
            return run_batch(cases, partial(_propagated, pool=pool, lock=lock), options, _VARYING, lock)
    (options.image,) = options.image
    with SlicePool(options.jobs) as pool:
        report = _propagated(options, pool, threading.Lock())
    if options.json:
        print(json.dumps(report))
        return 0
    say(options, *report["notes"])
    for label, found in report["objects"].items():
        print(f"label {label}: {counted(found['voxels'], 'voxel', 'voxels')}, {found['ml']} ml")
    return 0


def _propagated(options: argparse.Namespace, pool: SlicePool, lock: threading.Lock) -> dict[str, Any]:
    """Propagate the slices of one image and write its mask; returns what is reported."""
    outputs, inputs = (options.output, options.confidence), (options.image, options.slices)
    replaced = require_outputs(outputs, inputs, "propagate", options.overwrite)
    from InteractiveSegLib.image.image_io import write_image, write_labelmap
    from InteractiveSegLib.image.output_files import written_by
    from InteractiveSegLib.propagate.vanished import vanished_notes

    started = time.perf_counter()
    volume, _, proxy, notes = _proxy(options, pool)
    mask = proxy.labelmap()
    notes = [*replaced, *notes, *_in_both(vanished_notes(proxy, mask), volume.geometry)]
    with lock, one_voice():
        write_labelmap(options.output, mask, volume.geometry, written_by("propagate", mask), volume.nifti_forms)
        if options.confidence is not None:
            confidence = proxy.whole_confidence()
            by = written_by("propagate", confidence)
            write_image(options.confidence, confidence, volume.geometry, by, volume.nifti_forms)
    return {
        "mask": str(options.output),
        "objects": _objects(mask, proxy, volume.geometry),
        "confidence": _confidences(proxy),
        "seconds": round(time.perf_counter() - started, 3),
        "notes": notes,
    }


def _suggest(options: argparse.Namespace) -> None:
    from InteractiveSegLib.notes.slice_names import InBoth, InPatient
    from InteractiveSegLib.propagate.guidance import (
        GuidanceSettings,
        drawable_axes,
        expected_outlines,
        from_front_end,
        from_prediction,
        from_proxy,
        from_rounds,
    )
    from InteractiveSegLib.propagate.guidance import suggest as suggested
    from InteractiveSegLib.propagate.slice_pool import SlicePool

    if options.before is not None and options.prediction is None:
        raise InputError("--before needs --prediction, the probability of the round after it")
    settings = GuidanceSettings(options.count, _along(options.along))
    with SlicePool(options.jobs) as pool:
        volume, _, proxy, notes = _proxy(options, pool)
    axes = settings.axes or drawable_axes(volume.geometry, proxy.annotated, settings)
    if settings.axes is None and len(axes) < len(_AXES):
        left_out = " and ".join(name for axis, name in enumerate(_AXES) if axis not in axes)
        reason = "because their pixels are too elongated to draw on; use --along k,j,i to include them"
        notes.append(f"no slices across {left_out} are suggested, {reason}")
    evidence = [from_proxy(proxy)]
    if options.prediction is not None:
        prediction = _probability(options.prediction, volume.geometry, notes)
        evidence += [from_front_end(proxy, prediction), from_prediction(prediction)]
        if options.before is not None:
            evidence.append(from_rounds(_probability(options.before, volume.geometry, notes), prediction))
    voxels = float(proxy.probabilities.sum(dtype="float64"))
    outlines = expected_outlines(proxy)
    advice = suggested(evidence, volume.geometry, proxy.annotated, voxels, settings, outlines=outlines)
    if options.json:
        slices = [
            {
                "axis": _AXES[each.axis],
                "index": each.index,
                "name": InPatient(volume.geometry).one(each.place),
                "gain": round(each.gain, 5),
                "reason": each.reason,
            }
            for each in advice.suggestions
        ]
        print(json.dumps({"slices": slices, "enough": advice.enough, "text": advice.text, "notes": notes}))
        return
    say(options, *notes)
    for each in advice.suggestions:
        print(each.said(InBoth(volume.geometry)))
    print(advice.text)


def _along(words: str | None) -> tuple[int, ...] | None:
    """Axes of the option ``--along``; None without it. InputError for others than k, j and i."""
    if words is None:
        return None
    names = [word.strip() for word in words.split(",")]
    if not set(names) <= set(_AXES):
        raise InputError(f"--along {words}: axes are k, j and i")
    return tuple(sorted({_AXES.index(name) for name in names}))


def _proxy(options: argparse.Namespace, pool: SlicePool) -> tuple[Volume, NDArray, ProxyMask, list[str]]:
    """Image, labels, the propagated mask, and notes."""
    from dataclasses import replace

    from InteractiveSegLib.image.image_io import read_labelmap, read_volume
    from InteractiveSegLib.propagate.proxy_mask import PropagateSettings, propagate_steps
    from InteractiveSegLib.propagate.registration import PRESETS, require_elastix

    if options.method == "elastix":
        require_elastix()
        pool.start(1)
    with one_voice():
        volume = read_volume(options.image, options.series, options.time)
        read_notes = [*volume.notes]
        labels = read_labelmap(options.slices, volume.geometry, read_notes)
    annotated, notes = _annotated(options, labels)
    if options.preset == "mr" and volume.array_kji.min() <= _CT_LIKE:
        notes.append(f"intensities go down to {volume.array_kji.min():g}: for a CT, use --preset ct")
    registration = replace(PRESETS[options.preset], seed=options.seed)
    settings = PropagateSettings(options.method, registration)
    proxy = shown(propagate_steps(volume, annotated, settings, pool=pool), options)
    return volume, labels, proxy, [*read_notes, *notes, *_in_both(proxy.notes, volume.geometry)]


def _in_both(notes: Iterable[str], geometry: Geometry) -> list[str]:
    """Notes that name slices by index and by position in the patient."""
    from InteractiveSegLib.notes.notes import Words, said
    from InteractiveSegLib.notes.slice_names import InBoth

    words = Words(slices=InBoth(geometry))
    return [said(note, words) for note in notes]


def _annotated(options: argparse.Namespace, labels: NDArray) -> tuple[list[AnnotatedSlice], list[str]]:
    """The annotated slices of the command line, and notes on what was inferred or left out."""
    import numpy as np

    from InteractiveSegLib.propagate.annotated_slice import annotated_slices, likely_axis

    if len(options.axis) > 1 and len(options.annotated) != len(options.axis):
        raise InputError(f"{len(options.axis)} --axis but {len(options.annotated)} --annotated: give each axis its own")
    if len(options.annotated) > max(1, len(options.axis)):
        raise InputError(f"{len(options.annotated)} --annotated but {len(options.axis)} --axis: give each its own")
    if len(set(options.axis)) < len(options.axis):
        raise InputError(f"--axis {' '.join(options.axis)}: name each axis once")
    notes = []
    axes = [_AXES.index(name) for name in options.axis]
    if not axes:
        axes = [0 if options.annotated else likely_axis(labels)]
        if axes[0]:
            notes.append(f"the labels lie on slices across {_AXES[axes[0]]}, which is used as --axis")
    annotated = []
    for axis, indices in zip(axes, options.annotated or [None] * len(axes), strict=True):
        annotated += annotated_slices(labels, axis, indices)
    if len(axes) == 1 and options.annotated:
        held = np.flatnonzero(labels.any(axis=tuple({0, 1, 2} - {axes[0]})))
        unused = sorted(set(held.tolist()) - set(options.annotated[0]))
        if unused:
            listed = ", ".join(map(str, unused[:10])) + (", ..." if len(unused) > 10 else "")
            notes.append(f"labels on {_AXES[axes[0]]} slices {listed} are not among --annotated and are not used")
    return annotated, notes


def _probability(path: Path, geometry: Geometry, notes: list[str]) -> NDArray:
    """A probability (K, J, I) on the image's grid. InputError if it is on another grid or not within 0 to 1."""
    from InteractiveSegLib.image.image_io import read_volume
    from InteractiveSegLib.image.same_grid import on_grid

    with one_voice():
        volume = read_volume(path)
    notes += volume.notes
    probability = on_grid(volume.array_kji, volume.geometry, geometry, f"the probability {path}", notes)
    low, high = probability.min(), probability.max()
    if not (low >= 0 and high <= 1):
        raise InputError(f"the probability {path} holds {low:g} to {high:g}, not 0 to 1")
    return probability


def _objects(mask: NDArray, proxy: ProxyMask, geometry: Geometry) -> dict[str, dict[str, float]]:
    voxel_ml = math.prod(geometry.spacing_kji_mm) / 1000
    voxels = {label: int((mask == label).sum()) for label in proxy.labels}
    return {str(label): {"voxels": count, "ml": round(count * voxel_ml, 3)} for label, count in voxels.items()}


def _confidences(proxy: ProxyMask) -> dict[str, dict[str, float]]:
    """Axis -> slice -> confidence, along the annotated axes, where there is a result."""
    return {
        _AXES[axis]: {
            str(index): round(float(value), 3)
            for index, value in enumerate(proxy.slice_confidence[axis])
            if not math.isnan(value)
        }
        for axis in proxy.annotated
    }
