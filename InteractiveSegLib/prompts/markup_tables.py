"""Markups from older versions of 3D Slicer, which are tables: ``.fcsv`` and ``.acsv``."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from InteractiveSegLib.errors import InputError

_FRAMES = {"0": "RAS", "1": "LPS"}
_POINT = "point"  # beginnings of rows of .acsv that contain a position


def is_table(path: Path) -> bool:
    """Whether a file's name is that of a table."""
    return path.suffix.lower() in (".fcsv", ".acsv")


def markups_of_table(path: Path) -> dict[str, Any]:
    """The content as ``.mrk.json`` has it.

    Of an ``.fcsv`` the points are both a point list and a closed curve, which this format does not tell apart. Of an
    ``.acsv`` with two points, these are the middle and half the size of an ROI; otherwise they are a point list.

    Raises
    ------
    InputError : a row without a position.
    OSError, ValueError : the file cannot be read, or is not text.
    """
    lines = _text(path).splitlines()
    settings = {}
    for line in lines:
        if line.startswith("#"):
            key, _, value = line.lstrip("# ").partition("=")
            settings[key.strip().lower()] = value.strip()
    rows = [line for line in lines if line.strip() and not line.startswith("#")]
    if path.suffix.lower() == ".acsv":
        return {"markups": _of_annotation(path, rows, settings)}
    frame = settings.get("coordinatesystem", "RAS")
    points = []
    for row in csv.reader(rows):
        label = row[11] if len(row) > 11 else row[0]
        points.append({"label": label, "position": _numbers(path, row[1:4])})
    markup = {"coordinateSystem": _FRAMES.get(frame, frame.upper()), "coordinateUnits": "mm", "controlPoints": points}
    return {"markups": [{"type": kind, **markup} for kind in ("Fiducial", "ClosedCurve")]}


def _of_annotation(path: Path, rows: list[str], settings: dict[str, str]) -> list[dict[str, Any]]:
    columns = settings.get("pointcolumns", "type|x|y|z|sel|vis").split("|")
    at = [columns.index(axis) for axis in "xyz"]
    cells = [row.split("|") for row in rows if row.split("|")[0] == _POINT]
    places = [_numbers(path, [row[column] for column in at if column < len(row)]) for row in cells]
    frame = {"coordinateSystem": "RAS", "coordinateUnits": "mm"}
    measured = any("ruler" in text.lower() or "angle" in text.lower() for text in (*settings, *rows))
    if len(places) == 2 and not measured:
        size = [2 * half for half in places[1]]
        axes = [1, 0, 0, 0, 1, 0, 0, 0, 1]
        return [{"type": "ROI", **frame, "center": places[0], "size": size, "orientation": axes}]
    return [{"type": "Fiducial", **frame, "controlPoints": [{"position": place} for place in places]}]


def _numbers(path: Path, words: list[str]) -> list[float]:
    try:
        x, y, z = map(float, words)
    except ValueError:
        raise InputError(f"{path}: {', '.join(words)!r} is not a position of three numbers") from None
    return [x, y, z]


def _text(path: Path) -> str:
    content = path.read_bytes()
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    return content.decode("utf-16" if wide else "utf-8-sig")
