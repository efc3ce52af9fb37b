"""Calibration figures against scikit-learn, an independent optimiser and hand computation."""

import numpy as np
import pytest
from scipy import optimize, special
from sklearn import metrics

from clinical_lakehouse.methods import calibration


def _sample(seed: int, slope: float, shift: float, rows: int = 400):
    draws = np.random.default_rng(seed)
    line = draws.normal(-1.5, 1, rows)
    outcomes = draws.random(rows) < special.expit(shift + slope * line)
    return outcomes, special.expit(line)


def _maximum_likelihood(outcomes, line, with_slope: bool):
    sign = np.where(outcomes, 1.0, -1.0)

    def loss(p):
        return np.logaddexp(0, -sign * (p[0] + (p[1] if with_slope else 1.0) * line)).sum()

    start = [0.0, 1.0] if with_slope else [0.0]
    options = {"xatol": 1e-9, "fatol": 1e-12, "maxiter": 10_000}
    return optimize.minimize(loss, start, method="Nelder-Mead", options=options).x


def test_brier_score_equals_scikit_learn():
    outcomes, risks = _sample(1, 1, 0)
    assert calibration.brier(outcomes, risks) == pytest.approx(
        metrics.brier_score_loss(outcomes, risks), abs=1e-15
    )


def test_scaled_brier_is_zero_for_the_prevalence_and_one_for_the_outcome():
    outcomes = np.array([1, 0, 0, 0, 1, 0])
    assert calibration.scaled_brier(outcomes, np.full(6, 1 / 3)) == pytest.approx(0, abs=1e-12)
    assert calibration.scaled_brier(outcomes, outcomes) == 1
    assert calibration.scaled_brier([0, 0], [0.1, 0.2]) is None


def test_recalibration_equals_an_independent_optimiser():
    outcomes, risks = _sample(2, 0.6, 0.4)
    line = special.logit(risks)
    found = calibration.recalibration(outcomes, risks)
    intercept, slope = _maximum_likelihood(outcomes, line, with_slope=True)
    assert found.intercept.value == pytest.approx(intercept, abs=1e-5)
    assert found.slope.value == pytest.approx(slope, abs=1e-5)
    (large,) = _maximum_likelihood(outcomes, line, with_slope=False)
    assert found.in_the_large.value == pytest.approx(large, abs=1e-5)


def test_recalibration_errors_come_from_the_curvature_of_the_likelihood():
    outcomes, risks = _sample(3, 1, 0)
    line = special.logit(risks)
    found = calibration.recalibration(outcomes, risks)

    def loss(a, b):
        return np.logaddexp(0, np.where(outcomes, -1, 1) * (a + b * line)).sum()

    a, b, step = found.intercept.value, found.slope.value, 1e-3
    hessian = np.array(
        [
            [_second(loss, a, b, step, (1, 0), (1, 0)), _second(loss, a, b, step, (1, 0), (0, 1))],
            [_second(loss, a, b, step, (0, 1), (1, 0)), _second(loss, a, b, step, (0, 1), (0, 1))],
        ]
    )
    errors = np.sqrt(np.diag(np.linalg.inv(hessian)))
    for interval, error in zip((found.intercept, found.slope), errors, strict=True):
        assert (interval.high - interval.low) / 2 / 1.959964 == pytest.approx(error, rel=1e-3)


def _second(loss, a, b, h, u, v) -> float:
    """Mixed second derivative by central differences."""
    total = 0.0
    for i in (1, -1):
        for j in (1, -1):
            total += i * j * loss(a + h * (i * u[0] + j * v[0]), b + h * (i * u[1] + j * v[1]))
    return total / (4 * h * h)


def test_copied_rows_of_a_person_do_not_narrow_the_clustered_interval():
    outcomes, risks = _sample(4, 1, 0)
    people = np.arange(outcomes.size)
    once = calibration.recalibration(outcomes, risks, clusters=people).slope
    copied = calibration.recalibration(
        np.repeat(outcomes, 5), np.repeat(risks, 5), clusters=np.repeat(people, 5)
    ).slope
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high), abs=1e-6)


def test_slope_is_about_one_for_true_risks_and_half_for_doubled_logits():
    outcomes, risks = _sample(5, 1, 0, rows=40_000)
    assert calibration.recalibration(outcomes, risks).slope.value == pytest.approx(1, abs=0.06)
    doubled = special.expit(2 * special.logit(risks))
    assert calibration.recalibration(outcomes, doubled).slope.value == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("outcomes", "risks"),
    [([0, 0, 0], [0.1, 0.2, 0.3]), ([0, 1, 0], [0.2] * 3), ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])],
)
def test_one_class_constant_risk_or_separation_has_no_recalibration(outcomes, risks):
    assert calibration.recalibration(outcomes, risks) is None


def test_curve_bins_hold_all_rows_and_their_own_rates():
    outcomes, risks = _sample(6, 1, 0)
    bins = calibration.curve(outcomes, risks, bins=5)
    assert sum(one.row_count for one in bins) == 400
    assert sum(one.event_count for one in bins) == outcomes.sum()
    lowest = risks <= np.quantile(risks, 0.2)
    assert bins[0].predicted == pytest.approx(risks[lowest].mean())
    assert bins[0].observed.value == pytest.approx(outcomes[lowest].mean())


def test_equal_risks_stay_in_one_bin():
    bins = calibration.curve([0, 1, 0, 1, 1, 0], [0.2, 0.2, 0.2, 0.2, 0.7, 0.7], bins=4)
    assert [(one.predicted, one.row_count) for one in bins] == [
        (pytest.approx(0.2), 4),
        (pytest.approx(0.7), 2),
    ]


def test_observed_over_expected_has_the_exact_poisson_interval():
    # 5 observed, 4 expected; exact limits of 5 are 1.623 and 11.668 (Garwood 1936).
    found = calibration.observed_expected([1] * 5 + [0] * 35, [0.1] * 40)
    expected = (5 / 4, 1.623 / 4, 11.668 / 4)
    assert (found.value, found.low, found.high) == pytest.approx(expected, abs=2e-4)


def test_observed_expected_of_people_is_wider_by_as_much_as_they_are_repeated():
    draws = np.random.default_rng(2)
    risks = draws.uniform(0.05, 0.4, 400)
    events = draws.random(400) < risks
    once = calibration.observed_expected(events, risks, clusters=np.arange(400))
    exact = calibration.observed_expected(events, risks)
    assert once.value == exact.value == pytest.approx(events.sum() / risks.sum())
    # Poisson's interval counts no deaths among the living: it is a little wider.
    assert 0.75 < (once.high - once.low) / (exact.high - exact.low) < 1
    many = [np.repeat(one, 5) for one in (events, risks, np.arange(400))]
    repeated = calibration.observed_expected(many[0], many[1], clusters=many[2])
    assert (repeated.low, repeated.high) == pytest.approx((once.low, once.high))
