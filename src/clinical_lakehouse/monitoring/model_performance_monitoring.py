"""Job model_performance_monitoring: the champion measured as outcomes arrive, drops alerted."""

import json
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from clinical_lakehouse.methods.change_plan import read_change_plan
from clinical_lakehouse.methods.intervals import Interval
from clinical_lakehouse.methods.performance_estimation import Reference
from clinical_lakehouse.monitoring import performance, population, windows
from clinical_lakehouse.monitoring.action_log import read_actions
from clinical_lakehouse.monitoring.as_known import as_known, revised
from clinical_lakehouse.monitoring.concept_change import advanced, signalled
from clinical_lakehouse.monitoring.findings import (
    Drift,
    Known,
    allowed_by,
    changes,
    drifts,
    effects,
    group_drifts,
)
from clinical_lakehouse.monitoring.group_performance import with_groups
from clinical_lakehouse.monitoring.intervention import Limits
from clinical_lakehouse.monitoring.verdicts import (
    OPEN,
    coverage_now,
    coverage_rows,
    judged_groups,
    performance_rows,
    verdict_rows,
)
from clinical_lakehouse.runtime import promotions, tracking
from clinical_lakehouse.runtime.alerts import Finding, emit
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.runtime.writing import in_two_threads
from clinical_lakehouse.tables.conf import conf_dir
from clinical_lakehouse.tables.contract import Table
from clinical_lakehouse.tables.gold_deployment import MODEL_PROMOTION, SERVED_PREDICTION
from clinical_lakehouse.tables.gold_features import SUBJECT_FEATURE
from clinical_lakehouse.tables.gold_models import (
    MODEL_EVALUATION,
    MODEL_METRIC,
    MODEL_VERSION,
    PREDICTION,
)
from clinical_lakehouse.tables.gold_monitoring import (
    CHANGE_DETECTOR,
    GROUP_PERFORMANCE,
    MODEL_PERFORMANCE,
    PERFORMANCE_REVISION,
    PERFORMANCE_VERDICT,
    PREDICTION_ACTION,
)
from clinical_lakehouse.tables.ops import ALERT_EVENT
from clinical_lakehouse.tables.silver import SUBJECT

_SOURCE = "model-performance-monitoring-watch"
# What the estimate weighted for other people holds on the driver.
_MOST_REFERENCE, _MOST_INPUTS = 20_000, 40


@task(reads=[PREDICTION], writes=[PREDICTION_ACTION], params={"actions": ""})
def record_actions(run: Run) -> Metrics:
    """Take in what followed predictions: JSON Lines files in the parameter `actions` (a folder), or
    in the lake's folder `actions`; of one prediction the last word in the order of files stands."""
    folder = Path(run.params.get("actions") or run.lake.root / "actions")
    files = sorted(folder.glob("*.jsonl")) if folder.is_dir() else []
    if not files:
        return {"outcome": "no actions"}
    own = {"model_name": run.settings.model.name, "recorded_at": run.as_of}
    found = {
        (row["research_subject_key"], row["index_date"]): {**own, **row}
        for file in files
        for row in read_actions(file.name, file.read_text(encoding="utf-8").splitlines())
    }
    rows = run.lake.frame(PREDICTION_ACTION, list(found.values()))
    scored = run.lake.read(PREDICTION).select(*PREDICTION_ACTION.key).distinct()
    known = rows.join(scored, list(PREDICTION_ACTION.key), "left_semi")
    run.lake.upsert(PREDICTION_ACTION, _changed(known, run.lake.read(PREDICTION_ACTION)))
    count = known.count()
    return {"outcome": "recorded", "row_count": count, "unknown": len(found) - count}


@task(
    reads=[
        *(MODEL_VERSION, MODEL_PROMOTION, MODEL_EVALUATION, PREDICTION, PREDICTION_ACTION),
        *(SERVED_PREDICTION, SUBJECT_FEATURE, SUBJECT),
    ],
    writes=[
        *(MODEL_METRIC, MODEL_PERFORMANCE, PERFORMANCE_REVISION, GROUP_PERFORMANCE),
        *(PERFORMANCE_VERDICT, CHANGE_DETECTOR),
    ],
)
def measure(run: Run) -> Metrics:
    """Measure the champion per window of outcomes, all, as if nobody had been acted on, and by site
    and group; say what each window means; and measure new people per month of enrolment."""
    champion = tracking.champion_version(run, run.settings.model.name)
    if champion is None:
        return {"outcome": "no champion"}
    version = tracking.recorded_version(run, run.settings.model.name, champion)
    figures, limit = _figures(run, version), _limit(run, version)
    watched = [row for row in figures if row["population"] == performance.WATCHED]
    rows = [*performance.judged(watched, limit), *_population(run, version)]
    meant = verdict_rows(figures, Limits(limit.reference, limit.drop_max, limit.drop_max))
    groups = judged_groups(figures, limit)
    made = {MODEL_METRIC: rows, PERFORMANCE_VERDICT: meant, GROUP_PERFORMANCE: groups}
    _write(run, version, figures, made)
    return {
        "outcome": "measured" if watched else "no outcomes yet",
        "model_version": champion,
        "row_count": len(rows),
        "over_limit": sum(row["is_over_limit"] for row in rows),
        "verdict": next((r["verdict"] for r in reversed(meant) if r["verdict"] != OPEN), None),
        "estimate_coverage": coverage_now(_said(run, figures)),
    }


@task(
    reads=[
        *(MODEL_METRIC, GROUP_PERFORMANCE, PERFORMANCE_VERDICT),
        *(CHANGE_DETECTOR, MODEL_PROMOTION),
    ],
    writes=[ALERT_EVENT],
)
def watch(run: Run) -> Metrics:
    """Alert on each of the champion's metrics, sites and groups that is over its limit or has
    changed, about its first window; on scores spoilt by acting on them; on a change of what risks
    mean; and on an alias that was moved by hand."""
    name = run.settings.model.name
    promotions.follow(run, _SOURCE, name)
    champion = tracking.champion_version(run, name)
    if champion is None:
        return {"outcome": "no champion"}
    metrics, groups, meant, signals = in_two_threads(
        [
            partial(_rows, run, table, name, champion)
            for table in (MODEL_METRIC, GROUP_PERFORMANCE, PERFORMANCE_VERDICT, CHANGE_DETECTOR)
        ]
    )
    allowed = allowed_by(read_change_plan(conf_dir()), run.settings.env)
    known = Known(groups, meant, allowed, _margin_days(run))
    found = [*drifts(metrics, known), *group_drifts(known), *effects(meant)]
    found += changes(signalled(signals))
    labels = {"model": name, "version": str(champion)}
    emit(run, _SOURCE, [_finding(one, labels) for one in found])
    return {"outcome": "watched", "model_version": champion, "alerts": len(found)}


def _changed(rows: DataFrame, known: DataFrame) -> DataFrame:
    """Rows that say something new; when they were read first does not count."""
    told = [name for name in rows.columns if name != "recorded_at"]
    return rows.join(known, [rows[name].eqNullSafe(known[name]) for name in told], "left_anti")


def _figures(run: Run, version: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What each window says, the latest ones whose outcomes are still coming among them."""
    margin, until = _margin_days(run), run.as_of.date()
    trained_until, latest = version["training_until"].date(), until - timedelta(days=margin)
    whole = windows.index_dates(trained_until, until, margin)
    indexes = [*whole, *windows.open_index_dates(whole, windows.monday(trained_until), latest)]
    if not indexes:
        return []
    rows = _rows_at_risk(run, version, indexes)
    dates = windows.reference_dates(whole)
    reading = performance.Reading(
        version["horizon_days"],
        run.settings.model.alert_confidence,
        _threshold(run, version),
        _reference(rows, version, dates),
        dates[-1] + timedelta(days=windows.WINDOW_DAYS) if dates else date.max,
    )
    return [row.asDict() for row in performance.per_window(rows, reading).collect()]


def _rows_at_risk(run: Run, version: Mapping[str, Any], indexes: Sequence[date]) -> DataFrame:
    """Who was at risk when, what became of them, what was done, whose they are, their inputs."""
    subjects, features = run.lake.read(SUBJECT), run.lake.read(SUBJECT_FEATURE)
    name, margin = version["model_name"], _margin_days(run)
    scored = windows.rows_at_risk(_predictions(run, version), subjects, indexes)
    known = windows.labelled(scored, subjects, run.as_of.date(), margin)
    acted = windows.with_actions(known, _of(run.lake.read(PREDICTION_ACTION), name))
    lots = windows.with_lots(acted, _of(run.lake.read(SERVED_PREDICTION), name))
    told = windows.with_inputs(lots, features, _numbers(version))
    return with_groups(told, features)


def _numbers(version: Mapping[str, Any]) -> list[str]:
    """The version's inputs that are numbers."""
    kinds = {column.name: column.type for column in SUBJECT_FEATURE.columns}
    names = json.loads(version["feature_names"])
    return [one for one in names if kinds.get(one) in ("DOUBLE", "INT")][:_MOST_INPUTS]


def _reference(
    rows: DataFrame, version: Mapping[str, Any], dates: Sequence[date]
) -> Reference | None:
    """People whose outcome is known, in the order of a hash, the same at every run."""
    if not dates:
        return None
    known = rows.filter(F.col("index_date").isin(list(dates))).filter("NOT is_treated")
    order = F.xxhash64("research_subject_key", "index_date")
    told = known.select("score", "is_event", "inputs").orderBy(order).limit(_MOST_REFERENCE)
    people: pd.DataFrame = told.toPandas()
    return performance.reference(people, version["horizon_days"], len(_numbers(version)))


def _write(
    run: Run,
    version: Mapping[str, Any],
    figures: Sequence[Mapping[str, Any]],
    made: Mapping[Table, list[dict[str, Any]]],
) -> None:
    said = _said(run, figures)
    all_ = {**made, MODEL_PERFORMANCE: said}
    writes = [partial(_replace, run, table, version, rows) for table, rows in all_.items()]
    writes.append(partial(_feed_detectors, run, version, figures))
    writes.append(partial(_revise, run, version, said, made[PERFORMANCE_VERDICT]))
    in_two_threads(writes)


def _said(run: Run, figures: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Figures of populations, and how the estimates among them have kept."""
    checks = coverage_rows(figures, run.settings.model.alert_confidence)
    return [*performance_rows(figures), *checks]


def _revise(
    run: Run,
    version: Mapping[str, Any],
    said: Sequence[Mapping[str, Any]],
    meant: Sequence[Mapping[str, Any]],
) -> None:
    """Keep what is said otherwise than before beside what was said before."""
    key = {name: version[name] for name in ("model_name", "model_version")}
    mine = _of(run.lake.read(PERFORMANCE_REVISION), *key.values())
    known = [row.asDict() for row in as_known(mine, run.as_of).collect()]
    rows = [{**key, **row, "known_at": run.as_of} for row in revised(known, said, meant)]
    if rows:
        run.lake.upsert(PERFORMANCE_REVISION, rows)


def _feed_detectors(
    run: Run, version: Mapping[str, Any], figures: Sequence[Mapping[str, Any]]
) -> None:
    """Windows that became known since the last run go to the detectors of concept drift."""
    key = {name: version[name] for name in ("model_name", "model_version")}
    known = _rows(run, CHANGE_DETECTOR, version["model_name"], version["model_version"])
    rows = advanced(known, [row for row in figures if row["population"] == performance.STREAM])
    if rows and rows != [{n: v for n, v in one.items() if n not in key} for one in known]:
        filled = [{**key, **row} for row in rows]
        run.lake.upsert(CHANGE_DETECTOR, filled)


def _limit(run: Run, version: Mapping[str, Any]) -> performance.AccuracyLimit:
    drop_max = run.settings.limits.accuracy_drop_max
    return performance.AccuracyLimit(_held_out_auroc(run, version), drop_max)


def _replace(
    run: Run, table: Table, version: Mapping[str, Any], rows: list[dict[str, Any]]
) -> None:
    """Put the version's rows in place of those of an earlier measuring."""
    key = {name: version[name] for name in ("model_name", "model_version")}
    filled = [{**key, **row, "computed_at": run.as_of} for row in rows]
    where = "model_name = '{model_name}' AND model_version = {model_version}".format(**key)
    if filled or run.lake.exists(table):
        run.lake.replace(table, filled, where=where)


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
    found = [one for one in _evaluated(run, version, "auroc") if one["low"] is not None]
    return Interval(found[0]["value"], found[0]["low"], found[0]["high"]) if found else None


def _threshold(run: Run, version: Mapping[str, Any]) -> float | None:
    """The risk from which on evaluation took a score for high."""
    found = _evaluated(run, version, "threshold")
    return found[0]["value"] if found else None


def _evaluated(run: Run, version: Mapping[str, Any], metric: str) -> list[Row]:
    rows = _of(run.lake.read(MODEL_EVALUATION), version["model_name"], version["model_version"])
    return rows.filter((F.col("metric") == metric) & (F.col("group_name") == "all")).collect()


def _rows(run: Run, table: Table, name: str, number: int) -> list[dict[str, Any]]:
    return [row.asDict() for row in _of(run.lake.read(table), name, number).collect()]


def _of(rows: DataFrame, name: str, number: int | None = None) -> DataFrame:
    mine = F.col("model_name") == name
    return rows.filter(mine if number is None else mine & (F.col("model_version") == number))


def _margin_days(run: Run) -> int:
    return run.settings.privacy.date_shift_days


def _finding(found: Drift, labels: Mapping[str, str]) -> Finding:
    return Finding(
        kind=found.kind,
        severity=found.severity,
        labels={**labels, "metric": found.metric, **found.labels},
        value=found.value,
        threshold=found.threshold,
        message=found.message,
        window_at=found.last_day,
    )
