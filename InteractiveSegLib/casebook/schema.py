"""The tables of a casebook, and the migrations of older ones.

Each script upgrades a database from the version of its index to the next. Scripts are never changed, only added.
"""

from __future__ import annotations

import sqlite3

APPLICATION_ID = 0x49534742  # "ISGB", in the database's header, identifies a casebook

_CASES = """
CREATE TABLE setting (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE case_ (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    patient TEXT NOT NULL,
    path TEXT NOT NULL,
    relative_path TEXT,
    series_uid TEXT,
    sha256 TEXT NOT NULL UNIQUE,
    bytes INTEGER NOT NULL,
    shape_kji TEXT NOT NULL,
    ijk_to_ras TEXT NOT NULL,
    split TEXT NOT NULL CHECK (split IN ('train', 'validation', 'test')),
    state TEXT NOT NULL CHECK (state IN ('new', 'in work', 'accepted', 'skipped', 'reopened')),
    revision INTEGER NOT NULL DEFAULT 0,
    added TEXT NOT NULL
);
CREATE TABLE label (value INTEGER PRIMARY KEY CHECK (value BETWEEN 1 AND 254), name TEXT NOT NULL);
CREATE TABLE round (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    case_id INTEGER NOT NULL REFERENCES case_ (id),
    at TEXT NOT NULL,
    prompts TEXT NOT NULL,
    mask TEXT NOT NULL
);
CREATE TABLE acceptance (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    case_id INTEGER NOT NULL REFERENCES case_ (id),
    at TEXT NOT NULL,
    mask TEXT NOT NULL,
    origins TEXT NOT NULL,
    prompts TEXT NOT NULL,
    probability TEXT,
    labels TEXT NOT NULL,
    known_labels TEXT NOT NULL
);
CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    case_id INTEGER REFERENCES case_ (id),
    kind TEXT NOT NULL,
    at REAL NOT NULL,
    data TEXT NOT NULL
);
CREATE INDEX event_of_case ON event (case_id);
"""

_LEARNING = """
CREATE TABLE version (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    learner TEXT NOT NULL,
    parent INTEGER REFERENCES version (id),
    at TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('candidate', 'in use', 'replaced', 'refused')),
    file TEXT,
    cases TEXT NOT NULL,
    scores TEXT NOT NULL,
    reason TEXT NOT NULL
);
CREATE TABLE training (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    learner TEXT NOT NULL,
    acceptance_id INTEGER NOT NULL REFERENCES acceptance (id),
    parent INTEGER REFERENCES version (id),
    state TEXT NOT NULL CHECK (state IN ('running', 'done', 'dropped')),
    plan TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    UNIQUE (learner, acceptance_id)
);
"""

# round.accepted: the latest acceptance of the case when the round was kept, 0 if there was none. It gives the order
# independently of the clock; for older rounds there is only the clock.
_SEQUENCE = """
ALTER TABLE round ADD COLUMN accepted INTEGER NOT NULL DEFAULT 0;
UPDATE round SET accepted = coalesce(
    (SELECT max(id) FROM acceptance WHERE acceptance.case_id = round.case_id AND acceptance.at <= round.at), 0
);
ALTER TABLE round ADD COLUMN checksums TEXT;
ALTER TABLE acceptance ADD COLUMN checksums TEXT;
CREATE INDEX case_of_patient ON case_ (patient);
CREATE INDEX round_of_case ON round (case_id);
CREATE INDEX acceptance_of_case ON acceptance (case_id);
"""

_WEIGHTS = "ALTER TABLE version ADD COLUMN checksums TEXT;"

# acceptance.review: text of ``review.Review``; NULL for older ones, in which all of the mask is verified.
_REVIEWS = """
ALTER TABLE acceptance ADD COLUMN review TEXT;
CREATE TABLE starting_mask (
    case_id INTEGER PRIMARY KEY REFERENCES case_ (id),
    version INTEGER NOT NULL REFERENCES version (id),
    at TEXT NOT NULL,
    mask TEXT NOT NULL,
    confidences TEXT NOT NULL,
    checksums TEXT NOT NULL
);
"""

# round.review: as acceptance.review; NULL if no part of the mask was reviewed.
_REVIEWED_ROUNDS = "ALTER TABLE round ADD COLUMN review TEXT;"

MIGRATIONS = (_CASES, _LEARNING, _SEQUENCE, _WEIGHTS, _REVIEWS, _REVIEWED_ROUNDS)
VERSION = len(MIGRATIONS)


def made_by(version: int) -> dict[tuple[str, str], str]:
    """(type, name) -> SQL of everything in a casebook of this version, except what SQLite itself adds."""
    connection = sqlite3.connect(":memory:")
    try:
        for script in MIGRATIONS[:version]:
            connection.executescript(script)
        return contents(connection)
    finally:
        connection.close()


def contents(connection: sqlite3.Connection) -> dict[tuple[str, str], str]:
    """(type, name) -> SQL, with whitespace collapsed, of the tables, indices, views and triggers of a database."""
    rows = connection.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    return {(kind, name): " ".join(str(sql).split()) for kind, name, sql in rows if not name.startswith("sqlite_")}
