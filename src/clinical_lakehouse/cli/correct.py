"""`clinical-lakehouse correct`: a person's corrections of data, and what became of them."""

import sys
from pathlib import Path

import click

from clinical_lakehouse.cli.place import Place, perform, placed, show_found
from clinical_lakehouse.local.execution import exit_code
from clinical_lakehouse.local.request import Request


@click.group()
def correct() -> None:
    """Corrections of data: checked against what is there, applied as new versions, in the audit."""


@correct.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--landing", default="", help="Where ingestion takes its files from.")
@placed
def apply(place: Place, file: Path, landing: str) -> None:
    """Judge a file of corrections (CSV or NDJSON); then run clinical_data_pipeline.

    Columns: resource_type, resource_id, path, old, new, reason_code, why, by, and, if you like,
    received_at and query_id.

    \b
    Example:  clinical-lakehouse correct apply corrections.csv
    """
    given = {"file": str(file.resolve())} | ({"landing": landing} if landing else {})
    sys.exit(exit_code(perform(place, Request("data_correction", given))))


@correct.command("list")
@click.option("--state", default="", help="applied, already, conflict, or a reason of refusal.")
@placed
def list_(place: Place, state: str) -> None:
    """List corrections and what became of them; never a value.

    \b
    Example:  clinical-lakehouse correct list --state conflict
    """
    statement = """SELECT left(correction_id, 12) AS correction, resource_type, path, reason_code,
       corrected_by, query_id, state, judged_at
FROM bronze.correction WHERE state = :state OR :state = '' ORDER BY judged_at DESC, 1"""
    show_found(place, statement, {"state": state}, "no such correction; see correct apply")
