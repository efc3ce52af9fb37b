"""A hundred worlds in which acting on a good model spoils its score; some in which it is bad."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from clinical_lakehouse.methods import discrimination
from clinical_lakehouse.methods.intervals import Interval
from clinical_lakehouse.methods.label_maturity import known_weights, maturity
from clinical_lakehouse.methods.weighted_performance import (
    weighted_auroc,
    weighted_observed_expected,
)
from clinical_lakehouse.monitoring.intervention import (
    ALL,
    DRIFT,
    HELD_OUT,
    INTERVENTION,
    STABLE,
    TOO_FEW,
    UNCLEAR,
    UNIDENTIFIED,
    UNTREATED,
    Acted,
    Limits,
    performance,
    verdict,
)

LIMITS = Limits(Interval(0.781, 0.775, 0.787), 0.02, 0.05)
WORLDS = 100


def _world(seed, *, share=0.8, reversed_=0.0, subjects=4000, held_out=0.0):
    """80% of the top decile treated, their events halved: the issue's recipe."""
    draws = np.random.default_rng(seed)
    signal = draws.normal(size=subjects)
    risk = expit(-1.75 + 1.23 * signal)
    truth = expit(-1.75 + 1.23 * (1 - reversed_) * signal + reversed_)
    event = draws.random(subjects) < truth
    lot = draws.random(subjects) < held_out
    treated = (risk >= np.quantile(risk, 0.9)) & (draws.random(subjects) < share) & ~lot
    spared = treated & (draws.random(subjects) < 0.5)
    acted = Acted(treated, np.full(subjects, np.nan), lot)
    return event, event & ~spared, risk, acted


def _figures(seed, **more):
    _, seen, risk, acted = _world(seed, **more)
    return performance(seen, risk, risk, acted, 0.95), acted


def _means(worlds, population):
    pairs = [(f[population].auroc.value, f[population].observed_expected.value) for f in worlds]
    return np.mean(pairs, axis=0)


def test_treatment_spoils_the_score_of_all_and_not_that_of_the_untreated_weighted():
    worlds = [_figures(seed)[0] for seed in range(WORLDS)]
    true = np.mean([roc_auc_score(_world(s)[0], _world(s)[2]) for s in range(WORLDS)])
    assert true == pytest.approx(0.781, abs=0.006)
    auroc, ratio = _means(worlds, ALL)
    assert (auroc, ratio) == (pytest.approx(0.739, abs=0.006), pytest.approx(0.88, abs=0.01))
    auroc, ratio = _means(worlds, UNTREATED)
    assert (auroc, ratio) == (pytest.approx(0.784, abs=0.006), pytest.approx(1.007, abs=0.01))


def test_the_naive_alarm_fires_and_the_verdict_is_intervention():
    worlds = [_figures(seed) for seed in range(WORLDS)]
    ratios = [found[ALL].observed_expected.value for found, _ in worlds]
    naive = sum(abs(ratio - 1) > 0.05 for ratio in ratios)
    told = [verdict(found, LIMITS, bool(acted.is_treated.any())) for found, acted in worlds]
    assert naive >= 95
    assert told.count(DRIFT) <= 5
    assert told.count(INTERVENTION) >= 80
    assert told.count(UNIDENTIFIED) == 0


def test_a_concept_drift_at_the_same_time_is_still_found():
    told = [
        verdict(_figures(seed, reversed_=0.4)[0], LIMITS, True) for seed in range(30)
    ]  # fmt: skip
    assert told.count(DRIFT) >= 28


def test_without_treatment_a_true_model_is_stable_and_a_false_one_drifts():
    calm = [verdict(_figures(seed, share=0)[0], LIMITS, False) for seed in range(30)]
    assert calm.count(STABLE) + calm.count(UNCLEAR) >= 28
    assert calm.count(STABLE) >= 20
    assert verdict(_figures(1, share=0, subjects=8)[0], LIMITS, False) == TOO_FEW
    assert verdict(_figures(1, share=0, reversed_=0.4)[0], LIMITS, False) == DRIFT


def test_where_every_high_score_is_acted_on_nobody_can_tell_without_a_hold_out():
    found, _ = _figures(3, share=1.0)
    assert UNTREATED not in found
    assert verdict(found, LIMITS, True) == UNIDENTIFIED
    found, _ = _figures(3, share=1.0, held_out=0.2)
    assert found[HELD_OUT].observed_expected.low < 1 < found[HELD_OUT].observed_expected.high
    assert verdict(found, LIMITS, True) == INTERVENTION


def test_with_a_hold_out_a_concept_drift_is_found_though_every_other_high_score_is_acted_on():
    worlds = [_figures(seed, share=1.0, held_out=0.2, reversed_=0.4)[0] for seed in range(20)]
    assert [verdict(found, LIMITS, True) for found in worlds].count(DRIFT) >= 18
    calm = [_figures(seed, share=1.0, held_out=0.2)[0] for seed in range(20)]
    assert [verdict(found, LIMITS, True) for found in calm].count(DRIFT) <= 1


def test_weighted_figures_equal_independent_ones():
    draws = np.random.default_rng(2)
    scores, weights = draws.random(400).round(2), draws.integers(1, 5, 400).astype(float)
    events = draws.random(400) < scores
    found = weighted_auroc(events, scores, weights)
    expected = roc_auc_score(events, scores, sample_weight=weights)
    assert found.value == pytest.approx(expected, abs=1e-12)
    plain = weighted_auroc(events, scores, np.ones(400))
    delong = discrimination.auroc(events, scores)
    assert plain.value == pytest.approx(delong.value, abs=1e-12)
    assert plain.low == pytest.approx(delong.low, abs=1e-3)
    ratio = weighted_observed_expected(events, scores, weights, weights)
    assert ratio.value == pytest.approx((weights * events).sum() / (weights * scores).sum())
    assert weighted_auroc(np.ones(5, bool), np.ones(5), np.ones(5)) is None
    assert weighted_observed_expected([0], [0], [1], [1]) is None


def test_weights_are_the_inverse_of_kaplan_meiers_chance_of_being_followed():
    # By hand: censored at 1 (of 5), event at 2, censored at 2 (of 3), event at 3, known at 4.
    weights = known_weights([1, 2, 2, 3, 4], [False, True, False, True, True])
    to_3 = 0.8 * (1 - 1 / 3)
    assert weights == pytest.approx([0, 1 / 0.8, 0, 1 / to_3, 1 / to_3])
    assert known_weights([3, 3, 9], [True] * 3) == pytest.approx([1, 1, 1])


def test_early_bad_outcomes_do_not_bias_at_any_look():
    # Events show within 5 days, everything else is known at 90: the share of those known is wrong.
    draws = np.random.default_rng(8)
    began, risk = np.sort(draws.integers(0, 120, 3000)), draws.beta(2, 8, 3000)
    event, wait = draws.random(3000) < risk, draws.integers(1, 6, 3000)
    for look in range(20, 220, 20):
        here = began < look
        age = look - began[here]
        known = np.where(event[here], wait[here] <= age, age >= 90)
        followed = np.where(known, np.where(event[here], wait[here], 90), age)
        seen, weights = event[here] & known, known_weights(followed, known)
        ratio = weighted_observed_expected(seen, risk[here], weights, np.ones(here.sum()), 0.99)
        assert ratio.low < 1 < ratio.high, look
        if look < 90:
            assert seen.sum() / max(known.sum(), 1) == 1, "naively all outcomes are bad"
    counts = maturity([True, True, False], [True, False, False], [90, 40, 3])
    assert (counts.due, counts.arrived, counts.overdue, counts.censored) == (2, 1, 1, 1)
