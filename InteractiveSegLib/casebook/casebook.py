"""The folder of a study; several programs may have it open."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

from InteractiveSegLib.casebook.database import FILE, Database
from InteractiveSegLib.casebook.effort import CLOSED, OPENED, Effort, Event, effort_of
from InteractiveSegLib.casebook.entries import CaseEntry, ConflictError, case_entry, event, time_of_day, undamaged
from InteractiveSegLib.casebook.folder_modes import make_private
from InteractiveSegLib.casebook.image_reference import ImageReference, relative_to
from InteractiveSegLib.casebook.new_files import sweep
from InteractiveSegLib.casebook.splits import SPLITS, SplitSettings, split_of
from InteractiveSegLib.casebook.states import State, require_step
from InteractiveSegLib.casebook.work_locks import WorkLocks
from InteractiveSegLib.errors import InputError, InteractiveSegError, OutputError
from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.wording.plain_text import printable

PSEUDONYMS_KEY, _SPLITS_KEY = "pseudonyms", "splits"


class Casebook:
    """An open casebook. Use it from one thread; close it, or use it in a ``with`` block.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "study"
    >>> Casebook.created(folder, labels={1: "liver"}).close()
    >>> with Casebook(folder) as casebook:
    ...     casebook.labels(), [case.name for case in casebook.cases()]
    ({1: 'liver'}, [])

    Attributes
    ----------
    folder : of the casebook
    notes : what the user should know about its opening
    splits : which shares of the patients are set aside
    splits_are_known : False if the casebook has lost its settings, so that ``splits`` are the defaults
    work : which cases this program has in work

    Parameters
    ----------
    work : of a program that has cases in work for longer than it has the casebook open

    Raises
    ------
    InputError, OutputError : as ``Database``.
    InputError : its creation was never completed.
    """

    def __init__(self, folder: Path, work: WorkLocks | None = None) -> None:
        self.folder = Path(folder).resolve()
        self.notes: list[str] = []
        self.database = Database(self.folder / FILE, self.notes)
        self.work, self._owns_work = work or WorkLocks(self.folder), work is None
        try:
            self._read_splits()
            if not self.database.read_only:
                sweep(self.folder, self.database)
        except BaseException:
            self.close()
            raise

    def _read_splits(self) -> None:
        known = _splits(self.database)
        self.splits, self.splits_are_known = known or SplitSettings(), known is not None
        if self.splits_are_known:
            return
        if not self.database.rows("SELECT 1 FROM case_ LIMIT 1"):
            raise InputError(f"the casebook {self.folder} was never completed: run 'casebook init' on it again")
        self.note(
            f"the casebook {self.folder} has lost its settings: new patients need --split until 'casebook init' is run"
            " on it again with the --validation, --test and --seed that it was created with"
        )

    @classmethod
    def created(
        cls,
        folder: Path,
        splits: SplitSettings | None = None,
        labels: Mapping[int, str] | None = None,
        pseudonyms: bool = False,
    ) -> Casebook:
        """Create an empty one, private to this user unless the folder is shared, or restore the settings of one that
        lost them. The folder may contain other files.

        labels : value -> name
        pseudonyms : cases are numbered instead of named after files and series, and all patients are hashed

        Raises
        ------
        InputError : it already contains a complete casebook, or a label is outside 1 to 254.
        OutputError : it cannot be written.
        """
        folder = Path(folder)
        try:
            make_private(folder)
        except OSError as error:
            raise OutputError(f"cannot create the casebook {folder}: {error.strerror or error}") from error
        value = json.dumps(asdict(splits or SplitSettings()))
        named = [(_checked_label(number), name) for number, name in (labels or {}).items()]

        def fill(rows: sqlite3.Connection) -> None:
            rows.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", [_SPLITS_KEY, value])
            if pseudonyms:
                rows.execute("INSERT OR REPLACE INTO setting VALUES (?, 'true')", [PSEUDONYMS_KEY])
            rows.executemany("INSERT OR REPLACE INTO label VALUES (?, ?)", named)

        if _lacks_settings(folder):
            with closing(Database(folder / FILE, [])) as database, database.writing() as rows:
                fill(rows)
        else:
            Database.created(folder / FILE, fill).close()
        return cls(folder)

    def close(self) -> None:
        if self._owns_work:
            self.work.close()
        self.database.close()

    def note(self, text: str) -> None:
        """Add a sentence for the user, once."""
        if text not in self.notes:
            self.notes.append(text)

    def __enter__(self) -> Casebook:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def cases(self) -> list[CaseEntry]:
        """All cases in the order in which they were added. Damaged rows are left out with a note."""
        rows = self.database.rows("SELECT * FROM case_ ORDER BY id")
        return list(undamaged(rows, lambda row: case_entry(row, self.folder), self.note))

    def case(self, name: str) -> CaseEntry:
        """The present entry of a case. InputError if there is no case of this name."""
        return self._one("name", name)

    def case_of_id(self, number: int) -> CaseEntry:
        """As ``case``, by its number."""
        return self._one("id", number)

    def _one(self, column: str, value: str | int) -> CaseEntry:
        found = self.database.rows(f"SELECT * FROM case_ WHERE {column} = ?", [value])
        if not found:
            raise InputError(f"the casebook {self.folder} has no case {value!r}")
        return case_entry(found[0], self.folder)

    def case_with(self, sha256: str) -> CaseEntry | None:
        """The case whose image has this content."""
        found = self.database.rows("SELECT * FROM case_ WHERE sha256 = ?", [sha256])
        return case_entry(found[0], self.folder) if found else None

    def add(
        self,
        image: ImageReference,
        name: str,
        patient: str | None = None,
        split: str | None = None,
        drawn_by: str | None = None,
    ) -> CaseEntry:
        """Add an image, which is not copied.

        Parameters
        ----------
        patient : whose image it is; the name of the case if None
        split : instead of the one given by the patient's hash
        drawn_by : what is hashed instead of the patient

        Raises
        ------
        InputError : the same image or a case of this name exists already, or the patient's other cases have another
            split than the one requested.
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
            if not (settled or split or self.splits_are_known):
                raise InputError(f"case {name!r} needs --split: the casebook {self.folder} has lost its settings")
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
        """Record the new location of a case's image. InputError if it is another image."""
        if image.sha256 != entry.image.sha256:
            raise InputError(f"{image.path} is not the image of case {entry.name!r}: its content differs")
        with self.database.writing() as rows:
            rows.execute(
                "UPDATE case_ SET path = ?, relative_path = ?, series_uid = ? WHERE id = ?",
                [str(image.path), relative_to(self.folder, image.path), image.series_uid, entry.id],
            )
        return self.case_of_id(entry.id)

    def volume(self, entry: CaseEntry) -> Volume:
        """The image. InputError if it was moved or has changed on disk."""
        return entry.image.load(entry.name)

    def begin(self, entry: CaseEntry) -> CaseEntry:
        """Start or resume work on a case; one in work or reopened keeps its state.

        It is in work until it is accepted, skipped or given back, or until this casebook is closed; after closing it is
        offered again.
        """
        is_new = self.work.take(entry.id)
        try:
            if entry.state in (State.IN_WORK, State.REOPENED):
                self.record(entry, [Event(OPENED, time.time())])
                return self.case_of_id(entry.id)
            return self._step(entry, State.IN_WORK, OPENED)
        except BaseException:
            if is_new:
                self.work.give_back(entry.id)
            raise

    def give_back(self, entry: CaseEntry) -> CaseEntry:
        """Leave a case in work for later; its rounds are kept."""
        entry = self._step(entry, State.NEW, CLOSED)
        self.work.give_back(entry.id)
        return entry

    def skip(self, entry: CaseEntry) -> CaseEntry:
        entry = self._step(entry, State.SKIPPED, State.SKIPPED.value)
        self.work.give_back(entry.id)
        return entry

    def reopen(self, entry: CaseEntry) -> CaseEntry:
        """Reopen an accepted or skipped case; the accepted mask is kept until the case is accepted again."""
        return self._step(entry, State.REOPENED, State.REOPENED.value)

    def record(self, entry: CaseEntry | None, events: Iterable[Event]) -> None:
        """Add to the log of a case, or of the casebook if None."""
        values = [(entry.id if entry else None, event.kind, event.at, json.dumps(dict(event.data))) for event in events]
        with self.database.writing() as rows:
            rows.executemany("INSERT INTO event (case_id, kind, at, data) VALUES (?, ?, ?, ?)", values)

    def events(self, entry: CaseEntry) -> list[Event]:
        """The log of a case. Damaged entries are left out with a note."""
        rows = self.database.rows("SELECT id, kind, at, data FROM event WHERE case_id = ? ORDER BY at, id", [entry.id])
        return list(undamaged(rows, event, self.note))

    def effort(self, entry: CaseEntry) -> Effort:
        """The effort on a case so far."""
        return effort_of(self.events(entry))

    def labels(self) -> dict[int, str]:
        """Value -> name of every label of the study."""
        return {row["value"]: row["name"] for row in self.database.rows("SELECT * FROM label ORDER BY value")}

    def name_label(self, value: int, name: str) -> None:
        """Name or rename a label. InputError for a value outside 1 to 254."""
        with self.database.writing() as rows:
            rows.execute("INSERT OR REPLACE INTO label VALUES (?, ?)", [_checked_label(value), name])

    def require_current(self, rows: sqlite3.Connection, entry: CaseEntry) -> None:
        """ConflictError if a case has changed since it was read; within a transaction."""
        row = rows.execute("SELECT state, revision FROM case_ WHERE id = ?", [entry.id]).fetchone()
        if row["revision"] != entry.revision:
            raise ConflictError(
                f"case {entry.name!r} was changed by another program since it was opened here: it was "
                f"{entry.state.value} and is {row['state']}; open it again to see the changes"
            )

    def _step(self, entry: CaseEntry, wanted: State, kind: str) -> CaseEntry:
        with self.database.writing() as rows:
            self.require_current(rows, entry)
            require_step(entry.name, entry.state, wanted)
            set_state(rows, entry, wanted, kind)
        return self.case_of_id(entry.id)


def _checked_label(value: int) -> int:
    if not 1 <= value <= 254:
        raise InputError(f"label {value} must be between 1 and 254")
    return value


def _splits(database: Database) -> SplitSettings | None:
    """The settings that the casebook was created with; None if they are missing or damaged."""
    for row in database.rows("SELECT value FROM setting WHERE key = ?", [_SPLITS_KEY]):
        with suppress(TypeError, ValueError):
            return SplitSettings(**json.loads(row["value"]))
    return None


def _lacks_settings(folder: Path) -> bool:
    """Whether there is a casebook whose creation was interrupted or whose settings were lost."""
    if not (folder / FILE).exists():
        return False
    try:
        with closing(Database(folder / FILE, [])) as database:
            return _splits(database) is None
    except InteractiveSegError:  # something else is there, which must not be changed
        return False


def set_state(rows: sqlite3.Connection, entry: CaseEntry, state: State, kind: str) -> None:
    """Write a state and its event; within a transaction."""
    rows.execute("UPDATE case_ SET state = ?, revision = revision + 1 WHERE id = ?", [state.value, entry.id])
    rows.execute("INSERT INTO event (case_id, kind, at, data) VALUES (?, ?, ?, '{}')", [entry.id, kind, time.time()])
