"""A backfill of data_drift_detection leaves what runs on those days left."""

import json
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from clinical_lakehouse.cli.backfill import _run
from clinical_lakehouse.local.backfill import make_plan, moments_between
from clinical_lakehouse.local.bundle import load_bundle
from clinical_lakehouse.local.history import backfilled
from clinical_lakehouse.local.workspace import open_workspace
from clinical_lakehouse.methods.content_hash import content_hash
from clinical_lakehouse.monitoring.data_drift_detection import detect, watch
from clinical_lakehouse.registry import tasks
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.tables.gold_deployment import MODEL_PROMOTION
from clinical_lakehouse.tables.gold_features import SUBJECT_FEATURE
from clinical_lakehouse.tables.gold_models import MODEL_VERSION
from clinical_lakehouse.tables.gold_monitoring import DATA_DRIFT
from clinical_lakehouse.tables.ops import ALERT_EVENT
from tests.builders import rows
from tests.monitoring.test_data_drift_detection import MODEL, TRAINED, _feature

pytestmark = pytest.mark.soak

JOB = "data_drift_detection"
FIRST, LAST = (datetime(2024, 6, day, tzinfo=UTC) for day in (2, 16))
SECOND_VERSION_AT = datetime(2024, 6, 10, tzinfo=UTC)


def _fill(lake):
    """240 people at training, 120 new ones a week, a device that changes in June, and a second
    version that comes into use on 10 June."""
    draws = np.random.default_rng(4)
    made = [_feature(key, TRAINED, draws, False) for key in range(240)]
    for week in range(8):
        day = date(2024, 6, 16) - timedelta(days=7 * week)
        made += [_feature(1000 * week + key, day, draws, week < 2) for key in range(240, 360)]
    lake.append(SUBJECT_FEATURE, rows(lake, SUBJECT_FEATURE, *made))
    shared = {"feature_names": json.dumps(["age_years", "heart_rate_mean"]),
              "training_until": datetime(2024, 3, 1, tzinfo=UTC),
              "train_from_date": date(2024, 1, 1), "train_to_date": TRAINED}  # fmt: skip
    versions = [{**MODEL, **shared, "model_version": number} for number in (1, 2)]
    lake.append(MODEL_VERSION, rows(lake, MODEL_VERSION, *versions))
    uses = [{"model_name": "dropout_risk", "promotion_number": number, "to_version": number,
             "decided_at": at} for number, at in ((1, FIRST), (2, SECOND_VERSION_AT))]  # fmt: skip
    lake.append(MODEL_PROMOTION, rows(lake, MODEL_PROMOTION, *uses))


def _left(lake):
    tables = (DATA_DRIFT, ALERT_EVENT)
    return {t.name: lake.read(t).agg(content_hash(t.column_names)).collect()[0][0] for t in tables}


def test_a_backfill_equals_runs_made_on_those_days(spark, run, tmp_path):
    moments = moments_between(FIRST, LAST, "1w")
    _fill(run.lake)
    for at in moments:
        then = Run(run.lake, run.settings, at, f"on {at}")
        assert detect.execute(then)["outcome"] == "compared"
        watch.execute(then)
    bundle = load_bundle("dev", environ={})
    place = open_workspace(bundle, tmp_path / "backfilled", lambda event: None)
    _fill(place.lake)
    plan = make_plan(bundle, JOB, moments, tasks())
    done = _run(place, list(reversed(list(plan.requests))), 1)
    assert all(result.ok for result in done)
    assert _left(place.lake) == _left(run.lake)
    assert backfilled(place.lake, JOB) == set(moments)
    used = place.lake.read(DATA_DRIFT).select("window_end_date", "model_version").distinct()
    assert {row.model_version for row in used.collect()} == {1, 2}
