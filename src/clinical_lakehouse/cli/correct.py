"""`clinical-lakehouse correct`: a person's corrections of data, and what became of them."""

import getpass
import sys
from collections.abc import Callable
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


def _signature(command: Callable[..., None]) -> Callable[..., None]:
    """The options of a signature."""
    for option in (
        click.option("--by", default=getpass.getuser, help="Who signs (default: you)."),
        click.option("--why", required=True, help="Is kept with the signature."),
        click.option("--meaning", required=True,
                     help="What you sign: review, approval, responsibility, authorship."),
        click.option("--role", required=True, help="The role in which you sign."),
    ):  # fmt: skip
        command = option(command)
    return command


@correct.command()
@click.option("--subject", default="", help="Only this person's data: a key of silver.")
@click.option("--table", default="", help="Only the data of this silver table.")
@click.option("--first", "first_date", default="", help="Only data dated from this day on.")
@click.option("--last", "last_date", default="", help="Only data dated until this day.")
@_signature
@placed
def lock(place: Place, **given: str) -> None:
    """Lock submitted data: corrections of them are refused until somebody unlocks them.

    Days are those of the source, not the shifted ones of silver.

    \b
    Example:  clinical-lakehouse correct lock --table silver.adverse_event --last 2024-06-30
              --role data_manager --meaning responsibility --why "Submitted with CSR 7."
    """
    sys.exit(exit_code(perform(place, Request("data_lock", {"decision": "lock", **given}))))


@correct.command()
@click.argument("lock")
@_signature
@placed
def unlock(place: Place, **given: str) -> None:
    """Take a lock away by a signature; corrections are taken again.

    \b
    Example:  clinical-lakehouse correct unlock 3f2a9c01b7de --role sponsor_lead
              --meaning approval --why "Query 12 after the inspection."
    """
    sys.exit(exit_code(perform(place, Request("data_lock", {"decision": "unlock", **given}))))


@correct.command()
@placed
def locks(place: Place) -> None:
    """List locks and who signed them; never whose data they hold.

    \b
    Example:  clinical-lakehouse correct locks
    """
    statement = """SELECT lock_id, number, action, patient_id IS NOT NULL AS is_of_one_person,
       coalesce(resource_type, 'all') AS resource_type, first_date, last_date, signed_by, role,
       meaning, signed_at
FROM bronze.data_lock ORDER BY lock_id, number"""
    show_found(place, statement, {}, "no lock was ever signed; see correct lock")
