"""Performance of weighted rows: AUROC, and events observed over expected, with intervals."""

import numpy as np
from numpy.typing import ArrayLike

from clinical_lakehouse.methods.intervals import Floats, Interval, normal_quantile


def weighted_auroc(
    outcomes: ArrayLike, scores: ArrayLike, weights: ArrayLike, confidence: float = 0.95
) -> Interval | None:
    """Area under the ROC curve of weighted rows, ties counted half; None with one class only.

    Its variance is that of weighted placement values, which for equal weights is DeLong's (1988)
    but for n/(n-1); the limits are made on the logit scale.
    """
    events, given = np.asarray(outcomes, dtype=bool), np.asarray(weights, dtype=float)
    kept = given > 0
    events, given, values = events[kept], given[kept], np.asarray(scores, dtype=float)[kept]
    if events.all() or not events.any():
        return None
    placed = np.empty(values.size)
    placed[events] = _share_below(values[events], values[~events], given[~events])
    placed[~events] = 1 - _share_below(values[~events], values[events], given[events])
    area = float(np.average(placed[events], weights=given[events]))
    parts = (_mean_variance(placed[side], given[side]) for side in (events, ~events))
    variance = sum(parts)
    if area in (0.0, 1.0) or variance == 0:
        return Interval(area, area, area)
    half = normal_quantile(confidence) * np.sqrt(variance) / (area * (1 - area))
    middle = np.log(area / (1 - area))
    low, high = 1 / (1 + np.exp(-(middle + np.array([-half, half]))))
    return Interval(area, float(low), float(high))


def weighted_observed_expected(
    outcomes: ArrayLike,
    risks: ArrayLike,
    event_weights: ArrayLike,
    expected_weights: ArrayLike,
    confidence: float = 0.95,
) -> Interval | None:
    """Weighted events over weighted expected events; None where none are expected.

    The two weights differ where events are weighted by their chance of being known and everybody is
    expected to have one. Variance by linearisation (Horvitz and Thompson 1952), limits on the
    logarithm.
    """
    events, risk = np.asarray(outcomes, dtype=float), np.asarray(risks, dtype=float)
    seen = np.asarray(event_weights, dtype=float) * events
    awaited = np.asarray(expected_weights, dtype=float) * risk
    expected = float(awaited.sum())
    if expected <= 0:
        return None
    ratio = float(seen.sum()) / expected
    if ratio == 0:
        return Interval(0.0, 0.0, float(-np.log(1 - confidence) / expected))
    error = float(np.sqrt(((seen - ratio * awaited) ** 2).sum())) / expected
    factor = float(np.exp(normal_quantile(confidence) * error / ratio))
    return Interval(ratio, ratio / factor, ratio * factor)


def _share_below(values: Floats, others: Floats, weights: Floats) -> Floats:
    """For each value, the weighted share of the others below it, equal ones counted half."""
    order = np.argsort(others, kind="stable")
    ordered, summed = others[order], np.append(0.0, np.cumsum(weights[order]))
    below = summed[np.searchsorted(ordered, values, side="left")]
    up_to = summed[np.searchsorted(ordered, values, side="right")]
    return np.asarray((below + up_to) / 2 / summed[-1])


def _mean_variance(values: Floats, weights: Floats) -> float:
    mean = np.average(values, weights=weights)
    return float((weights**2 * (values - mean) ** 2).sum() / weights.sum() ** 2)
