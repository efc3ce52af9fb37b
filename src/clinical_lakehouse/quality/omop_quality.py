"""The omop_quality job: OHDSI's Data Quality Dashboard as one suite over the CDM."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clinical_lakehouse.quality.dqd_json import results_json
from clinical_lakehouse.quality.dqd_plan import aggregates, judged
from clinical_lakehouse.quality.dqd_suite import read_suite
from clinical_lakehouse.quality.dqd_verdict import FAILED, Verdict
from clinical_lakehouse.runtime.alerts import Finding, emit
from clinical_lakehouse.runtime.reading import rows_of
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables.catalog import all_tables
from clinical_lakehouse.tables.omop_clinical import CDM_SOURCE
from clinical_lakehouse.tables.ops import ALERT_EVENT
from clinical_lakehouse.tables.ops_omop_quality import DQD_RESULT

CDM = tuple(table for table in all_tables().values() if table.schema_name == "omop")
_SKIPPED = "set omop_quality.dqd_folder to inst/csv of OHDSI's DataQualityDashboard"


@task(reads=CDM, writes=[DQD_RESULT, ALERT_EVENT], params={"dqd_folder": ""})
def check(run: Run) -> Metrics:
    """Run DQD's checks on the CDM, keep each result, and write the file that its viewer reads."""
    folder = run.params.get("dqd_folder") or run.settings.omop_quality.dqd_folder
    if not folder:
        return {"checks": 0, "skipped": _SKIPPED}
    checks = read_suite(Path(folder))
    frames = {t.short_name: run.lake.read(t) for t in CDM if run.lake.exists(t)}
    counted = rows_of(aggregates(checks, frames, run.as_of.date()))
    found = judged(checks, frames, [row for rows in counted for row in rows])
    run.lake.upsert(DQD_RESULT, [_row(run, one) for one in found])
    emit(run, check.name, _findings(run, found))
    _write_file(run, found)
    return {"checks": len(found), **Counter(one.status for one in found)}


def _row(run: Run, verdict: Verdict) -> dict[str, Any]:
    asked, count = verdict.check, verdict.count
    return {
        "checked_at": run.as_of,
        "check_id": asked.check_id,
        "check_name": asked.kind.name,
        "check_level": asked.kind.level,
        "table_name": f"omop.{asked.table}",
        "field_name": asked.field or None,
        "concept_id": asked.words.get("conceptId") or None,
        "category": asked.category,
        "subcategory": asked.subcategory or None,
        "context": asked.context,
        "severity": asked.severity or None,
        "violated_count": count.violated,
        "counted_count": count.counted,
        "violated_ratio": verdict.ratio,
        "threshold_percent": asked.threshold,
        "status": verdict.status,
        "reason": verdict.reason or count.error,
        "run_id": run.run_id,
    }


def _findings(run: Run, found: Sequence[Verdict]) -> list[Finding]:
    """One per table of which a check fails that may never fail; a table that the lake does not
    have is no news every day."""
    fatal = Counter(
        f"omop.{one.check.table}"
        for one in found
        if one.status == FAILED
        and one.check.severity == "fatal"
        and one.check.kind.name != "cdmTable"
    )
    return [
        Finding(
            "omop_quality",
            "warning",
            {"table": table},
            count,
            0,
            f"{count} of DQD's fatal checks of {table} fail; see ops.dqd_result",
            run.as_of,
        )
        for table, count in fatal.items()
    ]


def _write_file(run: Run, found: Sequence[Verdict]) -> None:
    sources = run.lake.read(CDM_SOURCE).limit(1).collect()
    source = sources[0].asDict() if sources else {"cdm_source_name": "omop.cdm_source is empty"}
    path = run.lake.root / "reports" / "dqd-results.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(results_json(found, source, run.as_of), encoding="utf-8")
