"""The command line: every command has an example in its --help; a refusal is one line."""

import errno
import logging
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, time
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from clinical_lakehouse.cli.alerts import alerts
from clinical_lakehouse.cli.audit import audit
from clinical_lakehouse.cli.backfill import backfill
from clinical_lakehouse.cli.bundle import bundle
from clinical_lakehouse.cli.coding import coding
from clinical_lakehouse.cli.correct import correct
from clinical_lakehouse.cli.export_fhir import export_fhir
from clinical_lakehouse.cli.features import features
from clinical_lakehouse.cli.lineage import lineage
from clinical_lakehouse.cli.meds import meds
from clinical_lakehouse.cli.models import models
from clinical_lakehouse.cli.place import Place, perform, placed
from clinical_lakehouse.cli.quality import quality
from clinical_lakehouse.cli.quarantine import quarantine
from clinical_lakehouse.cli.raw_files import deidentify, simulate, view
from clinical_lakehouse.cli.retrain import retrain
from clinical_lakehouse.cli.runs import repair, runs
from clinical_lakehouse.cli.scheduler import scheduler
from clinical_lakehouse.errors import LakehouseError, SourceError, UsageError
from clinical_lakehouse.local.bundle import load_bundle
from clinical_lakehouse.local.events import Preparing
from clinical_lakehouse.local.execution import exit_code
from clinical_lakehouse.local.output import grid, show_rows
from clinical_lakehouse.local.progress import watch
from clinical_lakehouse.local.references import Cause
from clinical_lakehouse.local.request import Request
from clinical_lakehouse.local.way import MODES, Way
from clinical_lakehouse.simulation import TrialPlan
from clinical_lakehouse.simulation import simulate as write_trial
from clinical_lakehouse.simulation.plan import keep_to_one_trial, months_after
from clinical_lakehouse.tables.catalog import all_tables, table_named

_STATE_STYLES = {"ok": "green", "missing": "bold red", "absent": "dim"}


class _Refusing(click.Group):
    """Turns every refusal into one line and an exit code other than 0."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run; LakehouseError, a full disk and anything unexpected become one line each."""
        debug = "--debug" in sys.argv
        try:
            return super().main(*args, **kwargs)
        except LakehouseError as error:
            return _refuse(str(error), 2, debug)
        except OSError as error:
            return _refuse(_plain(error), 2, debug)
        except Exception as error:
            name = type(error).__name__
            return _refuse(f"unexpected {name}; --debug shows where", 1, debug)


def _plain(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "the disk is full; free space, then run the same command again"
    return f"{error.strerror or type(error).__name__}: {error.filename or 'a file'}"


def _refuse(line: str, code: int, debug: bool) -> None:
    if debug:
        raise  # called while the error is being handled
    click.echo(f"error: {line}", err=True)
    sys.exit(code)


@click.group(cls=_Refusing, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="clinical-lakehouse")
@placed
def main(place: Place) -> None:
    """A lakehouse job suite for machine learning on clinical-trial data.

    \b
    Start with:  clinical-lakehouse demo
    """
    logging.getLogger("py4j").setLevel(logging.ERROR)
    click.get_current_context().obj = place


@main.command()
@click.option("--patients", default=300, show_default=True)
@click.option("--sites", default=6, show_default=True)
@click.option("--months", default=12, show_default=True)
@click.option("--seed", default=7, show_default=True)
@placed
def demo(place: Place, patients: int, sites: int, months: int, seed: int) -> None:
    """Simulate a trial, run the whole chain on it and write the report.

    \b
    Example:  clinical-lakehouse demo --patients 100 --root lake/demo
    """
    from clinical_lakehouse.local.workspace import open_workspace
    from clinical_lakehouse.pages.trial_report import write_report

    plan = TrialPlan(patients=patients, sites=sites, months=months, seed=seed)
    keep_to_one_trial(place.root, plan)
    as_of = datetime.combine(plan.end, time(tzinfo=UTC))
    trained = months_after(plan.start, plan.drift_month + 1)
    parameters = {"as_of": as_of.isoformat(), "training_until": trained.isoformat()}
    landing = place.root / "landing"
    given = {**parameters, "landing": str(landing)}
    request = Request("trial_to_model", given, cause=Cause("demo"))
    with watch() as listen:
        listen(Preparing(f"simulating {patients} patients at {sites} sites"))
        write_trial(landing, plan)
        workspace = open_workspace(load_bundle(place.env), place.root, listen)
        result = workspace.run(request)
        listen(Preparing("writing the report"))
        out = place.root / "reports" / "trial.html"
        report = write_report(workspace.lake, workspace.settings, as_of, result.run_id, out)
    click.echo(f"report: {report}\nlake:   {place.root}")
    sys.exit(exit_code(result))


@main.command()
@click.argument("job")
@click.option("--task", default="", help="Only this task of the job.")
@click.option("--as-of", help="The run's clock, e.g. 2024-06-30T06:00:00Z (default now).")
@click.option("--landing", type=click.Path(path_type=Path), help="Folder of what sites sent.")
@click.option("--param", "given", multiple=True, help="A job parameter, NAME=VALUE; repeatable.")
@click.option(
    "--mode",
    type=click.Choice(MODES),
    default="session",
    show_default=True,
    help="Tasks as threads of one session, as processes, or by spark-submit.",
)
@click.option("--master", default="", help="A Spark master, e.g. spark://HOST:7077.")
@click.option("--remote", default="", help="A Spark Connect server, e.g. sc://HOST:15002.")
@click.option("--json", "as_json", is_flag=True, help="Progress as JSON lines on stdout.")
@placed
def run(place: Place, job: str, task: str, **options: Any) -> None:
    """Run a job of the bundle here, or one task of it.

    \b
    Examples:  clinical-lakehouse run clinical_data_pipeline --landing exports/2024-06
               clinical-lakehouse run patient_ingestion --task land --as-of 2024-06-30
               clinical-lakehouse run model_training --mode submit --master spark://HOST:7077
    """
    from clinical_lakehouse.runtime.settings import load_settings

    way = Way(options["mode"], options["master"], options["remote"])
    parameters = _parameters(options["given"])
    if options["as_of"]:
        parameters["as_of"] = options["as_of"]
    if options["landing"]:
        parameters["landing"] = str(_readable(options["landing"]))
    load_settings(place.env)
    request = Request(job, parameters, task)
    sys.exit(exit_code(perform(place, request, way, as_json=options["as_json"])))


@main.command()
@placed
def jobs(place: Place) -> None:
    """List the jobs: what each does, what starts it, its tasks.

    \b
    Example:  clinical-lakehouse jobs
    """
    found = load_bundle(place.env).jobs.values()
    rows = [(j.key, j.trigger or "by hand", " ".join(j.tasks), j.description) for j in found]
    grid(("job", "starts", "tasks", "what it does"), sorted(rows, key=lambda row: row[0]))


@main.group()
def vocabulary() -> None:
    """Standard concepts (OMOP vocabularies)."""


@vocabulary.command()
@click.argument("folder", type=click.Path(path_type=Path))
@placed
def load(place: Place, folder: Path) -> None:
    """Load an Athena download; only files that changed are read.

    \b
    Example:  clinical-lakehouse vocabulary load athena/
    """
    parameters = {"vocabulary": str(_readable(folder))}
    result = perform(place, Request("vocabulary_load", parameters))
    if result.ok:
        click.echo("now run data_standardization: it looks every code up again")
    sys.exit(exit_code(result))


def _parameters(given: Sequence[str]) -> dict[str, str]:
    wrong = [item for item in given if "=" not in item]
    if wrong:
        raise UsageError(f"--param {wrong[0]!r} must be NAME=VALUE")
    return dict(item.split("=", 1) for item in given)


def _readable(folder: Path) -> Path:
    """The folder, absolute; one that cannot be read is refused before anything starts."""
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.X_OK):
        raise SourceError(f"cannot read folder {folder}; check that it exists and may be read")
    return folder.resolve()


@main.command()
@placed
def doctor(place: Place) -> None:
    """Look at Java, Python, packages, settings, lake and services.

    \b
    Example:  clinical-lakehouse doctor
    """
    from clinical_lakehouse.local.doctor import examine

    findings = examine(place.root, place.env)
    rows = [(f.what, Text(f.state, _STATE_STYLES[f.state]), f.detail) for f in findings]
    grid(("what", "state", "detail"), rows)
    if any(finding.state == "missing" for finding in findings):
        raise UsageError("something is missing; mend the lines marked missing")


@main.command()
@click.argument("name", required=False)
def tables(name: str | None) -> None:
    """List the tables, or one table's contract.

    \b
    Examples:  clinical-lakehouse tables
               clinical-lakehouse tables silver.patient
    """
    if name is None:
        rows = [(t.name, t.owner, len(t.columns), t.comment) for t in all_tables().values()]
        grid(("table", "owner", "columns", "grain"), rows)
        return
    table = table_named(name)
    click.echo(f"{table.name}: {table.comment}\nowner {table.owner}; key {', '.join(table.key)}")
    columns = [(c.name, c.type, "" if c.nullable else "required", c.phi.value, c.unit or "",
                c.comment) for c in table.columns]  # fmt: skip
    grid(("column", "type", "", "PHI", "unit", "meaning"), columns)
    checks = [(c.name, c.severity.value, c.predicate) for c in table.all_checks()]
    grid(("check", "severity", "predicate"), checks)


@main.command()
@click.argument("table", required=False)
@click.argument("key", type=int, required=False)
@click.option("--resource", help="Start from a resource, Type/id, instead of an OMOP row.")
@click.option("--identified", is_flag=True, help="Show resource ids and versions: they identify.")
@placed
def trace(place: Place, table: str | None, key: int | None, **options: Any) -> None:
    """From an OMOP row to the file and line it came from, or back from a resource.

    \b
    Examples:  clinical-lakehouse trace omop.measurement 4711
               clinical-lakehouse trace --resource Observation/obs-1
    """
    from clinical_lakehouse.local.trace import told
    from clinical_lakehouse.runtime.entry import open_lake
    from clinical_lakehouse.runtime.run import Run
    from clinical_lakehouse.runtime.settings import load_settings

    if (options["resource"] is None) == (table is None or key is None):
        raise UsageError("give TABLE and KEY, or --resource Type/id")
    settings, now = load_settings(place.env), datetime.fromtimestamp(0, UTC)
    work = Run(open_lake({"root": str(place.root)}), settings, now, "trace")
    start = options["resource"] or (table_named(table or ""), key or 0)
    grid(("step", "where", "what"), told(work, start, options["identified"]))


@main.command()
@click.argument("statement")
@click.option("--format", "style", type=click.Choice(["table", "csv", "json"]), default="table")
@click.option("--as-known", help="Every table as the lake knew it at this date or time.")
@placed
def sql(place: Place, statement: str, style: str, as_known: str | None) -> None:
    """Run one SELECT on the lake; it cannot change anything.

    \b
    Examples:  clinical-lakehouse sql "SELECT sex, count(*) FROM silver.patient GROUP BY sex"
               clinical-lakehouse sql --as-known 2024-03-31 "SELECT count(*) FROM silver.patient"
    """
    from clinical_lakehouse.runtime.clock import parse_as_of
    from clinical_lakehouse.runtime.entry import open_lake
    from clinical_lakehouse.runtime.knowledge import version_known

    at = parse_as_of(as_known) if as_known else None
    lake = open_lake({"root": str(place.root)})
    found = lake.query(statement, version_of=partial(version_known, lake, at=at) if at else None)
    rows = [[row[name] for name in found.columns] for row in found.limit(10_000).collect()]
    show_rows(style, found.columns, rows)


_JOBS = (bundle, runs, repair, backfill, retrain, scheduler)
_REVIEWS = (quarantine, correct, coding, quality, lineage, alerts, audit, models, features)
_FILES = (simulate, view, deidentify, export_fhir, meds)
for command in (*_JOBS, *_REVIEWS, *_FILES):
    main.add_command(command)
