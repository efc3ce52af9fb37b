"""The job quarantine_review: a person's decision on refused rows, carried out and written down;
and the task by which patient_ingestion quarantines what error checks refuse."""

from functools import partial

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.ingestion.accounting import (
    UNKNOWN_SUBJECT,
    check_balance,
    only_open,
    only_valid,
    per_file_and_type,
)
from clinical_lakehouse.ingestion.identity import with_own_key
from clinical_lakehouse.ingestion.reading import ROW_DDL, STORED, rejudger
from clinical_lakehouse.ingestion.versions import PLACE, version_time
from clinical_lakehouse.ingestion.withheld import (
    failing_silver_rows,
    is_by_check,
    only_kept_out,
    only_miscounted,
    only_news,
    resources_about,
    tables_of,
    withheld_versions,
)
from clinical_lakehouse.runtime.audit import Change, record
from clinical_lakehouse.runtime.decisions import decided_status
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.runtime.vault_keys import vault_keys
from clinical_lakehouse.runtime.writing import in_two_threads
from clinical_lakehouse.tables.bronze import DUPLICATE, FHIR_RESOURCE, PUBLISH_SCOPE, QUARANTINE
from clinical_lakehouse.tables.ops import LANDING_FILE, QUALITY_RESULT, QUARANTINE_DECISION
from clinical_lakehouse.tables.ops_audit import AUDIT
from clinical_lakehouse.tables.ops_quality import QUALITY_FAILURE
from clinical_lakehouse.tables.vault import SEALED_KEY, SUBJECT
from clinical_lakehouse.tables.views import SilverView, silver_views

_PARAMS = {"decision": "", "reason": "", "file": "", "why": "", "by": ""}
_DECISIONS = {"release": "released", "discard": "discarded"}


@task(
    reads=[QUARANTINE],
    writes=[FHIR_RESOURCE, QUARANTINE, PUBLISH_SCOPE, QUARANTINE_DECISION, AUDIT],
    params=_PARAMS,
)
def decide(run: Run) -> Metrics:
    """Release quarantined rows that today's rules accept, or discard rows; both are written down.

    A row that a check refused is released on the person's word, until the check is edited. Released
    rows reach silver, and the ledger, with the next run of patient_ingestion.
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
    """Released rows leave quarantine; discarded ones, and those a check refused, stay, marked."""
    if run.params["decision"] == "release":
        known = run.lake.read(FHIR_RESOURCE)
        run.lake.append(PUBLISH_SCOPE, resources_about(chosen.filter(is_by_check()), known))
        kept = chosen.withColumns({"decision": F.lit("released"), "_out": ~is_by_check()})
        run.lake.merge(QUARANTINE, kept, deleted="_out")
    else:
        run.lake.merge(QUARANTINE, chosen.withColumn("decision", F.lit("discarded")))


@task(
    reads=[FHIR_RESOURCE, DUPLICATE, QUALITY_RESULT, QUALITY_FAILURE, SUBJECT, SEALED_KEY],
    writes=[QUARANTINE, PUBLISH_SCOPE, LANDING_FILE],
)
def withhold(run: Run) -> Metrics:
    """Quarantine the versions of which error checks refuse silver's rows, so that the next publish
    takes these out; a newer version, or a release, brings them back."""
    if not run.lake.exists(QUALITY_FAILURE):
        return {"rows_withheld": 0}
    failures, results = run.lake.read(QUALITY_FAILURE), run.lake.read(QUALITY_RESULT)
    failing = failing_silver_rows(failures, results, run.as_of)
    views = tables_of(failing, silver_views())
    withheld = sum(in_two_threads([partial(_withhold, run, view, failing) for view in views]))
    _recount(run)
    return {"rows_withheld": withheld}


def _withhold(run: Run, view: SilverView, failing: DataFrame) -> int:
    """Put into quarantine what a view's failing rows are made of; publish looks at it first, for
    a run that is killed in between finds what is not yet in quarantine again."""
    bronze, known = only_valid(run.lake.read(FHIR_RESOURCE)), run.lake.read(QUARANTINE)
    rows = bronze.filter(F.col("resource_type") == view.resource)
    unique = rows.join(run.lake.read(DUPLICATE).select(*PLACE), list(PLACE), "left_anti")
    pseudonym, subjects = vault_keys(run).pseudonym, run.lake.read(SUBJECT)

    def keyed(resource_type: str, resources: DataFrame) -> DataFrame:
        return with_own_key(resources, resource_type, subjects, pseudonym)

    refused = withheld_versions(view, failing, unique, keyed)
    news = only_news(refused, known).withColumns(
        {"received_at": F.lit(run.as_of).cast("timestamp"), "decision": F.lit(None).cast("string")}
    )
    run.lake.append(PUBLISH_SCOPE, resources_about(news, bronze))
    before = run.lake.version(QUARANTINE)
    commit = run.lake.merge(QUARANTINE, news.select(*QUARANTINE.column_names))
    return commit.inserted + commit.updated if commit.version > before else 0


def _recount(run: Run) -> None:
    """Bring the ledger of files in line with what is quarantined of them now."""
    quarantined, ledger = run.lake.read(QUARANTINE), run.lake.read(LANDING_FILE)
    files = [row["file_id"] for row in only_miscounted(ledger, quarantined).collect()]
    if files:
        rows = run.lake.read(FHIR_RESOURCE).filter(F.col("file_id").isin(files)).drop("content")
        kept_out, repeated = only_kept_out(quarantined), run.lake.read(DUPLICATE)
        run.lake.merge(LANDING_FILE, per_file_and_type(rows, kept_out, repeated))
        check_balance(run.lake.read(LANDING_FILE))
