"""Failure rates: exact against published figures, and pages simulated over months of runs."""

from datetime import timedelta

import numpy as np
import pytest
from scipy import stats

from clinical_lakehouse.alerting.rules.rates import RatePolicy, exceedance, judge_rate
from clinical_lakehouse.methods.intervals import clopper_pearson

LIMIT = 0.01
STEP = timedelta(minutes=5)
MONTH = 30 * 24 * 12  # steps
POLICY = RatePolicy(interval=STEP)


def test_exact_interval_is_that_of_clopper_and_pearson():
    """Agresti and Coull 1998, The American Statistician 52: 0 of 10 gives 0 to 0.308 and 5 of 10
    gives 0.187 to 0.813; the rule of three's exact form for 0 of n."""
    none, half = clopper_pearson(0, 10), clopper_pearson(5, 10)
    assert (none.low, none.high) == pytest.approx((0, 0.3085), abs=5e-5)
    assert (half.low, half.high) == pytest.approx((0.1871, 0.8129), abs=5e-5)
    assert clopper_pearson(0, 300).high == pytest.approx(1 - 0.025 ** (1 / 300))
    assert clopper_pearson(3, 3).high == 1
    assert clopper_pearson(0, 0) is None


@pytest.mark.parametrize(("failed", "runs"), [(1, 24), (3, 24), (4, 4), (40, 2000), (1, 1), (0, 9)])
def test_exact_interval_and_test_agree_with_scipys_binomial_test(failed, runs):
    told = stats.binomtest(failed, runs, LIMIT, alternative="greater")
    assert float(exceedance(failed, runs, LIMIT)) == pytest.approx(told.pvalue)
    two_sided = stats.binomtest(failed, runs).proportion_ci(0.99, "exact")
    found = clopper_pearson(failed, runs, 0.99)
    assert (found.low, found.high) == pytest.approx((two_sided.low, two_sided.high))


def test_test_rejects_exactly_when_the_lower_bound_lies_above_the_limit():
    rng = np.random.default_rng(1)
    for runs in rng.integers(1, 3000, 200):
        failed = int(rng.binomial(runs, 0.03))
        bound = clopper_pearson(failed, int(runs), 0.98).low  # one-sided at 0.01
        assert (exceedance(failed, runs, LIMIT) < 0.01) == (bound > LIMIT)


class Runs:
    """Failures and runs per five minutes, and what happened in a window up to a step."""

    def __init__(self, failures: np.ndarray, runs: np.ndarray) -> None:
        self.failures = np.concatenate(([0], np.cumsum(failures)))
        self.runs = np.concatenate(([0], np.cumsum(runs)))

    def counts(self, step: int):
        def within(window: timedelta) -> tuple[int, int]:
            first = max(step - -(-window // STEP), 0)  # not shorter than one step
            failed = self.failures[step] - self.failures[first]
            return int(failed), int(self.runs[step] - self.runs[first])

        return within

    def pages(self, step: int) -> bool:
        return any(one.is_over for one in judge_rate(self.counts(step), LIMIT, POLICY))

    def can_page(self) -> np.ndarray:
        """Steps at which a rate lies above the limit at all: the others cannot page, and a month is
        judged ten times as fast without them."""
        steps = np.arange(1, len(self.runs))
        above = np.zeros(len(steps), dtype=bool)
        for window in POLICY.windows:
            first = np.maximum(steps - window // STEP, 0)
            failed = self.failures[steps] - self.failures[first]
            runs = self.runs[steps] - self.runs[first]
            above |= exceedance(failed, np.maximum(runs, failed), LIMIT) < 1e-4
        return steps[above]


def drawn(rate: float, per_hour: float, seed: int, steps: int = MONTH) -> Runs:
    rng = np.random.default_rng(seed)
    runs = rng.poisson(per_hour / 12, steps)
    return Runs(rng.binomial(runs, rate), runs)


@pytest.mark.parametrize(
    ("per_hour", "hours"), [(12000, 1), (2500, 6), (600, 24), (100, 7 * 24)], ids=str
)
def test_two_percent_pages_within_an_hour_where_the_run_count_allows(per_hour, hours):
    """Twice the limit needs about 10,000 runs to be proven with so few false pages: within an hour
    where an hour has them, and within the window that has them elsewhere."""
    for seed in range(20):
        quiet, failing = (
            drawn(rate, per_hour, seed + more, 12 * hours)
            for rate, more in ((0.002, 0), (0.02, 99))
        )
        both = Runs(
            np.concatenate((np.diff(quiet.failures), np.diff(failing.failures))),
            np.concatenate((np.diff(quiet.runs), np.diff(failing.runs))),
        )
        start = 12 * hours
        assert not both.pages(start)
        assert any(both.pages(step) for step in range(2 * start, start, -max(hours // 6, 1)))


@pytest.mark.parametrize("per_hour", [1, 10, 100, 1000, 7000])
def test_half_a_percent_never_pages_in_thirty_days(per_hour):
    runs = drawn(0.005, per_hour, seed=7)
    assert not any(runs.pages(int(step)) for step in runs.can_page())


def false_pages(rules: range) -> int:
    """Pages of a month of rules whose true rate is the limit itself: the worst there is."""
    pages = 0
    for rule in rules:
        runs = drawn(LIMIT, (1, 5, 30, 200, 2000)[rule % 5], seed=1000 + rule)
        pages += any(runs.pages(int(step)) for step in runs.can_page())
    return pages


def test_a_hundred_rules_at_the_limit_page_falsely_at_most_once_a_month():
    assert false_pages(range(100)) <= 1


@pytest.mark.soak
def test_two_thousand_rules_at_the_limit_page_falsely_at_most_once_per_hundred():
    assert false_pages(range(2000)) <= 20


def hourly(failed: np.ndarray) -> Runs:
    """24 runs a day for 30 days, of which these (by the hour) failed."""
    each, at = np.zeros(MONTH, dtype=int), np.arange(MONTH)[::12]
    each[at] = 1
    failures = np.zeros(MONTH, dtype=int)
    failures[at[failed]] = 1
    return Runs(failures, each)


def first_page(runs: Runs) -> int | None:
    """The hour (from 1) of the first page."""
    steps = range(1, MONTH, 12)
    return next((1 + step // 12 for step in steps if runs.pages(step)), None)


def test_one_failure_of_24_runs_a_day_never_pages():
    """4% of the day and 100% of its hour: naive rates and bare burn rates page."""
    assert hourly(np.array([0])).counts(1)(timedelta(hours=1)) == (1, 1)
    assert first_page(hourly(np.array([0]))) is None
    assert first_page(hourly(np.arange(0, 720, 7 * 24))) is None


def test_an_outage_pages_after_four_of_24_runs_a_day_and_one_failure_a_day_within_weeks():
    assert first_page(hourly(np.arange(720))) == 4
    assert 14 * 24 < first_page(hourly(np.arange(0, 720, 24))) < 24 * 24


def test_burn_rate_pages_for_what_goes_on_and_no_longer_for_what_is_over():
    runs = np.full(12 * 8, 100)
    failures = np.zeros(12 * 8, dtype=int)
    failures[12 * 7 : 12 * 7 + 6] = 100
    burning = Runs(failures, runs)

    def burns(step: int) -> set[float]:
        found = judge_rate(burning.counts(step), LIMIT, POLICY)[len(POLICY.windows) :]
        return {round(one.needed / LIMIT, 1) for one in found if one.is_over}

    assert burns(12 * 7) == set()
    assert burns(12 * 7 + 6) == {14.4, 6.0}
    assert burns(12 * 7 + 8) == {6.0}  # five good minutes end the first, half an hour the second
    assert burns(12 * 7 + 12) == set()
