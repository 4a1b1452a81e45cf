"""Files that a row of the database will refer to: written first, with a lock that reveals an interruption.

While they are written, a lock with the number of their case is in ``locks``. A program that is killed leaves it behind,
and the next one that opens the casebook deletes the files that no row refers to.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from InteractiveSegLib.casebook.case_files import case_folder
from InteractiveSegLib.casebook.database import Database
from InteractiveSegLib.casebook.work_locks import LOCKS
from InteractiveSegLib.errors import InputError, InteractiveSegError, OutputError
from InteractiveSegLib.system.files import make_folder
from InteractiveSegLib.system.process_lock import ProcessLock

_LOCK = re.compile(r"files-\d+-[0-9a-f]{12}\.lock")
_BLOCK_BYTES = 1 << 20


class NewFiles:
    """Files of one case under names that no other program uses.

    Parameters
    ----------
    folder : of the casebook
    names : name -> name of the file, with {} for the unique part
    """

    def __init__(self, folder: Path, case_id: int, names: Mapping[str, str]) -> None:
        self._casebook = folder
        unique = uuid.uuid4().hex[:12]
        self.folder = case_folder(folder, case_id)
        self.paths = {name: self.folder / file.format(unique) for name, file in names.items()}
        self.lock = folder / LOCKS / f"files-{case_id}-{unique}.lock"

    def stored(self, name: str) -> str | None:
        """The path as stored in the database; None if there is no such file."""
        path = self.paths.get(name)
        return None if path is None else path.relative_to(self._casebook).as_posix()

    def checksums(self) -> str:
        """Checksums as stored in the database, once all files are written."""
        return checksums(self.paths)


@contextmanager
def new_files(folder: Path, database: Database, case_id: int, names: Mapping[str, str]) -> Iterator[NewFiles]:
    """Files to be written in the block, which also writes the row; without the row they are deleted.

    Raises
    ------
    OutputError : the casebook's folder cannot be written.
    """
    new = NewFiles(folder, case_id, names)
    try:
        make_folder(new.folder)
        make_folder(new.lock.parent)
        lock = ProcessLock(new.lock)
    except OSError as error:
        raise OutputError(f"the casebook {folder} cannot be written: {error.strerror or error}") from error
    is_settled = False
    try:
        yield new
        is_settled = True
    except BaseException:
        with suppress(InteractiveSegError, OSError):  # files that cannot be deleted are swept later
            kept = referenced(database)  # a block may also fail after the row was written
            for name, path in new.paths.items():
                if new.stored(name) not in kept:
                    path.unlink(missing_ok=True)
            is_settled = True
        raise
    finally:
        lock.release(remove=is_settled)


def sweep(folder: Path, database: Database) -> None:
    """Delete unreferenced files that killed programs were writing or deleting."""
    locks = [path for path in (folder / LOCKS).glob("files-*.lock") if _LOCK.fullmatch(path.name)]
    held = {_case_of(path) for path in locks if _is_held(path)}
    for lock in locks:
        case_id = _case_of(lock)
        if case_id in held:  # left for later, since a program is writing there
            continue
        unique = lock.stem.split("-")[2]
        with suppress(OSError, InputError):  # a link that leads elsewhere is ignored
            for path in unreferenced(folder, database, case_id):
                if unique in path.name or path.name.startswith((".", "round-")):
                    path.unlink(missing_ok=True)
            lock.unlink(missing_ok=True)


def unreferenced(folder: Path, database: Database, case_id: str) -> list[Path]:
    """Files in the folder of a case that no row refers to; none while a running program is writing there.

    InputError if the folder is not within the casebook.
    """
    place = case_folder(folder, case_id)
    found = [path for path in place.iterdir() if path.is_file()] if place.is_dir() else []
    # Locks are read after files, and rows after locks: a program that starts meanwhile writes files that were not
    # found, and one that ends meanwhile has written the row.
    if any(_is_held(path) for path in (folder / LOCKS).glob(f"files-{case_id}-*.lock")):
        return []
    kept = referenced(database)
    return [path for path in found if path.relative_to(folder).as_posix() not in kept]


def referenced(database: Database) -> set[str]:
    """All files of acceptances, rounds and starting masks, as stored in the database."""
    return {
        value
        for row in database.rows("SELECT mask, origins, prompts, probability FROM acceptance")
        + database.rows("SELECT prompts, mask FROM round")
        + database.rows("SELECT mask FROM starting_mask")
        for value in tuple(row)
        if isinstance(value, str)
    }


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def checksums(paths: Mapping[str, Path]) -> str:
    """Name -> SHA-256 of a file, as JSON."""
    return json.dumps({name: sha256_of(path) for name, path in paths.items()})


def checksums_of(row: sqlite3.Row) -> dict[str, str] | None:
    """Name -> SHA-256 of the files of a row; None if the row is older than checksums."""
    if row["checksums"] is None:
        return None
    return {str(name): str(value) for name, value in dict(json.loads(row["checksums"])).items()}


def require_intact(path: Path, sha256: str | None, what: str) -> None:
    """InputError if a file is missing or has changed since it was written; without a checksum only if it is missing."""
    try:
        found = sha256_of(path)
    except OSError as error:
        raise InputError(f"{what} cannot be read: {path}: {error.strerror or error}") from error
    if sha256 is not None and found != sha256:
        raise InputError(f"{what} is damaged: the content of {path} has changed since it was written")


def _case_of(lock: Path) -> str:
    return lock.stem.split("-")[1]


def _is_held(lock: Path) -> bool:
    try:
        ProcessLock(lock).release()
    except OSError:
        return True
    return False
