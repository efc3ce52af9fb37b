"""PSI by hand, its chance limit by simulation, KS by definition."""

import numpy as np
import pytest

from clinical_lakehouse.methods import drift


def test_psi_equals_the_sum_over_bins():
    # Half a row added to each bin: (10.5, 20.5, 10.5) / 41.5 and (20.5, 10.5, 5.5) / 36.5.
    reference = [1] * 10 + [2] * 20 + [3] * 10
    current = [1] * 20 + [2] * 10 + [3] * 5
    p = np.array([10.5, 20.5, 10.5]) / 41.5
    q = np.array([20.5, 10.5, 5.5]) / 36.5
    expected = sum((q - p) * np.log(q / p))
    assert drift.psi(reference, current, [1, 2]) == pytest.approx(expected)


def test_psi_of_equal_samples_is_zero_and_missing_values_are_a_bin():
    values = np.arange(100.0)
    edges = drift.quantile_edges(values, 5)
    assert drift.psi(values, values, edges) == 0
    holes = np.where(values % 2 == 0, np.nan, values)
    assert drift.psi(values, holes, edges) > 0.5


def test_edges_hold_equal_shares_and_equal_edges_count_once():
    assert drift.quantile_edges(np.arange(101.0), 4) == pytest.approx([25, 50, 75])
    assert drift.quantile_edges([0] * 90 + [5] * 10, 5) == pytest.approx([0])


def test_chance_limit_is_crossed_by_one_in_a_hundred_undisturbed_samples():
    # Yurdakul 2018: PSI / (1/n + 1/m) ~ chi-squared with B - 1 degrees of freedom.
    draws = np.random.default_rng(1)
    limit = drift.psi_chance_limit(400, 150, 5, 0.99)
    edges = [-0.8416, -0.2533, 0.2533, 0.8416]
    over = sum(
        drift.psi(draws.normal(size=400), draws.normal(size=150), edges) > limit
        for _ in range(4000)
    )
    assert 0.005 < over / 4000 < 0.016


def test_chance_limit_is_the_chi_squared_quantile_times_the_sample_term():
    # 99% point of chi-squared with 4 degrees of freedom: 13.2767 (any table).
    assert drift.psi_chance_limit(100, 50, 5, 0.99) == pytest.approx(13.2767 * 0.03, abs=1e-4)


def test_ks_distance_is_the_largest_gap_of_the_distribution_functions():
    # F reaches 1 at 2 while G is still 1/4 there.
    found = drift.ks([1, 2, np.nan], [2, 3, 4, 5])
    assert found.value == pytest.approx(0.75)
    assert 0 < found.p_value < 1


def test_average_psi_of_undisturbed_samples_is_what_chance_adds():
    draws = np.random.default_rng(2)
    edges = [-0.8416, -0.2533, 0.2533, 0.8416]
    found = [drift.psi(draws.normal(size=300), draws.normal(size=80), edges) for _ in range(2000)]
    assert np.mean(found) == pytest.approx(drift.psi_by_chance(300, 80, 5), rel=0.06)
