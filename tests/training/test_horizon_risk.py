"""Families that learn from times: risks in the presence of what competes, against closed forms."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from clinical_lakehouse.methods.outcomes import ANOTHER_END, EVENT, FOLLOWED_TO_THE_END
from clinical_lakehouse.methods.survival import cumulative_incidence, kaplan_meier
from clinical_lakehouse.training.families import Offer
from clinical_lakehouse.training.horizon_risk import (
    CoxRisk,
    SurvivalBoosting,
    own_types,
)
from clinical_lakehouse.training.mitigation import refit
from clinical_lakehouse.training.search import search

OWN, OTHER, HORIZON = 0.004, 0.012, 90
# Constant hazards: the share of the own cause, of those whom either has ended by day 90.
TRUE = OWN / (OWN + OTHER) * (1 - np.exp(-(OWN + OTHER) * HORIZON))  # 0.191
NAIVE = 1 - np.exp(-OWN * HORIZON)  # 0.302, as if nobody died


def _rows(people: int, slope: float = 0.0, seed: int = 4) -> pd.DataFrame:
    """People whose hazard of leaving is OWN times exp(slope * age_years), the other's constant."""
    draws = np.random.default_rng(seed)
    age = draws.normal(0, 1, people)
    times = np.array(
        [
            draws.exponential(1 / (OWN * np.exp(slope * age))),
            draws.exponential(1 / OTHER, people),
            np.full(people, HORIZON),
        ]
    )
    cause = np.array([EVENT, ANOTHER_END, FOLLOWED_TO_THE_END])[times.argmin(axis=0)]
    week = pd.to_timedelta(7 * draws.integers(0, 4, people), "D")
    return pd.DataFrame(
        {
            "subject_key": np.arange(people),
            "index_date": pd.to_datetime("2024-01-01") + week,
            "age_years": age,
            "phq9_baseline": draws.normal(0, 1, people),
            "followed_days": np.ceil(times.min(axis=0)).astype(int),
            "cause": cause,
            "is_event": cause == EVENT,
        }
    ).sort_values("index_date", ignore_index=True)


@pytest.mark.parametrize("family", [CoxRisk(), SurvivalBoosting(intervals=9, min_samples_leaf=400)])
def test_risk_is_the_one_in_the_presence_of_death_where_kaplan_meier_overstates(family):
    rows = _rows(6000)
    outcome = rows[["followed_days", "cause"]].to_numpy()
    fitted = family.fit(rows[["age_years"]].to_numpy(), outcome)
    found = fitted.predict_proba(rows[["age_years"]].to_numpy())[:, 1].mean()
    days, cause = rows["followed_days"], rows["cause"].to_numpy()
    own = cumulative_incidence(days, cause, EVENT).at(HORIZON)
    naive = 1 - kaplan_meier(days, cause == EVENT).at(HORIZON, 1.0)
    assert found == pytest.approx(TRUE, abs=0.015) and found == pytest.approx(own, abs=0.006)
    # What Kaplan-Meier overstates is as planted: 0.302 - 0.191.
    assert naive - own == pytest.approx(NAIVE - TRUE, abs=0.02)


@pytest.mark.parametrize("family", [CoxRisk(), SurvivalBoosting()])
def test_risks_follow_the_planted_slope_on_other_people(family):
    rows, others = _rows(4000, slope=0.7), _rows(4000, slope=0.7, seed=9)
    fitted = family.fit(rows[["age_years"]], rows[["followed_days", "cause"]])
    risks = fitted.predict_proba(others[["age_years"]])[:, 1]
    best = roc_auc_score(others["is_event"], others["age_years"])
    assert roc_auc_score(others["is_event"], risks) > best - 0.015
    assert risks.mean() == pytest.approx(others["is_event"].mean(), abs=0.02)


def test_cox_recovers_the_planted_log_hazard_ratios_of_both_causes():
    rows = _rows(5000, slope=0.7)
    fitted = CoxRisk(0.001).fit(rows[["age_years"]], rows[["followed_days", "cause"]])
    assert fitted.own_[0] == pytest.approx(0.7, abs=0.07)
    assert fitted.other_[0] == pytest.approx(0.0, abs=0.07)


def test_the_search_takes_families_of_times_and_they_must_beat_the_logistic_one():
    names = ("age_years", "phq9_baseline")
    offer = Offer(names, names, names=("logistic_core", "cox", "survival_boosting"))
    choice = search(_rows(900, slope=0.7), offer, 6, 7)
    assert {trial.family for trial in choice.trials} == set(offer.names)
    assert choice.contest.complex_family in ("cox", "survival_boosting")
    assert choice.chosen.family == "logistic_core" or choice.contest.gain.low > 0
    again = search(_rows(900, slope=0.7), offer, 6, 7)
    assert again == choice


@pytest.mark.parametrize("name", ["cox", "survival_boosting"])
def test_a_family_of_times_is_registered_loaded_and_refitted(name, tmp_path):
    from dataclasses import dataclass

    from clinical_lakehouse.runtime import tracking
    from clinical_lakehouse.training.search import fit_family

    @dataclass(frozen=True)
    class Place:
        root: object = tmp_path
        catalog: None = None

    @dataclass(frozen=True)
    class Asked:
        lake: Place = Place()

    offer = Offer(("age_years",), ("age_years",), names=("logistic_core", name))
    family, params = (
        offer.families[-1],
        {"cox": {"penalizer": 0.01}}.get(
            name, {"intervals": 4, "max_iter": 20, "learning_rate": 0.1, "min_samples_leaf": 40}
        ),
    )
    rows = _rows(500, slope=0.7)
    model = fit_family(family, params, ["age_years"], 7)(rows)
    example = rows[["age_years"]]
    trained = tracking.Trained(model, example, {}, {}, trusted_types=tuple(own_types(model)))
    made = tracking.register(Asked(), "timed", "digest", trained)
    loaded, kinds = tracking.load_version(Place(), "timed", made.version)
    np.testing.assert_array_equal(loaded.predict_proba(example), model.predict_proba(example))
    assert list(kinds) == ["age_years"]
    again = refit(loaded, rows, ["age_years"])
    np.testing.assert_allclose(again.predict_proba(example), model.predict_proba(example))
