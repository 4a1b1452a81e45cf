"""The casebook's SQLite file: transactions, versions, and errors that say what is wrong.

The journal is SQLite's rollback journal, written through (``journal_mode=DELETE``, ``synchronous=FULL``), and not its
write-ahead log: that needs memory shared by all programs, which network drives do not offer. A program that finds the
file locked waits for it.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from InteractiveSegLib.casebook.privacy import is_shared
from InteractiveSegLib.casebook.schema import APPLICATION_ID, MIGRATIONS, VERSION, contents, made_by
from InteractiveSegLib.errors import InputError, OutputError
from InteractiveSegLib.files import temporary_beside

FILE = "casebook.sqlite"
_PATIENCE_S = 20.0


class Database:
    """One program's connection. For the use of one thread.

    Parameters
    ----------
    path : of the SQLite file
    notes : what a person should know of the opening, such as a migration, is added here

    Raises
    ------
    InputError : there is no such file, it is no casebook, or it is of a newer version.
    OutputError : it is of an older version and cannot be brought forward.
    """

    def __init__(self, path: Path, notes: list[str]) -> None:
        if not path.is_file():
            raise InputError(f"{path.parent} is no casebook: it has no {path.name}; make one with 'casebook init'")
        self.path = path
        self.read_only = not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))
        self._connection = _connected(path, "ro" if self.read_only else "rw")
        try:
            self._bring_forward(notes)
        except BaseException:
            self.close()
            raise

    @classmethod
    def created(cls, path: Path) -> Database:
        """A new one with empty tables, which appears whole or not at all.

        Raises
        ------
        InputError : there is one already.
        OutputError : the folder cannot be written.
        """
        if path.exists():
            raise InputError(f"{path.parent} is a casebook already")
        try:
            with temporary_beside(path, locked=False) as temporary:
                if not is_shared(path.parent):
                    temporary.chmod(0o600)
                connection = _connected(temporary, "rw")
                with _translated(temporary):
                    connection.executescript(f"PRAGMA application_id = {APPLICATION_ID};")
                    _migrate(connection, 0)
                connection.close()
                os.link(temporary, path) if hasattr(os, "link") else temporary.rename(path)
        except OSError as error:
            raise OutputError(f"cannot make the casebook {path.parent}: {error.strerror or error}") from error
        return cls(path, [])

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """All rows of a SELECT."""
        with _translated(self.path):
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that no other program writes beside: all of the block is kept, or nothing.

        Raises
        ------
        OutputError : the file is read-only, the disk is full, or another program held it for longer than 20 s.
        """
        with _translated(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.rollback()
                raise
            self._connection.commit()

    def close(self) -> None:
        self._connection.close()

    def _bring_forward(self, notes: list[str]) -> None:
        with _translated(self.path):
            found = self._connection.execute("PRAGMA application_id").fetchone()[0]
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if found != APPLICATION_ID or version < 0:
            raise InputError(f"{self.path} is an SQLite file, but no casebook")
        if version > VERSION:
            raise InputError(
                f"the casebook {self.path.parent} is of version {version}, but this program knows versions up to "
                f"{VERSION}: update InteractiveSeg"
            )
        self._require_own_schema(version)
        if version == VERSION:
            return
        kept = self.path.with_name(f"{self.path.stem}-version-{version}{self.path.suffix}")
        try:
            shutil.copy(self.path, kept)  # with its mode
        except OSError as error:
            raise OutputError(
                f"the casebook {self.path.parent} is of the older version {version} and cannot be brought forward: "
                f"{error.strerror or error}"
            ) from error
        with _translated(self.path):
            _migrate(self._connection, version)
        notes.append(
            f"the casebook was brought from version {version} to {VERSION}; the older one is kept as {kept.name}"
        )

    def _require_own_schema(self, version: int) -> None:
        """InputError where the file holds other than a casebook's tables: triggers and views are programs."""
        with _translated(self.path):
            found, known = contents(self._connection), made_by(version)
        foreign = [f"the {kind} {name!r}" for kind, name in found if found[kind, name] != known.get((kind, name))]
        missing = [f"no {kind} {name!r}" for kind, name in known if (kind, name) not in found]
        if foreign or missing:
            raise InputError(
                f"{self.path} is no casebook as this program makes them: it holds {', '.join([*foreign, *missing])}; "
                "nothing of it was used. Take a copy from before it was changed"
            )


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    connection.execute("BEGIN EXCLUSIVE")
    try:
        version = max(version, connection.execute("PRAGMA user_version").fetchone()[0])  # another program's doing
        for script in MIGRATIONS[version:]:
            for statement in script.split(";"):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def _connected(path: Path, mode: str) -> sqlite3.Connection:
    with _translated(path):
        connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode={mode}", _PATIENCE_S, isolation_level=None, uri=True
        )
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA trusted_schema = OFF")  # what the file holds runs nothing beyond plain SQL
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        return connection


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """SQLite's errors as the library's own."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise OutputError(f"the casebook {path.parent} cannot be used: {error}") from error
    except sqlite3.DatabaseError as error:
        raise InputError(f"the casebook {path} is damaged: {error}") from error
