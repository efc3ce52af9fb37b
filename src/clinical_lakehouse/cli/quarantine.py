"""`clinical-lakehouse quarantine`: rows that were refused, and a person's decision on them."""

import getpass
import sys
from typing import Any

import click

from clinical_lakehouse.cli.place import Place, perform, placed, show_found
from clinical_lakehouse.local.execution import exit_code
from clinical_lakehouse.local.request import Request


@click.group()
def quarantine() -> None:
    """Rows that were refused: what they are, and a person's decision on them."""


@quarantine.command("list")
@click.option("--reason", default="", help="Only this reason code.")
@click.option("--file", "name", default="", help="Only this file.")
@placed
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
@placed
def show(place: Place, file_id: str, line: int) -> None:
    """Show what is known of one refused line (file_id may be its first characters).

    \b
    Example:  clinical-lakehouse quarantine show 3f2a 17
    """
    _refused_rows(place, "startswith(file_id, :file_id) AND line = :line", file_id=file_id,
                  line=line)  # fmt: skip


def _refused_rows(place: Place, condition: str, **values: Any) -> None:
    columns = "file_id, file_name, line, entry, byte_offset, resource_type, reason, path, decision"
    statement = f"SELECT {columns} FROM bronze.quarantine WHERE {condition} ORDER BY 2, 3, 4"
    show_found(place, statement, values,
               "no row in quarantine fits; see clinical-lakehouse quarantine list")  # fmt: skip


def _decision(action: str, effect: str) -> None:
    """Adds `quarantine release` or `quarantine discard`."""

    @click.option("--reason", default="", help="Rows of this reason code.")
    @click.option("--file", default="", help="Rows of this file.")
    @click.option("--why", required=True, help="Goes into ops.quarantine_decision.")
    @click.option("--by", default=getpass.getuser, help="Who decides (default: you).")
    @placed
    def command(place: Place, **given: str) -> None:
        request = Request("quarantine_review", {"decision": action, **given})
        sys.exit(exit_code(perform(place, request)))

    example = f"clinical-lakehouse quarantine {action} --reason bad-code --why 'ticket 7'"
    quarantine.command(action, help=f"{effect}\n\n\b\nExample:  {example}")(command)


_decision("release", "Let rows go that today's rules accept; then run patient_ingestion.")
_decision("discard", "Mark rows as decided; they are kept.")
