"""The job audit_trail: lets old days of ops.audit go, seals ended ones, verifies all of them."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from pyspark.sql import functions as F

from clinical_lakehouse.errors import LakeError, UsageError
from clinical_lakehouse.governance.audit_alignment import row_faults
from clinical_lakehouse.governance.audit_segments import (
    ORIGIN,
    Fault,
    Signer,
    dropped_segment,
    leaves,
    log_faults,
    row_proof,
    sealed_segment,
    split,
)
from clinical_lakehouse.methods.merkle import root
from clinical_lakehouse.methods.signed_notes import Verifier, verifier_of
from clinical_lakehouse.runtime.alerts import Finding, emit
from clinical_lakehouse.runtime.audit import Change, record
from clinical_lakehouse.runtime.clock import wall_clock
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.secrets import audit_seed
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables.ops import ALERT_EVENT
from clinical_lakehouse.tables.ops_audit import AUDIT, AUDIT_SEGMENT


@task(reads=[], writes=[AUDIT, AUDIT_SEGMENT])
def expire(run: Run) -> Metrics:
    """Drop sealed days past retention.data_retention_days; their roots stay, the drop is signed."""
    last = run.as_of.date() - timedelta(days=run.settings.retention.data_retention_days)
    old = [row for row in segments(run) if row["segment_date"] < last]
    there = leaves_by_day(run, before=last) if old else {}
    for row in old:
        rows = there.get(row["segment_date"], [])
        if row["leaf_hashes"] is not None:
            _sign_drop(run, row, rows)
        if rows:
            _forget(run, row)
    return {"days_dropped": sum(row["leaf_hashes"] is not None for row in old)}


def _sign_drop(run: Run, row: Mapping[str, Any], rows: Sequence[bytes]) -> None:
    """A day that is not as it was sealed is kept as evidence."""
    if root(rows).hex() != row["root_hash"]:
        raise LakeError(
            f"the audit of {row['segment_date']} is past its retention but not as it was sealed; "
            "it is kept: see clinical-lakehouse audit verify"
        )
    days, signer = run.settings.retention.data_retention_days, Signer(audit_seed(run))
    dropped = dropped_segment(row, wall_clock(), days, signer)
    run.lake.merge(AUDIT_SEGMENT, [dropped])


def _forget(run: Run, row: Mapping[str, Any]) -> None:
    """The day's rows go after their drop is signed; so a run killed in between goes on here."""
    day = row["segment_date"].isoformat()
    run.lake.replace(AUDIT, [], f"segment_date = DATE '{day}'")
    one = Change(row["root_hash"], "drop-segment", AUDIT.name, day, "retention")
    record(run, expire.name, "retention", [one])


@task(reads=[AUDIT], writes=[AUDIT_SEGMENT])
def seal(run: Run) -> Metrics:
    """Seal every day of ops.audit before as_of's that has rows and no segment yet, in order."""
    if not run.settings.retention.audit_log_enabled or not run.lake.exists(AUDIT):
        return {"days_sealed": 0, "rows_sealed": 0}
    known = segments(run)
    done = {row["segment_date"] for row in known}
    new = leaves_by_day(run, before=run.as_of.date())
    signer, at = Signer(audit_seed(run, may_make=True)), wall_clock()
    rows: list[Mapping[str, Any]] = []
    for day in sorted(set(new) - done):
        row = sealed_segment([*known, *rows], day, new[day], signer)
        rows.append({**row, "sealed_at": at, "run_id": run.run_id})
    run.lake.append(AUDIT_SEGMENT, rows)
    return {"days_sealed": len(rows), "rows_sealed": sum(row["row_count"] for row in rows)}


@task(reads=[AUDIT, AUDIT_SEGMENT], writes=[ALERT_EVENT])
def verify(run: Run) -> Metrics:
    """Prove that no sealed row was altered, removed, added or moved; fail where one was."""
    sealed = segments(run)
    faults = found_faults(run, verifier_of(ORIGIN, audit_seed(run))) if sealed else []
    emit(run, verify.name, [_finding(run, faults)] if faults else [])
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise LakeError(f"the audit was tampered with: {faults[0].text}{more}")
    return {"days_verified": len(sealed), "rows_verified": sum(r["row_count"] for r in sealed)}


def segments(run: Run) -> list[dict[str, Any]]:
    """The sealed days, in order of the log."""
    rows = run.lake.read(AUDIT_SEGMENT).orderBy("ordinal").collect()
    return [row.asDict() for row in rows]


def leaves_by_day(run: Run, before: date | None = None) -> dict[date, list[bytes]]:
    """Leaf hashes of ops.audit as it is, by day: 32 bytes a row."""
    rows = run.lake.read(AUDIT)
    rows = rows if before is None else rows.filter(F.col("segment_date") < F.lit(before))
    return {day: split(bytes.fromhex(text)) for day, text in leaves(rows).collect()}


def proof_of(run: Run, audit_id: str) -> dict[str, Any]:
    """Why a row stands under a signed checkpoint: its leaf's audit path to the day's root, and the
    day's path to the log's root (RFC 6962, 2.1.1). UsageError for a row that is not sealed."""
    rows = run.lake.read(AUDIT).filter(F.col("audit_id") == audit_id)
    for day, text in leaves(rows).collect():
        known, leaf = segments(run), bytes.fromhex(text)
        for row in (row for row in known if row["segment_date"] == day):
            if leaf in split(row["leaf_hashes"] or b""):
                return row_proof(known, row, leaf)
    raise UsageError("no sealed row of ops.audit has this audit_id; see audit list, audit seal")


def found_faults(run: Run, verifier: Verifier, kept: str | None = None) -> list[Fault]:
    """What is not as it was sealed and signed, and, where a checkpoint was kept elsewhere, whether
    the log still continues it."""
    sealed = segments(run)
    faults = list(log_faults(sealed, verifier, kept))
    whole = {r["segment_date"]: split(r["leaf_hashes"]) for r in sealed if r["leaf_hashes"]}
    dropped: dict[date, list[bytes]] = {
        r["segment_date"]: [] for r in sealed if r["leaf_hashes"] is None
    }
    return faults + row_faults({**dropped, **whole}, leaves_by_day(run))


def _finding(run: Run, faults: Sequence[Fault]) -> Finding:
    first = faults[0]
    labels = {"table": AUDIT.name, "metric": first.kind}
    message = f"{len(faults)} findings in the sealed audit: {first.text}"
    return Finding("audit_tampered", "critical", labels, len(faults), 0, message, run.as_of)
