"""mSPRT against its definition as an integral, and its error under many looks."""

import numpy as np
import pytest
from scipy import integrate, stats

from clinical_lakehouse.methods.sequential import always_valid_interval, likelihood_ratio


@pytest.mark.parametrize(("gain", "error"), [(0.0, 0.02), (0.03, 0.01), (-0.05, 0.02), (0.2, 0.1)])
def test_likelihood_ratio_is_the_mixture_over_the_prior(gain, error):
    # Robbins 1970: the integral of the likelihood ratio over the mixing distribution.
    def weighted(true):
        ratio = stats.norm.pdf(gain, true, error) / stats.norm.pdf(gain, 0, error)
        return ratio * stats.norm.pdf(true, 0, 0.05)

    expected, _ = integrate.quad(weighted, -0.6, 0.6, points=[gain, 0], limit=500)
    assert likelihood_ratio(gain, error, 0.05) == pytest.approx(expected, rel=1e-6)


def test_the_interval_excludes_zero_just_where_the_ratio_passes_one_over_alpha():
    gains = np.linspace(0, 0.1, 400)
    refused = [likelihood_ratio(gain, 0.01, 0.05) > 20 for gain in gains]
    excluded = [always_valid_interval(gain, 0.01, 0.05, 0.05).low > 0 for gain in gains]
    assert refused == excluded
    assert 0 < sum(refused) < 400


def test_of_two_equal_models_looked_at_daily_a_fixed_test_errs_often_and_this_one_rarely():
    # 28 looks: the issue measured 27.5% and 0.9%; Armitage, McPherson and Rowe 1969 give 0.27 for a
    # repeated 5% test of 25 looks and 0.32 for 50.
    draws = np.random.default_rng(5).normal(0, 1, (4000, 28))
    looks = np.arange(1, 29)
    means, errors = draws.cumsum(axis=1) / looks, 1 / np.sqrt(looks)
    fixed = (np.abs(means) > 1.96 * errors).any(axis=1).mean()
    mixed = np.mean([
        any(likelihood_ratio(m, e, 1.0) > 20 for m, e in zip(row, errors, strict=True))
        for row in means
    ])  # fmt: skip
    assert 0.25 < fixed < 0.32
    assert mixed < 0.05
