"""The lakehouse: the only code that knows catalogs, paths, Delta, MERGE and locks."""

import os
import shutil
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeGuard, cast

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from clinical_lakehouse.errors import ContractError, LakeError, SourceError, UsageError
from clinical_lakehouse.runtime import driver_rows
from clinical_lakehouse.runtime.commits import Commit, refuse_unfit, rows_written, why_not_written
from clinical_lakehouse.runtime.format import check_format
from clinical_lakehouse.runtime.locks import exclusive
from clinical_lakehouse.runtime.merge_clauses import merge_clauses
from clinical_lakehouse.runtime.readonly import tables_read
from clinical_lakehouse.runtime.restating import GONE, restated
from clinical_lakehouse.tables.catalog import all_tables
from clinical_lakehouse.tables.contract import Table

Scope = frozenset[str] | None
Rows = DataFrame | Sequence[Mapping[str, Any]]  # of Spark, or dictionaries that the driver made
ArrowFunction = Callable[[Iterator[Any]], Iterator[Any]]
_LATEST: Mapping[str, int] = {}


@dataclass(frozen=True)
class Lakehouse:
    """Tables by contract. Locally a folder `<root>/<schema>/<table>`; on Databricks a catalog.

    `scoped` narrows what may be read and written to what a task declared; every commit is noted in
    `written` (table to Delta version) for the run ledger, every table first read in `seen` (-1 in
    a catalog, where asking for a version is a query). `restating` some `people` (subject_key),
    `replace` changes no row of anybody else. Once `is_stopped()`, nothing is written: a task that
    was given up must not change tables behind its successor's back.
    """

    spark: SparkSession
    root: Path
    catalog: str | None = None
    readable: Scope = None
    writable: Scope = None
    written: dict[str, int] = field(default_factory=dict, compare=False)
    seen: dict[str, int] = field(default_factory=dict, compare=False)
    is_stopped: Callable[[], bool] = field(default=lambda: False, compare=False)
    people: DataFrame | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.catalog is None:
            check_format(self.root)

    def scoped(self, reads: Collection[Table], writes: Collection[Table]) -> "Lakehouse":
        """The same lake, refusing every table outside `reads` and `writes`."""
        writable = frozenset(table.name for table in writes)
        readable = frozenset(table.name for table in reads) | writable
        return replace(self, readable=readable, writable=writable, written={}, seen={})

    def restating(self, people: DataFrame) -> "Lakehouse":
        """The same lake, on which `replace` brings the rows of these people (subject_key) alone to
        what is given; of tables about nobody, the rows that differ. All other rows stay, with their
        files."""
        return replace(self, people=people)

    def path(self, table: Table) -> Path:
        """The table's folder on a local lake."""
        return self.root / table.schema_name / table.short_name

    def identifier(self, table: Table) -> str:
        """The name Spark SQL knows the table by here."""
        if self.catalog:
            return f"`{self.catalog}`.`{table.schema_name}`.`{table.short_name}`"
        return f"delta.`{self.path(table)}`"

    def exists(self, table: Table) -> bool:
        """Has the table been made?"""
        if self.catalog:
            return self.spark.catalog.tableExists(f"{self.catalog}.{table.name}")
        log = self.path(table) / "_delta_log"
        return log.is_dir() and any(entry.suffix == ".json" for entry in log.iterdir())

    def version(self, table: Table) -> int:
        """The table's latest Delta version; -1 if it has not been made."""
        if not self.exists(table):
            return -1
        if self.catalog is None:
            log = self.path(table) / "_delta_log"
            return max(int(entry.stem) for entry in log.glob("[0-9]*.json") if entry.stem.isdigit())
        history = self.spark.sql(f"DESCRIBE HISTORY {self.identifier(table)} LIMIT 1")
        return int(history.collect()[0]["version"])

    def read(self, table: Table, since: int | None = None, version: int | None = None) -> DataFrame:
        """All rows (empty where the table is not made yet), those of a past `version`, or those
        inserted or updated after version `since` (tables with a change feed only)."""
        self._allow(table, self.readable, "reads")
        if not self.exists(table):
            return self._no_rows(table)
        self._note_seen(table, version)
        reader = self.spark.read.format("delta")
        if version is not None:
            return reader.option("versionAsOf", version).table(self.identifier(table))
        if since is None or since < 0:
            return self.spark.read.table(self.identifier(table))
        kept = self._changes(table, since).filter("_change_type IN ('insert', 'update_postimage')")
        return kept.select(*table.column_names)

    def changed(self, table: Table, since: int) -> DataFrame:
        """Every row that was inserted, updated or deleted after version `since`, as it was before
        and as it is now (tables with a change feed only)."""
        self._allow(table, self.readable, "reads")
        if not self.exists(table):
            return self._no_rows(table)
        return self._changes(table, since).select(*table.column_names)

    def _note_seen(self, table: Table, version: int | None = None) -> None:
        if table.name not in self.seen:
            now = -1 if self.catalog else self.version(table)
            self.seen[table.name] = now if version is None else version

    def _changes(self, table: Table, since: int) -> DataFrame:
        if since >= self.version(table):
            return self._no_rows(table).withColumn("_change_type", F.lit(""))
        reader = self.spark.read.format("delta").option("readChangeFeed", "true")
        return reader.option("startingVersion", since + 1).table(self.identifier(table))

    def ensure(self, table: Table) -> None:
        """Make the table from its contract if it is not there."""
        if self.exists(table):
            return
        if self.catalog is None:
            # What a process left that was killed here: Delta would take it for a table.
            shutil.rmtree(self.path(table), ignore_errors=True)
        properties = ", ".join(f"'{k}' = '{v}'" for k, v in table.properties().items())
        cluster = f"CLUSTER BY ({', '.join(table.cluster_by)})" if table.cluster_by else ""
        comment = table.comment.replace("'", "\\'")
        self.spark.sql(
            f"CREATE TABLE IF NOT EXISTS {self.identifier(table)} ({table.ddl()}) USING DELTA "
            f"{cluster} COMMENT '{comment}' TBLPROPERTIES ({properties})"
        )

    def rows(self, table: Table, where: str = "", since: int | None = None) -> list[dict[str, Any]]:
        """Rows as dictionaries on the driver, times in UTC, of a table that fits there.

        `where` is SQL that Spark and DataFusion both know; `since` as for `read`.
        """
        self._allow(table, self.readable, "reads")
        if self.catalog is None:
            if (now := self.version(table)) < 0:
                return []
            self._note_seen(table, now)
            is_new = since is None or since < now
            return driver_rows.read(self.path(table), table, where, since) if is_new else []
        chosen = self.read(table, since).filter(where or "true")
        return driver_rows.with_zones((row.asDict() for row in chosen.collect()), table)

    def append(self, table: Table, rows: Rows) -> Commit:
        """Add rows (none of the driver's: no write): bronze and ops only, the run in the key."""
        if self._is_local(rows, table) and not rows:
            return Commit(self.version(table))
        with self._writing(table):
            if self._is_local(rows, table):
                driver_rows.add(self.path(table), table, rows)
                return self._committed(table, len(rows))
            fitted = self._fit(table, self._as_frame(table, rows))
            fitted.writeTo(self.identifier(table)).append()
            return self._committed(table)

    def frame(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> DataFrame:
        """Rows made on the driver as a DataFrame of the table's schema; absent keys are null."""
        if not rows:
            return self._no_rows(table)
        ordered = [tuple(row.get(name) for name in table.column_names) for row in rows]
        return self.spark.createDataFrame(ordered, self._schema(table))

    def replace(self, table: Table, rows: Rows, where: str | None = None) -> Commit:
        """Replace the rows that match the SQL predicate `where`, or all rows; `inserted` is how
        many are given."""
        if self.people is not None:
            return self._restate(table, self._as_frame(table, rows), where, self.people)
        with self._writing(table):
            if self._is_local(rows, table):
                driver_rows.replace(self.path(table), table, rows, where)
                return self._committed(table, len(rows))
            writer = self._fit(table, self._as_frame(table, rows)).write.format("delta")
            writer = writer.mode("overwrite")
            if where is not None:
                writer = writer.option("replaceWhere", where)
            if self.catalog:
                writer.saveAsTable(self.identifier(table))
            else:
                writer.save(str(self.path(table)))
            return self._committed(table)

    def _restate(
        self, table: Table, rows: DataFrame, where: str | None, people: DataFrame
    ) -> Commit:
        stored, given = self.read(table).filter(where or "true"), rows.count()
        changes = restated(table, rows, stored, people)
        return replace(self.merge(table, changes, deleted=GONE), inserted=given)

    def merge(self, table: Table, rows: Rows, deleted: str | None = None) -> Commit:
        """Update and insert by the table's key; rows where the extra BOOLEAN column `deleted` holds
        are removed. Unchanged rows are not rewritten. A first load is a plain append."""
        with self._writing(table):
            if self._is_local(rows, table) and driver_rows.is_light(self.path(table)):
                return self._committed(table, *driver_rows.put(self.path(table), table, rows), 0)
            fitted = self._fit(table, self._as_frame(table, rows), [deleted] if deleted else [])
            stored = self.spark.read.table(self.identifier(table))
            if self.version(table) == 0 and stored.isEmpty():
                alive = fitted.filter(f"NOT `{deleted}`") if deleted else fitted
                alive.select(*table.column_names).writeTo(self.identifier(table)).append()
                return self._committed(table)
            done = self._merge(table, fitted, deleted).collect()[0].asDict()
            counts = [int(done[f"num_{k}_rows"]) for k in ("inserted", "updated", "deleted")]
            return self._committed(table, *counts)

    def upsert(self, table: Table, rows: Rows) -> None:
        """Bring in new and changed rows; a MERGE only where one of their keys is there already."""
        if self._is_local(rows, table):
            if rows:
                self.merge(table, rows)
            return
        fresh = self._as_frame(table, rows)
        if not self.exists(table):
            self.append(table, fresh)
            return
        known = self.read(table).select(*table.key)
        if not fresh.join(known, list(table.key), "left_semi").isEmpty():
            self.merge(table, fresh)
        elif not fresh.isEmpty():
            self.append(table, fresh)

    def append_missing(self, table: Table, rows: Rows) -> None:
        """Append what is not there by key: neither a killed run's rows nor those of two writers at
        once are written twice."""
        with self._writing(table):
            if self._is_local(rows, table):
                fresh = driver_rows.missing(self.path(table), table, rows)
                if fresh:
                    driver_rows.add(self.path(table), table, fresh)
            else:
                known = self.spark.read.table(self.identifier(table)).select(*table.key)
                given = self._fit(table, self._as_frame(table, rows))
                new = given.join(known, list(table.key), "left_anti")
                new.writeTo(self.identifier(table)).append()
            self._committed(table)

    def claim(self, table: Table, row: Mapping[str, Any]) -> bool:
        """Add one row unless its key is there; of two writers of one key only one gets True."""
        with self._writing(table):
            if self.catalog:
                given = self._fit(table, self.frame(table, [row]))
                known = self.spark.read.table(self.identifier(table)).select(*table.key)
                taken = not given.join(known, list(table.key), "left_semi").isEmpty()
                if taken or not self._insert_new(table, given):
                    return False
            elif driver_rows.missing(self.path(table), table, [row]):
                driver_rows.add(self.path(table), table, [row])
            else:
                return False
            self._committed(table)
            return True

    def _insert_new(self, table: Table, row: DataFrame) -> bool:
        """No lock is held in a catalog, where Delta lets two appends stand; a MERGE reads the
        table, so of two at once the later is refused, or finds the row."""
        try:
            done = self._merge(table, row, None, updates=False).collect()[0].asDict()
        except Exception as error:
            if "CONCURRENT" not in f"{type(error).__name__} {error}".upper():
                raise
            return False
        return int(done["num_inserted_rows"]) == 1

    def _merge(
        self, table: Table, rows: DataFrame, deleted: str | None, updates: bool = True
    ) -> DataFrame:
        view = f"merge_{uuid.uuid4().hex}"
        rows.createOrReplaceTempView(view)
        try:
            return self.spark.sql(
                f"MERGE INTO {self.identifier(table)} AS t USING {view} AS s "
                + merge_clauses(table, deleted, updates=updates)
            )
        finally:
            self.spark.catalog.dropTempView(view)

    def register(self, tables: Collection[Table], versions: Mapping[str, int] = _LATEST) -> None:
        """Make tables known to the session as `schema.table`, for notebooks and `sql`; those that
        `versions` names as they were then."""
        for table in tables if self.catalog is None else ():
            noted, place = f"clinical.registered.{table.name}", str(self.path(table))
            then = f" VERSION AS OF {versions[table.name]}" if table.name in versions else ""
            known = self.spark.conf.get(noted, "") or ""
            if self.exists(table) and known != place + then:
                self.spark.sql(f"CREATE SCHEMA IF NOT EXISTS `{table.schema_name}`")
                kind = "VIEW" if " VERSION" in known else "TABLE"
                self.spark.sql(f"DROP {kind} IF EXISTS {table.name}")
                as_it_was = f"VIEW {table.name} AS SELECT * FROM delta.`{place}`{then}"
                as_it_is = f"TABLE {table.name} USING DELTA LOCATION '{place}'"
                self.spark.sql(f"CREATE {as_it_was if then else as_it_is}")
                self.spark.conf.set(noted, place + then)

    def query(
        self,
        statement: str,
        values: Mapping[str, Any] | None = None,
        version_of: Callable[[Table], int] | None = None,
    ) -> DataFrame:
        """The answer to one SELECT, WITH, SHOW or DESCRIBE; `:name` in it stands for values[name].
        `version_of` says at which version a table is read (local lakes), e.g. as known on a day.

        Raises UsageError for any other statement and for tables that are not made yet.
        """
        mentioned = tables_read(statement)
        tables = [table for name, table in all_tables().items() if name in mentioned]
        for table in tables:
            self._allow(table, self.readable, "reads")
            if not self.exists(table):
                raise UsageError(f"{table.name} is not made yet; run the job that writes it")
        if self.catalog:
            self.spark.catalog.setCurrentCatalog(self.catalog)
        else:
            # Delta's parser loses `:name` in Spark 4.2 unless names are bound after parsing.
            self.spark.conf.set("spark.sql.legacy.parameterSubstitution.constantsOnly", "true")
        self.register(tables, {t.name: version_of(t) for t in tables} if version_of else _LATEST)
        return self.spark.sql(statement, args=dict(values or {}))

    def spread(self, count: int, function: ArrowFunction, schema: str) -> DataFrame:
        """Rows that a function for mapInArrow makes of the numbers 0 to count-1, one task each."""
        return self.spark.range(0, count, 1, max(count, 1)).mapInArrow(function, schema)

    def read_text_csv(self, path: Path, schema: str) -> DataFrame:
        """A tab-separated file with a header and no quotes (an Athena vocabulary file)."""
        if not os.access(path, os.R_OK):
            raise SourceError(f"cannot read {path.name}; check that it exists and may be read")
        reader = self.spark.read.option("sep", "\t").option("header", "true").option("quote", "")
        return reader.option("dateFormat", "yyyyMMdd").schema(schema).csv(str(path))

    def _is_local(self, rows: Rows, table: Table) -> TypeGuard[Sequence[Mapping[str, Any]]]:
        """Rows of the driver for a local table need no Spark; delta-rs writes no clustered ones."""
        return not (self.catalog or table.cluster_by or isinstance(rows, DataFrame))

    def _as_frame(self, table: Table, rows: Rows) -> DataFrame:
        return rows if isinstance(rows, DataFrame) else self.frame(table, rows)

    def _no_rows(self, table: Table) -> DataFrame:
        """A relation the optimizer knows to be empty, so that whole branches of a plan vanish."""
        nulls = [F.lit(None).cast(column.type).alias(column.name) for column in table.columns]
        return self.spark.range(1).filter("false").select(*nulls)

    def _schema(self, table: Table) -> StructType:
        columns = ", ".join(f"`{c.name}` {c.type}" for c in table.columns)
        return cast(StructType, StructType.fromDDL(columns))

    def _fit(self, table: Table, rows: DataFrame, extra: Sequence[str] = ()) -> DataFrame:
        """Rows with the contract's columns in order; anything missing, unknown or retyped stops."""
        refuse_unfit(table, self._schema(table), rows.schema, extra)
        return rows.select(*table.column_names, *extra)

    def _allow(self, table: Table, scope: Scope, verb: str) -> None:
        if scope is not None and table.name not in scope:
            raise ContractError(f"the task {verb} {table.name} but does not declare it in @task")

    def _refuse_if_stopped(self, table: Table) -> None:
        if self.is_stopped():
            raise LakeError(f"{table.name} is not written: the task was stopped")

    @contextmanager
    def _writing(self, table: Table) -> Iterator[None]:
        self._allow(table, self.writable, "writes")
        if self.catalog:
            self._refuse_if_stopped(table)
            self.ensure(table)
            yield
            return
        with exclusive(self.root / ".locks" / table.name):
            self._refuse_if_stopped(table)
            try:
                self.ensure(table)
                yield
            except (OSError, AnalysisException) as error:
                raise LakeError(why_not_written(table, error)) from error

    def _committed(self, table: Table, *counts: int) -> Commit:
        version = self.version(table)
        self.written[table.name] = version
        if not counts and self.catalog is None:
            counts = (rows_written(self.path(table), version),)
        elif not counts:
            history = self.spark.sql(f"DESCRIBE HISTORY {self.identifier(table)} LIMIT 1")
            metrics = history.collect()[0]["operationMetrics"] or {}
            counts = (int(metrics.get("numOutputRows", 0)),)
        return Commit(version, *counts)
