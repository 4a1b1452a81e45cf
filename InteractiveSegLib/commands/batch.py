"""Several images in one command: the list of images, the options for each, and the outcome."""

from __future__ import annotations

import argparse
import csv
import json
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from InteractiveSegLib.commands.batch_report import REPORT, is_report, sealed, write_report
from InteractiveSegLib.commands.prompt_options import numbers_in, slice_indices
from InteractiveSegLib.commands.terminal import PARTLY_DONE, add_choice, say, shown
from InteractiveSegLib.errors import MEMORY_IS_FULL, InputError, InteractiveSegError, OutputError, is_out_of_memory
from InteractiveSegLib.progress import Progress, Steps
from InteractiveSegLib.system.files import make_folder
from InteractiveSegLib.wording.counting import counted
from InteractiveSegLib.wording.plain_text import printable

_NAME = "{name}"
_LISTS = (".txt", ".csv")
_MASK = "{name}_mask.nii.gz"
_TICK_S = 0.2


@dataclass(frozen=True)
class BatchOptions:
    """Which options of a command differ from image to image.

    outputs : options that name a file to write; "output" is the mask
    inputs : options that name files to read, or contain something else that a list may give for each image
    """

    outputs: Sequence[str]
    inputs: Sequence[str]


@dataclass(frozen=True, eq=False)
class BatchCase:
    """One image. ``options`` are those of the command as if given for this image only."""

    name: str
    options: argparse.Namespace


def add_images(command: argparse.ArgumentParser, prompts: str) -> None:
    """The images of a command that takes several.

    prompts : the option in the help that differs from image to image
    """
    command.add_argument(
        "image",
        type=Path,
        nargs="+",
        metavar="IMAGE",
        help="NIfTI, NRRD or MHA file, or a folder with one DICOM series. Several images, a folder of images or a list "
        "are processed one after another, with a folder for -o: a .txt list has one image per line; a .csv list has "
        "the column image, and may have the column name and columns named like options. "
        f"{{name}} in options such as {prompts} stands for the name of each image; existing masks are kept, and a "
        "report is written beside the masks",
    )
    add_choice(command)
    command.add_argument(
        "--again", action="store_true", help="with several images, also process those that already have a mask"
    )


def batch_cases(options: argparse.Namespace, varying: BatchOptions) -> list[BatchCase] | None:
    """The images of a command line, each with its own options; None if there is a single one.

    Raises
    ------
    InputError : no image, an invalid list, two images with one mask, or a mask in the place of an input.
    """
    from InteractiveSegLib.image.image_io import WRITABLE_SUFFIXES, require_writable_name

    places, output = options.image, str(options.output)
    one = places[0] if len(places) == 1 else None
    names_file = output.endswith(WRITABLE_SUFFIXES) and not options.output.is_dir()
    if (
        one is not None
        and one.suffix.lower() not in _LISTS
        and _NAME not in output
        and (names_file or not one.is_dir())
    ):
        return None
    if options.series is not None:
        raise InputError(
            f"--series {options.series} chooses within one folder: with several images, all series are processed"
        )
    if _NAME not in output:
        if names_file:
            raise InputError(f"-o {output}: for several images, give a folder, or a pattern such as masks/{_MASK}")
        output = str(options.output / _MASK)
    rows = [row for place in places for row in _rows(place, varying)]
    if not rows:
        raise InputError(f"{', '.join(map(str, places))}: no image found (NIfTI, NRRD, MHA or a DICOM series)")
    from InteractiveSegLib.casebook.importing import split_notes

    say(options, *split_notes((row["image"], row["series"]) for row in rows))
    cases = []
    for row in rows:
        name = row.pop("name")
        if name in (".", "..") or any(sign in name for sign in "/\\:\0"):
            raise InputError(
                f"{name!r} cannot be the name of {row['image']}: the mask is named after it, so it must "
                "not contain / \\ or :"
            )
        given = {**vars(options), "output": Path(output), **row}
        for option in (*varying.outputs, *varying.inputs):
            given[option] = _named(given[option], name)
        # notes go only into the report
        cases.append(BatchCase(name, argparse.Namespace(**{**given, "quiet": True, "json": False})))
    for case in cases:
        for path in _files(case.options, varying.outputs):
            require_writable_name(path)
    _require_apart(cases, varying)
    return cases


def run_batch(
    cases: Sequence[BatchCase],
    work: Callable[[argparse.Namespace], dict[str, Any]],
    options: argparse.Namespace,
    varying: BatchOptions,
    lock: threading.Lock,
    jobs: int = 1,
) -> int:
    """Process the images, write and print the report; returns the exit code.

    Parameters
    ----------
    work : runs the command with the options for one image; returns what it reports
    lock : held by ``work`` while it writes; an interruption waits for it and keeps it, so that nothing is written later
    jobs : images processed in parallel
    """
    path = cases[0].options.output.parent / REPORT
    replaced = _require_report(path, cases, options, varying)
    for each in {getattr(case.options, name) for case in cases for name in varying.outputs} - {None}:
        try:
            make_folder(each.parent)
        except OutputError as error:
            raise InputError(str(error)) from error
    rows: dict[str, dict[str, Any]] = {}
    try:
        shown(_steps(cases, work, options.again, varying, rows, jobs), options)
    except BaseException:
        lock.acquire()
        write_report(path, _report(cases, rows))
        raise
    report = _report(cases, rows)
    write_report(path, report)
    if options.json:
        print(json.dumps(report))
    else:
        for row in report["cases"]:
            print(f"{printable(row['name'])}\t{row['state']}\t{printable(_in_words(row))}")
            say(options, *(f"{row['name']}: {note}" for note in row.get("notes", ())))
        counts = ", ".join(f"{report[state]} {state}" for state in ("done", "skipped", "failed"))
        say(options, *replaced, f"{counts}; the report is {path}")
    return PARTLY_DONE if report["failed"] else 0


def _require_report(
    path: Path, cases: Sequence[BatchCase], options: argparse.Namespace, varying: BatchOptions
) -> list[str]:
    """Notes on what the report replaces. InputError if that would be lost, or is an input of an image."""
    from InteractiveSegLib.image.output_files import require_free

    if _place(path) in _inputs(cases, varying):
        raise InputError(f"{path} is an input: the report of the batch would replace it; choose another folder with -o")
    return require_free(path, "interactiveseg", options.overwrite, is_report)


def _report(cases: Sequence[BatchCase], rows: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    counts = {state: sum(row["state"] == state for row in rows.values()) for state in ("done", "skipped", "failed")}
    found = [rows[case.name] for case in cases if case.name in rows]
    return sealed({**counts, "left": len(cases) - len(found), "cases": found})


def _steps(
    cases: Sequence[BatchCase],
    work: Callable[[argparse.Namespace], dict[str, Any]],
    again: bool,
    varying: BatchOptions,
    rows: dict[str, dict[str, Any]],
    jobs: int,
) -> Steps[None]:
    """Fill ``rows``, name -> outcome of an image. Threads end with the process, so that nobody waits for them."""
    waiting: queue.SimpleQueue[BatchCase] = queue.SimpleQueue()
    found: queue.SimpleQueue[tuple[str, dict[str, Any]]] = queue.SimpleQueue()
    stop = threading.Event()
    for case in cases:
        outputs = [getattr(case.options, name) for name in varying.outputs]
        if not again and all(path is None or path.exists() for path in outputs):
            rows[case.name] = _row(case, "skipped")
        else:
            waiting.put(case)

    def go_on() -> None:
        while not stop.is_set():
            try:
                case = waiting.get_nowait()
            except queue.Empty:
                return
            found.put((case.name, _done(case, work)))

    for _ in range(jobs):
        threading.Thread(target=go_on, daemon=True).start()
    try:
        while len(rows) < len(cases):
            yield Progress(len(rows), len(cases), f"image {len(rows) + 1} of {len(cases)}")
            try:
                name, row = found.get(timeout=_TICK_S)
            except queue.Empty:
                continue
            rows[name] = row
    finally:
        stop.set()


def _done(case: BatchCase, work: Callable[[argparse.Namespace], dict[str, Any]]) -> dict[str, Any]:
    try:
        return {**_row(case, "done"), **work(case.options)}
    except (InteractiveSegError, OSError) as error:
        text = str(error)
    except Exception as error:  # whatever it is, the other images are processed
        text = MEMORY_IS_FULL if is_out_of_memory(error) else f"{type(error).__name__}: {error}"
    return {**_row(case, "failed"), "error": " ".join(text.split())}


def _row(case: BatchCase, state: str) -> dict[str, Any]:
    options = case.options
    return {"name": case.name, "image": str(options.image), "mask": str(options.output), "state": state}


def _in_words(row: dict[str, Any]) -> str:
    if row["state"] == "failed":
        return row["error"]
    if row["state"] == "skipped":
        return f"{row['mask']} already exists"
    return "; ".join(
        f"label {label}: {counted(each['voxels'], 'voxel', 'voxels')}, {each['ml']} ml"
        for label, each in row["objects"].items()
    )


def _rows(place: Path, varying: BatchOptions) -> Iterator[dict[str, Any]]:
    """For each image of a place, its name, the image, and what else differs."""
    if place.suffix.lower() in _LISTS:
        yield from _listed(place, varying)
        return
    from InteractiveSegLib.casebook.importing import find_images

    for path, series in find_images(place):
        yield {"name": _name_of(path), "image": path, "series": series}


def _listed(place: Path, varying: BatchOptions) -> Iterator[dict[str, Any]]:
    """The rows of a list; paths in it are relative to its folder."""
    try:
        text = place.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the list {place} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if place.suffix.lower() == ".txt":
        lines = [line.strip() for line in text.splitlines()]
        table = [{"image": line} for line in lines if line and not line.startswith("#")]
    else:
        reader = csv.DictReader(text.splitlines(), skipinitialspace=True)
        columns, known = reader.fieldnames or [], ("image", "name", *varying.inputs)
        wrong = [column for column in columns if column not in known]
        if wrong or "image" not in columns:
            what = f"the column {wrong[0]!r}" if "image" in columns else "no column image"
            raise InputError(f"the list {place} has {what}; its columns are {', '.join(known)}")
        table = [row for row in reader if any(row.values())]
    for number, row in enumerate(table, 1):
        if None in row or not row["image"]:
            raise InputError(f"the list {place} has no image, or too many fields, in row {number}")
        image = place.parent / row["image"]
        found: dict[str, Any] = {"name": row.get("name") or _name_of(image), "image": image, "series": None}
        for column in varying.inputs:
            if row.get(column):
                found[column] = _cell(row[column], column, place.parent)
        yield found


def _cell(text: str, column: str, folder: Path) -> Any:
    """The value of an option from a list; several values are separated by semicolons."""
    if column == "annotated":
        return [slice_indices(part) for part in text.split(";")]
    if column in ("box", "points", "lasso"):
        parts = [part.strip() for part in text.split(";")]
        if column == "box":
            return [part if numbers_in(part) else str(folder / part) for part in parts]
        return [folder / part for part in parts]
    return folder / text


def _name_of(path: Path) -> str:
    """For a file, its name without the suffix of its format; for a DICOM series, its folder."""
    from InteractiveSegLib.casebook.importing import IMAGE_SUFFIX

    return IMAGE_SUFFIX.sub("", path.name)


def _named(value: Any, name: str) -> Any:
    """An option with the name of the image in place of ``{name}``."""
    if isinstance(value, list):
        return [_named(each, name) for each in value]
    if isinstance(value, (str, Path)):
        return type(value)(str(value).replace(_NAME, name))
    return value


def _require_apart(cases: Sequence[BatchCase], varying: BatchOptions) -> None:
    """InputError if an output is also that of another image, or an input."""
    inputs = _inputs(cases, varying)
    taken: dict[str, BatchCase] = {}
    for case in cases:
        for path in _files(case.options, varying.outputs):
            other = taken.setdefault(_place(path), case)
            if other is not case:
                raise InputError(
                    f"{other.options.image} and {case.options.image} would both be written to {path}: give them names "
                    "in a list (.csv) with the columns image and name"
                )
            if _place(path) in inputs:
                raise InputError(f"{path} is an input, and an input is never replaced")


def _inputs(cases: Sequence[BatchCase], varying: BatchOptions) -> set[str]:
    return {_place(value) for case in cases for value in (case.options.image, *_files(case.options, varying.inputs))}


def _files(options: argparse.Namespace, names: Sequence[str]) -> Iterator[Path]:
    for name in names:
        value = getattr(options, name)
        yield from (each for each in (value if isinstance(value, list) else [value]) if isinstance(each, Path))


def _place(path: Path) -> str:
    """Where a path points; the same for names that are equal on some file systems."""
    return str(path.resolve()).casefold()
