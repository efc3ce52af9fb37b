"""A PostgreSQL database outside the lake, read by Spark's JDBC source."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from clinical_lakehouse.errors import SettingsError, SourceError
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.secrets import connection_secret

DRIVER = "org.postgresql:postgresql:42.7.8"
# Rows a connection holds at a time; without it PostgreSQL's driver holds the whole answer.
_FETCH_ROWS = 10_000
# What Spark's and the server's words mean for whoever has to mend it; these may quote data.
_PLAIN = (
    ("permission denied", "does not let the user read {what}; grant SELECT"),
    ("does not exist", "has no such table or column: check {what} in the mapping"),
)
_NO_ANSWER = (
    "does not let us in at {host}; check CLINICAL_DB_HOST, CLINICAL_DB_PORT, and the connection's "
    "database, user and secret"
)


@dataclass(frozen=True)
class Window:
    """Which rows to read: those whose watermark is later than `since` (None: all) and not later
    than `until`; rows without a watermark always belong."""

    table: str
    watermark: str
    since: datetime | None = None
    until: datetime | None = None

    def where(self) -> str:
        """The predicate in PostgreSQL's SQL; an open window holds every row."""
        bounds = [(">", self.since), ("<=", self.until)]
        parts = [f'"{self.watermark}" {sign} {_literal(at)}' for sign, at in bounds if at]
        return f'"{self.watermark}" IS NULL OR ({" AND ".join(parts)})' if parts else "true"


@dataclass(frozen=True)
class Survey:
    """What a window holds: rows, latest watermark, and the range of the key to divide it by."""

    count: int
    latest: datetime | None
    low: int | None
    high: int | None


@dataclass(frozen=True)
class Database:
    """One database and who reads it."""

    spark: SparkSession
    name: str
    options: Mapping[str, str] = field(repr=False)

    def survey(self, window: Window, key: str) -> Survey:
        """Count a window's rows and find its bounds; one query, one row."""
        answer = (
            f'SELECT count(*) AS n, max("{window.watermark}") AS latest, min("{key}")::bigint AS '
            f'low, max("{key}")::bigint AS high FROM {_quoted(window.table)} '
            f"WHERE {window.where()}"
        )
        row = self._asked(window.table, lambda: self._load(answer, {}).collect()[0])
        return Survey(row["n"], row["latest"], row["low"], row["high"])

    def rows(self, window: Window, key: str, found: Survey, parts: int) -> DataFrame:
        """The window's rows, every column as PostgreSQL names it, read by `parts` connections that
        each take a range of the numeric `key`."""
        divided: dict[str, str] = {}
        if parts > 1 and found.low is not None and found.high is not None:
            bounds = {"lowerBound": found.low, "upperBound": found.high, "numPartitions": parts}
            divided = {"partitionColumn": f'"{key}"', **{k: str(v) for k, v in bounds.items()}}
        wanted = f"SELECT * FROM {_quoted(window.table)} WHERE {window.where()}"
        return self._asked(window.table, lambda: self._load(wanted, divided))

    def _load(self, query: str, more: Mapping[str, str]) -> DataFrame:
        reader = self.spark.read.format("jdbc").options(**self.options, **more)
        return reader.option("dbtable", f"({query}) AS answer").load()

    def _asked(self, what: str, ask: Any) -> Any:
        try:
            return ask()
        except (PySparkException, Py4JJavaError) as error:
            raise SourceError(self.explain(what, error)) from None

    def explain(self, what: str, error: Exception) -> str:
        """One line on what to mend, without the server's words."""
        plain = next((line for mark, line in _PLAIN if mark in str(error)), _NO_ANSWER)
        host = self.options["url"].split("/")[2]
        return f"{self.name} {plain.format(what=what, host=host)}"


def open_database(run: Run, name: str) -> Database:
    """The database that a connection names; nothing is asked of it yet.

    Raises SettingsError where host, database, user or the secret is missing.
    """
    place = run.settings.connections[name]
    missing = [k for k in ("host", "database", "user") if not getattr(place, k)]
    if missing:
        raise SettingsError(f"connections.{name}.{missing[0]} is not set")
    options = {
        "url": f"jdbc:postgresql://{place.host}:{place.port or 5432}/{place.database}",
        "driver": "org.postgresql.Driver",
        "user": str(place.user),
        "password": connection_secret(run, name),
        "fetchsize": str(_FETCH_ROWS),
    }
    _with_driver(run.lake.spark)
    return Database(run.lake.spark, name, options)


def _with_driver(spark: SparkSession) -> None:
    """Databricks has PostgreSQL's driver; elsewhere it is fetched once, then used by its path."""
    if "DATABRICKS_RUNTIME_VERSION" in os.environ:
        return
    file = "_".join(DRIVER.split(":")[:2]) + f"-{DRIVER.split(':')[2]}.jar"
    here = next((p for p in sorted(Path.home().glob(f".ivy2*/jars/{file}"))), None)
    spark.sql(f"ADD JAR '{here or f'ivy://{DRIVER}?transitive=false'}'")


def _quoted(table: str) -> str:
    return ".".join(f'"{part}"' for part in table.split("."))


def _literal(at: datetime) -> str:
    # The session counts in UTC, and a column without a time zone ignores the offset.
    return f"'{at.isoformat(sep=' ')}+00'"
