"""Failure rates from few runs: exact binomial tests and burn rates, with false pages budgeted."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

# Failures and trials within a window that ends now.
Counts = Callable[[timedelta], tuple[int, int]]

_MONTH = timedelta(days=30)
_PARTS = (12, 6, 3)


@dataclass(frozen=True)
class BurnRate:
    """How many times the limit a rate must be over a window."""

    factor: float
    window: timedelta


# Google's Site Reliability Workbook (2018), chapter 5, table 5-8: what pages; each also over the
# last twelfth of its window (5 and 30 minutes).
BURN_RATES = (BurnRate(14.4, timedelta(hours=1)), BurnRate(6.0, timedelta(hours=6)))
WINDOWS = tuple(timedelta(hours=hours) for hours in (1, 6, 24, 7 * 24, 28 * 24))


@dataclass(frozen=True)
class RatePolicy:
    """Which windows are tested how often, and how many false pages a month that may cost.

    The budget is per rule, for a true rate at the limit: one page per 100 rules and month.
    """

    windows: tuple[timedelta, ...] = WINDOWS
    burn_rates: tuple[BurnRate, ...] = BURN_RATES
    interval: timedelta = timedelta(minutes=5)
    false_pages_a_month: float = 0.01

    def alpha(self, series: int = 1) -> float:
        """The error of one test, such that all tests of a month of a rule keep within the budget
        (Bonferroni, so that it holds however the windows overlap)."""
        tests = len(self.windows) + len(self.burn_rates)
        return self.false_pages_a_month / (_MONTH / self.interval * tests * max(series, 1))


@dataclass(frozen=True)
class RateEvidence:
    """One window's failures and trials against the rate they had to exceed."""

    window: timedelta
    failures: int
    trials: int
    needed: float
    p_value: float
    is_over: bool

    @property
    def rate(self) -> float:
        """Failures over trials, 0 without trials."""
        return self.failures / self.trials if self.trials else 0.0


def exceedance(failures: ArrayLike, trials: ArrayLike, limit: ArrayLike) -> NDArray[np.float64]:
    """Probability of so many failures or more when the true rate is the limit (exact binomial).

    It is below alpha exactly when the one-sided Clopper-Pearson bound at 1 - alpha lies above the
    limit (Clopper and Pearson 1934): P(X >= k) = I_limit(k, n - k + 1).
    """
    failed = np.asarray(failures, dtype=float)
    others = np.asarray(trials, dtype=float) - failed + 1
    return np.where(failed > 0, special.betainc(np.maximum(failed, 1), others, limit), 1.0)


def judge_rate(
    counts: Counts, limit: float, policy: RatePolicy, series: int = 1
) -> list[RateEvidence]:
    """The evidence of every window that a rate lies above the limit, the shortest window first."""
    alpha = policy.alpha(series)
    tests = [(window, limit) for window in policy.windows]
    tests += [(burn.window, burn.factor * limit) for burn in policy.burn_rates]
    return [_evidence(counts, window, needed, alpha) for window, needed in tests]


def _evidence(counts: Counts, window: timedelta, needed: float, alpha: float) -> RateEvidence:
    failed, trials = counts(window)
    # A factor times the limit may be no rate at all: then nothing exceeds it.
    p_value = float(exceedance(failed, trials, min(needed, 1.0)))
    is_over = p_value < alpha and _goes_on(counts, window, needed)
    return RateEvidence(window, failed, trials, needed, p_value, is_over)


def _goes_on(counts: Counts, window: timedelta, needed: float) -> bool:
    """Whether the latest part of the window with runs is as bad: so a page ends soon after its
    cause, and not when the whole window has passed."""
    for part in _PARTS:
        failed, trials = counts(window / part)
        if trials:
            return failed / trials > needed
    return True
