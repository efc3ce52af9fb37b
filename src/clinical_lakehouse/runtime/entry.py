"""Starting one task from a command line: what Databricks' wheel task and spark-submit do."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from clinical_lakehouse.runtime.arguments import default_root, own_parameters, parse_arguments
from clinical_lakehouse.runtime.clock import new_run_id, parse_as_of, wall_clock
from clinical_lakehouse.runtime.failures import one_line
from clinical_lakehouse.runtime.format import check_format
from clinical_lakehouse.runtime.journal import as_json, versions_json
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.ledger import code_version, task_rows
from clinical_lakehouse.runtime.processes import end_with_runner, write_result
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.session import open_session
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.runtime.task import Done
from clinical_lakehouse.tables import ops


class Executable(Protocol):
    """A task, as far as starting it goes."""

    @property
    def name(self) -> str:
        """Its entry-point name."""

    @property
    def job(self) -> str:
        """The job it is written for."""

    @property
    def key(self) -> str:
        """Its task_key there."""

    @property
    def params(self) -> Mapping[str, str]:
        """Its own parameters and their defaults."""

    def perform(self, run: Run) -> Done:
        """Run it."""


def run_from_arguments(task: Executable, arguments: Sequence[str]) -> Metrics:
    """Build a Run from `--name=value` (or `--name value`) arguments, execute the task in it and
    record the attempt in ops.task_run, whether it succeeds or fails.

    With `--result=FILE` a runner has started this process and records the attempt: it finds in the
    file what the task did, or why it failed.
    """
    given = parse_arguments(arguments)
    if given.get("result"):
        return _reported(task, given, Path(given["result"]))
    return _recorded(task, _prepared(task, given), int(given.get("attempt") or 1))


def _prepared(task: Executable, given: Mapping[str, str]) -> Run:
    params = own_parameters(task.name, task.params, given)
    settings = load_settings(given.get("env") or "dev")
    return Run(
        lake=open_lake(given),
        settings=settings,
        as_of=parse_as_of(given.get("as-of") or wall_clock().isoformat()),
        run_id=given.get("run-id") or new_run_id(),
        params=params,
    )


def open_lake(given: Mapping[str, str]) -> Lakehouse:
    """The lake that `root` (local), or `catalog` (Unity Catalog), names; a folder that cannot be
    one is refused before Spark is started."""
    root, catalog = Path(given.get("root") or default_root()).resolve(), given.get("catalog")
    if not catalog:
        check_format(root)
    spark = open_session(given.get("master"), given.get("remote"))
    return Lakehouse(spark, root, catalog or None)


def _reported(task: Executable, given: Mapping[str, str], result: Path) -> Metrics:
    """Perform the task for the runner that started this process and waits for the file `result`."""
    end_with_runner(result)
    try:
        done = task.perform(_prepared(task, given))
    except BaseException as error:
        write_result(result, error)
        sys.exit(1)  # the runner says it; a trace might hold data
    write_result(result, done)
    return done.metrics


def _recorded(task: Executable, run: Run, attempt: int) -> Metrics:
    """Perform the task; its two ledger rows are written in one commit, at its end."""
    identity: dict[str, Any] = {
        "run_id": run.run_id,
        "job": task.job,
        "task": task.key,
        "entry_point": task.name,
        "attempt": attempt,
        "as_of": run.as_of,
        "settings_hash": run.settings.digest(),
        "code_version": code_version(),
    }
    started = wall_clock()
    try:
        done = task.perform(run)
    except BaseException as error:
        failed = {"state": "failed", "message": one_line(error)}
        with suppress(Exception):  # the task's own failure is the one to report
            run.lake.append(ops.TASK_RUN, task_rows(identity, started, failed))
        raise
    end = {
        "state": "success",
        "metrics": as_json(done.metrics),
        "versions": versions_json(done.written, done.read),
    }
    run.lake.append(ops.TASK_RUN, task_rows(identity, started, end))
    return done.metrics
