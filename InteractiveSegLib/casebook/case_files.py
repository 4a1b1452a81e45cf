"""Location of the files of cases within a casebook."""

from __future__ import annotations

from pathlib import Path

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.system.contained_path import contained_path

CASES = "cases"


def case_folder(folder: Path, case_id: int | str) -> Path:
    """Folder of a case's files. InputError if a link leads out of the casebook."""
    return contained_path(folder, f"{CASES}/{case_id}", f"case {case_id}")


def case_file(folder: Path, case_id: int, stored: object) -> Path:
    """A file of a case by the path stored in a row, relative to the casebook's folder.

    Raises
    ------
    InputError : it is not a file in the folder of this case.
    """
    path = contained_path(folder, stored, f"the database of the casebook, for case {case_id},")
    if path.parent != case_folder(folder, case_id):
        raise InputError(
            f"the database of the casebook {folder} names {stored!r}, which is not a file of case {case_id}"
        )
    return path
