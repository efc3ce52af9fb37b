"""A model as a decision: who is flagged at a threshold, what that costs, two models compared."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from clinical_lakehouse.methods.intervals import Floats, Interval, wilson

_FEWEST_EVENTS = 100  # of either class: Collins, Ogundimu and Altman 2016


@dataclass(frozen=True)
class Flagged:
    """What a threshold does: the rates with Wilson's intervals, and how many people have to be
    looked at for one with the event (None where nobody with it is flagged)."""

    threshold: float
    sensitivity: Interval | None
    specificity: Interval | None
    positive_predictive_value: Interval | None
    number_needed_to_evaluate: float | None


@dataclass(frozen=True)
class McNemar:
    """Two classifiers on the same people: how often only one was right, and two-sided p values."""

    only_first_right: int
    only_second_right: int
    exact_p: float
    mid_p: float


def flagged_at(outcomes: ArrayLike, scores: ArrayLike, threshold: float) -> Flagged:
    """Sensitivity, specificity, PPV and number needed to evaluate of `score >= threshold`."""
    events, flags = np.asarray(outcomes, bool), np.asarray(scores, float) >= threshold
    hits, flagged = int((events & flags).sum()), int(flags.sum())
    quiet = int((~events & ~flags).sum())
    return Flagged(
        threshold,
        wilson(hits, int(events.sum())),
        wilson(quiet, int((~events).sum())),
        wilson(hits, flagged),
        flagged / hits if hits else None,
    )


def at_specificity(outcomes: ArrayLike, scores: ArrayLike, specificity: float) -> Flagged | None:
    """The lowest threshold among the scores whose specificity is at least this; None with one class
    or where even the highest score flags too many."""
    events, values = np.asarray(outcomes, bool), np.asarray(scores, float)
    quiet = np.sort(values[~events])
    if not events.any() or not quiet.size:
        return None
    candidates = np.unique(values)
    below = np.searchsorted(quiet, candidates, side="left") / quiet.size
    enough = candidates[below >= specificity]
    return flagged_at(events, values, float(enough[0])) if enough.size else None


def mcnemar(first_right: ArrayLike, second_right: ArrayLike) -> McNemar:
    """Are two classifiers right equally often on the same people (McNemar 1947)?

    Exact conditional test and its mid-p version (Fagerland, Lydersen and Laake 2013); both are 1
    where the two never differ.
    """
    first, second = np.asarray(first_right, bool), np.asarray(second_right, bool)
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    fewer, together = min(only_first, only_second), only_first + only_second
    exact = min(2 * float(stats.binom.cdf(fewer, together, 0.5)), 1.0)
    tie = float(stats.binom.pmf(fewer, together, 0.5))
    mid = 1.0 if only_first == only_second else exact - tie
    return McNemar(only_first, only_second, exact, mid)


def net_benefit_difference(
    outcomes: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    threshold: float,
    subjects: ArrayLike | None = None,
    *,
    draws: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """Net benefit of the first model less that of the second at a threshold (Vickers and Elkin
    2006), with the percentile interval of a bootstrap that draws whole subjects."""
    events = np.asarray(outcomes, bool)
    gain = _benefit(events, first, threshold) - _benefit(events, second, threshold)
    rows = np.arange(events.size) if subjects is None else np.asarray(subjects)
    _, index = np.unique(rows, return_inverse=True)
    sums, sizes = np.bincount(index, gain), np.bincount(index)
    drawn = np.random.default_rng(seed).integers(sums.size, size=(draws, sums.size))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(gain.mean()), float(low), float(high))


def is_determinate(outcomes: ArrayLike, fewest: int = _FEWEST_EVENTS) -> bool:
    """Are there enough events and non-events to judge a model at all (Collins et al. 2016)?"""
    events = np.asarray(outcomes, bool)
    return bool(min(events.sum(), (~events).sum()) >= fewest)


def _benefit(events: np.ndarray, scores: ArrayLike, threshold: float) -> Floats:
    """Each row's part of the net benefit: 1 for a flagged event, minus the odds for another."""
    flags = np.asarray(scores, float) >= threshold
    odds = threshold / (1 - threshold)
    return np.where(flags, np.where(events, 1.0, -odds), 0.0)
