"""Windows of outcomes: figures by hand, and an alert only for a drop beyond chance, twice."""

from datetime import date, timedelta

import numpy as np
import pytest
from sklearn import metrics

from clinical_lakehouse.methods.intervals import Interval
from clinical_lakehouse.monitoring.performance import (
    AccuracyLimit,
    judged,
    window_figures,
    window_risk,
)
from clinical_lakehouse.monitoring.windows import index_dates

DAY = date(2024, 3, 4)
HELD_OUT = Interval(0.8, 0.75, 0.84)


def _auroc(week, value, low, high, events=12):
    return {
        "index_date": DAY + timedelta(days=7 * week),
        "metric": "auroc",
        "value": value,
        "low": low,
        "high": high,
        "reference": None,
        "row_count": 200,
        "event_count": events,
    }


def _over(figures, reference=HELD_OUT):
    return [row["is_over_limit"] for row in judged(figures, AccuracyLimit(reference, 0.05))]


def test_windows_start_on_mondays_after_training_and_end_where_outcomes_are_certain():
    dates = index_dates(date(2024, 8, 1), date(2025, 1, 1), margin_days=30)
    assert dates[0] == date(2024, 8, 5)
    assert {day.weekday() for day in dates} == {0}
    assert dates[-1] + timedelta(days=28 + 30) <= date(2025, 1, 1)
    assert dates[-1] + timedelta(days=7 + 28 + 30) > date(2025, 1, 1)
    assert index_dates(date(2024, 8, 5), date(2024, 10, 2), 30) == [date(2024, 8, 5)]
    assert index_dates(date(2024, 8, 5), date(2024, 10, 1), 30) == []


def test_risk_within_a_window_is_that_of_a_constant_hazard():
    hazard = 0.004
    within_90, within_28 = 1 - np.exp(-90 * hazard), 1 - np.exp(-28 * hazard)
    assert window_risk(np.array([within_90]), 90)[0] == pytest.approx(within_28)


def test_figures_of_a_window_equal_independent_ones():
    draws = np.random.default_rng(1)
    scores = draws.beta(1, 4, 300)
    events = draws.random(300) < window_risk(scores, 90)
    found = {row["metric"]: row for row in window_figures(events, scores, 90, 0.99)}
    risks = 1 - (1 - scores) ** (28 / 90)
    assert found["auroc"]["value"] == pytest.approx(metrics.roc_auc_score(events, scores))
    assert found["brier"]["value"] == pytest.approx(metrics.brier_score_loss(events, risks))
    assert found["observed_expected"]["value"] == pytest.approx(events.sum() / risks.sum())
    assert found["brier"]["reference"] == pytest.approx(events.mean() * (1 - events.mean()))


def test_a_window_without_events_has_no_auroc_but_an_upper_limit_of_observed_over_expected():
    found = window_figures(np.zeros(50, bool), np.linspace(0.1, 0.9, 50), 90, 0.99)
    rows = {row["metric"]: row for row in found}
    assert (rows["auroc"]["value"], rows["calibration_slope"]["value"]) == (None, None)
    assert rows["observed_expected"]["value"] == 0 < rows["observed_expected"]["high"]


def test_only_the_second_week_in_a_row_beyond_the_limit_is_over_it():
    assert _over([_auroc(week, 0.4, 0.2, 0.6) for week in range(3)]) == [False, True, True]
    apart = [_auroc(0, 0.4, 0.2, 0.6), _auroc(1, 0.8, 0.6, 0.9), _auroc(2, 0.4, 0.2, 0.6)]
    assert _over(apart) == [False, False, False]


@pytest.mark.parametrize(
    ("figure", "reference"),
    [
        ((0.7, 0.5, 0.84), Interval(0.8, 0.75, 0.84)),  # a drop within chance
        ((0.77, 0.76, 0.78), Interval(0.8, 0.79, 0.81)),  # beyond chance, but of 0.03 only
        ((0.5, 0.35, 0.65), Interval(0.8, 0.5, 0.94)),  # the held-out figure itself is unsure
        ((0.4, 0.2, 0.6), None),  # nothing to hold it against
        ((None, None, None), Interval(0.8, 0.75, 0.84)),
    ],
)
def test_a_drop_within_chance_within_the_limit_or_without_reference_is_not_over(figure, reference):
    assert _over([_auroc(week, *figure) for week in range(2)], reference) == [False, False]


def test_windows_of_too_few_events_never_alert():
    assert _over([_auroc(week, 0.1, 0.0, 0.3, events=4) for week in range(2)]) == [False, False]


@pytest.mark.parametrize(
    ("low", "high", "is_over"),
    [(1.6, 3, True), (1.4, 3, False), (0.2, 0.6, True), (0.2, 0.7, False)],
)
def test_observed_over_expected_alerts_when_its_interval_leaves_its_limits(low, high, is_over):
    figures = [
        {**_auroc(week, (low + high) / 2, low, high), "metric": "observed_expected"}
        for week in range(2)
    ]
    assert _over(figures)[1] == is_over


def test_a_window_holds_the_days_after_its_index_date():
    row = judged([_auroc(0, 0.8, 0.7, 0.9)], AccuracyLimit(None, 0.05))[0]
    assert row["window_start_date"] == date(2024, 3, 5)
    assert row["window_end_date"] - row["window_start_date"] == timedelta(days=28)
