"""A registered model with its feature rows and subjects, small enough for every test."""

import json
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from clinical_lakehouse.runtime import tracking
from clinical_lakehouse.tables.gold_features import SUBJECT_FEATURE
from clinical_lakehouse.tables.gold_models import MODEL_VERSION
from clinical_lakehouse.tables.silver import SUBJECT
from tests.builders import rows

FIRST = date(2024, 1, 1)
TRAINED_UNTIL = datetime(2024, 6, 20, tzinfo=UTC)


@pytest.fixture
def world(run):
    """120 subjects on nine weekly dates; older people leave sooner. Feature rows, ends and a model
    of age registered as version 1, trained on the first six dates, the last three held out."""
    draws = np.random.default_rng(3)
    ages = draws.normal(60, 10, 120)
    waits = np.ceil(draws.exponential(1 / (0.0018 * np.exp((ages - 60) / 8)))).astype(int)
    ends = [FIRST + timedelta(days=int(min(wait, 5000))) for wait in waits]
    features, subjects = [], []
    for subject, (age, end) in enumerate(zip(ages, ends, strict=True)):
        subjects.append(
            {
                "research_subject_key": subject,
                "subject_key": subject + 1000,
                "status": "withdrawn" if end < date(2024, 6, 30) else "on-study",
                "started_at": datetime(2024, 1, 1, tzinfo=UTC),
                "ended_at": _moment(end) if end < date(2024, 6, 30) else None,
            }
        )
        for day in (FIRST + timedelta(days=7 * week) for week in range(9)):
            if day < end:
                features.append(_feature(subject, day, float(age)))
    run.lake.merge(SUBJECT, rows(run.lake, SUBJECT, *subjects))
    run.lake.merge(SUBJECT_FEATURE, rows(run.lake, SUBJECT_FEATURE, *features))
    train = pd.DataFrame({"age_years": ages})
    model = LogisticRegression().fit(train, [end <= FIRST + timedelta(days=90) for end in ends])
    register(run, model, train, "one")
    return run


def register(run, model, train, digest):
    """Register a model and write its gold.model_version row."""
    name = run.settings.model.name
    made = tracking.register(run, name, digest, tracking.Trained(model, train, {}, {}))
    version = {
        "model_name": name,
        "model_version": made.version,
        "tracking_run_id": made.tracking_run_id,
        "algorithm": "logistic_core",
        "feature_version": "v1",
        "feature_names": json.dumps(list(train.columns)),
        "feature_table_version": run.lake.version(SUBJECT_FEATURE),
        "training_until": TRAINED_UNTIL,
        "train_from_date": FIRST,
        "train_to_date": FIRST + timedelta(days=35),
        "test_from_date": FIRST + timedelta(days=42),
        "test_to_date": FIRST + timedelta(days=56),
        "horizon_days": 90,
    }
    run.lake.merge(MODEL_VERSION, rows(run.lake, MODEL_VERSION, version))
    return made.version


def _feature(subject, day, age):
    return {
        "research_subject_key": subject,
        "subject_key": subject + 1000,
        "index_date": day,
        "feature_version": "v1",
        "age_years": age,
        "sex": "female" if subject % 2 else "male",
        "race": "Asian" if subject % 20 == 0 else "White",
        "visit_adherence_ratio": 0.9,
    }


def _moment(day):
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
