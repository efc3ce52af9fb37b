"""How tables of OMOP are written: only where needed, two at a time, every record accounted for."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pyspark.sql import DataFrame

from clinical_lakehouse.errors import AccountingError
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.tables.contract import Table
from clinical_lakehouse.tables.gold_standardization import UNPLACED_RECORD

# Two writers at a time: the second costs half, a third costs memory.
_WRITERS = 2


def rebuild(run: Run, table: Table, rows: DataFrame, needed: DataFrame | None = None) -> int:
    """Replace a table by rows that are made of `needed`, and say by how many; nothing now and
    nothing before is no write."""
    if (rows if needed is None else needed).isEmpty() and run.lake.read(table).isEmpty():
        run.lake.ensure(table)
        return 0
    return run.lake.replace(table, rows).inserted


def list_unplaced(run: Run, where: str, rows: DataFrame, missing: int) -> None:
    """List `rows`, which must be `missing`, as the records of some sources (`where`) without a
    place; nothing to list, now or before, is no write."""
    if missing == 0 and run.lake.read(UNPLACED_RECORD).filter(where).isEmpty():
        return
    run.lake.replace(UNPLACED_RECORD, rows, where=where)
    listed = run.lake.read(UNPLACED_RECORD).filter(where).count()
    require(UNPLACED_RECORD.name, listed == missing)


def require(name: str, is_accounted: bool) -> None:
    if not is_accounted:
        raise AccountingError(f"{name}: not every record is placed or has a reason")


def in_two_threads(jobs: Sequence[Callable[[], Any]]) -> list[Any]:
    with ThreadPoolExecutor(_WRITERS) as pool:
        return [done.result() for done in [pool.submit(job) for job in jobs]]
