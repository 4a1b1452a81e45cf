"""Names under which ITK can open files, whatever their real names."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def itk_name(path: Path, suffixes: Sequence[str] = (), beside: Sequence[Path] = ()) -> Iterator[str]:
    """A name of this file that ITK can open.

    ITK accepts only UTF-8, and some of its readers depend on the suffix. If the file's own name is not suitable,
    the file is linked (or, where the system makes no links, copied) under another into a temporary folder.

    Parameters
    ----------
    suffixes : the name must have one of these; a file that has none of them gets the first
    beside : files that this one refers to by name, such as the voxels of a detached header
    """
    name = _utf8(path)
    fits = not suffixes or path.name.lower().endswith(tuple(suffixes))
    if name is not None and fits:
        yield name
        return
    suffix = "".join(path.suffixes[-2:] if path.name.lower().endswith(".gz") else path.suffixes[-1:])
    with tempfile.TemporaryDirectory() as folder:
        alias = Path(folder, "image" + (suffix if fits else suffixes[0]))
        _link(path, alias)
        for other in beside:
            same_stem = other.name.split(".")[0] == path.name.split(".")[0] and _utf8(Path(other.name)) is None
            _link(other, Path(folder, "image" + other.suffix if same_stem else other.name))
        yield str(alias)


@contextmanager
def itk_target(path: Path) -> Iterator[str]:
    """A name under which ITK can write this file; it lies at ``path`` when the block ends without an error."""
    name = _utf8(path)
    if name is not None:
        yield name
        return
    with tempfile.TemporaryDirectory() as folder:
        alias = Path(folder, "image" + "".join(path.suffixes[-2:]))
        yield str(alias)
        shutil.copyfile(alias, path)


def as_utf8(text: str) -> str:
    """A file's name as text that every program can store and show: anything that is not UTF-8 becomes a replacement
    character.
    """
    return os.fsencode(text).decode("utf-8", "replace")


def _utf8(path: Path) -> str | None:
    """The name as ITK's bindings encode it again, None if it contains bytes that are not UTF-8."""
    try:
        return os.fsencode(path).decode("utf-8")
    except UnicodeDecodeError:
        return None


def _link(path: Path, alias: Path) -> None:
    try:
        alias.symlink_to(path.resolve())
    except OSError:
        shutil.copyfile(path, alias)
