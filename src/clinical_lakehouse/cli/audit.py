"""`clinical-lakehouse audit`: what was changed by whom, and the proof that nobody edited that."""

import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

import click

from clinical_lakehouse.cli.place import Place, perform, placed, show_found
from clinical_lakehouse.errors import LakeError, UsageError
from clinical_lakehouse.local.execution import exit_code
from clinical_lakehouse.local.output import grid
from clinical_lakehouse.local.request import Request


@click.group()
def audit() -> None:
    """Who changed what, when and why; and the proof that the record was not edited."""


@audit.command("list")
@click.option("--table", default="", help="Only changes of this table.")
@click.option("--actor", default="", help="Only by this person.")
@placed
def list_(place: Place, table: str, actor: str) -> None:
    """List changes, the latest first: who, what, when, why; never a value.

    \b
    Example:  clinical-lakehouse audit list --table bronze.fhir_resource
    """
    statement = (
        "SELECT recorded_at, actor, action, object_table, object_key, field, reason_code, run_id "
        "FROM ops.audit WHERE (object_table = :table OR :table = '') "
        "AND (actor = :actor OR :actor = '') ORDER BY recorded_at DESC, sequence"
    )
    show_found(place, statement, {"table": table, "actor": actor}, "no such change is recorded")


@audit.command()
@placed
def seal(place: Place) -> None:
    """Seal the days that have ended and verify all, as the job audit_trail does daily.

    \b
    Example:  clinical-lakehouse audit seal
    """
    sys.exit(exit_code(perform(place, Request("audit_trail", {}))))


@audit.command()
@click.option("--key", help="The public key that was given away, name+hash+key.")
@click.option("--checkpoint", type=click.Path(exists=True, path_type=Path),
              help="A checkpoint kept elsewhere: is the log a continuation of it?")  # fmt: skip
@placed
def verify(place: Place, key: str | None, checkpoint: Path | None) -> None:
    """Look for rows that were altered, removed, added or moved since their day was sealed.

    Without --key the key of this lake's vault is taken, which says less: who holds it can sign.

    \b
    Example:  clinical-lakehouse audit verify --checkpoint audit-2024-06.txt
    """
    from clinical_lakehouse.governance.audit_trail import found_faults, segments

    run, verifier = _opened(place, key)
    faults = found_faults(run, verifier, checkpoint.read_text("utf-8") if checkpoint else None)
    if faults:
        grid(("finding", "day", "position", "what"),
             [(f.kind, f.segment_date or "", "" if f.position is None else f.position, f.text)
              for f in faults])  # fmt: skip
        raise LakeError(f"the audit is not as it was sealed: {len(faults)} findings")
    known = segments(run)
    dropped = sum(row["leaf_hashes"] is None for row in known)
    rows = sum(row["row_count"] for row in known if row["leaf_hashes"] is not None)
    last = f", the last {known[-1]['segment_date']}" if known else ""
    click.echo(f"{len(known)} days sealed{last}: {rows} rows as they were sealed, "
               f"{dropped} days dropped past their retention, signed")  # fmt: skip
    if not run.settings.retention.audit_log_enabled:
        click.echo("the audit is off (retention.audit_log_enabled): nothing new is written")


@audit.command()
@placed
def checkpoint(place: Place) -> None:
    """Write the latest signed checkpoint; keep it where the lake's owner cannot change it.

    \b
    Example:  clinical-lakehouse audit checkpoint > audit-2024-06.txt
    """
    from clinical_lakehouse.governance.audit_trail import segments

    known = segments(_opened(place, None)[0])
    if not known:
        raise UsageError("no day is sealed yet; run clinical-lakehouse audit seal")
    click.echo(known[-1]["checkpoint"], nl=False)


@audit.command()
@placed
def key(place: Place) -> None:
    """Write the public key that verifies the audit, as name+hash+key.

    \b
    Example:  clinical-lakehouse audit key
    """
    click.echo(str(_opened(place, None)[1]))


@audit.command()
@click.argument("audit_id")
@placed
def prove(place: Place, audit_id: str) -> None:
    """Write, as JSON, the proof that one row of ops.audit stands under a signed checkpoint.

    \b
    Example:  clinical-lakehouse audit prove 3f2a... > proof.json
    """
    from clinical_lakehouse.governance.audit_trail import proof_of

    click.echo(json.dumps(proof_of(_opened(place, None)[0], audit_id), default=_text, indent=1))


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else bytes(value).hex()


def _opened(place: Place, given: str | None) -> tuple[Any, Any]:
    """A run on the lake, and the key to verify with."""
    from clinical_lakehouse.governance.audit_segments import ORIGIN
    from clinical_lakehouse.methods.signed_notes import read_verifier, verifier_of
    from clinical_lakehouse.runtime.clock import wall_clock
    from clinical_lakehouse.runtime.entry import open_lake
    from clinical_lakehouse.runtime.run import Run
    from clinical_lakehouse.runtime.secrets import audit_seed
    from clinical_lakehouse.runtime.settings import load_settings
    from clinical_lakehouse.tables.ops_audit import AUDIT_SEGMENT

    verifier = read_verifier(given) if given else None
    if given and verifier is None:
        raise UsageError("--key must be name+hash+key, as clinical-lakehouse audit key writes it")
    settings = load_settings(place.env)
    run = Run(open_lake({"root": str(place.root)}), settings, wall_clock(), "audit")
    if not run.lake.exists(AUDIT_SEGMENT):
        raise UsageError("no day is sealed yet; run clinical-lakehouse audit seal")
    return run, verifier or verifier_of(ORIGIN, audit_seed(run))
