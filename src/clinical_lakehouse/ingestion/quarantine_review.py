"""The job quarantine_review: a person's decision on refused rows, carried out and written down."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.ingestion.accounting import UNKNOWN_SUBJECT, only_open, only_valid
from clinical_lakehouse.ingestion.reading import ROW_DDL, STORED, rejudger
from clinical_lakehouse.ingestion.versions import PLACE, version_time
from clinical_lakehouse.runtime.audit import Change, record
from clinical_lakehouse.runtime.decisions import decided_status
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables.bronze import FHIR_RESOURCE, QUARANTINE
from clinical_lakehouse.tables.ops import QUARANTINE_DECISION
from clinical_lakehouse.tables.ops_audit import AUDIT

_PARAMS = {"decision": "", "reason": "", "file": "", "why": "", "by": ""}
_DECISIONS = {"release": "released", "discard": "discarded"}


@task(
    reads=[QUARANTINE],
    writes=[FHIR_RESOURCE, QUARANTINE, QUARANTINE_DECISION, AUDIT],
    params=_PARAMS,
)
def decide(run: Run) -> Metrics:
    """Release quarantined rows that today's rules accept, or discard rows; both are written down.

    Released rows reach silver, and the ledger, with the next run of patient_ingestion.
    """
    _check(run)
    chosen = only_open(
        run.lake.read(QUARANTINE), run.params.get("reason", ""), run.params.get("file", "")
    )
    if run.params["decision"] == "release":
        # The person a row is about decides on unknown-subject: validate releases those itself.
        chosen = chosen.filter(F.col("reason") != UNKNOWN_SUBJECT)
        _accept(run, chosen)
        chosen = chosen.join(_accepted(run), list(PLACE), "left_semi")
    counts = chosen.groupBy("reason").count().collect()
    _write_down(run, {row["reason"]: row["count"] for row in counts})
    if counts:
        _settle(run, chosen)
    return {"rows_decided": sum(row["count"] for row in counts), "reasons": len(counts)}


def _check(run: Run) -> None:
    """Refuse a decision that says neither what, nor which rows, nor who and why."""
    decided_status(run.params, _DECISIONS, "goes into the audit")
    if not (run.params.get("reason") or run.params.get("file")):
        raise UsageError("say which rows: give --reason CODE or --file NAME, or both")
    rows = run.lake.read(QUARANTINE)
    if only_open(rows, run.params.get("reason", ""), run.params.get("file", "")).isEmpty():
        raise UsageError("no open row in quarantine fits; see clinical-lakehouse quarantine list")


def _accept(run: Run, chosen: DataFrame) -> None:
    """Judge the rows again as they stand in bronze; what is valid now is marked so there."""
    stored = run.lake.read(FHIR_RESOURCE).join(chosen.select(*PLACE), list(PLACE), "left_semi")
    judge = rejudger(frozenset(run.settings.privacy.known_modifier_extensions))
    judged = stored.select(*STORED).mapInArrow(judge, ROW_DDL)
    received = stored.select(*PLACE, "received_at")
    valid = only_valid(judged).join(received, list(PLACE)).withColumn(
        "last_updated_at", version_time(F.col("received_at"))
    )  # fmt: skip
    run.lake.merge(FHIR_RESOURCE, valid.drop("last_updated"))


def _accepted(run: Run) -> DataFrame:
    """Places of valid rows; read from bronze, so that a killed release is found again."""
    return only_valid(run.lake.read(FHIR_RESOURCE)).select(*PLACE)


def _write_down(run: Run, counts: dict[str, int]) -> None:
    """One audit row per reason, before the rows are settled; a second attempt adds none."""
    done = run.lake.read(QUARANTINE_DECISION).filter(F.col("run_id") == run.run_id)
    known = {row["reason"] for row in done.select("reason").collect()}
    rows = [
        {
            "run_id": run.run_id,
            "decision": _DECISIONS[run.params["decision"]],
            "reason": reason,
            "row_count": count,
            "file_name": run.params.get("file") or None,
            "decided_by": run.params["by"],
            "why": run.params["why"],
            "decided_at": run.as_of,
        }
        for reason, count in sorted(counts.items())
        if reason not in known
    ]
    run.lake.append(QUARANTINE_DECISION, rows)
    decision, why = run.params["decision"], run.params["why"]
    changes = [
        Change(run.run_id, decision, QUARANTINE.name, reason, reason, why=why)
        for reason in sorted(counts)
    ]
    record(run, decide.name, run.params["by"], changes)


def _settle(run: Run, chosen: DataFrame) -> None:
    """Released rows leave quarantine; discarded ones stay there, marked."""
    if run.params["decision"] == "release":
        run.lake.merge(QUARANTINE, chosen.withColumn("_out", F.lit(True)), deleted="_out")
    else:
        run.lake.merge(QUARANTINE, chosen.withColumn("decision", F.lit("discarded")))
