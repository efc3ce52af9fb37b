"""AUROC, its variance and average precision against independent computations."""

import numpy as np
import pytest
from sklearn import metrics

from clinical_lakehouse.methods import discrimination


def _sample(seed: int, rows: int = 300, ties: bool = True) -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.default_rng(seed)
    outcomes = draws.random(rows) < 0.3
    scores = draws.normal(outcomes * 0.8, 1)
    return outcomes, np.round(scores, 1) if ties else scores


def _error(found) -> float:
    """Standard error back from the logit limits."""
    width = np.log(found.high / (1 - found.high)) - np.log(found.low / (1 - found.low))
    return width / (2 * 1.959964) * found.value * (1 - found.value)


def _placements(outcomes, scores):
    """Placement values from all pairs, the definition of DeLong 1988, section 2."""
    pairs = scores[outcomes][:, None] - scores[~outcomes][None, :]
    wins = (pairs > 0) + 0.5 * (pairs == 0)
    return wins.mean(), wins.mean(axis=1), wins.mean(axis=0)


@pytest.mark.parametrize("ties", [True, False])
def test_auroc_and_average_precision_equal_scikit_learn(ties):
    outcomes, scores = _sample(1, ties=ties)
    assert discrimination.auroc(outcomes, scores).value == pytest.approx(
        metrics.roc_auc_score(outcomes, scores), abs=1e-12
    )
    assert discrimination.average_precision(outcomes, scores) == pytest.approx(
        metrics.average_precision_score(outcomes, scores), abs=1e-12
    )


def test_auroc_of_the_ct_readings_equals_hanley_and_mcneil():
    # Hanley and McNeil 1982 (Radiology 143:29), table I and text: area 0.893, error 0.032 by their
    # approximation; DeLong's own estimate differs from it in the third decimal.
    normal, abnormal = [33, 6, 6, 11, 2], [3, 2, 2, 11, 33]
    scores = np.repeat([1, 2, 3, 4, 5] * 2, normal + abnormal)
    outcomes = np.repeat([False, True], [sum(normal), sum(abnormal)])
    found = discrimination.auroc(outcomes, scores)
    assert found.value == pytest.approx(0.893, abs=5e-4)
    assert _error(found) == pytest.approx(0.032, abs=0.003)


def test_delong_variance_equals_the_pairwise_definition():
    outcomes, scores = _sample(2)
    _, of_events, of_others = _placements(outcomes, scores)
    variance = of_events.var(ddof=1) / of_events.size + of_others.var(ddof=1) / of_others.size
    assert _error(discrimination.auroc(outcomes, scores)) == pytest.approx(variance**0.5, rel=1e-6)


def test_delong_test_equals_the_pairwise_definition():
    outcomes, first = _sample(3)
    second = first + np.random.default_rng(4).normal(0, 1, first.size)
    (area1, x1, y1), (area2, x2, y2) = (_placements(outcomes, s) for s in (first, second))
    variance = (x1 - x2).var(ddof=1) / x1.size + (y1 - y2).var(ddof=1) / y1.size
    found = discrimination.delong_test(outcomes, first, second)
    assert found.difference.value == pytest.approx(area1 - area2, abs=1e-12)
    half = (found.difference.high - found.difference.low) / 2
    assert half / 1.959964 == pytest.approx(variance**0.5, rel=1e-6)


def test_a_score_does_not_differ_from_itself():
    outcomes, scores = _sample(5)
    assert discrimination.delong_test(outcomes, scores, scores).p_value == 1


def test_clustered_variance_equals_obuchowskis_sums():
    draws = np.random.default_rng(6)
    people = np.repeat(np.arange(60), 5)
    outcomes = draws.random(300) < 0.3
    scores = np.round(draws.normal(outcomes * 0.8 + draws.normal(0, 1, 60)[people]), 1)
    area, of_events, of_others = _placements(outcomes, scores)
    m, n, clusters = of_events.size, of_others.size, range(60)
    x = np.array([of_events[people[outcomes] == k].sum() for k in clusters])
    y = np.array([of_others[people[~outcomes] == k].sum() for k in clusters])
    mk = np.array([(people[outcomes] == k).sum() for k in clusters])
    nk = np.array([(people[~outcomes] == k).sum() for k in clusters])
    i10, i01 = (mk > 0).sum(), (nk > 0).sum()
    s10 = i10 / ((i10 - 1) * m) * ((x - mk * area) ** 2).sum()
    s01 = i01 / ((i01 - 1) * n) * ((y - nk * area) ** 2).sum()
    s11 = 60 / 59 * ((x - mk * area) * (y - nk * area)).sum()
    variance = s10 / m + s01 / n + 2 * s11 / (m * n)
    found = discrimination.auroc(outcomes, scores, clusters=people)
    assert _error(found) == pytest.approx(variance**0.5, rel=1e-6)


def test_clustered_interval_covers_the_truth_where_the_plain_one_does_not():
    # 12 identical rows of each of 50 people: the plain interval takes them for 600 people.
    truth = 0.760250  # P(N(1, 1) > N(0, 1)) = Phi(1 / sqrt(2))
    hits = {"plain": 0, "clustered": 0}
    for seed in range(300):
        draws = np.random.default_rng(seed)
        outcome = np.repeat(np.arange(50) < 15, 12)
        score = np.repeat(draws.normal(np.arange(50) < 15, 1), 12)
        people = np.repeat(np.arange(50), 12)
        for name, groups in (("plain", None), ("clustered", people)):
            found = discrimination.auroc(outcome, score, clusters=groups)
            hits[name] += found.low <= truth <= found.high
    assert hits["clustered"] / 300 > 0.91
    assert hits["plain"] / 300 < 0.60


def test_limits_stay_between_zero_and_one():
    found = discrimination.auroc([1, 1, 0, 0, 0], [0.9, 0.4, 0.5, 0.1, 0.2])
    assert 0 < found.low < found.value < found.high < 1


def test_perfect_ranking_gets_the_exact_limit_of_its_smaller_class():
    # Clopper-Pearson for 4 of 4 at 95%: (0.025)^(1/4) = 0.3976.
    found = discrimination.auroc([1] * 4 + [0] * 9, [1] * 4 + [0] * 9)
    assert (found.value, found.low, found.high) == (1, pytest.approx(0.3976, abs=1e-4), 1)


@pytest.mark.parametrize("outcomes", [[0, 0, 0], [1, 1, 1]])
def test_one_class_has_no_auroc(outcomes):
    assert discrimination.auroc(outcomes, [0.1, 0.2, 0.3]) is None
    assert discrimination.delong_test(outcomes, [0.1, 0.2, 0.3], [1, 2, 3]) is None


def test_roc_points_enclose_the_auroc():
    outcomes, scores = _sample(7)
    x, y = discrimination.roc_points(outcomes, scores)
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    area = discrimination.auroc(outcomes, scores).value
    assert np.trapezoid(y, x) == pytest.approx(area, abs=1e-12)


def test_variance_of_a_hundred_thousand_rows_needs_no_pairs():
    # All pairs of 30,000 and 70,000 rows would be 2.1e9 numbers; midranks need 1e5.
    outcomes, scores = _sample(8, rows=100_000, ties=False)
    found = discrimination.auroc(outcomes, scores)
    assert found.low < 0.714196 < found.high  # Phi(0.8 / sqrt(2))
