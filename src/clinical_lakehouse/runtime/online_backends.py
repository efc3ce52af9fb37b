"""Where online features lie: a SQLite file of the lake, or PostgreSQL; one SQL for both."""

import importlib
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from clinical_lakehouse.errors import LakeError, PrerequisiteError, UsageError

Value = tuple[str, int, str, str, str, str]  # the columns of `value` in their order

_TABLES = """
CREATE TABLE IF NOT EXISTS serving (
  feature_group TEXT PRIMARY KEY, feature_version TEXT NOT NULL, names TEXT NOT NULL,
  as_of TEXT NOT NULL){ending};
CREATE TABLE IF NOT EXISTS value (
  feature_group TEXT NOT NULL, subject_key BIGINT NOT NULL, feature_version TEXT NOT NULL,
  index_date TEXT NOT NULL, known_at TEXT NOT NULL, content TEXT NOT NULL,
  PRIMARY KEY (feature_group, subject_key)){ending};
CREATE TABLE IF NOT EXISTS reading (
  id {number}, read_at TEXT NOT NULL, feature_group TEXT NOT NULL,
  subject_key BIGINT NOT NULL, feature_version TEXT NOT NULL, index_date TEXT NOT NULL,
  known_at TEXT NOT NULL, content TEXT NOT NULL, is_checked INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS unchecked ON reading (id) WHERE is_checked = 0;
"""
_BATCH = 2_000  # rows that one statement takes to a server
_SCHEMA = "lakehouse_online"


class Backend(Protocol):
    """A database that keeps the three tables; statements name their values `:name`."""

    def run(self, statement: str, **values: Any) -> list[Any]:
        """The rows of one statement, committed by itself outside a transaction."""

    def insert_values(self, rows: Iterable[Value]) -> int:
        """Put rows into `value`; how many."""

    def transaction(self) -> Any:
        """A context in which all or nothing happens, and no other publication."""

    def close(self) -> None:
        """Let go of it."""


class SqliteBackend:
    """A file. Readers of other processes are not held up by a publication (WAL)."""

    def __init__(self, path: Path, *, must_exist: bool = False) -> None:
        """Open or make the file; UsageError where a reader finds none."""
        if must_exist and not path.is_file():
            raise UsageError("nothing is published yet; run the job feature_store")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _plain_errors(sqlite3.Error):
            # Autocommit, so that a transaction is what we say it is.
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA busy_timeout = 10000")
            self._db.execute("PRAGMA journal_mode = WAL")
            tables = _TABLES.format(ending=" WITHOUT ROWID", number="INTEGER PRIMARY KEY")
            self._db.executescript(tables)
        path.chmod(0o600)

    def run(self, statement: str, **values: Any) -> list[Any]:
        """See Backend."""
        with _plain_errors(sqlite3.Error):
            return self._db.execute(statement, values).fetchall()

    def insert_values(self, rows: Iterable[Value]) -> int:
        """See Backend."""
        return self._db.executemany("INSERT INTO value VALUES (?, ?, ?, ?, ?, ?)", rows).rowcount

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """See Backend."""
        with _plain_errors(sqlite3.Error):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def close(self) -> None:
        """See Backend."""
        self._db.close()


@dataclass(frozen=True)
class Server:
    """A PostgreSQL database and who writes to it."""

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)


class PostgresBackend:
    """A schema `lakehouse_online` of a PostgreSQL database, by pg8000 (extra `online`). Readers see
    the old rows until a publication is committed (MVCC)."""

    def __init__(self, server: Server) -> None:
        """Connect, and make what is missing; LakeError where the server does not let us in."""
        try:
            driver = importlib.import_module("pg8000.native")
        except ImportError:
            said = "online features on PostgreSQL need pg8000: pip install 'clinical-lakehouse"
            raise PrerequisiteError(f"{said}[online]'") from None
        self._errors = (driver.DatabaseError, driver.InterfaceError, OSError)
        with _plain_errors(*self._errors):
            self._db = driver.Connection(
                server.user,
                host=server.host,
                port=server.port,
                database=server.database,
                password=server.password,
            )
            with self.transaction():
                self._db.run(f"CREATE SCHEMA IF NOT EXISTS {_SCHEMA}")
                self._db.run(f"SET search_path TO {_SCHEMA}")
                number = "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
                for statement in _TABLES.format(ending="", number=number).split(";\n"):
                    if statement.strip():
                        self._db.run(statement)

    def run(self, statement: str, **values: Any) -> list[Any]:
        """See Backend."""
        with _plain_errors(*self._errors):
            return self._db.run(statement, **values) or []

    def insert_values(self, rows: Iterable[Value]) -> int:
        """See Backend."""
        left, count = iter(rows), 0
        while batch := list(islice(left, _BATCH)):
            columns = zip("abcdef", zip(*batch, strict=True), strict=True)
            self._db.run(
                "INSERT INTO value SELECT * FROM unnest(CAST(:a AS text[]), CAST(:b AS bigint[]), "
                "CAST(:c AS text[]), CAST(:d AS text[]), CAST(:e AS text[]), CAST(:f AS text[]))",
                **{name: list(column) for name, column in columns},
            )
            count += len(batch)
        return count

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """See Backend."""
        with _plain_errors(*self._errors):
            self._db.run("START TRANSACTION")
            try:
                # Released at the end: two publications, or two first openings, wait for each other.
                self._db.run("SELECT pg_advisory_xact_lock(hashtext('clinical_lakehouse online'))")
                yield
            except BaseException:
                self._db.run("ROLLBACK")
                raise
            self._db.run("COMMIT")

    def close(self) -> None:
        """See Backend."""
        self._db.close()


@contextmanager
def _plain_errors(*kinds: type[Exception]) -> Iterator[None]:
    try:
        yield
    except kinds as error:
        kind = type(error).__name__
        raise LakeError(f"the online feature store cannot be used ({kind}); is it open?") from None
