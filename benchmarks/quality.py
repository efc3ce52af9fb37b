"""Speed of data quality: 50 checks over a million rows, beside plain Spark and Great Expectations.

Run by `python benchmarks/quality.py [ROWS]`. Plain Spark counts the same columns and finds their
least and greatest values in one aggregate; Great Expectations carries out the same checks, compiled
by `quality.expectations`, on the same rows in the same session.
"""

import os
import sys
from datetime import UTC, datetime

from measuring import peak_memory, timed
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from clinical_lakehouse.methods.quality.asked import Asked, asked
from clinical_lakehouse.methods.quality.one_pass import tallies
from clinical_lakehouse.methods.quality.results import verdict
from clinical_lakehouse.methods.quality.schema_drift import Drift
from clinical_lakehouse.quality.expectations import expectation
from clinical_lakehouse.runtime.session import open_session
from clinical_lakehouse.tables.catalog import table_named
from clinical_lakehouse.tables.contract import Check, Table, between, is_one_of, not_null

AS_OF = datetime(2024, 6, 30, tzinfo=UTC)
WEIGHTS = {"fatal": 4.0, "error": 2.0, "warn": 1.0}
CHECKS, MANY = 50, 2000


def main(rows: int) -> None:
    """Figures as the table that benchmarks/README.md keeps."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    spark = open_session("local[2]")
    table = table_named("silver.observation")
    made = _observations(spark, rows, table).localCheckpoint()
    checks = _checks(table)
    _plain(made)  # the first query of a session pays for its start
    with timed() as plain:
        _plain(made)
    with peak_memory(with_self=True) as peak, timed() as ours:
        failing = _judge(made, [Asked(table, checks)])
    _say(f"| plain aggregate of the same columns, {rows:,} rows | {plain[0]:.1f} s | |")
    _say(f"| {len(checks)} checks ({failing} fail) | {ours[0]:.1f} s | {peak[0] / 1e9:.1f} GB |")
    with peak_memory(with_self=True) as peak, timed() as theirs:
        found = _great_expectations(made, checks)
    _say(f"| Great Expectations, the same ({found} fail) | {theirs[0]:.1f} s "
         f"| {peak[0] / 1e9:.1f} GB |")  # fmt: skip
    _say(f"| ratio | {theirs[0] / ours[0]:.0f} times | |")
    with timed() as many:
        _judge(made.limit(10_000), [Asked(table, _repeated(checks, MANY))])
    _say(f"| {MANY:,} checks of one table of 10,000 rows | {many[0]:.1f} s | |")
    spark.stop()


def _judge(rows: DataFrame, tables: list[Asked]) -> int:
    """The way the job goes: what is asked, one aggregate, the verdict."""
    (one,) = tables
    whole = asked([one.table], {}, {one.table.name: Drift()})[0]
    given = Asked(one.table, (*whole.checks, *one.checks))
    empty = rows.limit(0)

    def rows_of(name: str) -> DataFrame:
        return rows if name == one.table.name else _none_of(empty, name)

    found = [row.asDict() for row in tallies([given], rows_of, AS_OF).collect()]
    return len(verdict([given], found, WEIGHTS).failing)


def _none_of(empty: DataFrame, name: str) -> DataFrame:
    columns = [F.lit(None).cast(c.type).alias(c.name) for c in table_named(name).columns]
    return empty.select(*columns)


def _plain(rows: DataFrame) -> None:
    figures = [f(name) for name in rows.columns for f in (F.count, F.min, F.max)]
    rows.agg(*figures).collect()


def _observations(spark: SparkSession, rows: int, table: Table) -> DataFrame:
    """Every column of the contract with plausible values, some of them null or wrong."""
    n = F.col("id")
    made = {
        "STRING": F.concat(F.lit("c"), n % 40),
        "DOUBLE": F.rand(3) * 120,
        "BIGINT": n,
        "INT": (n % 3).cast("int"),
        "TIMESTAMP": F.timestamp_seconds(1_700_000_000 + n % 5_000_000),
        "BOOLEAN": n % 7 > 0,
    }
    columns = [
        F.when(F.rand(at) > 0.001, made[c.type]).alias(c.name) if c.nullable else
        made[c.type].cast(c.type).alias(c.name)
        for at, c in enumerate(table.columns)
    ]  # fmt: skip
    return spark.range(rows).select(*columns)


def _checks(table: Table) -> tuple[Check, ...]:
    """Fifty checks over all its columns: values there, in range, listed, of a form."""
    found: list[Check] = []
    for column in table.columns:
        found.append(not_null(column.name))
        if column.type in ("DOUBLE", "INT", "BIGINT"):
            found += [between(column.name, low, 100) for low in (0, 1, 2)]
        if column.type == "STRING":
            found.append(is_one_of(column.name, *(f"c{n}" for n in range(39))))
            form = rf"regexp_like(`{column.name}`, r'\A(?:c[0-9]+)\z')"
            found.append(Check(f"{column.name}_form", form))
    return tuple({c.name: c for c in found[:CHECKS]}.values())


def _repeated(checks: tuple[Check, ...], count: int) -> tuple[Check, ...]:
    many = [
        Check(f"{c.name}_{n}", f"({c.predicate}) OR {n} < 0", c.severity, kind=c.kind)
        for n in range(count // len(checks) + 1) for c in checks
    ]  # fmt: skip
    return tuple(many[:count])


def _great_expectations(rows: DataFrame, checks: tuple[Check, ...]) -> int:
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    asset = context.data_sources.add_spark("rows").add_dataframe_asset("rows")
    batch = asset.add_batch_definition_whole_dataframe("rows").get_batch({"dataframe": rows})
    suite = gx.ExpectationSuite(name="rows", expectations=[expectation(c) for c in checks])
    found = batch.validate(suite)
    return sum(not one.success for one in found.results)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
