"""Text from files and folders, as terminals, windows and spreadsheets may have it: shown, and never obeyed."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_PART_OF_A_NAME = re.compile(r"([_./\\-]|[^\W_]{8})(?=.)")
_FORMULA = re.compile("[\\s\x00]*[=+\\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def printable(text: object) -> str:
    """One line, in which control characters, those that turn the order of letters, and halves of letters are spelt out.

    A name could otherwise rewrite what stands on a terminal, or make it do things.
    """
    return _CONTROL.sub(lambda found: repr(found.group())[1:-1], str(text))


def no_markup(text: str) -> str:
    """For tool tips and message boxes of Qt, which take text with a tag in it for HTML: it is shown literally."""
    if "<" not in text:
        return text
    return f"<qt>{html.escape(text).replace(chr(10), '<br>')}</qt>"


def breakable(name: str) -> str:
    """A name for labels that wrap their text: invisible spaces let a line end after each part of it, such as ``_``, and
    within long words, where it would otherwise be cut off.
    """
    return _PART_OF_A_NAME.sub("\\1\u200b", name)


def spreadsheet_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row for a CSV file: text that a spreadsheet would run as a formula gets an apostrophe before it."""
    return {key: f"'{value}" if _is_formula(value) else value for key, value in row.items()}


def _is_formula(value: object) -> bool:
    return isinstance(value, str) and _FORMULA.match(value) is not None and not _NUMBER.fullmatch(value)
