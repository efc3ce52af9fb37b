"""Writing several tables: only where there is something to write, and two at a time."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pyspark.sql import DataFrame

from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.tables.contract import Table

# The second writer costs half, a third costs memory.
_WRITERS = 2


def rebuild(run: Run, table: Table, rows: DataFrame, needed: DataFrame | None = None) -> int:
    """Replace a table by rows that are made of `needed`, and say by how many; nothing now and
    nothing before is no write."""
    if (rows if needed is None else needed).isEmpty() and run.lake.read(table).isEmpty():
        run.lake.ensure(table)
        return 0
    return run.lake.replace(table, rows).inserted


def in_two_threads(jobs: Sequence[Callable[[], Any]]) -> list[Any]:
    """What these jobs return, in their order; two run at a time."""
    with ThreadPoolExecutor(_WRITERS) as pool:
        return [done.result() for done in [pool.submit(job) for job in jobs]]
