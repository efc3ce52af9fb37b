"""CBPE against its definition, against outcomes drawn from the risks, and where it is blind."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from clinical_lakehouse.methods.performance_estimation import estimated_auroc


def _risks(seed, size=400):
    return np.random.default_rng(seed).beta(1.5, 6, size).round(3)


def test_it_is_the_mean_over_all_pairs():
    risk = _risks(1, 60)
    pairs = risk[:, None] * (1 - risk)[None, :]
    np.fill_diagonal(pairs, 0)
    wins = (risk[:, None] > risk[None, :]) + (risk[:, None] == risk[None, :]) / 2
    assert estimated_auroc(risk, risk).value == pytest.approx((pairs * wins).sum() / pairs.sum())


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
