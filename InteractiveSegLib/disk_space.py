"""Whether a file could not be written because its disk is full, which the writers of images do not say."""

from __future__ import annotations

import shutil
from pathlib import Path

_FULL_BYTES = 1 << 16  # a file system may keep a few blocks that no file gets


def is_full(folder: Path) -> bool:
    """Whether next to nothing is free on the disk of a folder; a file that was written in part must still be there."""
    try:
        return shutil.disk_usage(folder).free < _FULL_BYTES
    except OSError:
        return False
