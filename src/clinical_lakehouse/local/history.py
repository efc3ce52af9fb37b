"""What ran before: the run ledger read back, and what a repair keeps of it."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.local.bundle import Bundle
from clinical_lakehouse.local.graph import in_order
from clinical_lakehouse.local.job import Job
from clinical_lakehouse.local.references import Cause
from clinical_lakehouse.local.request import Kept, Request
from clinical_lakehouse.runtime.journal import living_entries
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.ledger import journal_folder
from clinical_lakehouse.tables import ops

Row = Mapping[str, Any]
_REPAIR = re.compile(r"(?P<first>.+)\.r(?P<number>\d+)")


@dataclass(frozen=True)
class PastRun:
    """A job run as the ledger has it."""

    run_id: str
    parent_run_id: str | None
    job: str
    state: str
    cause: str
    parameters: Mapping[str, str]
    as_of: datetime
    started_at: datetime
    seconds: float | None
    message: str


def past_runs(lake: Lakehouse, count: int, job: str = "") -> list[PastRun]:
    """The latest runs that no other run started, newest first; those under way come from their
    journals, for the ledger's tables hear of a run at its end."""
    rows = lake.read(ops.JOB_RUN).filter("parent_run_id IS NULL")
    if job:
        rows = rows.filter(F.col("job") == job)
    newest = rows.filter("state = 'running'").orderBy(F.desc("recorded_at")).limit(count)
    ids = [row.run_id for row in newest.select("run_id").collect()]
    ended = _runs(_rows(rows.filter(F.col("run_id").isin(ids))))
    both = [*_runs(_under_way(lake, job)), *ended]
    return sorted(both, key=lambda run: run.started_at, reverse=True)[:count]


def past_run(lake: Lakehouse, run_id: str) -> PastRun:
    """The run of that id, or a UsageError."""
    rows = _rows(lake.read(ops.JOB_RUN).filter(F.col("run_id") == run_id))
    if not rows:
        raise UsageError(f"no run {run_id!r} in the ledger; see: clinical-lakehouse runs list")
    return _runs(rows)[0]


def called_runs(lake: Lakehouse, run_id: str) -> list[PastRun]:
    """The runs that tasks of a run started, oldest first."""
    rows = _rows(lake.read(ops.JOB_RUN).filter(F.col("parent_run_id") == run_id))
    return sorted(_runs(rows), key=lambda run: run.started_at)


def backfilled(lake: Lakehouse, job: str) -> frozenset[datetime]:
    """The moments (UTC) that backfills of a job have done."""
    rows = lake.read(ops.JOB_RUN).filter("cause = 'backfill' AND state = 'success'")
    found = rows.filter(F.col("job") == job).select("as_of").distinct().collect()
    return frozenset(row.as_of.replace(tzinfo=UTC) for row in found)


def attempts(lake: Lakehouse, run_id: str) -> list[Row]:
    """The latest state of every attempt of a run's tasks, in the order in which they began."""
    rows = _rows(lake.read(ops.TASK_RUN).filter(F.col("run_id") == run_id))
    # A later row takes the place that the attempt's first one has.
    latest = {(row["task"], row["attempt"]): row for row in sorted(rows, key=_by_time)}
    return list(latest.values())


def repair_request(lake: Lakehouse, bundle: Bundle, run_id: str) -> Request:
    """What to run so that a failed run is made whole: the same job, parameters and clock, without
    the tasks that succeeded and do not come after one that did not.

    Raises UsageError for a run that is unknown, succeeded, or is part of another one.
    """
    first, number = _latest_repair(lake, run_id)
    last = past_run(lake, f"{first}.r{number}" if number else first)
    if last.parent_run_id:
        raise UsageError(f"run {run_id} is part of run {last.parent_run_id}; repair that one")
    kept = _kept(lake, bundle, last)
    whole = kept.tasks >= set(bundle.job(last.job).tasks)
    if last.state == "success" and whole:
        raise UsageError(f"run {last.run_id} succeeded; there is nothing to repair")
    cause = Cause("repair", repair_count=number + 1)
    name = f"{first}.r{number + 1}"
    return Request(last.job, last.parameters, run_id=name, cause=cause, kept=kept)


def _latest_repair(lake: Lakehouse, run_id: str) -> tuple[str, int]:
    """The run as first started, and how often it has been repaired since."""
    found = _REPAIR.fullmatch(run_id)
    first = found["first"] if found else run_id
    rows = lake.read(ops.JOB_RUN).filter(F.col("run_id").startswith(f"{first}.r"))
    numbers = [_REPAIR.fullmatch(row.run_id) for row in rows.select("run_id").distinct().collect()]
    return first, max((int(number["number"]) for number in numbers if number), default=0)


def _kept(lake: Lakehouse, bundle: Bundle, run: PastRun) -> Kept:
    """What succeeded in a run, and in the runs that its failed tasks started."""
    job = bundle.job(run.job)
    ended = {row["task"]: row["state"] for row in attempts(lake, run.run_id)}
    called = {one.job: one for one in called_runs(lake, run.run_id)}
    tasks = _untouched(job, ended)
    rounds = {key for key, state in ended.items() if key not in job.tasks and state == "success"}
    below = {
        key: _kept(lake, bundle, called[spec.job])
        for key, spec in job.tasks.items()
        if key not in tasks and spec.job in called
    }
    return Kept(run.run_id, frozenset(tasks | rounds), below)


def _untouched(job: Job, ended: Mapping[str, str]) -> set[str]:
    """Tasks that succeeded, as did all before them; a condition is decided anew."""
    found: set[str] = set()
    for key in in_order(job.edges):
        spec = job.tasks[key]
        before = [d for d in spec.depends_on if not job.tasks[d].condition]
        if not spec.condition and ended.get(key) == "success" and found.issuperset(before):
            found.add(key)
    return found


def _runs(rows: Sequence[Row]) -> list[PastRun]:
    """Rows of ops.job_run as runs: the latest row says how each stands."""
    by_run: dict[str, list[Row]] = {}
    for row in sorted(rows, key=_by_time):
        by_run.setdefault(row["run_id"], []).append(row)
    return [
        PastRun(
            run_id=last["run_id"],
            parent_run_id=last["parent_run_id"],
            job=last["job"],
            state=last["state"],
            cause=last["cause"],
            parameters=json.loads(last["parameters"] or "{}"),
            as_of=last["as_of"],
            started_at=states[0]["recorded_at"],
            seconds=last["duration_seconds"],
            message=last["message"] or "",
        )
        for states in by_run.values()
        for last in [states[-1]]
    ]


def _under_way(lake: Lakehouse, job: str) -> list[Row]:
    """Rows of ops.job_run from the journals of living processes."""
    entries = [] if lake.catalog else living_entries(journal_folder(lake.root))
    rows = [_timed(row) for table, row in entries if table == ops.JOB_RUN.name]
    return [row for row in rows if not row["parent_run_id"] and row["job"] == (job or row["job"])]


def _timed(row: Row) -> Row:
    """A journal's line, its times as the tables have them."""
    times = {name: datetime.fromisoformat(row[name]) for name in ("recorded_at", "as_of")}
    return {**row, **{name: time.replace(tzinfo=None) for name, time in times.items()}}


def _rows(found: DataFrame) -> list[Row]:
    return [row.asDict() for row in found.collect()]


def _by_time(row: Row) -> tuple[datetime, bool]:
    return row["recorded_at"], row["state"] != "running"
