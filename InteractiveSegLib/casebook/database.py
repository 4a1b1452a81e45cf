"""The casebook's SQLite file: transactions, versions and errors.

The journal is SQLite's rollback journal, written through (``journal_mode=DELETE``, ``synchronous=FULL``), not its
write-ahead log, which needs memory shared by all programs and so does not work on network drives. A program that finds
the file locked waits for it.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from InteractiveSegLib.casebook.folder_modes import is_shared
from InteractiveSegLib.casebook.schema import APPLICATION_ID, MIGRATIONS, VERSION, contents, made_by
from InteractiveSegLib.errors import InputError, OutputError
from InteractiveSegLib.system.files import sweep_unlocked, temporary_beside
from InteractiveSegLib.system.process_lock import ProcessLock

FILE = "casebook.sqlite"
_PATIENCE_S = 20.0


class Database:
    """One program's connection. Use it from one thread.

    Parameters
    ----------
    path : of the SQLite file
    notes : receives what the user should know about the opening, such as a migration

    Raises
    ------
    InputError : there is no such file, it is not a casebook, or it has a newer version.
    OutputError : it has an older version and cannot be upgraded.
    """

    def __init__(self, path: Path, notes: list[str]) -> None:
        if not path.is_file():
            raise InputError(
                f"{path.parent} is not a casebook: it has no {path.name}; create one with 'casebook init' or, in 3D "
                "Slicer, with New casebook"
            )
        self.path = path
        self.read_only = not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))
        self._connection = _connected(path, "ro" if self.read_only else "rw")
        try:
            self._bring_forward(notes)
        except BaseException:
            self.close()
            raise

    @classmethod
    def created(cls, path: Path, fill: Callable[[sqlite3.Connection], None] = lambda rows: None) -> Database:
        """Create one, which appears complete or not at all.

        fill : writes its first rows

        Raises
        ------
        InputError : there is one already, or another process is creating one here.
        OutputError : the folder cannot be written.
        """
        if path.exists():
            raise InputError(f"{path.parent} is a casebook already")
        try:
            with ExitStack() as ending:
                lock = ProcessLock(path.with_name(f".new-{path.stem}.lock"))
                ending.callback(lock.release, remove=True)
                sweep_unlocked(path)  # only the holder of the lock may clean up after a killed process
                temporary = ending.enter_context(temporary_beside(path, locked=False))
                if not is_shared(path.parent):
                    temporary.chmod(0o600)
                with closing(_connected(temporary, "rw")) as connection, _translated(temporary):
                    connection.execute("PRAGMA journal_mode = MEMORY")  # the file appears complete or not at all
                    connection.executescript(f"PRAGMA application_id = {APPLICATION_ID};")
                    _migrate(connection, 0, fill)
                if path.exists():
                    raise InputError(f"{path.parent} is a casebook already")
                temporary.rename(path)
        except BlockingIOError as error:
            raise InputError(f"another program is creating the casebook {path.parent}") from error
        except OSError as error:
            raise OutputError(f"cannot create the casebook {path.parent}: {error.strerror or error}") from error
        return cls(path, [])

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """All rows of a SELECT."""
        with _translated(self.path):
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """An exclusive write transaction: all of the block is stored, or nothing.

        Raises
        ------
        OutputError : the file is read-only, the disk is full, or another program locked it for longer than 20 s.
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
            raise InputError(f"{self.path} is an SQLite file, but not a casebook")
        if version > VERSION:
            raise InputError(
                f"the casebook {self.path.parent} has version {version}, but this program supports versions up to "
                f"{VERSION}: update InteractiveSeg"
            )
        self._require_own_schema(version)
        if version == VERSION:
            return
        try:
            kept = self._backed_up(f"{self.path.stem}-version-{version}")
        except OSError as error:
            raise OutputError(
                f"the casebook {self.path.parent} has the older version {version} and cannot be upgraded: "
                f"{error.strerror or error}"
            ) from error
        with _translated(self.path):
            _migrate(self._connection, version)
        notes.append(
            f"the casebook was upgraded from version {version} to {VERSION}; the old one is kept as {kept.name}"
        )

    def _backed_up(self, stem: str) -> Path:
        """A copy under an unused name with the same mode, consistent even if others write meanwhile."""
        names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
        kept = next(path for name in names if not (path := self.path.with_name(name + self.path.suffix)).exists())
        with temporary_beside(kept, locked=False) as temporary:
            temporary.chmod(stat.S_IMODE(self.path.stat().st_mode))
            with _translated(self.path), closing(sqlite3.connect(temporary)) as copy:
                self._connection.backup(copy)
            temporary.rename(kept)
        return kept

    def _require_own_schema(self, version: int) -> None:
        """InputError if the file contains anything but a casebook's tables, since triggers and views are programs."""
        with _translated(self.path):
            found, known = contents(self._connection), made_by(version)
        foreign = [f"the {kind} {name!r}" for kind, name in found if found[kind, name] != known.get((kind, name))]
        missing = [f"no {kind} {name!r}" for kind, name in known if (kind, name) not in found]
        if foreign or missing:
            raise InputError(
                f"{self.path} does not have the tables of a casebook: it has {', '.join([*foreign, *missing])}; "
                "nothing of it was used. Use a copy from before it was changed"
            )


def _migrate(
    connection: sqlite3.Connection, version: int, fill: Callable[[sqlite3.Connection], None] = lambda rows: None
) -> None:
    connection.execute("BEGIN EXCLUSIVE")
    try:
        version = max(version, connection.execute("PRAGMA user_version").fetchone()[0])  # if another program did it
        for script in MIGRATIONS[version:]:
            for statement in script.split(";"):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        fill(connection)
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
        connection.text_factory = _text
        connection.execute("PRAGMA trusted_schema = OFF")  # the file's contents must not run functions
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        return connection


def _text(raw: bytes) -> str:
    """Decode text with replacement characters, so that one damaged row does not make all others unreadable."""
    return raw.decode(errors="replace")


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """SQLite's errors as the library's own."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise OutputError(f"the casebook {path.parent} cannot be used: {error}") from error
    except sqlite3.DatabaseError as error:
        raise InputError(f"the casebook {path} is damaged: {error}") from error
