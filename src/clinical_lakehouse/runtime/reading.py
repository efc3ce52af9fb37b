"""Reading several small tables to the driver at once: their price is planning, not rows."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import DataFrame

# A small read waits for the JVM most of its time; more readers than cores are of no use.
_READERS = 4


def rows_of(found: Sequence[DataFrame]) -> list[list[dict[str, Any]]]:
    """The rows of each as dictionaries, in the order given; for tables that fit the driver."""

    def collected(rows: DataFrame) -> list[dict[str, Any]]:
        return [row.asDict() for row in rows.collect()]

    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(collected, found))


def later_than(column: str, moment: datetime) -> str:
    """SQL for `Lakehouse.rows`: the column's moment is after this one."""
    return f"{column} > TIMESTAMP '{moment.astimezone(UTC).isoformat()}'"
