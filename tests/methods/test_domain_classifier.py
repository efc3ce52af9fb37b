"""A joint shift is seen where every margin is silent, and chance is not called one."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from clinical_lakehouse.methods import domain_classifier
from clinical_lakehouse.methods.domain_classifier import separation


def _world(seed, correlation, size=300):
    draws, shape = np.random.default_rng(seed), np.eye(4)
    was = draws.multivariate_normal(np.zeros(4), shape, size)
    shape[0, 1] = shape[1, 0] = correlation
    now = draws.multivariate_normal(np.zeros(4), shape, size)
    return np.vstack([was, now]), np.arange(2 * size) >= size, np.arange(2 * size)


def _same_people(seed, size=200):
    draws = np.random.default_rng(seed)
    base = draws.normal(size=(size, 3))
    both = [base + 0.3 * draws.normal(size=(size, 3)) for _ in range(2)]
    return np.vstack(both), np.arange(2 * size) >= size, np.tile(np.arange(size), 2)


def _rate(worlds):
    return np.mean([separation(*world, draws=99).p_value <= 0.05 for world in worlds])


def test_a_change_of_correlation_alone_is_found():
    assert _rate(_world(seed, 0.5) for seed in range(20)) >= 0.9


def test_without_a_change_few_windows_are_called():
    assert _rate(_world(seed, 0) for seed in range(40)) <= 0.125
    assert _rate(_same_people(seed) for seed in range(40)) <= 0.125


@pytest.mark.soak
def test_four_hundred_windows_without_a_change_keep_the_rate():
    assert 0.03 <= _rate(_world(seed, 0) for seed in range(400)) <= 0.065
    assert 0.03 <= _rate(_same_people(seed) for seed in range(400)) <= 0.065


def test_areas_are_those_of_scikit_learn():
    draws = np.random.default_rng(1)
    scores, labels = draws.normal(size=(50, 3)), draws.integers(0, 2, (50, 3)).astype(float)
    found = domain_classifier._areas(scores, labels)
    expected = [roc_auc_score(labels[:, n], scores[:, n]) for n in range(3)]
    assert found == pytest.approx(expected)


def test_missing_values_that_come_with_the_change_separate_and_few_people_are_not_judged():
    rows, now, who = _world(3, 0)
    rows[now, 2] = np.where(np.random.default_rng(2).random(now.sum()) < 0.5, np.nan, rows[now, 2])
    assert separation(rows, now, who).p_value < 0.01
    assert separation(rows[290:310], now[290:310], who[290:310]) is None
