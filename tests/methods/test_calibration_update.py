"""The closed test of updates: its tests against a general optimiser, its level, its advice."""

import numpy as np
import pytest
from scipy import optimize, stats
from scipy.special import expit, logit

from clinical_lakehouse.methods.calibration_update import (
    INTERCEPT,
    NONE,
    REFIT,
    SLOPE,
    closed_test,
)


def _world(seed, rows=1500, shift=0.0, slope=1.0):
    draws = np.random.default_rng(seed)
    line = draws.normal(-1.5, 1.0, rows)
    return draws.random(rows) < expit(shift + slope * line), expit(line), line


def test_p_values_are_those_of_likelihood_ratio_tests():
    events, risks, line = _world(3, shift=0.1, slope=1.1)
    covariate = np.random.default_rng(4).normal(size=events.size)
    found = closed_test(events, risks, covariate)

    def likelihood(design, offset=0.0):
        def loss(beta):
            whole = design @ beta + offset
            return (np.logaddexp(0, whole) - events * whole).sum()

        return -optimize.minimize(loss, np.zeros(design.shape[1]), tol=1e-12).fun

    ones = np.ones_like(line)
    full = likelihood(np.column_stack([ones, line, covariate]))
    original = float((events * np.log(risks) + (1 - events) * np.log(1 - risks)).sum())
    steps = [
        (original, 3),
        (likelihood(ones[:, None], line), 2),
        (likelihood(np.c_[ones, line]), 1),
    ]
    expected = [stats.chi2.sf(2 * (full - one), df) for one, df in steps]
    assert found.p_values == pytest.approx(expected[: len(found.p_values)], rel=1e-4)


def test_a_true_model_is_left_alone_but_in_five_of_a_hundred():
    left = [closed_test(*_world(seed)[:2]).update == NONE for seed in range(400)]
    assert 0.92 <= np.mean(left) <= 0.98


@pytest.mark.parametrize(
    ("more", "update"),
    [({"shift": 0.5}, INTERCEPT), ({"slope": 0.5}, SLOPE), ({"slope": -1.0, "shift": -3}, REFIT)],
)
def test_each_fault_gets_the_least_update_that_mends_it(more, update):
    said = [closed_test(*_world(seed, **more)[:2]).update for seed in range(40)]
    assert said.count(update) >= 34


def test_an_effect_of_a_covariate_that_changed_needs_a_refit():
    draws = np.random.default_rng(99)
    events, risks, line = _world(9)
    covariate = draws.normal(size=line.size)
    events = draws.random(line.size) < expit(logit(risks) + covariate)
    assert closed_test(events, risks, covariate).update == REFIT


def test_with_few_events_there_is_no_advice():
    assert closed_test([1] * 9 + [0] * 90, np.linspace(0.1, 0.9, 99)) is None
    assert closed_test([1, 0] * 50, np.full(100, 0.5)) is None
