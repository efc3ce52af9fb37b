"""The command line: every command has an example in its --help; a refusal is one line."""

import errno
import getpass
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from functools import wraps
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from clinical_lakehouse.errors import LakehouseError, SourceError, UsageError
from clinical_lakehouse.local.bundle import load_bundle
from clinical_lakehouse.local.events import Preparing
from clinical_lakehouse.local.output import grid, show_rows
from clinical_lakehouse.local.progress import watch
from clinical_lakehouse.local.runner import Request
from clinical_lakehouse.local.workspace import exit_code, open_workspace, run_here
from clinical_lakehouse.registry import lineage_of
from clinical_lakehouse.runtime.entry import default_root
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.simulation import TrialPlan
from clinical_lakehouse.simulation import simulate as write_trial
from clinical_lakehouse.simulation.plan import keep_to_one_trial, months_after
from clinical_lakehouse.tables.catalog import all_tables, table_named

_STATE_STYLES = {"ok": "green", "missing": "bold red", "absent": "dim"}


@dataclass(frozen=True)
class Place:
    """Where a command works: the lake's folder, the environment, and whether to show traces."""

    root: Path
    env: str
    debug: bool


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


def _placed(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command that works on a lake its `place`, from --root, --env and --debug, which may
    stand before or after the command's name."""

    @click.option("--root", type=click.Path(path_type=Path), help="The lake's folder.")
    @click.option("--env", help="Settings conf/<env>.yml (default dev).")
    @click.option("--debug", is_flag=True, help="Show the stack trace of a failure.")
    @click.pass_context
    @wraps(command)
    def placed(context: click.Context, root: Path | None, env: str | None, debug: bool,
               **own: Any) -> None:  # fmt: skip
        command(place=_place(context, root, env, debug), **own)

    return placed


def _place(context: click.Context, root: Path | None, env: str | None, debug: bool) -> Place:
    outer = context.obj if isinstance(context.obj, Place) else None
    given_root = root or (outer.root if outer else Path(default_root()))
    given_env = env or (outer.env if outer else "dev")
    return Place(given_root.expanduser().resolve(), given_env, debug)


@click.group(cls=_Refusing, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="clinical-lakehouse")
@_placed
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
@_placed
def demo(place: Place, patients: int, sites: int, months: int, seed: int) -> None:
    """Simulate a trial, run the whole chain on it and write the report.

    \b
    Example:  clinical-lakehouse demo --patients 100 --root lake/demo
    """
    from clinical_lakehouse.pages.trial_report import write_report

    plan = TrialPlan(patients=patients, sites=sites, months=months, seed=seed)
    keep_to_one_trial(place.root, plan)
    as_of = datetime.combine(plan.end, time(tzinfo=UTC))
    trained = months_after(plan.start, plan.drift_month + 1)
    parameters = {"as_of": as_of.isoformat(), "training_until": trained.isoformat()}
    landing = place.root / "landing"
    request = Request("trial_to_model", {**parameters, "landing": str(landing)})
    with watch() as listen:
        listen(Preparing(f"simulating {patients} patients at {sites} sites"))
        write_trial(landing, plan)
        workspace = open_workspace(load_bundle(place.env), place.root, listen)
        result = workspace.run(request, cause="demo")
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
@_placed
def run(place: Place, job: str, task: str, **options: Any) -> None:
    """Run a job of the bundle here, or one task of it.

    \b
    Examples:  clinical-lakehouse run clinical_data_pipeline --landing exports/2024-06
               clinical-lakehouse run patient_ingestion --task land --as-of 2024-06-30
    """
    parameters = _parameters(options["given"])
    if options["as_of"]:
        parameters["as_of"] = options["as_of"]
    if options["landing"]:
        parameters["landing"] = str(_readable(options["landing"]))
    load_settings(place.env)
    bundle = load_bundle(place.env)
    with watch() as listen:
        result = run_here(bundle, Request(job, parameters, task), place.root, listen)
    sys.exit(exit_code(result))


@main.command()
@_placed
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
@_placed
def load(place: Place, folder: Path) -> None:
    """Load an Athena download; only files that changed are read.

    \b
    Example:  clinical-lakehouse vocabulary load athena/
    """
    parameters = {"vocabulary": str(_readable(folder))}
    request = Request("vocabulary_load", parameters)
    with watch() as listen:
        result = run_here(load_bundle(place.env), request, place.root, listen)
    if result.ok:
        click.echo("now run data_standardization: it looks every code up again")
    sys.exit(exit_code(result))


@main.group()
def quarantine() -> None:
    """Rows that were refused: what they are, and a person's decision on them."""


@quarantine.command("list")
@click.option("--reason", default="", help="Only this reason code.")
@click.option("--file", "name", default="", help="Only this file.")
@_placed
def list_(place: Place, reason: str, name: str) -> None:
    """List refused rows: place, reason and element path; never a value.

    \b
    Example:  clinical-lakehouse quarantine list --reason bad-code
    """
    _refused_rows(place, "(reason = :reason OR :reason = '') AND (file_name = :name OR :name = '')",
                  reason=reason, name=name)  # fmt: skip


@quarantine.command()
@click.argument("file_id")
@click.argument("line", type=int)
@_placed
def show(place: Place, file_id: str, line: int) -> None:
    """Show what is known of one refused line (file_id may be its first characters).

    \b
    Example:  clinical-lakehouse quarantine show 3f2a 17
    """
    _refused_rows(place, "startswith(file_id, :file_id) AND line = :line", file_id=file_id,
                  line=line)  # fmt: skip


def _refused_rows(place: Place, condition: str, **values: Any) -> None:
    from clinical_lakehouse.runtime.entry import open_lake

    columns = "file_id, file_name, line, entry, byte_offset, resource_type, reason, path, decision"
    statement = f"SELECT {columns} FROM bronze.quarantine WHERE {condition} ORDER BY 2, 3, 4"
    found = open_lake({"root": str(place.root)}).query(statement, values).limit(10_000).collect()
    if not found:
        raise UsageError("no row in quarantine fits; see clinical-lakehouse quarantine list")
    grid(columns.split(", "), found)


def _decision(action: str, effect: str) -> None:
    """Adds `quarantine release` or `quarantine discard`."""

    @click.option("--reason", default="", help="Rows of this reason code.")
    @click.option("--file", default="", help="Rows of this file.")
    @click.option("--why", required=True, help="Goes into ops.quarantine_decision.")
    @click.option("--by", default=getpass.getuser, help="Who decides (default: you).")
    @_placed
    def command(place: Place, **given: str) -> None:
        request = Request("quarantine_review", {"decision": action, **given})
        with watch() as listen:
            result = run_here(load_bundle(place.env), request, place.root, listen)
        sys.exit(exit_code(result))

    example = f"clinical-lakehouse quarantine {action} --reason bad-code --why 'ticket 7'"
    quarantine.command(action, help=f"{effect}\n\n\b\nExample:  {example}")(command)


_decision("release", "Let rows go that today's rules accept; then run patient_ingestion.")
_decision("discard", "Mark rows as decided; they are kept.")


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
@_placed
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
@click.argument("table")
def lineage(table: str) -> None:
    """What a table is made from, and what is made from it.

    \b
    Example:  clinical-lakehouse lineage gold.subject_feature
    """
    contract = table_named(table)
    for heading, steps in (
        ("made from", lineage_of(contract, upstream=True)),
        ("used for", lineage_of(contract, upstream=False)),
    ):
        click.echo(f"{table} is {heading}:")
        for depth, task, other in steps:
            click.echo(f"{'  ' * depth}{other}   by {task}")
        if not steps:
            click.echo("  nothing declared")


@main.command()
@click.argument("statement")
@click.option("--format", "style", type=click.Choice(["table", "csv", "json"]), default="table")
@_placed
def sql(place: Place, statement: str, style: str) -> None:
    """Run one SELECT on the lake; it cannot change anything.

    \b
    Example:  clinical-lakehouse sql "SELECT sex, count(*) FROM silver.patient GROUP BY sex"
    """
    from clinical_lakehouse.runtime.entry import open_lake

    found = open_lake({"root": str(place.root)}).query(statement)
    rows = [[row[name] for name in found.columns] for row in found.limit(10_000).collect()]
    show_rows(style, found.columns, rows)


@main.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write to.")
@click.option("--patients", default=300, show_default=True)
@click.option("--sites", default=6, show_default=True)
@click.option("--months", default=12, show_default=True)
@click.option("--seed", default=7, show_default=True)
@click.option("--from", "since", type=click.DateTime(["%Y-%m-%d"]), help="Only what came since.")
@click.option("--to", "until", type=click.DateTime(["%Y-%m-%d"]), help="Only what came before.")
def simulate(
    out: Path,
    patients: int,
    sites: int,
    months: int,
    *,
    seed: int,
    since: datetime | None,
    until: datetime | None,
) -> None:
    """Write a simulated trial as FHIR NDJSON, and truth.json with what was planted.

    \b
    Example:  clinical-lakehouse simulate --out landing --patients 100 --seed 3
    """
    first, last = (since and since.date(), until and until.date())
    plan = TrialPlan(patients, sites, months, seed, window_from=first, window_to=last)
    with click.progressbar(length=patients, label="simulating", file=sys.stderr) as bar:
        write_trial(out, plan, lambda done, total: bar.update(done - bar.pos))
    click.echo(f"written to {out}; truth.json says what was planted")


if __name__ == "__main__":
    main()
