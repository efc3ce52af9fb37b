"""Time to event against published fits of public data, lifelines, and a planted truth."""

import numpy as np
import pandas as pd
import pytest
from lifelines import AalenJohansenFitter, KaplanMeierFitter
from lifelines.utils import concordance_index

from clinical_lakehouse.methods.calibration import brier
from clinical_lakehouse.methods.survival import (
    brier_at,
    cumulative_incidence,
    harrell_c,
    kaplan_meier,
    log_rank,
    uno_c,
)


@pytest.fixture
def lung(public_data):
    return pd.read_csv(public_data("trial_survival") / "lung.csv")


def test_median_of_the_lung_data_is_the_published_one(lung):
    """Therneau and Grambsch's lung data: median 310 days, 95% limits 285 and 363 (R's survfit with
    conf.type log gives these; on the log-log scale the limits are 284 and 361)."""
    curve = kaplan_meier(lung["time"], lung["status"] == 1)
    assert curve.times[curve.values <= 0.5][0] == 310
    limits = [curve.times[side <= 0.5][0] for side in (curve.low, curve.high)]
    assert limits == [284, 361]


def test_curve_and_limits_are_lifelines(lung):
    curve = kaplan_meier(lung["time"], lung["status"] == 1)
    fitted = KaplanMeierFitter().fit(lung["time"], lung["status"] == 1)
    theirs = fitted.survival_function_.iloc[:, 0].loc[curve.times]
    assert curve.values == pytest.approx(theirs.to_numpy())
    limits = fitted.confidence_interval_.loc[curve.times].to_numpy()
    assert curve.low[:-1] == pytest.approx(limits[:-1, 0], abs=1e-9)
    assert curve.high[:-1] == pytest.approx(limits[:-1, 1], abs=1e-9)


def test_log_rank_of_men_and_women_is_the_published_one(lung):
    """R's survdiff(Surv(time, status) ~ sex, lung): 10.3 on 1 degree of freedom, p = 0.001."""
    found = log_rank(lung["time"], lung["status"] == 1, lung["sex"])
    assert round(found.chi_square, 1) == 10.3 and found.degrees == 1
    assert round(found.p_value, 3) == 0.001


def test_log_rank_of_hormone_therapy_is_the_published_one(public_data):
    """German Breast Cancer Study Group 2 (Schumacher et al. 1994): chi-square 8.56, p = 0.003."""
    data = pd.read_csv(public_data("trial_survival") / "gbsg2.csv")
    found = log_rank(data["time"], data["cens"] == 1, data["horTh"])
    assert found.chi_square == pytest.approx(8.56, abs=0.005)
    assert found.p_value == pytest.approx(0.0034, abs=5e-5)


def test_actg175_arms_are_those_of_the_trial(public_data):
    """Hammer et al., NEJM 1996;335:1081: zidovudine alone is worse than each other treatment, with
    p < 0.001; 2,139 people, 521 of them with an event in the public copy."""
    data = pd.read_csv(public_data("trial_survival") / "ACTG175.csv")
    events, alone = data["cens"] == 1, data["treat"] == 0
    assert (len(data), int(events.sum())) == (2139, 521)
    assert log_rank(data["days"], events, alone).p_value < 0.001
    curves = [kaplan_meier(data["days"][one], events[one]) for one in (alone, ~alone)]
    assert curves[0].at(900) < curves[1].at(900) - 0.08


def test_death_that_competes_is_overstated_by_kaplan_meier_by_the_planted_amount():
    """Dropout at rate 1, death at rate 1.5: by time 1 the truth is 0.4 (1 - exp(-2.5)) = 0.367, and
    1 - Kaplan-Meier tends to 1 - exp(-1) = 0.632."""
    draws = np.random.default_rng(1)
    times = draws.exponential([[1.0], [1 / 1.5], [5.0]], (3, 20_000))
    first, causes = times.min(axis=0), np.array([1, 2, 0])[times.argmin(axis=0)]
    own = cumulative_incidence(first, causes, 1).at(1.0)
    naive = 1 - kaplan_meier(first, causes == 1).at(1.0)
    assert own == pytest.approx(0.4 * (1 - np.exp(-2.5)), abs=0.01)
    assert naive == pytest.approx(1 - np.exp(-1), abs=0.015)
    assert naive - own == pytest.approx(0.265, abs=0.02)


def test_incidence_and_its_limits_are_lifelines():
    draws = np.random.default_rng(2)
    times, causes = draws.exponential(1, 300), draws.integers(0, 3, 300)
    curve = cumulative_incidence(times, causes, 1)
    fitted = AalenJohansenFitter().fit(times, causes, event_of_interest=1)
    theirs = fitted.cumulative_density_.iloc[:, 0].loc[curve.times].to_numpy()
    assert curve.values == pytest.approx(theirs)
    variance = fitted.variance_.loc[curve.times[:200]].to_numpy()
    ours = ((curve.high - curve.values) / 1.959964)[:200]
    assert ours == pytest.approx(np.sqrt(variance), rel=1e-3)


def test_one_cause_alone_is_kaplan_meier(lung):
    died = lung["status"] == 1
    curve = cumulative_incidence(lung["time"], died.astype(int), 1)
    assert curve.values == pytest.approx(1 - kaplan_meier(lung["time"], died).values)


def test_concordance_is_lifelines_and_unos_is_the_same_without_censoring(lung):
    died = lung["status"] == 1
    ours = harrell_c(lung["time"], died, lung["age"])
    assert ours == pytest.approx(concordance_index(lung["time"], -lung["age"], died))
    everybody = np.ones(len(lung), bool)
    assert uno_c(lung["time"], everybody, lung["age"]) == pytest.approx(
        harrell_c(lung["time"], everybody, lung["age"])
    )


def test_unos_concordance_does_not_move_with_the_censoring_as_harrells_does():
    draws = np.random.default_rng(3)
    x = draws.normal(size=4000)
    times = draws.weibull(1 / np.exp(0.9 * x**3 / 4), 4000)  # no proportional hazards
    truth = uno_c(times, np.ones(4000, bool), x, 1.5)
    seen, censored = np.minimum(times, c := draws.exponential(0.6, 4000)), times > c
    assert uno_c(seen, ~censored, x, 1.5) == pytest.approx(truth, abs=0.02)
    drift = abs(harrell_c(seen, ~censored, x) - truth)
    assert drift > abs(uno_c(seen, ~censored, x, 1.5) - truth)


def test_brier_score_at_a_horizon_is_briers_without_censoring_and_not_moved_by_it():
    draws = np.random.default_rng(4)
    rate = np.exp(draws.normal(0, 0.7, 6000))
    times = draws.exponential(1 / rate)
    risk = 1 - np.exp(-rate)
    whole = brier_at(1.0, times, np.ones(6000, int), risk)
    assert whole == pytest.approx(brier(times <= 1, risk))
    seen = np.minimum(times, cut := draws.exponential(1.5, 6000))
    assert brier_at(1.0, seen, (times <= cut).astype(int), risk) == pytest.approx(whole, abs=0.01)


def test_without_events_or_groups_there_is_nothing_to_say():
    assert log_rank([1, 2], [0, 0], ["a", "b"]) is None
    assert log_rank([1, 2], [1, 1], ["a", "a"]) is None
    assert harrell_c([1, 2], [0, 0], [0.1, 0.2]) is None
    assert kaplan_meier([1, 2], [0, 0]).times.size == 0
    assert kaplan_meier([1, 2], [0, 0]).at(5, 1.0) == 1.0
