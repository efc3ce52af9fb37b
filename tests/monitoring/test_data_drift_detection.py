"""Detecting on a small lake: a changed device at one site is found, stored once and told once."""

import json
from datetime import UTC, date, datetime, timedelta

import numpy as np

from clinical_lakehouse.monitoring.data_drift_detection import detect, watch
from clinical_lakehouse.runtime import tracking
from clinical_lakehouse.tables.gold_features import SUBJECT_FEATURE
from clinical_lakehouse.tables.gold_models import MODEL_VERSION
from clinical_lakehouse.tables.gold_monitoring import DATA_DRIFT
from clinical_lakehouse.tables.omop_clinical import MEASUREMENT
from clinical_lakehouse.tables.ops import ALERT_EVENT
from tests.builders import rows

MODEL = {"model_name": "dropout_risk", "model_version": 1}
TRAINED = date(2024, 2, 5)


def _feature(key, day, draws, is_late):
    site = key % 3
    return {
        "research_subject_key": key,
        "subject_key": key,
        "index_date": day,
        "organization_key": site,
        "study_day": 30,
        "age_years": float(draws.normal(60, 10)),
        "sex": "female" if draws.random() < 0.5 else "male",
        "heart_rate_mean": float(draws.normal(70, 8)) + (20 if is_late and site == 2 else 0),
    }


def _measured(key, until, is_rare):
    """Heart rate once a week, or once in four weeks; on one day twice, which is one visit."""
    weeks = (0,) if is_rare else (0, 0, 1, 2, 3)
    return [
        {"person_id": key, "measurement_id": 10 * key + number,
         "measurement_source_value": "8867-4", "measurement_date": until - timedelta(weeks=week)}
        for number, week in enumerate(weeks)
    ]  # fmt: skip


def test_a_changed_device_is_found_at_its_site_stored_and_told_once(run):
    assert detect.execute(run) == watch.execute(run) == {"outcome": "no champion"}
    client = tracking._client(run.lake)
    client.create_registered_model("dropout_risk")
    client.create_model_version("dropout_risk", "file:///nowhere")
    tracking.set_alias(run, "dropout_risk", "champion", 1)
    draws, until = np.random.default_rng(4), run.as_of.date()
    early = [_feature(key, TRAINED, draws, False) for key in range(240)]
    late = [
        _feature(key, until - timedelta(days=7 * week), draws, True)
        for key in range(240, 480)
        for week in range(2)
    ]
    run.lake.append(SUBJECT_FEATURE, rows(run.lake, SUBJECT_FEATURE, *early, *late))
    taken = [row for key in range(240) for row in _measured(key, TRAINED, False)]
    taken += [row for key in range(240, 480) for row in _measured(key, until, key % 3 == 1)]
    run.lake.append(MEASUREMENT, rows(run.lake, MEASUREMENT, *taken))
    version = {
        **MODEL,
        "feature_names": json.dumps(["age_years", "heart_rate_mean"]),
        "training_until": datetime(2024, 3, 1, tzinfo=UTC),
        "train_from_date": date(2024, 1, 1),
        "train_to_date": TRAINED,
    }
    run.lake.append(MODEL_VERSION, rows(run.lake, MODEL_VERSION, version))
    assert detect.execute(run)["outcome"] == "compared"
    assert watch.execute(run)["alerts"] >= 1
    found = run.lake.read(DATA_DRIFT).toPandas().set_index(["feature_name", "site"])
    assert found.index.is_unique
    assert set(found.reference) == {"training"}
    device = found.loc[("heart_rate_mean", "2")]
    assert (device.state, device.kind, device.row_count) == ("drift", "distribution", 80)
    rarer = found.loc[("heart_rate_frequency", "1")]
    assert (rarer.state, rarer.kind) == ("drift", "sampling_frequency")
    assert "measured on 4 days of 28 in the middle, now on 1" in rarer.explanation
    assert rarer.is_model_input
    assert found.loc[("heart_rate_frequency", "0")].state == "stable"
    moved = {("heart_rate_mean", "2"), ("heart_rate_frequency", "1")}
    quiet = found.drop(index=[*moved, *((name, "all") for name, _ in moved)])
    assert set(quiet[quiet.kind != "joint"].state) <= {"stable", "too_few"}
    assert ("sex", "all") in found.index
    told = {json.loads(row.labels)["feature"]: row for row in run.lake.read(ALERT_EVENT).collect()}
    assert set(told) <= {"heart_rate_mean", "heart_rate_frequency", "joint"}
    assert "at site 2" in told["heart_rate_mean"].message
