"""The data_quality job: tables judged by contract, a score each, alerts below it."""

from collections.abc import Mapping, Sequence
from typing import Any

from clinical_lakehouse.runtime.alerts import Finding, emit
from clinical_lakehouse.runtime.checks import judge
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables import ops
from clinical_lakehouse.tables.catalog import all_tables

JUDGED = tuple(t for t in all_tables().values() if t.schema_name in ("silver", "omop", "gold"))


@task(reads=JUDGED, writes=[ops.QUALITY_RESULT, ops.ALERT_EVENT])
def check(run: Run) -> Metrics:
    """Judge every silver, omop and gold table by its contract; alert on scores below the limit."""
    results = judge(run, JUDGED)
    run.lake.merge(ops.QUALITY_RESULT, run.lake.frame(ops.QUALITY_RESULT, results))
    scores = per_table(results)
    low = {t: s for t, s in scores.items() if s < run.settings.limits.quality_score_min}
    emit(run, check.name, [_finding(run, table, score) for table, score in low.items()])
    return {
        "tables": len(scores),
        "checks": len(results),
        "failing_checks": sum(r["failed_count"] > 0 for r in results),
        "lowest_score": round(min(scores.values(), default=1.0), 4),
        "alerts": len(low),
    }


def per_table(results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Score of each table, 0-1: the mean of its checks' passed ratios."""
    ratios: dict[str, list[float]] = {}
    for result in results:
        ratios.setdefault(result["table_name"], []).append(result["passed_ratio"])
    return {table: sum(values) / len(values) for table, values in ratios.items()}


def _finding(run: Run, table: str, score: float) -> Finding:
    limit = run.settings.limits.quality_score_min
    message = f"quality score of {table} is {score:.1%}, below {limit:.0%}"
    labels = {"table": table}
    return Finding("quality_score", "warning", labels, score, limit, message, run.as_of)
