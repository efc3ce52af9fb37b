"""Speed of data quality: 50 checks over a million rows, beside plain Spark and Great Expectations.

Run by `python benchmarks/quality.py [ROWS]`. Plain Spark counts the same columns and finds their
least and greatest values in one aggregate; Great Expectations carries out the same checks, compiled
by `quality.expectations`, on the same rows in the same session. `python benchmarks/quality.py LAKE`
puts 2,000 checks to the tables of a lake, and writes what it finds into it.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from measuring import peak_memory, timed
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from clinical_lakehouse.methods.quality.asked import Asked, asked
from clinical_lakehouse.methods.quality.grammar import read_checks
from clinical_lakehouse.methods.quality.one_pass import tallies
from clinical_lakehouse.methods.quality.results import verdict
from clinical_lakehouse.methods.quality.schema_drift import Drift
from clinical_lakehouse.operators.clinical_data_validator import ClinicalDataValidatorOperator
from clinical_lakehouse.quality.expectations import expectation
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.session import open_session
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.tables.catalog import all_tables, table_named
from clinical_lakehouse.tables.conf import conf_dir
from clinical_lakehouse.tables.contract import Check, Table, between, is_one_of, not_null

AS_OF = datetime(2024, 6, 30, tzinfo=UTC)
WEIGHTS = {"fatal": 4.0, "error": 2.0, "warn": 1.0}
CHECKS, MANY, TURNS = 50, 2000, 3
QUALITY = conf_dir() / "quality"


def main(rows: int, root: str | None) -> None:
    """Figures as the table that benchmarks/README.md keeps."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    spark = open_session("local[2]")
    if root is not None:
        _whole_lake(Lakehouse(spark, Path(root).resolve()))
        spark.stop()
        return
    with TemporaryDirectory() as folder:
        _one_table(spark, Path(folder), rows)
        spark.stop()


def _one_table(spark: SparkSession, folder: Path, rows: int) -> None:
    """Each way in turn, so that other work on the machine falls on all; the least of each."""
    table, lake = table_named("silver.observation"), Lakehouse(spark, folder)
    _fill(lake, table, rows)
    made, checks = lake.read(table), _checks(table)
    whole = asked([table], {}, {table.name: Drift()})[0]
    ways: dict[str, Callable[[], int]] = {
        "plain aggregate of the same columns": lambda: _plain(made),
        f"{len(checks)} checks": lambda: _judge(lake, Asked(table, checks)),
        f"these and the contract's {len(whole.checks)}, uniqueness and references":
            lambda: _judge(lake, replace(whole, checks=(*whole.checks, *checks))),
    }  # fmt: skip
    best: dict[str, float] = {}
    for turn in range(TURNS + 1):  # the first queries of a session pay for its start
        for name, way in ways.items():
            with timed() as took:
                found = way()
            if turn:
                best[name] = min(took[0], best.get(name, took[0]))
    with peak_memory(with_self=True) as peak, timed() as theirs:
        found = _great_expectations(made, checks)
    first = next(iter(best.values()))
    for name, seconds in best.items():
        _say(f"| {name}, {rows:,} rows | {seconds:.1f} s | {seconds / first:.1f} times |")
    ours = best[f"{len(checks)} checks"]
    _say(f"| Great Expectations, the same {len(checks)} ({found} fail), {peak[0] / 1e9:.1f} GB "
         f"| {theirs[0]:.1f} s | {theirs[0] / ours:.1f} times ours |")  # fmt: skip


def _whole_lake(lake: Lakehouse) -> None:
    """MANY checks on all tables of a lake, as the job goes; it writes what it finds into it."""
    checks = {name: list(some) for name, some in read_checks(QUALITY, all_tables()).items()}
    judged = [t for t in all_tables().values()
              if lake.exists(t) and t.schema_name in ("silver", "omop", "gold")]  # fmt: skip
    known = sum(len(t.all_checks()) + 1 + len(checks.get(t.name, ())) for t in judged)
    copies = 0
    while known < MANY:
        copies += 1
        for table in judged:
            more = [replace(c, name=f"{c.name}_{copies}",
                            predicate=f"({c.predicate}) OR {copies} < 0")
                    for c in table.all_checks() if c.scope == "row"][: MANY - known]  # fmt: skip
            checks.setdefault(table.name, []).extend(more)
            known += len(more)
    run = Run(lake, load_settings("dev", environ={}), AS_OF, f"benchmark-{MANY}")
    validator = ClinicalDataValidatorOperator(tuple(judged), checks, WEIGHTS, "benchmark")
    with peak_memory(with_self=True) as peak, timed() as took:
        found = validator.execute(run)
    _say(f"| {found['checks']:,} checks of {found['tables']} tables, {peak[0] / 1e9:.1f} GB "
         f"| {took[0]:.1f} s | |")  # fmt: skip


def _judge(lake: Lakehouse, given: Asked) -> int:
    """The way the job goes: what is asked, one aggregate, the verdict."""
    rows = tallies([given], lambda name: lake.read(table_named(name)), AS_OF).collect()
    return len(verdict([given], [row.asDict() for row in rows], WEIGHTS).failing)


def _plain(rows: DataFrame) -> int:
    figures = [f(name) for name in rows.columns for f in (F.count, F.min, F.max)]
    return len(rows.agg(*figures).collect())


def _fill(lake: Lakehouse, table: Table, rows: int) -> None:
    """The table, and those that it refers to with a thousand rows each."""
    lake.append(table, _observations(lake.spark, rows, table))
    others = {check.refers[1] for check in table.all_checks() if check.refers}
    for name in sorted({*others, "silver.subject"} - {table.name}):
        other = table_named(name)
        lake.append(other, _observations(lake.spark, 1000, other))


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
    values = [made.get(c.type, F.lit(None)).cast(c.type) for c in table.columns]
    columns = [
        (F.when(F.rand(at) > 0.001, value) if c.nullable else value).alias(c.name)
        for at, (c, value) in enumerate(zip(table.columns, values, strict=True))
    ]
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
    given = sys.argv[1] if len(sys.argv) > 1 else "1000000"
    main(*((int(given), None) if given.isdigit() else (0, given)))
