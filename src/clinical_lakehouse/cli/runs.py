"""`runs` and `repair`: what ran, what it printed, stopping it, and making it whole."""

import os
import signal
import sys
import time
from typing import Any

import click

from clinical_lakehouse.cli.place import Place, placed
from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.local.output import grid

_STOP_SECONDS = 60


@click.group()
def runs() -> None:
    """Runs of jobs: what there was, how it went, what it printed."""


@runs.command("list")
@click.option("--job", default="", help="Only runs of this job.")
@click.option("--count", default=20, show_default=True, help="How many, the latest first.")
@placed
def list_runs(place: Place, job: str, count: int) -> None:
    """The latest runs.

    \b
    Example:  clinical-lakehouse runs list --job patient_ingestion
    """
    from clinical_lakehouse.local.history import past_runs

    found = past_runs(_lake(place), count, job.replace("-", "_"))
    if not found:
        raise UsageError("nothing has run on this lake yet; start with: clinical-lakehouse run JOB")
    rows = [
        (run.run_id, run.job, run.state, f"{run.started_at:%Y-%m-%d %H:%M:%S}",
         _seconds(run.seconds), run.cause, run.message)
        for run in found
    ]  # fmt: skip
    grid(("run", "job", "state", "started (UTC)", "took", "cause", "why"), rows)


@runs.command()
@click.argument("run_id")
@placed
def show(place: Place, run_id: str) -> None:
    """One run: its tasks, and the runs they started.

    \b
    Example:  clinical-lakehouse runs show 20240630T060000-1a2b3c4d
    """
    from clinical_lakehouse.local.history import attempts, called_runs, past_run

    lake = _lake(place)
    run, tasks, called = past_run(lake, run_id), attempts(lake, run_id), called_runs(lake, run_id)
    click.echo(f"{run.run_id}: {run.job}, {run.state}{f': {run.message}' if run.message else ''}")
    click.echo(f"as of {run.as_of:%Y-%m-%dT%H:%M:%SZ}, started by {run.cause}")
    rows = [
        (row["task"], row["attempt"] or "", row["state"], _seconds(row["duration_seconds"]),
         row["message"] or row["metrics"] or "", row["versions"] or "")
        for row in tasks
    ]  # fmt: skip
    grid(("task", "try", "state", "took", "what", "versions written"), rows)
    for one in called:
        click.echo(f"it started {one.run_id}: {one.job}, {one.state}")


@runs.command()
@click.argument("run_id")
@placed
def page(place: Place, run_id: str) -> None:
    """Write a page of one run: a chart of its tasks, what was written, what to do next.

    \b
    Example:  clinical-lakehouse runs page 20240630T060000-1a2b3c4d
    """
    from clinical_lakehouse.local.history import past_run
    from clinical_lakehouse.pages.run_page import write_run_page

    lake = _lake(place)
    past_run(lake, run_id)
    out = place.root / "reports" / f"run-{run_id}.html"
    click.echo(f"page: {write_run_page(lake, run_id, out)}")


@runs.command()
@click.argument("run_id")
@click.argument("task", required=False)
@placed
def logs(place: Place, run_id: str, task: str | None) -> None:
    """What the tasks of a run printed (modes process and submit), and where one failed.

    \b
    Example:  clinical-lakehouse runs logs 20240630T060000-1a2b3c4d land
    """
    from clinical_lakehouse.runtime.order import log_folder

    folder = log_folder(place.root, run_id)
    found = [p for p in sorted(folder.glob("*.log")) if task is None or f".{task}." in p.name]
    if not found:
        raise UsageError(f"run {run_id} left no log; only failures and other processes leave one")
    for path in found:
        click.echo(f"== {path.name}")
        click.echo(path.read_text(encoding="utf-8", errors="replace"), nl=False)


@runs.command()
@click.argument("run_id")
@placed
def cancel(place: Place, run_id: str) -> None:
    """Stop a run that another process on this machine carries out.

    \b
    Example:  clinical-lakehouse runs cancel 20240630T060000-1a2b3c4d
    """
    from clinical_lakehouse.runtime.journal import living_writer
    from clinical_lakehouse.runtime.ledger import journal_folder

    folder = journal_folder(place.root)
    process = living_writer(folder, run_id)
    if process is None:
        raise UsageError(f"run {run_id} is not under way here; see: clinical-lakehouse runs list")
    os.kill(process, signal.SIGTERM)
    until = time.monotonic() + _STOP_SECONDS
    while living_writer(folder, run_id) is not None:
        if time.monotonic() > until:
            raise UsageError(f"run {run_id} did not stop in {_STOP_SECONDS} s; process {process}")
        time.sleep(0.2)
    click.echo(f"run {run_id} is cancelled")


@click.command()
@click.argument("run_id")
@placed
def repair(place: Place, run_id: str) -> None:
    """Run what failed in a run, and what comes after it, with the same parameters and clock.

    \b
    Example:  clinical-lakehouse repair 20240630T060000-1a2b3c4d
    """
    from clinical_lakehouse.local.bundle import load_bundle
    from clinical_lakehouse.local.execution import exit_code
    from clinical_lakehouse.local.history import repair_request
    from clinical_lakehouse.local.progress import watch
    from clinical_lakehouse.local.workspace import open_workspace

    bundle = load_bundle(place.env)
    with watch() as listen:
        workspace = open_workspace(bundle, place.root, listen)
        request = repair_request(workspace.lake, bundle, run_id)
        result = workspace.run(request)
    sys.exit(exit_code(result))


def _lake(place: Place) -> Any:
    from clinical_lakehouse.runtime.entry import open_lake

    return open_lake({"root": str(place.root)})


def _seconds(seconds: float | None) -> str:
    from clinical_lakehouse.local.board import clock_text

    return "" if seconds is None else clock_text(seconds)
