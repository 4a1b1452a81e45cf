"""Access to a casebook's folder: for its owner only, unless it is shared with a group."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from InteractiveSegLib.casebook.case_files import CASES
from InteractiveSegLib.casebook.work_locks import LOCKS


def make_private(folder: Path) -> None:
    """Create a casebook's folder for its owner only, or its subfolders if it contains other files as well.

    A folder that is shared with a group remains shared.

    Raises
    ------
    OSError : the folder cannot be created.
    """
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    if os.name == "nt" or is_shared(folder):
        return
    if is_new or not any(folder.iterdir()):
        folder.chmod(0o700)
    elif stat.S_IMODE(folder.stat().st_mode) & 0o077:
        for name in (CASES, LOCKS, "learning"):
            (folder / name).mkdir(0o700, exist_ok=True)


def is_shared(folder: Path) -> bool:
    """Whether others may write into a folder: it has the set-group-ID bit, or another group or everybody may write."""
    found = folder.stat()
    if not hasattr(os, "getegid"):
        return False
    of_group = found.st_mode & stat.S_IWGRP and found.st_gid != os.getegid()
    return bool(found.st_mode & (stat.S_ISGID | stat.S_IWOTH) or of_group)
