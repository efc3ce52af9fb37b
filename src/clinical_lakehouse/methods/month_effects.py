"""Which month's people differ, when dates are shifted per person: the blur is known, so undo it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from clinical_lakehouse.methods.intervals import Floats

_STEPS = 5  # of EM; stopped early, for with more the shares of neighbours oscillate
_FEWEST = 1.0  # people; a month of fewer has no column in the regression


@dataclass(frozen=True)
class Membership:
    """For each person (row) the probability of belonging to each month, given a recorded date."""

    months: tuple[pd.Period, ...]
    weights: Floats


@dataclass(frozen=True)
class Effect:
    """How far a month's people lie from the others': squared standardised distance less what chance
    adds, its p value, and as how many people of known month they count."""

    distance: float
    p_value: float
    people: float


def membership(recorded: ArrayLike, margin_days: int) -> Membership:
    """Months of the true dates, each recorded date being moved by a uniform offset of at most
    `margin_days`; how many belong to each month is estimated along (EM: Dempster 1977)."""
    days = pd.to_datetime(pd.Series(recorded)).to_numpy("datetime64[D]").astype(int)
    ends = (pd.Timestamp(int(day), unit="D") for day in (days.min(), days.max()))
    months = tuple(pd.period_range(*ends, freq="M"))
    begins = np.array([_first_day(month) for month in months])
    stops = np.append(begins[1:], _first_day(months[-1] + 1))
    low, high = days[:, None] - margin_days, days[:, None] + margin_days + 1
    overlap = np.clip(np.minimum(high, stops) - np.maximum(low, begins), 0, None)
    share = np.full(len(months), 1 / len(months))
    for _ in range(_STEPS):
        weights = overlap * (share / (stops - begins))
        weights /= weights.sum(axis=1, keepdims=True)
        share = weights.mean(axis=0)
    return Membership(months, np.asarray(weights))


def month_effects(
    values: ArrayLike, known: Membership, first_new: pd.Period, error: float
) -> dict[pd.Period, Effect]:
    """Each month's effect on the values jointly (rows: people, columns: measures).

    Multivariate regression of normal scores on membership, Hotelling's T-squared (1931) for each
    month. Months from `first_new` on are compared with all before. Months before are compared with
    one another: the clearest first, and those beyond `error` then count as moved, so that their
    neighbours, into which shifted dates smear them, do not.
    """
    columns = np.asarray(values, dtype=float).T
    scores = np.column_stack([normal_scores(column) for column in columns])
    scores = scores[:, scores.std(axis=0) > 0]
    if scores.shape[1] == 0:
        return {}
    present = [i for i in range(len(known.months)) if known.weights[:, i].sum() >= _FEWEST]
    moved = [i for i in present if known.months[i] >= first_new]
    while left := [i for i in present if i not in moved]:
        tried = {i: _effect(scores, known.weights, moved, i) for i in left}
        clearest = min(left, key=lambda i: tried[i].p_value)
        if tried[clearest].p_value >= error:
            break
        moved = [*moved, clearest]
    return {known.months[i]: _effect(scores, known.weights, moved, i) for i in present}


def normal_scores(values: Floats) -> Floats:
    """Normal quantiles of ranks (van der Waerden 1952); a missing value counts as the median."""
    present = ~np.isnan(values)
    scores = np.zeros(values.size)
    scores[present] = stats.norm.ppf(stats.rankdata(values[present]) / (present.sum() + 1))
    return scores


def _effect(scores: Floats, weights: Floats, moved: Sequence[int], month: int) -> Effect:
    """The month's coefficient beside those of the moved months, as a T-squared."""
    others = [i for i in moved if i != month]
    design = np.column_stack([np.ones(len(scores)), weights[:, others]])
    own = _residuals(design, weights[:, [month]])[:, 0]
    people, free, width = float(own @ own), len(scores) - len(others) - 2, scores.shape[1]
    if people < _FEWEST or free < width:
        return Effect(0.0, 1.0, people)
    step = own @ scores / people
    left = _residuals(np.column_stack([design, own]), scores)
    squared = float(step @ np.linalg.pinv(left.T @ left / free) @ step)
    ratio = squared * people * (free - width + 1) / (width * free)
    p_value = float(stats.f.sf(ratio, width, free - width + 1))
    return Effect(squared - width / people, p_value, people)


def _residuals(design: Floats, values: Floats) -> Floats:
    return np.asarray(values - design @ np.linalg.lstsq(design, values, rcond=None)[0])


def _first_day(month: pd.Period) -> int:
    return int(month.start_time.to_datetime64().astype("datetime64[D]").astype(int))
