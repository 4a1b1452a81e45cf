"""Location of the weights of a casebook's networks, and whether they are unchanged."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from InteractiveSegLib.casebook.new_files import checksums, checksums_of, require_intact
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.system.contained_path import contained_path

_VERSION_FOLDER = re.compile(r"version-\d+")


def weights_folder(row: sqlite3.Row, folder: Path) -> Path:
    """The folder named by a row. InputError if it is not a version's folder, since it may be deleted later."""
    path = contained_path(folder, row["file"], f"version {row['id']} in the database of the casebook {folder}")
    if path.parent != folder / "learning" / row["learner"] or not _VERSION_FOLDER.fullmatch(path.name):
        raise InputError(
            f"version {row['id']} in the database of the casebook {folder} names {row['file']!r}, which is not "
            f"a folder of a version of the {row['learner']} network: nothing was done"
        )
    return path


def weights_checksums(folder: Path) -> str:
    """Checksums of the files in the folder of a version, as stored in the database."""
    return checksums({path.name: path for path in sorted(folder.iterdir()) if path.is_file()})


def require_weights(row: sqlite3.Row, folder: Path) -> None:
    """InputError if a file of a version's weights is missing or has changed since it was written."""
    place, what = weights_folder(row, folder), f"the {row['learner']} network of version {row['id']}"
    if not place.is_dir():
        raise InputError(f"{what} is not at {row['file']}")
    try:
        known = checksums_of(row) or {}
    except (TypeError, ValueError) as error:
        raise InputError(f"version {row['id']} is damaged in the database: {error}") from error
    for name, sha256 in known.items():
        require_intact(contained_path(place, name, what), sha256, what)
