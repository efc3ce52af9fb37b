"""Estimates without outcomes: weighted for the people there are, and checked when outcomes come."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from clinical_lakehouse.monitoring import performance, windows
from clinical_lakehouse.monitoring.performance import ESTIMATED, SHIFTED, WATCHED, Reading
from clinical_lakehouse.monitoring.verdicts import coverage_now, coverage_rows, performance_rows
from clinical_lakehouse.tables.gold_features import SUBJECT_FEATURE
from tests.builders import rows

DAY = date(2024, 3, 4)
DAYS = windows.WINDOW_DAYS


def _window(seed, day, share, sign=1.4):
    """3,000 people; for a share of them the score tells little of what it says."""
    draws = np.random.default_rng(seed)
    x, z = draws.normal(size=3000), draws.random(3000) < share
    risk = expit(-1.5 + 1.4 * x)
    event = draws.random(3000) < np.where(z, expit(-1.5 + 0.3 * x), expit(-1.5 + sign * x))
    return pd.DataFrame(
        {
            "research_subject_key": np.arange(3000),
            "index_date": day,
            "score": risk,
            "is_event": event,
            "is_complete": True,
            "is_due": True,
            "followed_days": DAYS,
            "is_treated": False,
            "propensity": np.nan,
            "is_held_out": False,
            "inputs": list(np.column_stack([x, z])),
        }
    )


def _reading(first):
    known = performance.reference(first, DAYS, 2)
    return Reading(DAYS, 0.99, None, known, DAY + timedelta(days=DAYS))


def _said(reading, *frames):
    return [
        {**row, "index_date": frame["index_date"].iloc[0]}
        for frame in frames
        for row in performance.window_rows(frame, reading)
    ]


def _auroc(found, population):
    (row,) = [r for r in found if (r["population"], r["metric"]) == (population, "auroc")]
    return row


def test_where_other_people_come_the_weighted_estimate_holds_and_the_plain_one_does_not():
    first = _window(1, DAY, 0.1)
    now = _window(2, DAY + timedelta(days=84), 0.7)
    found, true = _said(_reading(first), now), roc_auc_score(now.is_event, now.score)
    assert _auroc(found, ESTIMATED)["low"] > true + 0.02
    weighted = _auroc(found, SHIFTED)
    assert weighted["low"] < true < weighted["high"]
    assert [r for r in _said(_reading(first), first) if r["population"] == SHIFTED] == []
    assert {r["population"] for r in performance_rows(found)} >= {ESTIMATED, SHIFTED}


def test_each_estimate_is_checked_when_outcomes_come_and_its_coverage_is_kept():
    first = _window(1, DAY, 0.1)
    weeks = [_window(10 + n, DAY + timedelta(days=28 * n), 0.7) for n in range(1, 6)]
    found = coverage_rows(_said(_reading(first), *weeks), 0.99)
    last = {row["population"]: row for row in found}
    assert [r["row_count"] for r in found if r["population"] == ESTIMATED] == [1, 2, 3, 4, 5]
    assert (last[ESTIMATED]["value"], last[SHIFTED]["event_count"]) == (0.0, 5)
    assert last[SHIFTED]["window_end_date"] == weeks[-1]["index_date"].iloc[0] + timedelta(29)
    # Five checks that share days in fours are worth one and a quarter.
    assert last[SHIFTED]["low"] < 0.25
    assert coverage_now(found) == 0.0
    assert coverage_now([]) is None


def test_under_concept_drift_neither_estimate_moves_and_both_coverages_say_so():
    first = _window(1, DAY, 0.0)
    turned = [_window(20 + n, DAY + timedelta(days=28 * n), 0.0, -1.4) for n in range(1, 4)]
    said = _said(_reading(first), *turned)
    for population in (ESTIMATED, SHIFTED):
        estimates = [r for r in said if (r["population"], r["metric"]) == (population, "auroc")]
        assert min(r["value"] for r in estimates) > 0.7
    seen = [r for r in said if (r["population"], r["metric"]) == (WATCHED, "auroc")]
    assert max(r["value"] for r in seen) < 0.3
    assert {r["value"] for r in coverage_rows(said, 0.99)} == {0.0}


def test_without_a_reference_there_is_no_weighted_estimate():
    assert performance.reference(_window(1, DAY, 0.1).head(0), DAYS, 2) is None
    assert performance.reference(_window(1, DAY, 0.1), DAYS, 0) is None
    frame = _window(2, DAY + timedelta(days=84), 0.1)
    bare = replace(_reading(frame), reference=None)
    assert SHIFTED not in {row["population"] for row in _said(bare, frame)}


def test_the_reference_is_of_the_first_windows_without_a_common_day():
    weeks = [DAY + timedelta(weeks=n) for n in range(20)]
    assert windows.reference_dates(weeks) == [weeks[0], weeks[4], weeks[8]]
    assert windows.reference_dates([]) == []


def test_inputs_are_those_of_the_day_that_the_risk_speaks_from(lake):
    made = [{"research_subject_key": 1, "index_date": DAY + timedelta(weeks=n),
             "age_years": 60.0 + n, "hba1c_latest": None} for n in range(3)]  # fmt: skip
    features = rows(lake, SUBJECT_FEATURE, *made)
    asked = pd.DataFrame({"research_subject_key": [1, 2], "scored_date": [DAY + timedelta(7)] * 2})
    at_risk = lake.spark.createDataFrame(asked)
    found = windows.with_inputs(at_risk, features, ["age_years", "hba1c_latest"]).toPandas()
    matrix = performance.input_matrix(found.sort_values("research_subject_key"), 2)
    assert matrix[0][0] == pytest.approx(61.0)
    assert np.isnan(matrix[[0, 1, 1], [1, 0, 1]]).all()
