"""`clinical-lakehouse bundle`: judge the asset bundle offline, write its Unity Catalog as SQL."""

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import click

from clinical_lakehouse.cli.place import Place, placed
from clinical_lakehouse.errors import BundleError
from clinical_lakehouse.local.bundle import find_bundle
from clinical_lakehouse.local.output import grid
from clinical_lakehouse.tables.catalog import all_tables


@click.group()
def bundle() -> None:
    """The asset bundle: databricks.yml, jobs/, conf/bundle/ and conf/access.yml."""


@bundle.command()
@click.option("--target", help="A target of databricks.yml (default: --env's).")
@placed
def check(place: Place, target: str | None) -> None:
    """Judge the bundle offline, for one target.

    Finds what Databricks would refuse, and what it would only find at run time. Each fault is one
    line with file and line; the exit code is 2 if there is any.

    \b
    Examples:  clinical-lakehouse bundle check
               clinical-lakehouse bundle check --target prod
    """
    from clinical_lakehouse.local.examination import Suite, examine, firings
    from clinical_lakehouse.registry import tasks
    from clinical_lakehouse.runtime.clock import wall_clock

    suite = Suite(tasks(), all_tables())
    found = examine(find_bundle(), target or place.env, suite, os.environ)
    for fault in found.faults:
        click.echo(fault)
    for line in found.left_out:
        click.echo(f"note: {line}", err=True)
    if found.faults:
        one = len(found.faults) == 1
        raise BundleError(f"{len(found.faults)} fault{'' if one else 's'} in the bundle")
    scope, jobs = found.survey.scope, found.jobs.values()
    triggers = [(job.key, job.trigger) for job in jobs if job.trigger]
    count = sum(len(job.tasks) for job in jobs)
    click.echo(
        f"{scope.bundle}, target {scope.target}: {len(jobs)} jobs, {count} tasks, "
        f"{len(triggers)} triggers{' (paused here)' if found.is_paused else ''}; no fault"
    )
    now = wall_clock()
    rows = [(job, str(trigger), _moments(firings(trigger, now))) for job, trigger in triggers]
    grid(("job", "starts", "next (UTC)"), rows)


@bundle.command()
@click.option("--target", help="A target of databricks.yml (default: --env's).")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write it there.")
@placed
def sql(place: Place, target: str | None, out: Path | None) -> None:
    """Write the catalog as SQL: tables, keys, masks, grants.

    Also comments, tags, checks and row filters. It comes from the contracts and conf/access.yml,
    and may run again and again.

    \b
    Examples:  clinical-lakehouse bundle sql --target staging
               clinical-lakehouse bundle sql --target prod --out catalog.sql
    """
    from clinical_lakehouse.local.access import read_access
    from clinical_lakehouse.local.reading import survey
    from clinical_lakehouse.local.unity_catalog import script

    folder, tables = find_bundle(), all_tables()
    scope = survey(folder, target or place.env, {}, os.environ).scope
    text = script(str(scope.fill("${var.catalog}")), tables, read_access(folder, tables))
    if out is None:
        click.echo(text, nl=False)
        return
    out.write_text(text, encoding="utf-8")
    click.echo(f"{out}: {len(tables)} tables of {scope.fill('${var.catalog}')}")


def _moments(moments: Sequence[datetime]) -> str:
    return ", ".join(f"{moment:%Y-%m-%d %H:%M}" for moment in moments) or "-"
