"""Reading several small tables to the driver at once: their price is planning, not rows."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from pyspark.sql import DataFrame

from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.tables.contract import Table

# A small read waits for the JVM most of its time; more readers than cores are of no use.
_READERS = 4
_RECENT = timedelta(days=1)


def rows_of(found: Sequence[DataFrame]) -> list[list[dict[str, Any]]]:
    """The rows of each as dictionaries, in the order given; for tables that fit the driver."""

    def collected(rows: DataFrame) -> list[dict[str, Any]]:
        return [row.asDict() for row in rows.collect()]

    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(collected, found))


def later_than(column: str, moment: datetime) -> str:
    """SQL for `Lakehouse.rows`: the column's moment is after this one."""
    return f"{column} > TIMESTAMP '{moment.astimezone(UTC).isoformat()}'"


def latest_rows(lake: Lakehouse, table: Table, column: str, now: datetime) -> list[dict[str, Any]]:
    """Rows among which the newest by that moment is: those of the last day or, after a longer
    silence, all; files of other days are not read where there is a newer row."""
    return lake.rows(table, later_than(column, now - _RECENT)) or lake.rows(table)
