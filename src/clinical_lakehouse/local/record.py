"""What the runner writes to the ledger: rows of ops.job_run and ops.task_run."""

from collections.abc import Mapping
from typing import Any, Protocol

from clinical_lakehouse.local.execution import Attempt, Call, JobRun, Outcome
from clinical_lakehouse.local.graph import State
from clinical_lakehouse.runtime.clock import wall_clock
from clinical_lakehouse.runtime.journal import as_json, versions_json
from clinical_lakehouse.tables.contract import Table


class Recorder(Protocol):
    """Whoever keeps the rows: the run ledger, or a list in a test."""

    def record(self, table: Table, row: Mapping[str, Any]) -> None:
        """Keep one row of a table."""


def job_row(run: JobRun, state: State, message: str = "") -> dict[str, Any]:
    """The state change of a job run."""
    began = state is State.RUNNING
    return {
        "run_id": run.run_id,
        "parent_run_id": run.parent.caller.run_id if run.parent else None,
        "job": run.job.key,
        "state": state.recorded,
        "cause": run.moment.cause.kind,
        "parameters": as_json(run.moment.parameters),
        "as_of": run.as_of,
        "recorded_at": run.moment.started if began else wall_clock(),
        "duration_seconds": None if began else round(run.seconds, 3),
        "message": message or None,
    }


def task_row(run: JobRun, item: Attempt | Call, outcome: Outcome) -> dict[str, Any]:
    """The state change of a task's attempt."""
    began = outcome.state is State.RUNNING
    return {
        "run_id": run.run_id,
        "job": run.job.key,
        "task": item.spec.key,
        "entry_point": item.spec.entry_point or None,
        "attempt": item.number,
        "state": outcome.state.recorded,
        "as_of": run.as_of,
        "recorded_at": item.began_at if began else wall_clock(),
        "duration_seconds": None if began else round(item.seconds, 3),
        "metrics": as_json(outcome.metrics),
        "versions": versions_json(outcome.written, outcome.read),
        "message": outcome.message or None,
    }
