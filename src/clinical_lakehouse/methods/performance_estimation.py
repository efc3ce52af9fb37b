"""How well a model should do before outcomes are known, if its risks are true: CBPE."""

import numpy as np
from numpy.typing import ArrayLike

from clinical_lakehouse.methods.intervals import Interval, normal_quantile


def estimated_auroc(
    scores: ArrayLike, risks: ArrayLike, confidence: float = 0.95
) -> Interval | None:
    """The AUROC to be expected of these scores if each row has the event with its risk: confidence-
    based performance estimation (Garg et al. 2022; NannyML). None without an expected event.

    The limits are those of the AUROC that will be seen, by Hanley and McNeil 1982. It sees a change
    of the people, and CANNOT see concept drift: where risks are no longer true it is wrong, and
    nothing but outcomes tells.
    """
    values, events = np.asarray(scores, dtype=float), np.asarray(risks, dtype=float)
    others = 1 - events
    # A row is no pair with itself.
    total = float(events.sum() * others.sum() - (events * others).sum())
    if total <= 0:
        return None
    levels, place = np.unique(values, return_inverse=True)
    hits = np.bincount(place, events, levels.size)
    misses = np.bincount(place, others, levels.size)
    tied = float((hits * misses).sum() - (events * others).sum()) / 2
    area = (float((hits * (np.cumsum(misses) - misses)).sum()) + tied) / total
    half = normal_quantile(confidence) * _error(area, float(events.sum()), float(others.sum()))
    return Interval(area, max(area - half, 0.0), min(area + half, 1.0))


def _error(area: float, events: float, others: float) -> float:
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area)
    spread += (events - 1) * (first - area**2) + (others - 1) * (second - area**2)
    return float(np.sqrt(max(spread, 0.0) / (events * others)))
