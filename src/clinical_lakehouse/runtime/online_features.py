"""The online feature store, read by key without Spark: a SQLite file, or PostgreSQL.

A publication is one transaction: a reader sees the old values of a group or the new ones. Every
read can be noted down, to be worked out again offline as of its moment.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from clinical_lakehouse.errors import SettingsError, UsageError
from clinical_lakehouse.runtime.online_backends import (
    Backend,
    PostgresBackend,
    Server,
    SqliteBackend,
    Value,
)
from clinical_lakehouse.runtime.secrets import secret_at
from clinical_lakehouse.runtime.settings import Settings


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
    published_at: datetime

    def age(self, at: datetime) -> timedelta:
        """How long ago the group was last published: a group that failed its validation keeps its
        last good values, and grows old."""
        return at - self.published_at


def online_path(root: Path) -> Path:
    """Where the lake's own online store is."""
    return root / "online" / "features.sqlite"


def online_place(root: Path, settings: Settings) -> Path | Server:
    """Where a lake's online features are: the server of connections.online_features where its host
    is set, else the lake's own file. SettingsError where something else of it is missing."""
    place = settings.connections.get("online_features")
    if place is None or not place.host:
        return online_path(root)
    if not place.database or not place.user:
        raise SettingsError("connections.online_features needs database and user beside its host")
    secret = secret_at(root, place.secret or "", "connections.online_features.secret")
    return Server(place.host, place.port or 5432, place.database, place.user, secret)


class OnlineFeatures:
    """The store of one lake, behind one port: a SQLite file, or a PostgreSQL server."""

    def __init__(self, place: Path | Server, *, must_exist: bool = False) -> None:
        """Open the file (made where missing; UsageError where a reader finds none) or connect."""
        if isinstance(place, Server):
            self._db: Backend = PostgresBackend(place)
        else:
            self._db = SqliteBackend(place, must_exist=must_exist)
        if must_exist and not self.serving():
            raise UsageError("nothing is published yet; run the job feature_store")

    def close(self) -> None:
        """Let go of the file or the server."""
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
        with self._db.transaction():
            self._db.run("DELETE FROM value WHERE feature_group = :name", name=name)
            count = self._db.insert_values(_row(name, version, row) for row in rows)
            self._db.run(
                "INSERT INTO serving VALUES (:name, :version, :names, :as_of) "
                "ON CONFLICT (feature_group) DO UPDATE SET feature_version = "
                "excluded.feature_version, names = excluded.names, as_of = excluded.as_of",
                name=name,
                version=version,
                names=json.dumps(list(names)),
                as_of=as_of.isoformat(),
            )
            return count

    def get(self, group: str, subject_key: int, read_at: datetime | None = None) -> Served | None:
        """The values of a subject, None for one that is not there; with `read_at` noted down."""
        asked = {"name": group, "key": subject_key}
        rows = self._db.run(
            "SELECT v.feature_version, v.index_date, v.known_at, v.content, s.as_of FROM value v "
            "JOIN serving s ON s.feature_group = v.feature_group "
            "WHERE v.feature_group = :name AND v.subject_key = :key",
            **asked,
        )
        if not rows:
            return None
        found = list(rows[0])
        if read_at is not None:
            told = dict(zip(("version", "day", "known", "content"), found[:4], strict=True))
            self._db.run(
                "INSERT INTO reading (read_at, feature_group, subject_key, feature_version, "
                "index_date, known_at, content) "
                "VALUES (:read_at, :name, :key, :version, :day, :known, :content)",
                read_at=read_at.isoformat(),
                **asked,
                **told,
            )
        return _served(group, subject_key, *found)

    def serving(self) -> dict[str, tuple[str, datetime]]:
        """Group -> version that is served, and the moment it was published for."""
        rows = self._db.run("SELECT feature_group, feature_version, as_of FROM serving")
        return {row[0]: (row[1], datetime.fromisoformat(row[2])) for row in rows}

    def unchecked(self, most: int) -> list[tuple[int, Served]]:
        """The first readings that were not yet worked out again, by number."""
        rows = self._db.run(
            "SELECT id, feature_group, subject_key, feature_version, index_date, known_at, "
            "content, read_at FROM reading WHERE is_checked = 0 ORDER BY id LIMIT :most",
            most=most,
        )
        return [(row[0], _served(*row[1:])) for row in rows]

    def note_checked(self, last: int) -> None:
        """Readings up to this number need not be looked at again."""
        self._db.run("UPDATE reading SET is_checked = 1 WHERE id <= :last", last=last)

    def forget(self, subjects: Iterable[int]) -> None:
        """Remove people: their values, and what was read of them."""
        with self._db.transaction():
            for key in subjects:
                self._db.run("DELETE FROM value WHERE subject_key = :key", key=key)
                self._db.run("DELETE FROM reading WHERE subject_key = :key", key=key)


def _row(name: str, version: str, row: Mapping[str, Any]) -> Value:
    content = json.dumps([row["feature_values"], row["null_reasons"]])
    known = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=row["known_us"])
    day = row["index_date"].isoformat()
    return (name, row["subject_key"], version, day, known.isoformat(), content)


def _served(group: str, key: int, version: str, *rest: str) -> Served:
    values, reasons = json.loads(rest[2])
    day, known = date.fromisoformat(rest[0]), datetime.fromisoformat(rest[1])
    return Served(group, version, key, day, known, values, reasons, datetime.fromisoformat(rest[3]))
