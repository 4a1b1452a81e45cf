"""The outcome of the images of a batch, as a file that only a batch replaces without asking."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from InteractiveSegLib.system.files import replacing

REPORT = "report.json"
_SEAL = "written_by"


def sealed(report: Mapping[str, Any]) -> dict[str, Any]:
    """The report with a seal by which it is recognised."""
    return {**report, _SEAL: _seal(report)}


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """OutputError if it cannot be written."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(report, indent=1), "utf-8")


def is_report(_program: str, path: Path) -> bool:
    """Whether a file is the unchanged report of an earlier batch."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get(_SEAL) == _seal(found)


def _seal(report: Mapping[str, Any]) -> str:
    told = json.dumps({key: value for key, value in report.items() if key != _SEAL}, sort_keys=True)
    return f"interactiveseg {hashlib.sha256(told.encode()).hexdigest()}"
