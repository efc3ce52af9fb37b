"""The page of one run: how it ended, when each task ran, what was written, what to do next."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from clinical_lakehouse.pages.asking import Answer, Question, Row, ask
from clinical_lakehouse.pages.operation_sections import run_times
from clinical_lakehouse.rendering import figures
from clinical_lakehouse.rendering.html import render
from clinical_lakehouse.rendering.page import (
    Block,
    Column,
    Empty,
    Grid,
    Notice,
    Notices,
    Page,
    Section,
    Tile,
    Tiles,
)
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.order import log_folder
from clinical_lakehouse.tables import ops

_BAD = ("failed", "timed_out", "killed", "cancelled")
_MOST_RUNS = 200  # a run with more below it is shown without the rest
_LAST_LINES = 12

_RUNS = Question(
    "clinical_data_pipeline",
    """SELECT run_id, max(parent_run_id) AS parent_run_id, max(job) AS job,
       max(cause) AS cause, max(parameters) AS parameters, max(as_of) AS as_of,
       min(recorded_at) AS began_at, max(recorded_at) AS recorded_at,
       max_by(state, struct(recorded_at, state <> 'running')) AS state,
       max_by(message, struct(recorded_at, state <> 'running')) AS message,
       max(duration_seconds) AS duration_seconds
FROM ops.job_run WHERE array_contains(split(:runs, ','), run_id)
GROUP BY run_id ORDER BY began_at""",
)
_TASKS = Question(
    "clinical_data_pipeline",
    """SELECT run_id, max(job) AS job, task, attempt,
       max_by(state, struct(recorded_at, state <> 'running')) AS state,
       max(recorded_at) AS recorded_at, max(duration_seconds) AS duration_seconds,
       max(metrics) AS metrics, max(versions) AS versions, max(message) AS message
FROM ops.task_run
WHERE array_contains(split(:runs, ','), run_id) AND (entry_point IS NOT NULL OR attempt = 0)
GROUP BY run_id, task, attempt ORDER BY recorded_at""",
)


def write_run_page(lake: Lakehouse, run_id: str, out: Path) -> Path:
    """Write a run's page to the file `out` and return its path.

    A run that the ledger does not know gets a page that says so.
    """
    values = {"runs": ",".join(_with_called(lake, run_id))}
    answers = ask(lake, {"runs": _RUNS, "tasks": _TASKS}, values)
    page = run_page(run_id, answers["runs"], answers["tasks"], _log_tail(lake, run_id))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(render(page))
    return out


def run_page(run_id: str, runs: Answer, tasks: Answer, log: Sequence[str] = ()) -> Page:
    """The page from its answers: how it ended and what to do first."""
    top = next((row for row in runs.rows if row["run_id"] == run_id), None)
    if top is None:
        gone = Empty("Unknown run", f"The ledger knows no run {run_id}.")
        section = Section("How it ended", "Nothing is known of it.", (gone,))
        return Page("Run", run_id, _epoch(), run_id, (section,))
    lead = "Every attempt of every task of the run and of the runs it started."
    sections = (
        Section("How it ended", "The run as a whole.", tuple(_ending(top, runs, tasks, log))),
        run_times(tasks, lead),
        _versions(tasks),
        _parameters(top, runs),
    )
    return Page(f"Run of {top['job']}", run_id, top["as_of"], run_id, sections)


def _ending(top: Row, runs: Answer, tasks: Answer, log: Sequence[str]) -> Iterator[Block]:
    tone = "good" if top["state"] == "success" else "bad" if top["state"] in _BAD else "watch"
    well = sum(row["state"] == "success" for row in tasks.rows)
    tiles = (
        Tile("State", top["state"].replace("_", " "), top["message"] or "", tone),
        Tile("Took", figures.duration(top["duration_seconds"]), f"began {_moment(top)}"),
        Tile("Tasks", f"{well} of {len(tasks.rows)} well", f"{len(runs.rows)} job runs in all"),
        Tile("Started by", (top["cause"] or "").replace("_", " ")),
    )
    yield Tiles(tiles, runs.source)
    failed = [row for row in tasks.rows if row["state"] in _BAD]
    notices = [
        Notice("bad", f"{row['job']}.{row['task']} {row['state'].replace('_', ' ')}",
               row["message"] or "no reason is known", f"try {row['attempt']}")
        for row in failed
    ]  # fmt: skip
    if top["state"] in _BAD or failed:
        advice = f"clinical-lakehouse repair {top['run_id']}"
        notices.append(Notice("plain", "Mend the cause, then run only what failed:", advice))
    if log:
        notices.append(Notice("plain", "End of the last log:", " / ".join(log)))
    if notices:
        yield Notices(tuple(notices), tasks.source)


def _versions(tasks: Answer) -> Section:
    """Which version of which table each task left."""
    title, lead = "What was written", "Delta versions, table by table, in the order of writing."
    rows = tuple(
        (table, str(version), f"{row['job']}.{row['task']}")
        for row in tasks.rows
        for table, version in sorted(json.loads(row["versions"] or "{}").items())
        if table != "read"
    )
    if not rows:
        return Section(title, lead, (Empty("Nothing was written", "No task wrote a table."),))
    columns = (Column("Table", "code"), Column("Version", "number"), Column("By", "code"))
    return Section(title, lead, (Grid("", columns, rows, "", tasks.source),))


def _parameters(top: Row, runs: Answer) -> Section:
    """What the run was asked for; the same again gives the same tables."""
    given = json.loads(top["parameters"] or "{}")
    rows = tuple((name, str(value)) for name, value in sorted(given.items()))
    lead = "The same parameters on the same data give the same tables."
    grid = Grid("", (Column("Parameter", "code"), Column("Value")), rows, "", runs.source)
    none = Empty("No parameters", "The job has none.")
    return Section("What was asked for", lead, (grid if rows else none,))


def _with_called(lake: Lakehouse, run_id: str) -> list[str]:
    """The run and every run below it."""
    found, level = [run_id], [run_id]
    rows = lake.read(ops.JOB_RUN).select("run_id", "parent_run_id").distinct()
    while level and len(found) < _MOST_RUNS:
        below = rows.filter(rows.parent_run_id.isin(level)).limit(_MOST_RUNS).collect()
        level = [row.run_id for row in below]
        found += level
    return found[:_MOST_RUNS]


def _log_tail(lake: Lakehouse, run_id: str) -> list[str]:
    logs = sorted(
        log_folder(lake.root, run_id).glob("*.log"), key=lambda path: path.stat().st_mtime
    )
    if lake.catalog or not logs:
        return []
    return logs[-1].read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]


def _moment(top: Row) -> str:
    return figures.moment(top["began_at"])


def _epoch() -> datetime:
    return datetime.fromtimestamp(0, UTC)
