"""Judges tables by their contracts: one aggregate per table, all tables in one Spark job."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.tables.catalog import table_named
from clinical_lakehouse.tables.contract import Check, Table


def judge(run: Run, tables: Sequence[Table]) -> list[dict[str, Any]]:
    """One result (an ops.quality_result row) per check of each table that holds rows."""
    made = [table for table in tables if run.lake.exists(table)]
    if not made:
        return []
    one_job = reduce(DataFrame.unionByName, (_counts(run, table) for table in made))
    counted = {row["table_name"]: list(row["counts"]) for row in one_job.collect()}
    return [
        _result(run, table, check, counted[table.name][0], failed)
        for table in made
        for check, failed in zip(table.all_checks(), counted[table.name][1:], strict=True)
    ]


def _counts(run: Run, table: Table) -> DataFrame:
    """One row: the table's name and an array of its row count and each check's failing rows."""
    rows = run.lake.read(table)
    for number, check in enumerate(table.all_checks()):
        if check.refers:
            rows = _with_reference(run, rows, number, check)
    failing = [_failing(check, number) for number, check in enumerate(table.all_checks())]
    counts = F.array(F.count(F.lit(1)), *failing)
    return rows.agg(counts.alias("counts")).select(F.lit(table.name).alias("table_name"), "counts")


def _failing(check: Check, number: int) -> Column:
    """How many rows fail: a null predicate passes, a repeated key fails once per surplus row."""
    if check.scope == "key":
        return F.count(F.lit(1)) - F.expr(f"count(DISTINCT struct({check.predicate}))")
    if check.scope == "reference":
        return F.count_if(F.col(f"_lost_{number}"))
    return F.expr(f"count_if(NOT ({check.predicate}))")


def _with_reference(run: Run, rows: DataFrame, number: int, check: Check) -> DataFrame:
    """Marks rows whose reference leads nowhere; the other side is unique by its key."""
    own, other, key = check.refers or ("", "", "")
    found, mark = f"_found_{number}", f"_lost_{number}"
    keys = run.lake.read(table_named(other)).select(F.col(key).alias(found))
    joined = rows.join(keys, F.col(own) == F.col(found), "left")
    return joined.withColumn(mark, F.col(own).isNotNull() & F.col(found).isNull()).drop(found)


def _result(run: Run, table: Table, check: Check, row_count: int, failed: int) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "table_name": table.name,
        "check_name": check.name,
        "severity": check.severity.value,
        "row_count": row_count,
        "failed_count": failed,
        "passed_ratio": 1 - failed / row_count if row_count else 1.0,
        "checked_at": run.as_of,
    }
