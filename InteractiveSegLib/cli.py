"""The command line: a contract that scripts rely on.

Exit codes: 0 done, 1 an error that is not the input's, 2 the input or the command line is wrong, 130 stopped by Ctrl-C.
Results go to standard output, progress and messages to standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

from InteractiveSegLib import __version__
from InteractiveSegLib.errors import InputError, InteractiveSegError, OutputError

if TYPE_CHECKING:
    import torch

    from InteractiveSegLib.progress import Steps

Result = TypeVar("Result")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except InputError as error:
        return _fail(error, 2)
    except (InteractiveSegError, OSError, MemoryError) as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        return _fail("stopped", 130)
    return 0


def _fail(error: BaseException | str, code: int) -> int:
    text = " ".join(str(error).split()) or type(error).__name__
    print(f"interactiveseg: {text}", file=sys.stderr)
    return code


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage above it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"interactiveseg: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="interactiveseg", description="Interactive segmentation that adapts to the image in front of the user."
    )
    parser.add_argument("--version", action="version", version=f"interactiveseg {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (_add_segment, _add_train, _add_demo, _add_benchmark):
        add(commands)
    return parser


def _add_segment(commands: argparse._SubParsersAction) -> None:
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
        "--model", default="auto", help="auto, pnet (2D, slice by slice), pcnet (3D), or a folder with weights"
    )
    _add_common(command)
    command.add_argument("--json", action="store_true", help="print the result as one JSON object")
    command.set_defaults(run=_segment)


def _add_train(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "train",
        help="train P-Net or PC-Net from procedural images",
        description="Train a network from procedural images. Run again with the same folder to go on where it stopped.",
    )
    command.add_argument("network", choices=("pnet", "pcnet"))
    command.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="checkpoints and weights")
    command.add_argument("--steps", type=int, help="optimiser steps in all; without it, those of the shipped weights")
    command.add_argument("--workers", type=int, default=0, help="processes that make images")
    _add_common(command)
    command.set_defaults(run=_train)


def _add_demo(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "demo",
        help="box, scribbles and fine-tuning on a real scan",
        description="Segment the lateral ventricles of a brain MRI that comes with the Python package nilearn: "
        "prints Dice and seconds by round, writes pictures.",
    )
    command.add_argument("-o", "--output", type=Path, default=Path("demo_output"), metavar="FOLDER")
    _add_common(command)
    command.set_defaults(run=_demo)


def _add_benchmark(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "benchmark",
        help="Dice and seconds by stage on annotated images",
        description="Score plain prediction, label step, and unsupervised and supervised fine-tuning on the same boxes "
        "and scribbles, or time the stages (--task speed).",
    )
    command.add_argument("--task", choices=("stages", "speed"), default="stages")
    command.add_argument("--data", type=Path, metavar="FOLDER", help="folder of the annotated datasets")
    command.add_argument("--cases", type=int, default=4, help="cases a dataset, evenly spread over it")
    command.add_argument("--model", default="auto")
    command.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="where table and CSV go")
    _add_common(command)
    command.set_defaults(run=_benchmark)


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    command.add_argument("--seed", type=_seed, default=0, help="of all random choices, 0 to 2**32 - 1")
    command.add_argument("--quiet", action="store_true", help="no progress bars, no messages")


def _seed(word: str) -> int:
    seed = int(word)
    if not 0 <= seed < 2**32:
        raise argparse.ArgumentTypeError(f"{word} is not between 0 and {2**32 - 1}")
    return seed


def _segment(options: argparse.Namespace) -> None:
    if not options.box and options.scribbles is None:
        raise InputError("give a --box, --scribbles, or both")
    _require_writable(options)

    from InteractiveSegLib.image_io import read_labelmap, read_volume, write_image, write_labelmap
    from InteractiveSegLib.networks.choice import network_for
    from InteractiveSegLib.prompts import Scribbles
    from InteractiveSegLib.session import ImageSession

    device = _device(options.device)
    with _one_voice():
        volume = read_volume(options.image)
    network = network_for(options.model, volume.geometry)
    session = ImageSession(volume, network, seed=options.seed, device=device)
    notes = _set_boxes(session, options)
    if options.scribbles is not None:
        with _one_voice():
            marks = read_labelmap(options.scribbles, volume.geometry)
        session.add_scribbles(Scribbles.from_labelmap(marks))
    result = _shown(session.segment(adapt=options.adapt), options)
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
        _say(options, *notes)
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


def _set_boxes(session: ImageSession, options: argparse.Namespace) -> list[str]:  # noqa: F821
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


def _probabilities(session: ImageSession) -> NDArray:  # noqa: F821
    """Of one object its probability; of several the largest."""
    from functools import reduce

    import numpy as np

    probabilities = (session.probability(label) for label in session.current.objects)
    return reduce(lambda most, other: np.maximum(most, other, out=most), probabilities)


def _millilitres(voxels: int, volume: Volume) -> float:  # noqa: F821
    import math

    return float(voxels) * math.prod(volume.geometry.spacing_kji_mm) / 1000


def _train(options: argparse.Namespace) -> None:
    from InteractiveSegLib.training.recipes import train_steps

    steps = train_steps(
        options.network,
        options.output,
        steps=options.steps,
        seed=options.seed,
        workers=options.workers,
        device=_device(options.device),
    )
    print(_shown(steps, options))


def _demo(options: argparse.Namespace) -> None:
    from InteractiveSegLib.evaluation.demo import demo_steps

    table = _shown(demo_steps(options.output, options.seed, _device(options.device)), options)
    print(table)


def _benchmark(options: argparse.Namespace) -> None:
    device = _device(options.device)
    if options.task == "speed":
        from InteractiveSegLib.evaluation.speed import speed_steps

        print(_shown(speed_steps(options.model, options.seed, device), options))
        return
    from InteractiveSegLib.evaluation.benchmark import BenchmarkSettings, stages_steps

    if options.data is None:
        raise InputError("--task stages needs --data FOLDER")
    settings = BenchmarkSettings(options.model, options.cases, options.seed, device)
    print(_shown(stages_steps(options.data, options.output, settings), options))


def _device(name: str) -> torch.device:
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: no CUDA device is available; use --device auto or cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def _say(options: argparse.Namespace, *texts: str) -> None:
    if not options.quiet:
        for text in texts:
            print(f"note: {text}", file=sys.stderr)


def _shown(steps: Steps[Result], options: argparse.Namespace) -> Result:
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


if __name__ == "__main__":
    sys.exit(main())
