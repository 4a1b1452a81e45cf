"""The command ``interactiveseg segment``."""

from __future__ import annotations

import argparse
import json
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from InteractiveSegLib.commands.batch import BatchOptions, add_images, batch_cases, run_batch
from InteractiveSegLib.commands.prompt_options import add_prompts, has_prompts, require_prompts, set_prompts
from InteractiveSegLib.commands.terminal import (
    add_common,
    add_overwrite,
    add_trust,
    count_of,
    one_voice,
    require_outputs,
    say,
    shown,
)
from InteractiveSegLib.networks import DEFAULT_NETWORK
from InteractiveSegLib.wording.counting import counted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from InteractiveSegLib.commands.automatic_segment import AutomaticAnswer
    from InteractiveSegLib.image.geometry import Volume
    from InteractiveSegLib.prompts.prompts import Prompts
    from InteractiveSegLib.segmenting.segment_result import SegmentResult
    from InteractiveSegLib.worker.blocking import BlockingWorker
    from InteractiveSegLib.worker.requests.segment_request import SegmentRequest

_VARYING = BatchOptions(("output", "probability"), ("box", "scribbles", "points", "lasso", "start"))


def add_segment(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "segment",
        help="segment objects from boxes, scribbles, points, lassos or masks",
        description="Segment one or several objects in a medical image from boxes, scribbles, points, lassos or masks.",
    )
    add_images(command, "--scribbles 'drawn/{name}.nii.gz'")
    add_prompts(command)
    command.add_argument("-o", "--output", type=Path, required=True, metavar="MASK", help="labelmap to write")
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
        "a folder with a model; one that was trained from scribbles needs no prompts, and takes scribbles as "
        "corrections",
    )
    add_overwrite(command)
    add_trust(command)
    add_common(command)
    command.add_argument("--jobs", type=count_of, default=1, metavar="N", help="number of images processed in parallel")
    command.add_argument("--json", action="store_true", help="print the result as one JSON object")
    command.set_defaults(run=_segment)


def _segment(options: argparse.Namespace) -> int:
    cases = batch_cases(options, _VARYING)
    if cases is not None:
        for case in cases:
            _require_prompts(case.options)
        with _Workers() as workers:
            work = partial(_segmented, compute=workers.compute, lock=workers.lock)
            return run_batch(cases, work, options, _VARYING, workers.lock, options.jobs)
    (options.image,) = options.image
    report = _segmented(options, partial(_compute_here, options), threading.Lock())
    if options.json:
        print(json.dumps(report))
    else:
        say(options, *report["notes"])
        for label, found in report["objects"].items():
            print(f"label {label}: {counted(found['voxels'], 'voxel', 'voxels')}, {found['ml']} ml")
    return 0


def _require_prompts(options: argparse.Namespace) -> None:
    """A model that a person taught by scribbles needs none."""
    from InteractiveSegLib.learning.automatic_card import is_automatic

    if has_prompts(options) or not is_automatic(options.model):
        require_prompts(options)


def _compute_here(
    options: argparse.Namespace, volume: Volume, prompts: Prompts, request: SegmentRequest
) -> SegmentResult:
    """In this process, with a progress bar."""
    from InteractiveSegLib.worker.requests.request_context import RequestContext, WholeImage

    return shown(request.steps(RequestContext(WholeImage(volume), prompts)), options)


class _Workers:
    """A worker process for each computing thread, so that a crash affects only one image.

    lock : held while reading or writing; released while a process computes
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._own = threading.local()
        self._all: list[BlockingWorker] = []

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._all:
            worker.client.close()

    def compute(self, volume: Volume, prompts: Prompts, request: SegmentRequest) -> SegmentResult:
        """In this thread's process; the lock, which the caller holds, is released meanwhile."""
        from InteractiveSegLib.worker.blocking import BlockingWorker

        if not hasattr(self._own, "worker"):
            self._own.worker = BlockingWorker()
            self._all.append(self._own.worker)
        worker = self._own.worker
        worker.client.set_image(volume)
        worker.client.prompts = prompts
        with _released(self.lock):
            return worker.run(request)


def _segmented(
    options: argparse.Namespace,
    compute: Callable[[Volume, Prompts, SegmentRequest], SegmentResult],
    lock: threading.Lock,
) -> dict[str, Any]:
    """Segment one image and write its mask; returns what is reported."""
    with lock:
        return _written(options, compute, lock)


@contextmanager
def _released(lock: threading.Lock) -> Iterator[None]:
    """Leave a lock, which this thread holds, to others meanwhile."""
    lock.release()
    try:
        yield
    finally:
        lock.acquire()


def _written(
    options: argparse.Namespace,
    compute: Callable[[Volume, Prompts, SegmentRequest], SegmentResult],
    lock: threading.Lock,
) -> dict[str, Any]:
    _require_prompts(options)
    inputs = (options.image, options.scribbles, options.start)
    replaced = require_outputs((options.output, options.probability), inputs, "segment", options.overwrite)

    from InteractiveSegLib.learning.automatic_card import is_automatic

    if options.trust_model and not is_automatic(options.model):
        from InteractiveSegLib.networks.checkpoint import trust_programs

        trust_programs(options.model)

    from InteractiveSegLib.commands.automatic_segment import automatic_answer, start_corrections
    from InteractiveSegLib.image.image_io import read_volume, write_image, write_labelmap
    from InteractiveSegLib.image.output_files import written_by
    from InteractiveSegLib.prompts.drawing import Drawing
    from InteractiveSegLib.worker.requests.segment_request import SegmentRequest

    with one_voice():
        volume = read_volume(options.image, options.series, options.time)
    drawing = Drawing(volume.geometry)
    notes = [*replaced, *volume.notes, *set_prompts(drawing, options)]
    with _released(lock):
        answer = automatic_answer(options, volume)
    if answer is not None and not has_prompts(options):
        return _written_answer(options, volume, answer, notes)
    model, kept = options.model, []
    if answer is not None:
        model, kept = DEFAULT_NETWORK, start_corrections(drawing, answer.labels)
        notes.append(f"corrections start from what {options.model} found, and are taken by the {model} network")
    with_probability = options.probability is not None
    request = SegmentRequest(model, options.adapt, options.device, options.seed, with_probability=with_probability)
    result = compute(volume, drawing.prompts, request)
    shape = volume.geometry.shape_kji
    mask = result.labelmap(shape)
    for label in kept:
        mask[(answer.labels == label) & (mask == 0)] = label
    with one_voice():
        write_labelmap(options.output, mask, volume.geometry, written_by("segment", mask), volume.nifti_forms)
        if options.probability is not None:
            probability = result.probability_map(shape)
            if answer is not None:
                probability = answer.in_kept(probability, mask, kept)
            by = written_by("segment", probability)
            write_image(options.probability, probability, volume.geometry, by, volume.nifti_forms)
    notes += dict.fromkeys(drawing.notes + result.notes)
    objects = {
        str(label): {"voxels": mask.voxels, "ml": round(result.millilitres(label, volume.geometry), 3)}
        for label, mask in result.masks.items()
    } | _objects(mask, kept, volume)
    return {
        "mask": str(options.output),
        "objects": objects,
        "seconds": round(result.seconds + (answer.seconds if answer is not None else 0.0), 3),
        "device": result.device,
        "notes": notes,
    }


def _written_answer(
    options: argparse.Namespace, volume: Volume, answer: AutomaticAnswer, notes: list[str]
) -> dict[str, Any]:
    """Without prompts the mask is what the model found."""
    import numpy as np

    from InteractiveSegLib.image.image_io import write_image, write_labelmap
    from InteractiveSegLib.image.output_files import written_by

    with one_voice():
        by = written_by("segment", answer.labels)
        write_labelmap(options.output, answer.labels, volume.geometry, by, volume.nifti_forms)
        if options.probability is not None:
            by = written_by("segment", answer.foreground)
            write_image(options.probability, answer.foreground, volume.geometry, by, volume.nifti_forms)
    found = [int(label) for label in np.unique(answer.labels) if label]
    return {
        "mask": str(options.output),
        "objects": _objects(answer.labels, found, volume),
        "seconds": round(answer.seconds, 3),
        "device": "cpu",
        "notes": notes if found else [*notes, f"{options.model} found nothing in this image"],
    }


def _objects(labels: NDArray[np.integer], of: Sequence[int], volume: Volume) -> dict[str, dict[str, float]]:
    ml = math.prod(volume.geometry.spacing_kji_mm) / 1000
    counts = {label: int((labels == label).sum()) for label in of}
    return {str(label): {"voxels": count, "ml": round(count * ml, 3)} for label, count in counts.items()}
