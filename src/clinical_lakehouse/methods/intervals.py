"""Confidence intervals of a rate and of a count, also where rows of one person are correlated."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate with its lower and upper confidence limit."""

    value: float
    low: float
    high: float


def normal_quantile(confidence: float) -> float:
    """The two-sided standard normal quantile of a confidence level, 1.96 for 0.95."""
    return float(stats.norm.ppf(0.5 + confidence / 2))


def wilson(
    successes: float, trials: float, confidence: float = 0.95, design_effect: float = 1.0
) -> Interval | None:
    """A rate (0-1) with its score interval (Wilson 1927); None without trials.

    `design_effect` divides the number of trials, for rows that are correlated within persons.
    """
    if trials <= 0:
        return None
    rate, size, z = successes / trials, trials / design_effect, normal_quantile(confidence)
    centre = (rate + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z * np.sqrt(rate * (1 - rate) / size + z**2 / (4 * size**2)) / (1 + z**2 / size)
    return Interval(rate, max(float(centre - half), 0.0), min(float(centre + half), 1.0))


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> Interval | None:
    """A rate (0-1) with its exact interval (Clopper and Pearson 1934); None without trials."""
    if trials <= 0:
        return None
    tail, others = (1 - confidence) / 2, trials - successes
    low = stats.beta.ppf(tail, successes, others + 1) if successes else 0.0
    high = stats.beta.isf(tail, successes + 1, others) if others else 1.0
    return Interval(successes / trials, float(low), float(high))


def design_effect(hits: ArrayLike, trials: ArrayLike, clusters: ArrayLike) -> float:
    """How many times larger the variance of a rate is than for independent rows, at least 1.

    One entry per row: `hits` and `trials` are 0 or 1, a row is in the rate where `trials` is 1; the
    clustered variance is that of a ratio estimator (Rao and Scott 1992).
    """
    hit, trial = np.asarray(hits, dtype=float), np.asarray(trials, dtype=float)
    total = trial.sum()
    rate = (hit * trial).sum() / total if total else 0.0
    _, index = np.unique(np.asarray(clusters)[trial > 0], return_inverse=True)
    count = int(index.max()) + 1 if index.size else 0
    if count < 2 or rate in (0.0, 1.0):
        return 1.0 if count == 0 else max(float(total / count), 1.0)
    residuals = np.bincount(index, (hit - rate)[trial > 0])
    clustered = count / (count - 1) * float((residuals**2).sum()) / total**2
    return max(clustered * (total - 1) / (rate * (1 - rate)), 1.0)


def poisson(count: float, confidence: float = 0.95) -> Interval:
    """A count with its exact interval (Garwood 1936)."""
    tail = (1 - confidence) / 2
    low = stats.chi2.ppf(tail, 2 * count) / 2 if count > 0 else 0.0
    return Interval(float(count), float(low), float(stats.chi2.isf(tail, 2 * count + 2) / 2))


def difference(first: Interval, second: Interval) -> Interval:
    """First less second of independent estimates, its limits recovered from theirs (MOVER: Zou and
    Donner 2008); all at one confidence."""
    gap = first.value - second.value
    below = np.hypot(first.value - first.low, second.high - second.value)
    above = np.hypot(first.high - first.value, second.value - second.low)
    return Interval(gap, float(gap - below), float(gap + above))


def subject_weights(
    rows: int, subjects: ArrayLike | None = None, *, draws: int = 1000, seed: int = 0
) -> Iterator[Floats]:
    """Bootstrap draws of whole subjects (a row is one where none are given): for each draw how
    often every row is in it, one draw at a time."""
    keys = np.arange(rows) if subjects is None else np.asarray(subjects)
    _, index = np.unique(keys, return_inverse=True)
    count = int(index.max()) + 1 if rows else 0
    generator = np.random.default_rng(seed)
    for _ in range(draws if count else 0):
        drawn = np.bincount(generator.integers(count, size=count), minlength=count)
        yield drawn[index].astype(float)


def mean_interval(
    values: ArrayLike,
    subjects: ArrayLike | None = None,
    *,
    draws: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval | None:
    """A mean over rows with the percentile interval of a bootstrap that draws whole subjects; None
    without rows."""
    given = np.asarray(values, dtype=float)
    if not given.size:
        return None
    keys = np.arange(given.size) if subjects is None else np.asarray(subjects)
    _, index = np.unique(keys, return_inverse=True)
    sums, sizes = np.bincount(index, given), np.bincount(index)
    generator, means = np.random.default_rng(seed), np.empty(draws)
    for number in range(draws):
        drawn = generator.integers(sums.size, size=sums.size)
        means[number] = sums[drawn].sum() / sizes[drawn].sum()
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(given.mean()), float(low), float(high))


def clustered_mean(
    values: ArrayLike, clusters: ArrayLike, confidence: float = 0.95
) -> Interval | None:
    """A mean over rows with its normal interval by cluster-robust variance (a ratio estimator: Rao
    and Scott 1992); None with fewer than two clusters."""
    given = np.asarray(values, dtype=float)
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    count = int(index.max()) + 1 if given.size else 0
    if count < 2:
        return None
    mean = float(given.mean())
    sums = np.bincount(index, given - mean)
    error = np.sqrt(count / (count - 1) * float((sums**2).sum())) / given.size
    half = normal_quantile(confidence) * float(error)
    return Interval(mean, mean - half, mean + half)


def simultaneous(confidence: float, intervals: int) -> float:
    """The confidence each of so many independent intervals needs, that all cover together with
    `confidence` (Sidak 1967)."""
    return confidence ** (1 / max(intervals, 1))
