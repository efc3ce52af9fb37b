"""Commands on raw files: simulate them, view them, take identifiers out of them."""

import sys
from datetime import datetime
from pathlib import Path

import click

from clinical_lakehouse.cli.place import Place, placed
from clinical_lakehouse.local.output import grid, show_rows
from clinical_lakehouse.runtime.clock import wall_clock
from clinical_lakehouse.simulation import TrialPlan
from clinical_lakehouse.simulation import simulate as write_trial


@click.command()
@click.argument("definition", metavar="VIEW.json", type=click.Path(path_type=Path))
@click.option("--input", "source", type=click.Path(path_type=Path), required=True)
@click.option("--format", "style", type=click.Choice(["table", "csv", "json"]), default="table")
@click.option("--dropped", is_flag=True, help="Instead of rows: elements the view does not take.")
@placed
def view(place: Place, definition: Path, source: Path, style: str, dropped: bool) -> None:
    """Run a SQL-on-FHIR view on raw files: a folder, NDJSON or a Bundle.

    \b
    Example:  clinical-lakehouse view conf/views/encounter.json --input exports --format csv
    """
    from clinical_lakehouse.local.view_command import open_view

    found = open_view(definition, source, place.root)
    if dropped:
        show_rows(style, ("element", "count"), list(found.left_out().items()))
        click.echo("\n".join(found.passed_over()), err=True)
    elif style == "table":
        grid(found.columns, list(found.rows()))
    else:
        for line in found.lines(style):
            click.echo(line)


@click.command()
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


@click.command()
@click.option("--config", type=click.Path(path_type=Path), required=True, help="Rules, as JSON.")
@click.option("--input", "source", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write to.")
def deidentify(config: Path, source: Path, out: Path) -> None:
    """Apply a configuration of Microsoft's FHIR anonymizer to files of R4 resources.

    \b
    Example:  clinical-lakehouse deidentify --config rules.json --input landing --out deidentified
    """
    from clinical_lakehouse.local.deidentification import deidentify_files

    files, resources = deidentify_files(config, source, out, wall_clock().date())
    click.echo(f"{resources} resources of {files} files written to {out}")
