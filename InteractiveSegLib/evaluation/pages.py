"""Writes tables of a benchmark into a page, between invisible marks, as in docs/results.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.system.files import replacing


def places_in(page: Path, names: Iterable[str]) -> list[str]:
    """Those of the names for which a Markdown page has a place, ``<!-- begin NAME -->`` to ``<!-- end NAME -->``.

    Raises
    ------
    InputError : the page cannot be read, has a place for none of them, or a mark is missing or occurs twice.
    """
    names, text = list(names), _read(page)
    found = []
    for name in names:
        begins, ends = text.count(_begin(name)), text.count(_end(name))
        if begins or ends:
            if (begins, ends) != (1, 1) or text.index(_begin(name)) > text.index(_end(name)):
                raise InputError(f"{page} must hold {_begin(name)} once and {_end(name)} once after it")
            found.append(name)
    if not found:
        marks = ", ".join(f"{_begin(name)} {_end(name)}" for name in names)
        raise InputError(f"{page} has no place for a table of this run; write into it one of {marks}")
    return found


def write_into(page: Path, tables: Mapping[str, str]) -> None:
    """Write each table to its place in a page; the rest is unchanged.

    Raises
    ------
    InputError : as ``places_in``.
    OutputError : the page cannot be written.
    """
    places, text = places_in(page, tables), _read(page)
    for name in places:
        pattern = re.escape(_begin(name)) + ".*?" + re.escape(_end(name))
        block = f"{_begin(name)}\n{tables[name].strip()}\n{_end(name)}"
        text = re.sub(pattern, lambda _, block=block: block, text, flags=re.DOTALL)
    with replacing(page) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _read(page: Path) -> str:
    try:
        return page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the page {page} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _begin(name: str) -> str:
    return f"<!-- begin {name} -->"


def _end(name: str) -> str:
    return f"<!-- end {name} -->"
