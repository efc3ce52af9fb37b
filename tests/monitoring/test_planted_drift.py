"""Simulated trials with a planted population drift and a planted concept drift: both are found, the
months before stay quiet. Rates over more trials stand in the comments of the modules."""

from datetime import timedelta

import pytest

from clinical_lakehouse.simulation import person
from tests.monitoring.simulated_monitoring import watch_trial

TRIALS = 60


@pytest.fixture(scope="module")
def trials():
    return [watch_trial(seed) for seed in range(TRIALS)]


def _ends_over(trial):
    return [
        row["window_end_date"]
        for row in trial.performance
        if row["metric"] == "auroc" and row["is_over_limit"]
    ]


def _months_over(trial):
    return {row["window_start_date"] for row in trial.population if row["is_over_limit"]}


def test_a_concept_drift_is_found_and_not_before_it_could_be_seen(trials):
    # Dates shifted by up to 30 days bring the drift forward for half of the subjects.
    found = sum(any(end > t.concept_from for end in _ends_over(t)) for t in trials)
    fortnight = timedelta(days=14)
    early = sum(any(end <= t.concept_from - fortnight for end in _ends_over(t)) for t in trials)
    assert found >= 0.85 * TRIALS
    assert early <= 0.05 * TRIALS


def test_the_month_of_a_population_drift_is_found_and_the_months_before_are_quiet(trials):
    right = [
        t.drift_from in _months_over(t) and min(_months_over(t)) >= t.drift_from for t in trials
    ]
    assert sum(right) >= 0.95 * TRIALS


@pytest.mark.soak
def test_trials_without_a_population_drift_are_quiet(monkeypatch):
    monkeypatch.setattr(person, "DRIFT_AGE_YEARS", 0)
    monkeypatch.setattr(person, "DRIFT_PHQ9_POINTS", 0)
    alarmed = sum(bool(_months_over(watch_trial(seed))) for seed in range(TRIALS))
    assert alarmed <= 0.05 * TRIALS
