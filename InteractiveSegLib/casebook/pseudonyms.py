"""Pseudonyms, which reveal nothing about a patient without the casebook."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from InteractiveSegLib.casebook.casebook import PSEUDONYMS_KEY, Casebook

_SECRET_KEY = "secret"


def uses_pseudonyms(casebook: Casebook) -> bool:
    """Whether cases are numbered, and all patients hashed."""
    return _setting(casebook, PSEUDONYMS_KEY) is not None


def patient_pseudonym(casebook: Casebook, identity: str) -> str:
    """The pseudonym of a patient: a hash that cannot be guessed from patient IDs without the casebook's secret.

    Cases of this patient under the hash without a secret, from earlier versions of this program, are renamed, too.
    """
    digest = hmac.new(_secret(casebook), identity.encode(), hashlib.sha256).hexdigest()
    pseudonym, earlier = f"patient-{digest[:12]}", public_hash(casebook, identity)
    if casebook.database.rows("SELECT 1 FROM case_ WHERE patient = ? LIMIT 1", [earlier]):
        with casebook.database.writing() as rows:
            rows.execute("UPDATE case_ SET patient = ? WHERE patient = ?", [pseudonym, earlier])
    return pseudonym


def public_hash(casebook: Casebook, identity: str) -> str:
    """Hash that determines the split, so that casebooks with the same seed set aside the same patients; not stored."""
    return "patient-" + hashlib.sha256(f"{casebook.splits.seed}/{identity}".encode()).hexdigest()[:12]


def _secret(casebook: Casebook) -> bytes:
    """The casebook's secret, created when it is first needed."""
    kept = _setting(casebook, _SECRET_KEY)
    if kept is None:
        with casebook.database.writing() as rows:
            rows.execute("INSERT OR IGNORE INTO setting VALUES (?, ?)", [_SECRET_KEY, secrets.token_hex(32)])
        kept = _setting(casebook, _SECRET_KEY)
    return bytes.fromhex(str(kept))


def _setting(casebook: Casebook, key: str) -> str | None:
    rows = casebook.database.rows("SELECT value FROM setting WHERE key = ?", [key])
    return rows[0]["value"] if rows else None
