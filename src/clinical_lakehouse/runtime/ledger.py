"""The run ledger: ops.job_run and ops.task_run, one row per state change, never rewritten.

A Delta commit takes a third of a second, so a run notes its changes in a journal first and appends
them to the tables once, at its end; what a killed process left is found at the next start.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pyspark.sql import functions as F

from clinical_lakehouse.runtime.clock import wall_clock
from clinical_lakehouse.runtime.journal import Journal, dead_journals, open_journal
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.tables import ops
from clinical_lakehouse.tables.contract import Table

_TABLES = {table.name: table for table in (ops.JOB_RUN, ops.TASK_RUN)}
Row = dict[str, Any]


@dataclass(frozen=True)
class Ledger:
    """Where one top-level run and everything below it is recorded."""

    lake: Lakehouse
    settings_hash: str
    journal: Journal | None = None
    rows: list[tuple[str, Row]] = field(default_factory=list, repr=False)

    def record(self, table: Table, row: Mapping[str, Any]) -> None:
        """Note a state change; safe on disk when this returns (on a local lake)."""
        stamped = {**row, "settings_hash": self.settings_hash, "code_version": code_version()}
        self.rows.append((table.name, stamped))
        if self.journal:
            self.journal.write(table.name, stamped)

    def close(self) -> None:
        """Append everything noted to the tables, then forget the journal.

        What has begun and not ended is killed: this is called when nothing runs any more.
        """
        _append(self.lake, [*self.rows, *_deaths(self.rows, "given up before its end")])
        if self.journal:
            self.journal.close(remove=True)


def open_ledger(lake: Lakehouse, settings_hash: str, run_id: str) -> Ledger:
    """A ledger for a run; a local lake keeps its journal below `<root>/ops`."""
    journal = None if lake.catalog else open_journal(journal_folder(lake.root), run_id)
    return Ledger(lake, settings_hash, journal)


def recover(lake: Lakehouse) -> list[str]:
    """Bring journals of dead processes into the tables; ids of the runs found to be killed.

    Repeatable: rows already appended before the process died are not appended again.
    """
    journals = [] if lake.catalog else list(dead_journals(journal_folder(lake.root)))
    entries: list[tuple[str, Row]] = []
    killed: list[str] = []
    for journal in journals:
        noted = journal.entries()
        deaths = _deaths(noted, "its process died; found at the next start")
        entries += [*noted, *deaths]
        killed += [row["run_id"] for table, row in deaths if table == ops.JOB_RUN.name]
    _append(lake, _unknown(lake, entries))
    for journal in journals:
        journal.close(remove=True)
    return killed


def is_known(lake: Lakehouse, run_id: str) -> bool:
    """Has a run of this id begun, as far as the tables know?"""
    return not lake.read(ops.JOB_RUN).filter(F.col("run_id") == run_id).limit(1).isEmpty()


def task_rows(identity: Mapping[str, Any], started: datetime, end: Mapping[str, Any]) -> list[Row]:
    """The two rows of a task attempt: that it began, and how it ended."""
    duration = round((wall_clock() - started).total_seconds(), 3)
    return [
        {**identity, "state": "running", "recorded_at": started},
        {**identity, "recorded_at": wall_clock(), "duration_seconds": duration, **end},
    ]


def code_version() -> str:
    """The version of this package."""
    try:
        return version("clinical-lakehouse")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "source"


def journal_folder(root: Path) -> Path:
    """Where the journals of a local lake's runs lie."""
    return root / ops.JOB_RUN.schema_name / "_journal"


def _append(lake: Lakehouse, entries: Sequence[tuple[str, Row]]) -> None:
    for name, table in _TABLES.items():
        lake.append_rows(table, [typed_row(table, row) for of, row in entries if of == name])


def typed_row(table: Table, row: Row) -> Row:
    """A journal's line has times as text; the table has them as times."""
    times = {c.name for c in table.columns if c.type == "TIMESTAMP"}
    return {
        name: datetime.fromisoformat(value) if name in times and isinstance(value, str) else value
        for name, value in row.items()
    }


def _deaths(entries: Sequence[tuple[str, Row]], message: str) -> list[tuple[str, Row]]:
    """A `killed` row for every job and attempt that began and never ended."""
    latest: dict[tuple[Any, ...], tuple[str, Row]] = {}
    for name, row in entries:
        identity = [c for c in _TABLES[name].key if c != "state"]
        latest[(name, *(row[c] for c in identity))] = (name, row)
    end = {"state": "killed", "recorded_at": wall_clock(), "message": message}
    return [(name, {**row, **end}) for name, row in latest.values() if row["state"] == "running"]


def _unknown(lake: Lakehouse, entries: Sequence[tuple[str, Row]]) -> list[tuple[str, Row]]:
    """The entries whose key is not in its table yet."""
    found: list[tuple[str, Row]] = []
    for name, table in _TABLES.items():
        mine = [row for of, row in entries if of == name]
        runs = sorted({row["run_id"] for row in mine})
        stored = lake.read(table).filter(F.col("run_id").isin(runs)).select(*table.key)
        known = {tuple(row) for row in stored.collect()} if mine else set()
        found += [(name, row) for row in mine if tuple(row[c] for c in table.key) not in known]
    return found
