"""Paths from a database, an archive or a file: followed only within the folder they belong to."""

from __future__ import annotations

import re
from pathlib import Path

from InteractiveSegLib.errors import InputError

_FORBIDDEN = re.compile(r'[\x00-\x1f\\:<>"|?*]')  # on Windows drives, streams, wildcards and the other slash
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # reserved on Windows, in every folder


def contained_path(folder: Path, name: object, what: str) -> Path:
    """The file or folder of this name within a folder.

    Everything that would leave the folder on any operating system is refused, since a path may be written on one and
    read on another: steps upwards, absolute paths, drives, names of devices, and symbolic links that lead elsewhere.

    Parameters
    ----------
    folder : that the name is relative to; it may itself be a link
    name : as it was read: parts with slashes between them
    what : the source of the name, for the error

    Returns
    -------
    below ``folder``, never the folder itself; need not exist

    Raises
    ------
    InputError : the name is invalid, or leads out of the folder.
    """
    if not isinstance(name, str) or not name:
        raise InputError(f"{what} names {name!r}, which is not a path within {folder}")
    parts = name.split("/")
    for part in parts:
        if part.strip(" .") == "" or part[-1] in " ." or _FORBIDDEN.search(part) or _DEVICES.fullmatch(part):
            raise InputError(f"{what} names {name!r}, which is not allowed to lead out of {folder}: nothing was done")
    path = Path(folder, *parts)
    try:
        inside = path.resolve().is_relative_to(Path(folder).resolve())
    except (OSError, RuntimeError):  # links in a circle
        inside = False
    if not inside:
        raise InputError(f"{what} names {name!r}, which a link leads out of {folder}: nothing was done")
    return path
