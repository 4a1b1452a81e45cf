"""What keeps a casebook to those whom it concerns: the modes of its folder, and names that say nothing."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from InteractiveSegLib.casebook.case_files import CASES
from InteractiveSegLib.casebook.work_locks import LOCKS

if TYPE_CHECKING:
    from InteractiveSegLib.casebook.casebook import Casebook

PSEUDONYMS_KEY, _SECRET_KEY = "pseudonyms", "secret"


def make_private(folder: Path) -> None:
    """Make a casebook's folder, for its owner alone, or what goes into one that holds other files as well.

    A folder that is shared with a group stays so.

    Raises
    ------
    OSError : the folder cannot be made.
    """
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    if os.name == "nt" or is_shared(folder):
        return
    if is_new or not any(folder.iterdir()):
        folder.chmod(0o700)
    elif stat.S_IMODE(folder.stat().st_mode) & 0o077:
        for name in (CASES, LOCKS, "learning"):
            (folder / name).mkdir(0o700, exist_ok=True)


def is_shared(folder: Path) -> bool:
    """Whether others are meant to write into a folder: it hands its group on, or is another group's or everybody's."""
    found = folder.stat()
    if not hasattr(os, "getegid"):
        return False
    of_group = found.st_mode & stat.S_IWGRP and found.st_gid != os.getegid()
    return bool(found.st_mode & (stat.S_ISGID | stat.S_IWOTH) or of_group)


def uses_pseudonyms(casebook: Casebook) -> bool:
    """Whether cases are numbered, and all patients hashed."""
    return _setting(casebook, PSEUDONYMS_KEY) is not None


def patient_pseudonym(casebook: Casebook, identity: str) -> str:
    """What stands for a patient: a hash that nobody can try out numbers on who has not the casebook's secret.

    Cases of this patient under the hash without a secret, of earlier versions of this program, get it, too.
    """
    digest = hmac.new(_secret(casebook), identity.encode(), hashlib.sha256).hexdigest()
    pseudonym, earlier = f"patient-{digest[:12]}", public_hash(casebook, identity)
    if casebook.database.rows("SELECT 1 FROM case_ WHERE patient = ? LIMIT 1", [earlier]):
        with casebook.database.writing() as rows:
            rows.execute("UPDATE case_ SET patient = ? WHERE patient = ?", [pseudonym, earlier])
    return pseudonym


def public_hash(casebook: Casebook, identity: str) -> str:
    """Draws the split, so that another casebook of the same seed sets the same patients aside; it is not kept."""
    return "patient-" + hashlib.sha256(f"{casebook.splits.seed}/{identity}".encode()).hexdigest()[:12]


def _secret(casebook: Casebook) -> bytes:
    """Made when it is first needed."""
    kept = _setting(casebook, _SECRET_KEY)
    if kept is None:
        with casebook.database.writing() as rows:
            rows.execute("INSERT OR IGNORE INTO setting VALUES (?, ?)", [_SECRET_KEY, secrets.token_hex(32)])
        kept = _setting(casebook, _SECRET_KEY)
    return bytes.fromhex(str(kept))


def _setting(casebook: Casebook, key: str) -> str | None:
    rows = casebook.database.rows("SELECT value FROM setting WHERE key = ?", [key])
    return rows[0]["value"] if rows else None
