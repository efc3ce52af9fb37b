"""The online feature store: one SQLite file of the lake, read by key without Spark.

A publication is one transaction: a reader sees the old values of a group or the new ones. Every
read can be noted down, to be worked out again offline as of its moment.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from clinical_lakehouse.errors import LakeError, UsageError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS serving (
  feature_group TEXT PRIMARY KEY, feature_version TEXT NOT NULL, names TEXT NOT NULL,
  as_of TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS value (
  feature_group TEXT NOT NULL, subject_key INTEGER NOT NULL, feature_version TEXT NOT NULL,
  index_date TEXT NOT NULL, known_at TEXT NOT NULL, content TEXT NOT NULL,
  PRIMARY KEY (feature_group, subject_key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reading (
  id INTEGER PRIMARY KEY, read_at TEXT NOT NULL, feature_group TEXT NOT NULL,
  subject_key INTEGER NOT NULL, feature_version TEXT NOT NULL, index_date TEXT NOT NULL,
  known_at TEXT NOT NULL, content TEXT NOT NULL, is_checked INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS unchecked ON reading (id) WHERE is_checked = 0;
"""


@dataclass(frozen=True)
class Served:
    """The values of one subject: by feature the value, and why it is null where it is."""

    feature_group: str
    feature_version: str
    subject_key: int
    index_date: date
    known_at: datetime
    values: Mapping[str, float | None]
    null_reasons: Mapping[str, str]


def online_path(root: Path) -> Path:
    """Where the lake's online store is."""
    return root / "online" / "features.sqlite"


class OnlineFeatures:
    """The store of one lake. Readers of other processes are not held up by a publication (WAL)."""

    def __init__(self, path: Path, *, must_exist: bool = False) -> None:
        """Open or make the file; UsageError where a reader finds none."""
        if must_exist and not path.is_file():
            raise UsageError("nothing is published yet; run the job feature_store")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _plain_errors():
            # Autocommit, so that a transaction is what we say it is.
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA busy_timeout = 10000")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.executescript(_SCHEMA)
        path.chmod(0o600)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def publish(
        self,
        group: tuple[str, str],
        names: Iterable[str],
        as_of: datetime,
        rows: Iterable[Mapping[str, Any]],
    ) -> int:
        """Put the rows (of gold.feature_value, `known_us` in microseconds) of a group and version
        in place of all it has; how many. Whatever fails on the way leaves what was there."""
        name, version = group
        insert = "INSERT INTO value VALUES (?, ?, ?, ?, ?, ?)"
        with self._transaction():
            self._db.execute("DELETE FROM value WHERE feature_group = ?", (name,))
            made = self._db.executemany(insert, (_row(name, version, row) for row in rows))
            serving = (name, version, json.dumps(list(names)), as_of.isoformat())
            self._db.execute("INSERT OR REPLACE INTO serving VALUES (?, ?, ?, ?)", serving)
            return made.rowcount

    def get(self, group: str, subject_key: int, read_at: datetime | None = None) -> Served | None:
        """The values of a subject, None for one that is not there; with `read_at` noted down."""
        found = self._db.execute(
            "SELECT feature_version, index_date, known_at, content FROM value "
            "WHERE feature_group = ? AND subject_key = ?",
            (group, subject_key),
        ).fetchone()
        if found is None:
            return None
        if read_at is not None:
            note = (read_at.isoformat(), group, subject_key, *found)
            self._db.execute(
                "INSERT INTO reading (read_at, feature_group, subject_key, feature_version, "
                "index_date, known_at, content) VALUES (?, ?, ?, ?, ?, ?, ?)",
                note,
            )
        return _served(group, subject_key, *found)

    def serving(self) -> dict[str, tuple[str, datetime]]:
        """Group -> version that is served, and the moment it was published for."""
        rows = self._db.execute("SELECT feature_group, feature_version, as_of FROM serving")
        return {row[0]: (row[1], datetime.fromisoformat(row[2])) for row in rows}

    def unchecked(self, most: int) -> list[tuple[int, Served]]:
        """The first readings that were not yet worked out again, by number."""
        rows = self._db.execute(
            "SELECT id, feature_group, subject_key, feature_version, index_date, known_at, content "
            "FROM reading WHERE is_checked = 0 ORDER BY id LIMIT ?",
            (most,),
        ).fetchall()
        return [(row[0], _served(*row[1:])) for row in rows]

    def note_checked(self, last: int) -> None:
        """Readings up to this number need not be looked at again."""
        with self._transaction():
            self._db.execute("UPDATE reading SET is_checked = 1 WHERE id <= ?", (last,))

    def forget(self, subjects: Iterable[int]) -> None:
        """Remove people: their values, and what was read of them."""
        keys = [(one,) for one in subjects]
        with self._transaction():
            for statement in (
                "DELETE FROM value WHERE subject_key = ?",
                "DELETE FROM reading WHERE subject_key = ?",
            ):
                self._db.executemany(statement, keys)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _plain_errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")


@contextmanager
def _plain_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        kind = type(error).__name__
        raise LakeError(f"the online feature store cannot be used ({kind}); is it open?") from None


def _row(name: str, version: str, row: Mapping[str, Any]) -> tuple[Any, ...]:
    content = json.dumps([row["feature_values"], row["null_reasons"]])
    known = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=row["known_us"])
    dates = (row["index_date"].isoformat(), known.isoformat())
    return (name, row["subject_key"], version, *dates, content)


def _served(group: str, key: int, version: str, *rest: str) -> Served:
    values, reasons = json.loads(rest[2])
    day, known = date.fromisoformat(rest[0]), datetime.fromisoformat(rest[1])
    return Served(group, version, key, day, known, values, reasons)
