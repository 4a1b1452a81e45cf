"""Images whose header is a separate file: which files contain the voxels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.file_kind import Format, kind_of
from InteractiveSegLib.system.contained_path import contained_path

_HEADER_BYTES = 1 << 20
_MOST_FILES = 100_000
_NUMBER = re.compile(r"%0?\d{0,3}d")
_LINE_END = re.compile(r"\r\n|\r|\n")
_WHOLE = re.compile(r"-?\d{1,9}$")
_PAIRS = {".hdr": (".img", ".img.gz"), ".img": (".hdr",), ".img.gz": (".hdr", ".hdr.gz"), ".hdr.gz": (".img.gz",)}


def data_files(path: Path) -> list[Path]:
    """The files that an image's header names, in its order, whether they exist or not; none if the voxels are in the
    same file.

    NRRD (``data file``), MetaImage (``ElementDataFile``), both also with a list or a pattern of names, and the pairs of
    Analyze and NIfTI (``.hdr`` and ``.img``). They must be beside the header or below: headers come from elsewhere, and
    could otherwise have any file of this machine read as an image.

    Raises
    ------
    InputError : a name leads out of the header's folder, or is allowed only on some systems; the header does not say
        clearly where its voxels are.
    """
    try:
        form = kind_of(path).format
        with path.open("rb") as file:
            start = file.read(_HEADER_BYTES)
    except (InputError, OSError):
        form, start = Format.OTHER, b""
    if form is Format.NRRD:
        named = _of_nrrd(path, start)
    elif form is Format.METAIMAGE:
        named = _of_meta_image(path, start)
    else:
        return _paired(path)
    return [_beside(path, each) for each in named]


def _beside(header: Path, name: str) -> Path:
    while name.startswith("./"):  # as some programs write it
        name = name[2:]
    try:
        return contained_path(header.parent, name, f"the header {header}")
    except InputError as error:
        raise InputError(
            f"{error}; voxels are read only from the folder of their header: copy the file there and correct its name "
            "in the header"
        ) from error


def _paired(path: Path) -> list[Path]:
    name = path.name.lower()
    for suffix, others in _PAIRS.items():
        if name.endswith(suffix):
            beside = [path.with_name(path.name[: -len(suffix)] + other) for other in others]
            return [next((file for file in beside if file.exists()), beside[0])]
    return []


def _of_nrrd(path: Path, start: bytes) -> list[str]:
    header, *rest = re.split(rb"\r?\n\r?\n", start, maxsplit=1)
    if not rest and len(start) == _HEADER_BYTES:
        raise InputError(f"the header {path} does not end within {_HEADER_BYTES >> 20} MiB")
    lines = _LINE_END.split(header.decode("utf-8", "surrogateescape"))
    for number, line in enumerate(lines):
        found = re.match(r"data ?file:\s*(.*)", line, re.IGNORECASE)
        if found:
            return _names(found.group(1).strip(), lines[number + 1 :])
    return []


def _of_meta_image(path: Path, start: bytes) -> list[str]:
    """ITK searches for the key very loosely, and what it finds must be what is checked here."""
    key, _, rest = start.partition(b"ElementDataFile")
    found = re.match(rb"\s*=[ \t]*([^\r\n]*)\r?\n?", rest)
    if not found or not (key == b"" or key.endswith(b"\n")):
        raise InputError(
            f"the header {path} does not say where its voxels are: its first ElementDataFile must be the start of a "
            f"line 'ElementDataFile = ...' within {_HEADER_BYTES >> 20} MiB"
        )
    value = found.group(1).decode("utf-8", "surrogateescape").strip()
    if value.upper() == "LOCAL":
        return []
    return _names(value, rest[found.end() :].decode("utf-8", "surrogateescape").splitlines())


def _names(value: str, lines_after: Sequence[str]) -> list[str]:
    """From one file, a list that follows, or a pattern with its first number, last number and step."""
    if re.match(r"LIST\b", value):
        return [line.strip() for line in lines_after if line.strip()]
    words = value.split()
    form = _NUMBER.search(value)
    if form and len(words) >= 4 and form.end() <= len(words[0]) and all(_WHOLE.match(each) for each in words[1:4]):
        first, last, step = (int(word) for word in words[1:4])
        numbers = range(first, last + (1 if step > 0 else -1), step) if step else range(0)
        before, after = words[0][: form.start()], words[0][form.end() :]
        return [f"{before}{form.group() % number}{after}" for number in numbers[:_MOST_FILES]]
    return [value]
