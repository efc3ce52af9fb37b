"""CBPE against its definition, against outcomes drawn from the risks, and where it is blind."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

from clinical_lakehouse.methods.performance_estimation import (
    Reference,
    density_ratio,
    estimated_auroc,
    estimated_auroc_shifted,
    shifted_risks,
)


def _risks(seed, size=400):
    return np.random.default_rng(seed).beta(1.5, 6, size).round(3)


def test_it_is_the_mean_over_all_pairs():
    risk = _risks(1, 60)
    pairs = risk[:, None] * (1 - risk)[None, :]
    np.fill_diagonal(pairs, 0)
    wins = (risk[:, None] > risk[None, :]) + (risk[:, None] == risk[None, :]) / 2
    assert estimated_auroc(risk, risk).value == pytest.approx((pairs * wins).sum() / pairs.sum())


def test_it_is_nannymls_formula_less_the_pairs_of_a_row_with_itself():
    # NannyML's documentation (How it works: CBPE): expected true and false positives at each
    # threshold from sums of risks above it, the area by trapezoids. A row there is also its own
    # pair, a tie, which adds half of sum p(1 - p) to the wins and the whole of it to the pairs.
    risk = _risks(3, 200)
    sums = [
        (risk[risk >= level].sum(), (1 - risk)[risk >= level].sum())
        for level in np.unique(risk)[::-1]
    ]
    hits, false = np.array([(0.0, 0.0), *sums]).T
    x, y = false / (1 - risk).sum(), hits / risk.sum()
    area = ((y[1:] + y[:-1]) / 2 * np.diff(x)).sum()
    pairs, own = risk.sum() * (1 - risk).sum(), (risk * (1 - risk)).sum()
    expected = (area * pairs - own / 2) / (pairs - own)
    assert estimated_auroc(risk, risk).value == pytest.approx(expected)


def _people(draws, size, share, truth=None):
    """A risk that knows x alone; for the share of people with z it tells little of what it says."""
    x, z = draws.normal(size=size), draws.random(size) < share
    risk = expit(-1.5 + 1.4 * x)
    true = np.where(z, expit(-1.5 + 0.3 * x), risk) if truth is None else truth(x)
    return risk, draws.random(size) < true, np.column_stack([x, z.astype(float)])


def test_density_ratios_are_those_of_two_normal_samples():
    draws = np.random.default_rng(5)
    was, now = draws.normal(0, 1, 40_000), draws.normal(0.5, 1, 20_000)
    found = density_ratio(was[:, None], now[:, None])
    assert found == pytest.approx(np.exp(0.5 * was - 0.125), rel=0.15)
    missing = np.where(draws.random(40_000) < 0.2, np.nan, was)
    assert np.isfinite(density_ratio(missing[:, None], now[:, None])).all()


def test_shifted_risks_are_those_of_a_weighted_logistic_regression():
    draws = np.random.default_rng(6)
    risk, event, inputs = _people(draws, 3000, 0.1)
    now = _people(draws, 3000, 0.6)
    weights, line = density_ratio(inputs, now[2]), logit(risk)

    def loss(beta):
        fit = beta[0] + beta[1] * line
        return (weights * (np.logaddexp(0, fit) - event * fit)).sum()

    beta = minimize(loss, [0, 1], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-9}).x
    found = shifted_risks(now[0], now[2], Reference(risk, event, inputs))
    assert found == pytest.approx(expit(beta[0] + beta[1] * logit(now[0])), abs=5e-4)


def test_where_the_people_have_changed_the_weighted_estimate_is_right_and_the_plain_one_is_not():
    plain, shifted = [], []
    for seed in range(12):
        draws = np.random.default_rng(seed)
        reference = Reference(*_people(draws, 6000, 0.1))
        risk, event, inputs = _people(draws, 6000, 0.7)
        true = roc_auc_score(event, risk)
        plain.append(estimated_auroc(risk, risk).value - true)
        shifted.append(estimated_auroc_shifted(risk, risk, inputs, reference).value - true)
    assert np.mean(plain) > 0.1
    assert abs(np.mean(shifted)) < 0.03


def test_the_weighted_estimate_cannot_see_concept_drift_either():
    draws = np.random.default_rng(7)
    reference = Reference(*_people(draws, 6000, 0.0))
    risk, event, inputs = _people(draws, 6000, 0.0, lambda x: expit(-1.5 - 1.4 * x))
    assert roc_auc_score(event, risk) < 0.3
    assert estimated_auroc_shifted(risk, risk, inputs, reference).value > 0.7


def test_a_reference_of_other_people_or_one_class_says_nothing():
    draws = np.random.default_rng(8)
    risk, event, inputs = _people(draws, 300, 0.1)
    assert shifted_risks(risk, inputs + 9, Reference(risk, event, inputs)) is None
    assert shifted_risks(risk, inputs, Reference(risk, np.zeros(300, bool), inputs)) is None
    assert shifted_risks([], inputs[:0], Reference(risk, event, inputs)) is None


def test_what_comes_lies_within_the_limits_as_often_as_stated():
    draws, covered = np.random.default_rng(2), 0
    for seed in range(300):
        risk = _risks(seed)
        found = estimated_auroc(risk, risk)
        covered += found.low <= roc_auc_score(draws.random(risk.size) < risk, risk) <= found.high
    assert 0.92 <= covered / 300 <= 0.99


def test_it_cannot_see_concept_drift():
    risk, draws = _risks(4, 4000), np.random.default_rng(4)
    turned = draws.random(4000) < risk[::-1]
    assert roc_auc_score(turned, risk) < 0.55
    assert estimated_auroc(risk, risk).value > 0.65


def test_without_expected_events_there_is_none():
    assert estimated_auroc([0.1, 0.2], [0, 0]) is None
    assert estimated_auroc([], []) is None
