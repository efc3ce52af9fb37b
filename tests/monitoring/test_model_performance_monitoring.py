"""Measuring and watching on a small lake: who is at risk, what is stored, what alerts, once."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from pyspark.sql import functions as F

from clinical_lakehouse.errors import ModelError
from clinical_lakehouse.monitoring import windows
from clinical_lakehouse.monitoring.as_known import as_known
from clinical_lakehouse.monitoring.model_performance_monitoring import measure, watch
from clinical_lakehouse.runtime import tracking
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.tables.gold_features import SUBJECT_FEATURE
from clinical_lakehouse.tables.gold_models import (
    MODEL_EVALUATION,
    MODEL_METRIC,
    MODEL_VERSION,
    PREDICTION,
)
from clinical_lakehouse.tables.gold_monitoring import MODEL_PERFORMANCE, PERFORMANCE_REVISION
from clinical_lakehouse.tables.ops import ALERT_EVENT
from clinical_lakehouse.tables.silver import SUBJECT
from tests.builders import rows

MODEL = {"model_name": "dropout_risk", "model_version": 1}
MONDAY = date(2024, 3, 4)


def _moment(day):
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _subject(key, start, end=None, status="withdrawn"):
    return {
        "research_subject_key": key,
        "subject_key": key,
        "status": status if end else "on-study",
        "started_at": _moment(start),
        "ended_at": _moment(end) if end else None,
    }


def _prediction(key, day, score):
    return {**MODEL, "research_subject_key": key, "index_date": day, "score": score}


def test_rows_at_risk_are_those_on_study_with_their_latest_prediction_of_14_days(lake):
    start = date(2024, 1, 1)
    subjects = rows(
        lake,
        SUBJECT,
        _subject(1, start),
        _subject(2, start, MONDAY),  # left on the index date: no longer at risk
        _subject(3, start, MONDAY + timedelta(days=28)),
        _subject(4, start, MONDAY + timedelta(days=29)),
        _subject(5, start, MONDAY + timedelta(days=3), "off-study"),
        _subject(6, MONDAY + timedelta(days=1)),
        _subject(7, start),
    )
    made = [_prediction(key, MONDAY, 0.5) for key in (2, 3, 4, 5, 6)]
    made += [_prediction(1, MONDAY - timedelta(days=d), d / 100) for d in (21, 14, 7)]
    made += [_prediction(1, MONDAY + timedelta(days=7), 0.9)]
    made += [_prediction(7, MONDAY - timedelta(days=15), 0.5)]
    scored = windows.rows_at_risk(rows(lake, PREDICTION, *made), subjects, [MONDAY])
    found = windows.labelled(scored, subjects, date(2024, 6, 30), 30).filter("is_complete")
    content = {row.research_subject_key: (row.score, row.is_event) for row in found.collect()}
    assert content == {1: (0.07, False), 3: (0.5, True), 4: (0.5, False), 5: (0.5, False)}


def _serve(run):
    """A champion without a model file: monitoring reads what was predicted, not the model."""
    client = tracking._client(run.lake)
    client.create_registered_model("dropout_risk")
    client.create_model_version("dropout_risk", "file:///nowhere")
    tracking.set_alias(run, "dropout_risk", "champion", 1)


@pytest.fixture(scope="module")
def watched(spark, tmp_path_factory):
    """200 subjects with weekly predictions whose ranking is reversed: low scores leave in March."""
    lake = Lakehouse(spark, tmp_path_factory.mktemp("watched") / "lake")
    settings = load_settings("dev", environ={})
    run = Run(lake, settings, datetime(2024, 6, 30, 12, tzinfo=UTC), "test")
    draws = np.random.default_rng(1)
    subjects, made, features = [], [], []
    for key in range(200):
        score = float(draws.uniform(0.02, 0.6))
        leaves = score < 0.12
        end = MONDAY + timedelta(days=int(draws.integers(8, 60))) if leaves else None
        start = date(2024, 1, 1) + timedelta(days=int(draws.integers(0, 55)))
        subjects.append(_subject(key, start, end))
        grid = (start + timedelta(days=-start.weekday() % 7 + 7 * week) for week in range(22))
        days = [day for day in grid if day < (end or date(2024, 6, 30))]
        made += [_prediction(key, day, score) for day in days]
        features += [_feature(key, day, start, draws) for day in days[:1]]
    version = {**MODEL, "training_until": _moment(MONDAY), "horizon_days": 90}
    version["feature_names"] = json.dumps(["age_years", "phq9_baseline", "sex"])
    figure = {**MODEL, "metric": "auroc", "group_name": "all", "group_value": "all"}
    held_out = {**figure, "value": 0.8, "low": 0.74, "high": 0.85}
    run.lake.merge(SUBJECT, rows(run.lake, SUBJECT, *subjects))
    run.lake.merge(PREDICTION, rows(run.lake, PREDICTION, *made))
    run.lake.merge(SUBJECT_FEATURE, rows(run.lake, SUBJECT_FEATURE, *features))
    run.lake.merge(MODEL_VERSION, rows(run.lake, MODEL_VERSION, version))
    run.lake.merge(MODEL_EVALUATION, rows(run.lake, MODEL_EVALUATION, held_out))
    _serve(run)
    return run


def _feature(key, day, start, draws):
    return {
        "research_subject_key": key,
        "subject_key": key,
        "index_date": day,
        "study_day": (day - start).days,
        "age_years": float(draws.normal(60, 10)),
        "phq9_baseline": float(draws.normal(8, 4)),
    }


def _content(run, table):
    return sorted(map(str, run.lake.read(table).collect()))


@pytest.mark.soak
def test_a_reversed_ranking_is_measured_and_alerts_once_however_often_it_is_watched(watched):
    told = measure.execute(watched)
    assert told["outcome"] == "measured"
    auroc = watched.lake.read(MODEL_METRIC).filter("metric = 'auroc'").orderBy("window_end_date")
    first = auroc.first()
    assert first.window_start_date == MONDAY + timedelta(days=1)
    assert (first.reference, first.value < 0.2, first.is_over_limit) == (0.8, True, False)
    assert watch.execute(watched)["alerts"] >= 1
    alerts = watched.lake.read(ALERT_EVENT).filter("kind = 'accuracy_drop'").collect()
    assert len(alerts) == 1
    assert json.loads(alerts[0].labels)["metric"] == "auroc"
    second = MONDAY + timedelta(days=7 + 28)
    assert alerts[0].window_at.date() == second
    tables = (MODEL_METRIC, ALERT_EVENT)
    before = [_content(watched, table) for table in tables]
    measure.execute(watched)
    watch.execute(watched)
    assert [_content(watched, table) for table in tables] == before


@pytest.mark.soak
def test_windows_whose_outcomes_may_still_come_are_not_measured(watched):
    early = replace(watched, as_of=datetime(2024, 5, 2, tzinfo=UTC))
    measure.execute(early)
    ends = watched.lake.read(MODEL_METRIC).filter("metric = 'auroc'")
    last = ends.agg(F.max("window_end_date").alias("d")).first().d
    assert last + timedelta(days=29) <= date(2024, 5, 2)
    sooner = replace(watched, as_of=datetime(2024, 3, 20, tzinfo=UTC))
    assert measure.execute(sooner)["outcome"] == "no outcomes yet"
    assert watched.lake.read(MODEL_METRIC).filter("metric = 'auroc'").count() == 0


def _figures(frame):
    told = ("window_end_date", "population", "metric", "row_count", "event_count", "value")
    return sorted(map(str, frame.select(*told).collect()))


@pytest.mark.soak
def test_a_late_label_and_a_withdrawn_consent_open_old_windows_and_both_are_kept(watched):
    lake = watched.lake
    measure.execute(watched)
    before = _figures(lake.read(MODEL_PERFORMANCE))
    subjects = lake.read(SUBJECT).collect()
    stayed = next(row for row in subjects if row.ended_at is None)
    gone = next(row for row in subjects if row.ended_at is not None)
    late = _subject(stayed.research_subject_key, stayed.started_at.date(), MONDAY + timedelta(9))
    kept = lake.read(SUBJECT).filter(
        ~F.col("research_subject_key").isin(stayed.research_subject_key, gone.research_subject_key)
    )
    lake.replace(SUBJECT, kept.localCheckpoint().unionByName(rows(lake, SUBJECT, late)))
    measure.execute(replace(watched, as_of=watched.as_of + timedelta(days=1)))
    revisions = lake.read(PERFORMANCE_REVISION)
    now = _figures(lake.read(MODEL_PERFORMANCE))
    assert _figures(as_known(revisions, watched.as_of)) == before != now
    assert _figures(as_known(revisions, watched.as_of + timedelta(days=1))) == now
    first = F.col("window_end_date") == F.lit(MONDAY + timedelta(days=29))
    later = first & (F.col("known_at") > F.lit(watched.as_of))
    assert {row.metric for row in revisions.filter(later).collect()} >= {"auroc"}


def test_a_champion_that_nobody_recorded_is_one_line_and_nothing_is_measured(run):
    _serve(run)
    with pytest.raises(ModelError, match="version 1 is not in gold.model_version; train again"):
        measure.execute(run)
    assert not run.lake.exists(MODEL_METRIC)


def test_without_a_champion_the_outcome_is_named(run):
    assert measure.execute(run) == {"outcome": "no champion"}
    assert watch.execute(run) == {"outcome": "no champion"}
