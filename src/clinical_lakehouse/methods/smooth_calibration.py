"""A smooth calibration curve, and the mean distance of predicted risks from it (ICI)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from clinical_lakehouse.methods.intervals import Floats, Interval, subject_weights

_SPAN = 0.75  # share of the rows a local fit looks at, as in Austin and Steyerberg 2019
_POINTS = 100  # where the curve is fitted; between them it is a straight line
_MOST_BINS = 2000  # more rows than this are averaged in bins of equal size first


@dataclass(frozen=True)
class SmoothCurve:
    """Observed share of the outcome against predicted risk, both 0-1."""

    predicted: Floats
    observed: Floats


def smooth_curve(
    outcomes: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None
) -> SmoothCurve | None:
    """Local linear regression of the outcome on the risk with tricube weights (loess: Cleveland
    1979; for calibration Austin and Steyerberg 2014); None without rows or with one risk only."""
    events, risks = np.asarray(outcomes, dtype=float), np.asarray(scores, dtype=float)
    if risks.size < 2 or np.ptp(risks) == 0:
        return None
    heavy = np.ones_like(risks) if weights is None else np.asarray(weights, dtype=float)
    x, y, w = _binned(risks, events, heavy)
    at = np.unique(np.quantile(x, np.linspace(0, 1, _POINTS)))
    return SmoothCurve(at, np.clip(_loess(x, y, w, at), 0.0, 1.0))


def integrated_calibration_index(
    outcomes: ArrayLike,
    scores: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    draws: int = 200,
    confidence: float = 0.95,
) -> Interval | None:
    """Mean absolute distance between predicted risk and the smooth calibration curve, over rows
    (ICI: Austin and Steyerberg 2019), with the percentile interval of a bootstrap of whole
    `clusters` (a person per row). None where there is no curve."""
    events, risks = np.asarray(outcomes, dtype=float), np.asarray(scores, dtype=float)
    value = _distance(events, risks, np.ones_like(risks))
    if value is None:
        return None
    drawn = [
        _distance(events, risks, weights)
        for weights in subject_weights(risks.size, clusters, draws=draws)
    ]
    known = [one for one in drawn if one is not None]
    tail = (1 - confidence) / 2
    low, high = np.quantile(known, [tail, 1 - tail]) if known else (value, value)
    return Interval(value, min(float(low), value), max(float(high), value))


def _distance(events: Floats, risks: Floats, weights: Floats) -> float | None:
    kept = weights > 0
    found = smooth_curve(events[kept], risks[kept], weights[kept])
    if found is None:
        return None
    observed = np.interp(risks[kept], found.predicted, found.observed)
    return float(np.average(np.abs(observed - risks[kept]), weights=weights[kept]))


def _binned(risks: Floats, events: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Rows by ascending risk; many of them as means of neighbours with their total weight."""
    order = np.argsort(risks, kind="stable")
    x, y, w = risks[order], events[order], weights[order]
    if x.size <= _MOST_BINS:
        return x, y, w
    index = np.arange(x.size) * _MOST_BINS // x.size
    total = np.bincount(index, w).astype(float)
    return np.bincount(index, x * w) / total, np.bincount(index, y * w) / total, total


def _loess(x: Floats, y: Floats, w: Floats, at: Floats) -> Floats:
    distance = np.abs(x[None, :] - at[:, None])
    nearest = max(int(_SPAN * x.size + 1e-10), 2)
    reach = np.partition(distance, nearest - 1, axis=1)[:, [nearest - 1]]
    near = np.clip(distance / np.where(reach > 0, reach, 1.0), 0, 1)
    weight = (1 - near**3) ** 3 * w[None, :]
    weight = np.where(weight.sum(axis=1, keepdims=True) > 0, weight, (distance <= reach) * w)
    total = weight.sum(axis=1)
    middle, level = (weight @ x) / total, (weight @ y) / total
    centred = x[None, :] - middle[:, None]
    spread = (weight * centred**2).sum(axis=1)
    slope = (weight * centred * y[None, :]).sum(axis=1) / np.where(spread > 1e-12, spread, 1.0)
    return np.asarray(level + np.where(spread > 1e-12, slope, 0.0) * (at - middle))
