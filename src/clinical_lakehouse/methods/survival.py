"""Time to an event: Kaplan-Meier, Aalen-Johansen, log-rank, and how good predicted risks are."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from clinical_lakehouse.methods.intervals import Floats, normal_quantile


@dataclass(frozen=True)
class Curve:
    """Steps of a curve: at each time its value from then on, its limits, and people at risk just
    before. Times in the unit given."""

    times: Floats
    values: Floats
    low: Floats
    high: Floats
    at_risk: Floats

    def at(self, time: float, otherwise: float = 0.0) -> float:
        """The value at a time; `otherwise` before the first step."""
        place = int(np.searchsorted(self.times, time, side="right"))
        return float(self.values[place - 1]) if place else otherwise


@dataclass(frozen=True)
class LogRank:
    """Mantel's test that groups have one hazard: chi-square and its two-sided p value."""

    chi_square: float
    degrees: int
    p_value: float


def kaplan_meier(durations: ArrayLike, events: ArrayLike, confidence: float = 0.95) -> Curve:
    """Share without the event (Kaplan and Meier 1958), limits by Greenwood's variance on the
    log-log scale (Kalbfleisch and Prentice 1980)."""
    times, at_risk, died = _table(durations, np.asarray(events, bool))
    survival = np.cumprod(1 - died / at_risk).astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        greenwood = np.cumsum(died / (at_risk * (at_risk - died)))
        error = np.sqrt(greenwood) / np.abs(np.log(survival))
        shift = normal_quantile(confidence) * error
        low, high = (survival ** np.exp(side * shift) for side in (1, -1))
    whole, none = survival == 1, survival == 0
    low = np.where(whole, 1.0, np.where(none, 0.0, low))
    high = np.where(whole, 1.0, np.where(none, 0.0, high))
    return Curve(times, survival, low, high, at_risk)


def cumulative_incidence(
    durations: ArrayLike, causes: ArrayLike, cause: int, confidence: float = 0.95
) -> Curve:
    """Risk of one cause while others compete: 0 is censored (Aalen and Johansen 1978).

    Limits by the delta-method variance (Marubini and Valsecchi 1995, section 10) on the linear
    scale, kept within 0-1.
    """
    codes = np.asarray(causes, dtype=int)
    times, at_risk, any_cause = _table(durations, codes > 0)
    own = _counts(durations, codes == cause, times)
    before = np.concatenate([[1.0], np.cumprod(1 - any_cause / at_risk)[:-1]])
    risk = np.cumsum(before * own / at_risk)
    with np.errstate(divide="ignore", invalid="ignore"):
        first = np.nan_to_num(any_cause / (at_risk * (at_risk - any_cause)), posinf=0.0)
    second = before**2 * (at_risk - own) * own / at_risk**3
    third = before * own / at_risk**2
    # (F(t) - F(ti))^2 summed over ti <= t, written out so that one pass is enough.
    sums = [np.cumsum(part) for part in (first, risk * first, risk**2 * first)]
    variance = risk**2 * sums[0] - 2 * risk * sums[1] + sums[2] + np.cumsum(second)
    variance = variance - 2 * (risk * np.cumsum(third) - np.cumsum(risk * third))
    half = normal_quantile(confidence) * np.sqrt(np.clip(variance, 0, None))
    return Curve(times, risk, np.clip(risk - half, 0, 1), np.clip(risk + half, 0, 1), at_risk)


def risk_of_own_cause(own: Floats, other: Floats) -> Floats:
    """Risk of each person (columns) by the last time (rows, from 0 on) of their own cause, from the
    cumulative hazards of it and of what competes with it (Benichou and Gail 1990)."""
    lost = -np.diff(np.exp(-(own + other)), axis=0)
    steps, both = np.diff(own, axis=0), np.diff(own + other, axis=0)
    # Between two times the own cause takes its share of what is lost to both.
    share = np.divide(steps, both, out=np.zeros_like(steps), where=both > 0)
    return np.asarray((lost * share).sum(axis=0), dtype=float)


def log_rank(durations: ArrayLike, events: ArrayLike, groups: ArrayLike) -> LogRank | None:
    """Do groups have the same hazard (Mantel 1966)? None for one group or no event."""
    labels, length = np.asarray(groups), np.asarray(durations, dtype=float)
    died = np.asarray(events, dtype=bool)
    names = np.unique(labels)
    if len(names) < 2 or not died.any():
        return None
    times, at_risk, total = _table(length, died)
    own_risk = np.array([(length[labels == g][:, None] >= times).sum(axis=0) for g in names])
    own_died = np.array([_counts(length[labels == g], died[labels == g], times) for g in names])
    gap = (own_died - total * own_risk / at_risk).sum(axis=1)[:-1]
    share = own_risk / at_risk
    factor = total * np.where(at_risk > 1, (at_risk - total) / np.maximum(at_risk - 1, 1), 0.0)
    covariance = np.diag((factor * share).sum(axis=1)) - (factor * share) @ share.T
    chi = float(gap @ np.linalg.pinv(covariance[:-1, :-1]) @ gap)
    degrees = len(names) - 1
    return LogRank(chi, degrees, float(stats.chi2.sf(chi, degrees)))


def harrell_c(durations: ArrayLike, events: ArrayLike, risks: ArrayLike) -> float | None:
    """Share of comparable pairs in which the one with the event first has the higher risk (Harrell
    1982); None without such a pair."""
    return _concordance(durations, events, risks, None, np.inf)


def uno_c(
    durations: ArrayLike, events: ArrayLike, risks: ArrayLike, until: float = np.inf
) -> float | None:
    """Harrell's C weighted by the chance of not being censored, so that it does not depend on the
    censoring (Uno et al. 2011); only events before `until` count."""
    censored = kaplan_meier(durations, ~np.asarray(events, bool))
    return _concordance(durations, events, risks, censored, until)


def brier_at(
    horizon: float, durations: ArrayLike, causes: ArrayLike, risks: ArrayLike, cause: int = 1
) -> float:
    """Mean squared error of the predicted risk of `cause` by the horizon, rows weighted by the
    chance of not being censored before (Graf et al. 1999; competing: Schoop et al. 2011)."""
    length, codes = np.asarray(durations, dtype=float), np.asarray(causes, dtype=int)
    censored = kaplan_meier(length, codes == 0)
    early, late = (length <= horizon) & (codes > 0), length > horizon
    weight = np.zeros(length.size)
    weight[early] = 1 / np.array([_before(censored, one) for one in length[early]] or [1.0])
    weight[late] = 1 / max(censored.at(horizon, 1.0), 1e-12)
    outcome = (early & (codes == cause)).astype(float)
    return float((weight * (outcome - np.asarray(risks, dtype=float)) ** 2).sum() / length.size)


def _concordance(
    durations: ArrayLike, events: ArrayLike, risks: ArrayLike, censored: Curve | None, until: float
) -> float | None:
    length, died = np.asarray(durations, dtype=float), np.asarray(events, dtype=bool)
    scores, good, pairs = np.asarray(risks, dtype=float), 0.0, 0.0
    for one in np.flatnonzero(died & (length < until)):
        # An event comes before what is censored at the same time.
        later = (length > length[one]) | ((length == length[one]) & ~died)
        weight = 1.0 if censored is None else 1 / max(_before(censored, length[one]), 1e-12) ** 2
        higher = (scores[later] < scores[one]).sum() + 0.5 * (scores[later] == scores[one]).sum()
        good, pairs = good + weight * float(higher), pairs + weight * float(later.sum())
    return good / pairs if pairs else None


def _before(curve: Curve, time: float) -> float:
    """The value just before a time."""
    place = int(np.searchsorted(curve.times, time, side="left"))
    return float(curve.values[place - 1]) if place else 1.0


def _table(durations: ArrayLike, events: np.ndarray) -> tuple[Floats, Floats, Floats]:
    """Distinct event times, how many are at risk at each, and how many have the event."""
    length = np.asarray(durations, dtype=float)
    times = np.unique(length[events])
    ordered = np.sort(length)
    at_risk = (length.size - np.searchsorted(ordered, times, side="left")).astype(float)
    return times, at_risk, _counts(length, events, times)


def _counts(durations: ArrayLike, events: np.ndarray, times: Floats) -> Floats:
    own = np.sort(np.asarray(durations, dtype=float)[events])
    right, left = (np.searchsorted(own, times, side=side) for side in ("right", "left"))
    return np.asarray(right - left, dtype=float)
