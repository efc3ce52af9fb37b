"""A model as a decision: who is flagged at a threshold, what that costs, two models compared."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from clinical_lakehouse.methods.intervals import Floats, Interval, mean_interval, wilson

FEWEST_EVENTS = 100  # of either class: Collins, Ogundimu and Altman 2016


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
    gain = row_benefit(events, first, threshold) - row_benefit(events, second, threshold)
    found = mean_interval(gain, subjects, draws=draws, seed=seed, confidence=confidence)
    return found or Interval(0.0, 0.0, 0.0)


def clustered_mcnemar(
    first_right: ArrayLike, second_right: ArrayLike, subjects: ArrayLike
) -> float:
    """Two-sided p value of two classifiers being right equally often where a subject has several
    rows (Durkalski et al., Statistics in Medicine 2003;22:2417); 1 where they never differ. With
    one row a subject it is McNemar's test without continuity correction."""
    gap = np.asarray(first_right, float) - np.asarray(second_right, float)
    _, index = np.unique(np.asarray(subjects), return_inverse=True)
    if not gap.any():
        return 1.0
    mean = np.bincount(index, gap) / np.bincount(index)
    squared = float((mean**2).sum())
    return float(stats.chi2.sf(float(mean.sum()) ** 2 / squared, 1)) if squared else 1.0


@dataclass(frozen=True)
class Information:
    """People with and without the event among the rows judged; a person may be both in turn."""

    with_event: int
    without_event: int

    @property
    def fewer(self) -> int:
        """The rarer of the two."""
        return min(self.with_event, self.without_event)


def information(outcomes: ArrayLike, subjects: ArrayLike | None = None) -> Information:
    """How many people stand behind events and non-events: repeated rows of one person are one."""
    events = np.asarray(outcomes, bool)
    keys = np.arange(events.size) if subjects is None else np.asarray(subjects)
    return Information(len(np.unique(keys[events])), len(np.unique(keys[~events])))


def is_determinate(
    outcomes: ArrayLike, subjects: ArrayLike | None = None, fewest: int = FEWEST_EVENTS
) -> bool:
    """Are there enough people with and without the event to judge a model at all (Collins, Ogundimu
    and Altman 2016)?"""
    return information(outcomes, subjects).fewer >= fewest


def row_benefit(outcomes: ArrayLike, scores: ArrayLike, threshold: float) -> Floats:
    """Each row's part of the net benefit: 1 for a flagged event, minus the odds for another."""
    events, flags = np.asarray(outcomes, bool), np.asarray(scores, float) >= threshold
    odds = threshold / (1 - threshold)
    return np.where(flags, np.where(events, 1.0, -odds), 0.0)
