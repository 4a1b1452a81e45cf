"""Where the files of cases lie within a casebook, and nowhere else."""

from __future__ import annotations

from pathlib import Path

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.system.contained_path import contained_path

CASES = "cases"


def case_folder(folder: Path, case_id: int | str) -> Path:
    """Where the files of a case lie. InputError where a link leads out of the casebook."""
    return contained_path(folder, f"{CASES}/{case_id}", f"case {case_id}")


def case_file(folder: Path, case_id: int, stored: object) -> Path:
    """A file of a case by the path that a row names, from the casebook's folder.

    Raises
    ------
    InputError : it is no file in the folder of this case.
    """
    path = contained_path(folder, stored, f"the database of the casebook, for case {case_id},")
    if path.parent != case_folder(folder, case_id):
        raise InputError(f"the database of the casebook {folder} names {stored!r}, which is no file of case {case_id}")
    return path
