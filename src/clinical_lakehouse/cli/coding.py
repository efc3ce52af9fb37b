"""`clinical-lakehouse coding`: candidates for codes without a concept, and a person's decision."""

import getpass
import sys
from typing import Any

import click

from clinical_lakehouse.cli.place import Place, perform, placed, show_found
from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.local.execution import exit_code
from clinical_lakehouse.local.request import Request

_CANDIDATES = """
    SELECT source_vocabulary_id, source_code, source_text, row_count, rank,
           round(score, 2) AS score, method, concept_id, concept_name, vocabulary_id, status,
           coalesce(reviewer, '') AS reviewer
    FROM gold.coding_review
    WHERE (source_code = :code OR :code = '') AND (status = :status OR :status = '')
    ORDER BY row_count DESC, source_code, rank"""


@click.group()
def coding() -> None:
    """Codes and texts without a concept: candidates, and a person's decision on them."""


@coding.command("list")
@click.option("--code", default="", help="Only this code or text.")
@click.option("--status", default="", help="open, suggested, accepted or rejected (default: all).")
@placed
def list_(place: Place, code: str, status: str) -> None:
    """List candidates, the codes with the most records first.

    \b
    Example:  clinical-lakehouse coding list --status suggested
    """
    values = {"code": code, "status": status}
    show_found(place, _CANDIDATES, values, "no candidate fits; data_standardization lists them")


def _decision(action: str, needed: str, effect: str) -> None:
    """Adds `coding accept` or `coding reject`."""

    @click.argument("code", default="")
    @click.argument("concept", default="")
    @click.option("--suggested", is_flag=True, help="All that are suggested, instead of CODE.")
    @click.option("--why", required=True, help="Is kept with the decision.")
    @click.option("--by", default=getpass.getuser, help="Who decides (default: you).")
    @placed
    def command(place: Place, suggested: bool, **given: Any) -> None:
        if not suggested and not given[needed]:
            raise UsageError("give CODE and CONCEPT as coding list shows them, or --suggested")
        flags = {"decision": action, "suggested": "yes" if suggested else "no"}
        sys.exit(exit_code(perform(place, Request("coding_review", {**flags, **given}))))

    example = f"clinical-lakehouse coding {action} GLU 3004501 --why 'same test'"
    coding.command(action, help=f"{effect}\n\n\b\nExample:  {example}")(command)


_decision("accept", "concept", "Map CODE to a candidate, from the next data_standardization on.")
_decision("reject", "code", "Turn a candidate down, or all that are undecided for CODE.")
