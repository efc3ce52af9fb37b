"""How well a score ranks: AUROC with its interval, two models compared, average precision, ROC."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from clinical_lakehouse.methods.intervals import Floats, Interval, normal_quantile


@dataclass(frozen=True)
class Comparison:
    """AUROC of the first score less that of the second: interval and two-sided p value."""

    difference: Interval
    p_value: float


def auroc(
    outcomes: ArrayLike,
    scores: ArrayLike,
    clusters: ArrayLike | None = None,
    confidence: float = 0.95,
) -> Interval | None:
    """Area under the ROC curve with its interval (DeLong 1988); None with one class only.

    With `clusters` (a person per row) the variance is that of clustered data (Obuchowski 1997). The
    limits are made on the logit scale; a perfect ranking gets the exact binomial limit of its
    smaller class instead, because its estimated variance is zero.
    """
    events = np.asarray(outcomes, dtype=bool)
    if events.all() or not events.any():
        return None
    areas, covariance = _areas(events, [np.asarray(scores, dtype=float)], clusters)
    return _interval(
        float(areas[0]), float(covariance[0, 0]), _smaller(events, clusters), confidence
    )


def delong_test(
    outcomes: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    clusters: ArrayLike | None = None,
    confidence: float = 0.95,
) -> Comparison | None:
    """Are two scores of the same rows equally good at ranking (DeLong 1988)? None with one class.

    With `clusters` the covariance is that of clustered data (Obuchowski 1997).
    """
    events = np.asarray(outcomes, dtype=bool)
    if events.all() or not events.any():
        return None
    both = [np.asarray(first, dtype=float), np.asarray(second, dtype=float)]
    areas, covariance = _areas(events, both, clusters)
    gap = float(areas[0] - areas[1])
    error = float(np.sqrt(max(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1], 0.0)))
    half = normal_quantile(confidence) * error
    p_value = float(2 * stats.norm.sf(abs(gap) / error)) if error else float(gap == 0)
    return Comparison(Interval(gap, gap - half, gap + half), p_value)


def average_precision(outcomes: ArrayLike, scores: ArrayLike) -> float | None:
    """Area under the precision-recall curve as a sum over distinct scores; None without events."""
    events, cuts = _by_descending_score(outcomes, scores)
    if not events.any():
        return None
    hits = np.cumsum(events)[cuts]
    precision = hits / (cuts + 1)
    return float((np.diff(hits, prepend=0) / events.sum() * precision).sum())


def roc_points(outcomes: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    """False and true positive ratio at each distinct score, from (0, 0) to (1, 1)."""
    events, cuts = _by_descending_score(outcomes, scores)
    hits = np.cumsum(events)[cuts]
    misses = cuts + 1 - hits
    x = np.concatenate([[0.0], misses / max(int((~events).sum()), 1)])
    y = np.concatenate([[0.0], hits / max(int(events.sum()), 1)])
    return x, y


def _by_descending_score(outcomes: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes from the highest score down, and the last position of each distinct score."""
    values = np.asarray(scores, dtype=float)
    order = np.argsort(-values, kind="stable")
    ordered = values[order]
    cuts = np.append(np.nonzero(np.diff(ordered))[0], ordered.size - 1)
    return np.asarray(outcomes, dtype=bool)[order], cuts


def _areas(
    events: np.ndarray, scores: Sequence[Floats], clusters: ArrayLike | None
) -> tuple[Floats, Floats]:
    """Areas and their covariance from placement values (midranks, O(n log n): Sun and Xu 2014)."""
    m, n = int(events.sum()), int((~events).sum())
    placements = np.empty((len(scores), events.size))
    for row, score in enumerate(scores):
        ranks = stats.rankdata(score)
        placements[row, events] = (ranks[events] - stats.rankdata(score[events])) / n
        placements[row, ~events] = 1 - (ranks[~events] - stats.rankdata(score[~events])) / m
    areas = placements[:, events].mean(axis=1)
    centred = placements - areas[:, None]
    groups = np.arange(events.size) if clusters is None else np.asarray(clusters)
    return areas, _covariance(events, centred, groups)


def _covariance(events: np.ndarray, centred: Floats, groups: np.ndarray) -> Floats:
    """S10/m + S01/n + (S11 + S11')/(mn) of Obuchowski 1997; DeLong's where a group is one row."""
    _, index = np.unique(groups, return_inverse=True)
    count = int(index.max()) + 1
    size = {side: int((events == side).sum()) for side in (True, False)}
    sums = {
        side: np.array([np.bincount(index, row * (events == side), count) for row in centred])
        for side in (True, False)
    }
    total = np.zeros((centred.shape[0], centred.shape[0]))
    for side in (True, False):
        present = len(np.unique(index[events == side]))
        total += _unbiased(present) * sums[side] @ sums[side].T / size[side] ** 2
    cross = _unbiased(count) * sums[True] @ sums[False].T / (size[True] * size[False])
    return np.asarray(total + cross + cross.T)


def _unbiased(count: int) -> float:
    return count / (count - 1) if count > 1 else 1.0


def _smaller(events: np.ndarray, clusters: ArrayLike | None) -> int:
    """Independent units in the smaller class."""
    groups = np.arange(events.size) if clusters is None else np.asarray(clusters)
    return min(len(np.unique(groups[events])), len(np.unique(groups[~events])))


def _interval(area: float, variance: float, smaller: int, confidence: float) -> Interval:
    if area in (0.0, 1.0):
        exact = float(((1 - confidence) / 2) ** (1 / smaller))
        return Interval(area, exact, 1.0) if area else Interval(area, 0.0, 1 - exact)
    half = normal_quantile(confidence) * np.sqrt(max(variance, 0.0)) / (area * (1 - area))
    centre = special.logit(area)
    return Interval(area, float(special.expit(centre - half)), float(special.expit(centre + half)))
