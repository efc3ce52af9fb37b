"""Job model_performance_monitoring: the champion measured as outcomes arrive, drops alerted."""

from collections.abc import Mapping
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.methods.intervals import Interval
from clinical_lakehouse.monitoring import performance, population, windows
from clinical_lakehouse.monitoring.findings import Drift, drifts
from clinical_lakehouse.runtime import promotions, tracking
from clinical_lakehouse.runtime.alerts import Finding, emit
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables.gold_deployment import MODEL_PROMOTION
from clinical_lakehouse.tables.gold_features import SUBJECT_FEATURE
from clinical_lakehouse.tables.gold_models import (
    MODEL_EVALUATION,
    MODEL_METRIC,
    MODEL_VERSION,
    PREDICTION,
)
from clinical_lakehouse.tables.ops import ALERT_EVENT
from clinical_lakehouse.tables.silver import SUBJECT

_SOURCE = "model-performance-monitoring-watch"


@task(
    reads=[
        MODEL_VERSION,
        MODEL_PROMOTION,
        MODEL_EVALUATION,
        PREDICTION,
        SUBJECT_FEATURE,
        SUBJECT,
    ],
    writes=[MODEL_METRIC],
)
def measure(run: Run) -> Metrics:
    """Measure the champion per window of known outcomes, and new people per month of enrolment."""
    champion = tracking.champion_version(run, run.settings.model.name)
    if champion is None:
        return {"outcome": "no champion"}
    version = tracking.recorded_version(run, run.settings.model.name, champion)
    performed, moved = _performance(run, version), _population(run, version)
    key = {name: version[name] for name in ("model_name", "model_version")}
    rows = [{**key, **row, "computed_at": run.as_of} for row in (*performed, *moved)]
    where = "model_name = '{model_name}' AND model_version = {model_version}".format(**key)
    run.lake.replace(MODEL_METRIC, run.lake.frame(MODEL_METRIC, rows), where=where)
    return {
        "outcome": "measured" if performed else "no outcomes yet",
        "model_version": champion,
        "row_count": len(rows),
        "over_limit": sum(row["is_over_limit"] for row in rows),
    }


@task(reads=[MODEL_METRIC, MODEL_PROMOTION], writes=[ALERT_EVENT])
def watch(run: Run) -> Metrics:
    """Alert on each of the champion's metrics that is over its limit, about its first window, and
    on an alias that was moved by hand."""
    name = run.settings.model.name
    promotions.follow(run, _SOURCE, name)
    champion = tracking.champion_version(run, name)
    if champion is None:
        return {"outcome": "no champion"}
    metrics = _of(run.lake.read(MODEL_METRIC), name, champion).filter("is_over_limit")
    found = drifts([row.asDict() for row in metrics.collect()], _margin_days(run))
    labels = {"model": name, "version": str(champion)}
    emit(run, _SOURCE, [_finding(one, labels) for one in found])
    return {"outcome": "watched", "model_version": champion, "alerts": len(found)}


def _performance(run: Run, version: Mapping[str, Any]) -> list[dict[str, Any]]:
    margin, until = _margin_days(run), run.as_of.date()
    indexes = windows.index_dates(version["training_until"].date(), until, margin)
    if not indexes:
        return []
    confidence = run.settings.model.alert_confidence
    subjects = run.lake.read(SUBJECT)
    scored = windows.rows_at_risk(_predictions(run, version), subjects, indexes)
    known = windows.with_window_outcome(scored, subjects, until, margin)
    figures = performance.per_window(known, version["horizon_days"], confidence).collect()
    drop_max = run.settings.limits.accuracy_drop_max
    limit = performance.AccuracyLimit(_held_out_auroc(run, version), drop_max)
    return performance.judged([figure.asDict() for figure in figures], limit)


def _population(run: Run, version: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per participation comes to the driver: five numbers each."""
    first = population.newcomers(run.lake.read(SUBJECT_FEATURE), _predictions(run, version))
    confidence = run.settings.model.alert_confidence
    psi_max, margin = run.settings.limits.drift_max, _margin_days(run)
    judgement = population.Judgement(psi_max, confidence, margin)
    trained_until = version["training_until"].date()
    return population.monthly(first.toPandas(), trained_until, run.as_of.date(), judgement)


def _predictions(run: Run, version: Mapping[str, Any]) -> DataFrame:
    return _of(run.lake.read(PREDICTION), version["model_name"], version["model_version"])


def _held_out_auroc(run: Run, version: Mapping[str, Any]) -> Interval | None:
    rows = _of(run.lake.read(MODEL_EVALUATION), version["model_name"], version["model_version"])
    found = rows.filter("metric = 'auroc' AND group_name = 'all' AND low IS NOT NULL").collect()
    return Interval(found[0]["value"], found[0]["low"], found[0]["high"]) if found else None


def _of(rows: DataFrame, name: str, number: int) -> DataFrame:
    return rows.filter((F.col("model_name") == name) & (F.col("model_version") == number))


def _margin_days(run: Run) -> int:
    return run.settings.privacy.date_shift_days


def _finding(found: Drift, labels: Mapping[str, str]) -> Finding:
    return Finding(
        kind=found.kind,
        severity=found.severity,
        labels={**labels, "metric": found.metric},
        value=found.value,
        threshold=found.threshold,
        message=found.message,
        window_at=found.last_day,
    )
