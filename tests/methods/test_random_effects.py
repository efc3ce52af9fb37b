"""Pooling against a published meta-analysis and an independent implementation."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects

from clinical_lakehouse.methods.random_effects import deleted_residuals, pool

# BCG vaccine against tuberculosis, 13 trials: cases and others, vaccinated and not (Colditz et al.,
# JAMA 1994;271:698).
BCG = np.array([
    (4, 119, 11, 128), (6, 300, 29, 274), (3, 228, 11, 209), (62, 13536, 248, 12619),
    (33, 5036, 47, 5761), (180, 1361, 372, 1079), (8, 2537, 10, 619), (505, 87886, 499, 87892),
    (29, 7470, 45, 7232), (17, 1699, 65, 1600), (186, 50448, 141, 27197), (5, 2493, 3, 2338),
    (27, 16886, 29, 17825),
])  # fmt: skip


@pytest.fixture(scope="module")
def ratios():
    """Log risk ratios and their standard errors."""
    a, b, c, d = BCG.T.astype(float)
    values = np.log(a / (a + b)) - np.log(c / (c + d))
    return values, np.sqrt(1 / a - 1 / (a + b) + 1 / c - 1 / (c + d))


def test_the_published_fit_of_the_bcg_trials(ratios):
    """REML fit of Viechtbauer, Journal of Statistical Software 2010;36(3), section 3: tau2 0.3132,
    I2 92.22%, log risk ratio -0.7145 with standard error 0.1798."""
    found = pool(*ratios)
    assert found.mean.value == pytest.approx(-0.7145, abs=5e-5)
    assert found.between == pytest.approx(0.3132, abs=5e-5)
    assert found.heterogeneity == pytest.approx(0.9222, abs=5e-5)
    reach = stats.t.ppf(0.975, 11) * np.sqrt(0.3132 + 0.1798**2)
    assert found.new_site.low == pytest.approx(-0.7145 - reach, abs=5e-4)
    assert found.new_site.high == pytest.approx(-0.7145 + reach, abs=5e-4)


def test_the_interval_is_hartung_and_knapps(ratios):
    """statsmodels at the same variance between sites; its own estimators of it are others."""
    values, errors = ratios
    found = pool(values, errors)
    theirs = combine_effects(values, errors**2 + found.between, method_re="dl", use_t=True)
    low, high = theirs.conf_int(use_t=True)[2]  # fixed effect of total variances, HKSJ scale
    assert (found.mean.low, found.mean.high) == pytest.approx((low, high), abs=1e-6)


def test_sites_that_agree_have_no_variance_between_them():
    found = pool([0.5, 0.5, 0.5], [0.1, 0.2, 0.1])
    assert found.between == 0 and found.heterogeneity == 0
    assert pool([0.5, 0.6], [0.1, 0.1]) is None


def test_the_odd_one_out_stands_out():
    values = [0.1, 0.0, -0.1, 0.05, 0.02, 1.5]
    far = np.abs(deleted_residuals(values, [0.1] * 6))
    assert far[5] > 8 and far[:5].max() < 2
    assert (deleted_residuals([0.0, 1.0, 5.0], [0.1] * 3) == 0).all()
