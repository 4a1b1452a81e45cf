"""The folder that holds a study's life; several programs may have it open."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

from InteractiveSegLib.casebook.database import FILE, Database
from InteractiveSegLib.casebook.effort import CLOSED, OPENED, Effort, Event, effort_of
from InteractiveSegLib.casebook.entries import CaseEntry, ConflictError, case_entry, time_of_day
from InteractiveSegLib.casebook.image_reference import ImageReference, relative_to
from InteractiveSegLib.casebook.privacy import PSEUDONYMS_KEY, make_private
from InteractiveSegLib.casebook.splits import SPLITS, SplitSettings, split_of
from InteractiveSegLib.casebook.states import State, require_step
from InteractiveSegLib.errors import InputError, OutputError
from InteractiveSegLib.geometry import Volume
from InteractiveSegLib.plain_text import printable

_SPLITS_KEY = "splits"


class Casebook:
    """An open casebook. For the use of one thread; close it, or use it in a ``with`` block.

    Attributes
    ----------
    folder : of the casebook
    notes : what a person should know of its opening
    splits : which parts of the patients are set aside

    Raises
    ------
    InputError, OutputError : as ``Database``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder).resolve()
        self.notes: list[str] = []
        self.database = Database(self.folder / FILE, self.notes)
        [row] = self.database.rows("SELECT value FROM setting WHERE key = ?", [_SPLITS_KEY]) or [None]
        self.splits = SplitSettings(**json.loads(row["value"])) if row else SplitSettings()

    @classmethod
    def created(cls, folder: Path, splits: SplitSettings | None = None, pseudonyms: bool = False) -> Casebook:
        """Make an empty one, for this user alone where the folder is not shared. The folder may hold other files.

        pseudonyms : cases are numbered instead of named after files and series, and all patients are hashed

        Raises
        ------
        InputError : it holds a casebook already.
        OutputError : it cannot be written.
        """
        folder = Path(folder)
        try:
            make_private(folder)
        except OSError as error:
            raise OutputError(f"cannot make the casebook {folder}: {error.strerror or error}") from error
        database = Database.created(folder / FILE)
        with database.writing() as rows:
            value = json.dumps(asdict(splits or SplitSettings()))
            rows.execute("INSERT INTO setting VALUES (?, ?)", [_SPLITS_KEY, value])
            if pseudonyms:
                rows.execute("INSERT INTO setting VALUES (?, 'true')", [PSEUDONYMS_KEY])
        database.close()
        return cls(folder)

    def close(self) -> None:
        self.database.close()

    def __enter__(self) -> Casebook:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def cases(self) -> list[CaseEntry]:
        """All cases in the order in which they came."""
        return [case_entry(row, self.folder) for row in self.database.rows("SELECT * FROM case_ ORDER BY id")]

    def case(self, name: str) -> CaseEntry:
        """As it stands now. InputError where there is no case of this name."""
        return self._one("name", name)

    def case_of_id(self, number: int) -> CaseEntry:
        """As ``case``, by its row's number."""
        return self._one("id", number)

    def _one(self, column: str, value: str | int) -> CaseEntry:
        found = self.database.rows(f"SELECT * FROM case_ WHERE {column} = ?", [value])
        if not found:
            raise InputError(f"the casebook {self.folder} has no case {value!r}")
        return case_entry(found[0], self.folder)

    def add(
        self,
        image: ImageReference,
        name: str,
        patient: str | None = None,
        split: str | None = None,
        drawn_by: str | None = None,
    ) -> CaseEntry:
        """Take in an image; it stays where it is.

        Parameters
        ----------
        patient : whose image it is; its own name where None
        split : instead of the one that the patient's hash gives
        drawn_by : what is hashed for it instead of the patient

        Raises
        ------
        InputError : this very image or a case of this name is there already, or the patient's other cases have another
            split than the one asked for.
        """
        patient = patient or name
        if not name.strip() or any(letter in name for letter in "/\\") or printable(name) != name:
            raise InputError(f"a case needs a name without slashes and control characters, not {name!r}")
        if split is not None and split not in SPLITS:
            raise InputError(f"the split of case {name!r} must be one of {', '.join(SPLITS)}, not {split!r}")
        with self.database.writing() as rows:
            same = rows.execute("SELECT name FROM case_ WHERE sha256 = ?", [image.sha256]).fetchone()
            if same:
                raise InputError(f"{image.path} is in the casebook already, as case {same['name']!r}")
            if rows.execute("SELECT 1 FROM case_ WHERE name = ?", [name]).fetchone():
                raise InputError(f"there is another case {name!r} in the casebook: give {image.path} another name")
            settled = rows.execute("SELECT split FROM case_ WHERE patient = ?", [patient]).fetchone()
            if settled and split not in (None, settled["split"]):
                raise InputError(
                    f"case {name!r} cannot be for {split}: patient {patient!r} is for {settled['split']}, and one "
                    "patient's cases stay together"
                )
            chosen = settled["split"] if settled else split or split_of(drawn_by or patient, self.splits)
            matrix = image.geometry.ijk_to_ras.tolist()
            cursor = rows.execute(
                "INSERT INTO case_ (name, patient, path, relative_path, series_uid, sha256, bytes, shape_kji,"
                " ijk_to_ras, split, state, added) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    name,
                    patient,
                    str(image.path),
                    relative_to(self.folder, image.path),
                    image.series_uid,
                    image.sha256,
                    image.size_bytes,
                    json.dumps(image.geometry.shape_kji),
                    json.dumps(matrix),
                    chosen,
                    State.NEW.value,
                    time_of_day(),
                ],
            )
        return self.case_of_id(int(cursor.lastrowid or 0))

    def moved(self, entry: CaseEntry, image: ImageReference) -> CaseEntry:
        """Remember where the image of a case lies now. InputError where it is another image."""
        if image.sha256 != entry.image.sha256:
            raise InputError(f"{image.path} is not the image of case {entry.name!r}: its content differs")
        with self.database.writing() as rows:
            rows.execute(
                "UPDATE case_ SET path = ?, relative_path = ?, series_uid = ? WHERE id = ?",
                [str(image.path), relative_to(self.folder, image.path), image.series_uid, entry.id],
            )
        return self.case_of_id(entry.id)

    def volume(self, entry: CaseEntry) -> Volume:
        """The image. InputError where it was moved or has changed on disk."""
        return entry.image.load(entry.name)

    def begin(self, entry: CaseEntry) -> CaseEntry:
        """Take a case up for work; one that is in work or reopened stays so."""
        if entry.state in (State.IN_WORK, State.REOPENED):
            self.record(entry, [Event(OPENED, time.time())])
            return self.case_of_id(entry.id)
        return self._step(entry, State.IN_WORK, OPENED)

    def give_back(self, entry: CaseEntry) -> CaseEntry:
        """Leave a case in work for another time; its rounds are kept."""
        return self._step(entry, State.NEW, CLOSED)

    def skip(self, entry: CaseEntry) -> CaseEntry:
        return self._step(entry, State.SKIPPED, State.SKIPPED.value)

    def reopen(self, entry: CaseEntry) -> CaseEntry:
        """Take an accepted or skipped case up again; what was accepted is kept until it is accepted anew."""
        return self._step(entry, State.REOPENED, State.REOPENED.value)

    def record(self, entry: CaseEntry | None, events: Iterable[Event]) -> None:
        """Add to the log of a case, or of the casebook where None."""
        values = [(entry.id if entry else None, event.kind, event.at, json.dumps(dict(event.data))) for event in events]
        with self.database.writing() as rows:
            rows.executemany("INSERT INTO event (case_id, kind, at, data) VALUES (?, ?, ?, ?)", values)

    def events(self, entry: CaseEntry) -> list[Event]:
        """The log of a case."""
        rows = self.database.rows("SELECT kind, at, data FROM event WHERE case_id = ? ORDER BY at, id", [entry.id])
        return [Event(row["kind"], row["at"], json.loads(row["data"])) for row in rows]

    def effort(self, entry: CaseEntry) -> Effort:
        """What a case has cost so far."""
        return effort_of(self.events(entry))

    def labels(self) -> dict[int, str]:
        """Value -> name of every label of the study."""
        return {row["value"]: row["name"] for row in self.database.rows("SELECT * FROM label ORDER BY value")}

    def name_label(self, value: int, name: str) -> None:
        """Give a label a name, or another one. InputError for a value outside 1 to 254."""
        if not 1 <= value <= 254:
            raise InputError(f"label {value} must lie between 1 and 254")
        with self.database.writing() as rows:
            rows.execute("INSERT OR REPLACE INTO label VALUES (?, ?)", [value, name])

    def require_current(self, rows: sqlite3.Connection, entry: CaseEntry) -> None:
        """ConflictError where a case has changed since it was read; within a transaction."""
        row = rows.execute("SELECT state, revision FROM case_ WHERE id = ?", [entry.id]).fetchone()
        if row["revision"] != entry.revision:
            raise ConflictError(
                f"case {entry.name!r} was changed by another program since it was opened here: it was "
                f"{entry.state.value} and is {row['state']}; open it again to see what was done"
            )

    def _step(self, entry: CaseEntry, wanted: State, kind: str) -> CaseEntry:
        with self.database.writing() as rows:
            self.require_current(rows, entry)
            require_step(entry.name, entry.state, wanted)
            set_state(rows, entry, wanted, kind)
        return self.case_of_id(entry.id)


def set_state(rows: sqlite3.Connection, entry: CaseEntry, state: State, kind: str) -> None:
    """Write a state and its event; within a transaction."""
    rows.execute("UPDATE case_ SET state = ?, revision = revision + 1 WHERE id = ?", [state.value, entry.id])
    rows.execute("INSERT INTO event (case_id, kind, at, data) VALUES (?, ?, ?, '{}')", [entry.id, kind, time.time()])
