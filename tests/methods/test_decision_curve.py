"""Net benefit by hand and at its known limits."""

import numpy as np
import pytest

from clinical_lakehouse.methods.decision_curve import net_benefit, treat_all


def test_net_benefit_is_true_less_weighted_false_positives():
    # Vickers and Elkin 2006: TP/n - FP/n * pt/(1-pt). At 0.3: TP 2, FP 1, n 5, odds 3/7.
    outcomes, risks = [1, 1, 0, 0, 0], [0.8, 0.3, 0.5, 0.2, 0.1]
    assert net_benefit(outcomes, risks, [0.3])[0] == pytest.approx(2 / 5 - 1 / 5 * 3 / 7)
    assert net_benefit(outcomes, risks, [0.6])[0] == pytest.approx(1 / 5)


def test_net_benefit_equals_counting_at_every_threshold():
    draws = np.random.default_rng(1)
    outcomes, risks = draws.random(200) < 0.2, np.round(draws.random(200), 2)
    limits = np.linspace(0.01, 0.99, 99)
    counted = [
        ((risks >= t) & outcomes).mean() - ((risks >= t) & ~outcomes).mean() * t / (1 - t)
        for t in limits
    ]
    assert net_benefit(outcomes, risks, limits) == pytest.approx(counted)


def test_treating_all_equals_a_model_that_chooses_everybody_and_is_zero_at_the_prevalence():
    outcomes = [1, 0, 0, 0]
    assert treat_all(outcomes, [0.1, 0.25]) == pytest.approx(
        net_benefit(outcomes, [1] * 4, [0.1, 0.25])
    )
    assert treat_all(outcomes, [0.25])[0] == pytest.approx(0)
