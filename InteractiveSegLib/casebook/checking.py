"""Checks that a casebook is complete and unchanged, and repairs what can be repaired safely."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from InteractiveSegLib.casebook.acceptance import load_accepted
from InteractiveSegLib.casebook.case_files import CASES, case_file
from InteractiveSegLib.casebook.case_rounds import load_round
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.entries import CaseEntry, acceptance, case_entry, event, undamaged
from InteractiveSegLib.casebook.folder_modes import make_private
from InteractiveSegLib.casebook.image_reference import ImageReference
from InteractiveSegLib.casebook.new_files import checksums, unreferenced
from InteractiveSegLib.casebook.starting_masks import starting_mask
from InteractiveSegLib.casebook.states import State
from InteractiveSegLib.casebook.version_files import require_weights, weights_checksums, weights_folder
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.progress import Progress, Steps
from InteractiveSegLib.system.contained_path import contained_path
from InteractiveSegLib.system.files import make_folder

SET_ASIDE = "set-aside"
_LINES = 5  # of the database's own messages


@dataclass(frozen=True)
class Finding:
    """A fault.

    remedy : what was done about it, or would be with ``repair``; "" if a person has to decide
    is_repaired : whether it was done
    """

    text: str
    remedy: str = ""
    is_repaired: bool = False


def check_steps(casebook: Casebook, repair: bool = False) -> Steps[list[Finding]]:
    """Check the database, every image and every file, and list the faults. Reads all images completely.

    repair : repair what can be repaired without loss: cases in work whose program ended are offered again,
        unreferenced files and damaged rounds are moved to a folder of the casebook, checksums that older versions did
        not store are added

    Raises
    ------
    OutputError : a repair cannot be written.
    """
    check = _Check(casebook, repair)
    check.database()
    cases = check.rows("case_")
    kept = check.rows("acceptance") + check.rows("round")
    started = check.rows("starting_mask", "case_id")
    total = len(cases) + len(kept) + len(started)
    for number, row in enumerate(cases):
        yield Progress(number, total, f"checking the image of {row['name']}")
        check.case(row)
    for number, row in enumerate(kept, len(cases)):
        yield Progress(number, total, "checking masks and prompts")
        if "origins" in row.keys():  # noqa: SIM118 - "in" a row searches its values
            check.accepted(row)
        else:
            check.round(row)
    for number, row in enumerate(started, len(cases) + len(kept)):
        yield Progress(number, total, "checking starting masks")
        check.started(row)
    check.states()
    check.log()
    check.versions()
    check.files()
    return check.findings


class _Check:
    def __init__(self, casebook: Casebook, repair: bool) -> None:
        self.casebook, self.repair = casebook, repair
        self.findings = [Finding(note) for note in casebook.notes if not casebook.splits_are_known]
        self.entries: dict[int, CaseEntry] = {}

    def found(self, text: str, remedy: str = "", mend: Callable[[], None] | None = None) -> None:
        """Record a finding, and repair it if requested."""
        if mend is not None and self.repair:
            mend()
        self.findings.append(Finding(text, remedy, mend is not None and self.repair))

    def rows(self, table: str, key: str = "id") -> list[sqlite3.Row]:
        try:
            return self.casebook.database.rows(f"SELECT * FROM {table} ORDER BY {key}")
        except InputError as error:
            self.found(f"{error} (table {table})")
            return []

    def database(self) -> None:
        for pragma in ("integrity_check", "foreign_key_check"):
            try:
                lines = [" ".join(map(str, row)) for row in self.casebook.database.rows(f"PRAGMA {pragma}")]
            except InputError as error:
                lines = [str(error)]
            for line in [line for line in lines if line != "ok"][:_LINES]:
                self.found(f"the database reports {pragma}: {line}")

    def case(self, row: sqlite3.Row) -> None:
        try:
            entry = self.entries[row["id"]] = case_entry(row, self.casebook.folder)
            entry.image.require_unchanged(entry.name)
        except InputError as error:
            self.found(str(error))
            return
        if entry.image.is_of_header_alone:
            self.found(
                f"the image of case {entry.name!r} was hashed without its file of voxels",
                "its hash is recomputed from all its files",
                lambda: self._hash_anew(entry),
            )

    def _hash_anew(self, entry: CaseEntry) -> None:
        image = ImageReference.of(entry.image.path, entry.image.series_uid)
        with self.casebook.database.writing() as rows:
            values = [image.sha256, image.size_bytes, entry.id]
            rows.execute("UPDATE case_ SET sha256 = ?, bytes = ? WHERE id = ?", values)

    def accepted(self, row: sqlite3.Row) -> None:
        entry = self.entries.get(row["case_id"])
        if entry is None:  # its row is among the findings
            return
        try:
            found = acceptance(row, self.casebook.folder)
            load_accepted(entry, found)
        except InputError as error:
            self.found(f"{error}; reopen case {entry.name!r} and accept its mask again")
            return
        if found.checksums is None:
            paths = {name: getattr(found, name) for name in ("mask", "origins", "prompts", "probability")}
            self._without_checksums("acceptance", row["id"], entry, paths)

    def round(self, row: sqlite3.Row) -> None:
        entry = self.entries.get(row["case_id"])
        if entry is None:
            return
        try:
            load_round(self.casebook, entry, row)
        except InputError as error:
            self.found(str(error), "the previous rounds are used", lambda: self._forget_round(row["id"]))
            return
        if row["checksums"] is None:
            paths = {name: case_file(self.casebook.folder, entry.id, row[name]) for name in ("mask", "prompts")}
            self._without_checksums("round", row["id"], entry, paths)

    def started(self, row: sqlite3.Row) -> None:
        entry = self.entries.get(row["case_id"])
        if entry is None:
            return
        try:
            found = starting_mask(self.casebook, entry)
            if found is not None:
                found.load(entry)
        except InputError as error:
            self.found(str(error), "the case starts without one", lambda: self._forget_start(entry.id))

    def _forget_start(self, number: int) -> None:
        """Its file is moved later, since nothing refers to it then."""
        with self.casebook.database.writing() as rows:
            rows.execute("DELETE FROM starting_mask WHERE case_id = ?", [number])

    def _without_checksums(self, table: str, number: int, entry: CaseEntry, paths: dict[str, Path | None]) -> None:
        def add() -> None:
            text = checksums({name: path for name, path in paths.items() if path is not None})
            with self.casebook.database.writing() as rows:
                rows.execute(f"UPDATE {table} SET checksums = ? WHERE id = ?", [text, number])

        self.found(f"{table} {number} of case {entry.name!r} has no checksums yet", "checksums are added", add)

    def _forget_round(self, number: int) -> None:
        """Its files are moved later, since nothing refers to them then."""
        with self.casebook.database.writing() as rows:
            rows.execute("DELETE FROM round WHERE id = ?", [number])

    def states(self) -> None:
        masks = {row["case_id"] for row in self.rows("acceptance")}
        for entry in self.entries.values():
            if entry.state is State.IN_WORK and not self.casebook.work.someone_has(entry.id):
                self.found(
                    f"case {entry.name!r} is in work, but its program has ended",
                    "it is new again, and its saved work is kept",
                    lambda entry=entry: self._give_back(entry),
                )
            if entry.state is State.ACCEPTED and entry.id not in masks:
                self.found(f"case {entry.name!r} is accepted, but has no mask: reopen it")

    def _give_back(self, entry: CaseEntry) -> None:
        self.casebook.give_back(entry)

    def log(self) -> None:
        damaged: list[str] = []
        list(undamaged(self.rows("event"), event, damaged.append))
        for text in damaged:
            self.found(f"{text}: it does not count towards effort and uncertainties")

    def versions(self) -> None:
        for row in self.rows("version"):
            try:
                if row["file"] is not None:
                    require_weights(row, self.casebook.folder)
            except InputError as error:
                self.found(f"{error}; 'learn --roll-back' returns to the previous version")
                continue
            if row["file"] is not None and row["checksums"] is None:
                self.found(
                    f"the weights of version {row['id']} have no checksums yet",
                    "checksums are added",
                    lambda row=row: self._add_weights_checksums(row),
                )

    def _add_weights_checksums(self, row: sqlite3.Row) -> None:
        text = weights_checksums(weights_folder(row, self.casebook.folder))
        with self.casebook.database.writing() as rows:
            rows.execute("UPDATE version SET checksums = ? WHERE id = ?", [text, row["id"]])

    def files(self) -> None:
        """Find unreferenced files. They are moved, not deleted, since a damaged row may have referred to them."""
        folder = self.casebook.folder
        places = sorted((folder / CASES).iterdir()) if (folder / CASES).is_dir() else []
        for place in places:
            try:
                found = [place] if place.is_file() else unreferenced(folder, self.casebook.database, place.name)
            except InputError as error:
                self.found(str(error))
                continue
            for path in found:
                self.found(
                    f"nothing refers to {path.relative_to(folder).as_posix()}",
                    f"it is moved to {SET_ASIDE}",
                    lambda path=path: self._set_aside(path),
                )

    def _set_aside(self, path: Path) -> None:
        name = path.relative_to(self.casebook.folder).as_posix()
        target = contained_path(self.casebook.folder, f"{SET_ASIDE}/{name}", "the folder of unreferenced files")
        if not (self.casebook.folder / SET_ASIDE).exists():
            make_private(self.casebook.folder / SET_ASIDE)
        make_folder(target.parent)
        path.rename(target)
