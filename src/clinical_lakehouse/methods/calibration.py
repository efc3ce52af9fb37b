"""Do predicted risks mean what they say: Brier score, recalibration, calibration curve, O/E."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from clinical_lakehouse.methods.intervals import (
    Floats,
    Interval,
    normal_quantile,
    poisson,
    wilson,
)

_CLIP = 1e-6  # a risk of exactly 0 or 1 has no logit
_STEPS = 50
_LARGEST = 50.0  # a coefficient beyond this means separation: there is no finite estimate


@dataclass(frozen=True)
class Recalibration:
    """Logistic recalibration: slope 1 and intercept 0 are perfect; `in_the_large` holds slope 1."""

    slope: Interval
    intercept: Interval
    in_the_large: Interval


@dataclass(frozen=True)
class CalibrationBin:
    """One bin of a calibration curve: mean predicted risk, observed rate, rows and events."""

    predicted: float
    observed: Interval
    row_count: int
    event_count: int


def brier(outcomes: ArrayLike, scores: ArrayLike) -> float | None:
    """Mean squared error of the predicted risk (Brier 1950); None without rows."""
    events, risks = np.asarray(outcomes, dtype=float), np.asarray(scores, dtype=float)
    return float(np.mean((risks - events) ** 2)) if events.size else None


def scaled_brier(outcomes: ArrayLike, scores: ArrayLike) -> float | None:
    """1 - Brier / Brier of predicting the prevalence (Steyerberg 2010); None with one class."""
    events = np.asarray(outcomes, dtype=float)
    score = brier(outcomes, scores)
    if score is None or events.min() == events.max():
        return None
    prevalence = float(events.mean())
    return 1 - score / (prevalence * (1 - prevalence))


def recalibration(
    outcomes: ArrayLike,
    scores: ArrayLike,
    clusters: ArrayLike | None = None,
    confidence: float = 0.95,
) -> Recalibration | None:
    """Slope and intercept of outcome on logit(risk), and the intercept with slope 1 (Cox 1958).

    With `clusters` (a person per row) standard errors are cluster-robust (Liang and Zeger 1986).
    None with one class, constant risks, or perfect separation.
    """
    events = np.asarray(outcomes, dtype=float)
    line = _logit(scores)
    if events.size == 0 or events.min() == events.max() or np.ptp(line) == 0:
        return None
    ones = np.ones_like(line)
    both = _fit(events, np.column_stack([ones, line]), np.zeros_like(line), clusters)
    large = _fit(events, ones[:, None], line, clusters)
    if both is None or large is None:
        return None
    z = normal_quantile(confidence)
    return Recalibration(_at(both, 1, z), _at(both, 0, z), _at(large, 0, z))


def curve(
    outcomes: ArrayLike, scores: ArrayLike, bins: int = 10, confidence: float = 0.95
) -> list[CalibrationBin]:
    """Observed rate against mean predicted risk in equal bins; equal risks stay together."""
    events, risks = np.asarray(outcomes, dtype=float), np.asarray(scores, dtype=float)
    if not risks.size:
        return []
    inner = np.unique(np.quantile(risks, np.linspace(0, 1, bins + 1)[1:-1]))
    index = np.searchsorted(inner, risks, side="left")
    found = []
    for one in np.unique(index):
        mine = index == one
        rows, hits = int(mine.sum()), int(events[mine].sum())
        observed = wilson(hits, rows, confidence)
        if observed is not None:
            found.append(CalibrationBin(float(risks[mine].mean()), observed, rows, hits))
    return found


def observed_expected(
    outcomes: ArrayLike,
    scores: ArrayLike,
    confidence: float = 0.95,
    clusters: ArrayLike | None = None,
) -> Interval | None:
    """Events observed over events expected, with the exact Poisson interval (Garwood 1936).

    With `clusters` (a person per row) the interval is that of its logarithm by the delta method,
    with cluster-robust variance (Liang and Zeger 1986).
    """
    events, risks = np.asarray(outcomes, dtype=float), np.asarray(scores, dtype=float)
    expected, observed = float(risks.sum()), float(events.sum())
    if expected <= 0:
        return None
    if clusters is None or observed == 0:
        count = poisson(observed, confidence)
        return Interval(count.value / expected, count.low / expected, count.high / expected)
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    sums = np.bincount(index, events - risks * observed / expected)
    error = np.sqrt((sums**2).sum() * sums.size / max(sums.size - 1, 1)) / observed
    factor = float(np.exp(normal_quantile(confidence) * error))
    value = observed / expected
    return Interval(value, value / factor, value * factor)


def _logit(scores: ArrayLike) -> Floats:
    clipped = np.clip(np.asarray(scores, dtype=float), _CLIP, 1 - _CLIP)
    return np.asarray(special.logit(clipped), dtype=float)


def _at(fitted: tuple[Floats, Floats], position: int, z: float) -> Interval:
    value, half = float(fitted[0][position]), z * float(np.sqrt(fitted[1][position, position]))
    return Interval(value, value - half, value + half)


def _fit(
    events: Floats, design: Floats, offset: Floats, clusters: ArrayLike | None
) -> tuple[Floats, Floats] | None:
    """Logistic regression by Newton's method: coefficients and their covariance, or None."""
    coefficients = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        risks = special.expit(design @ coefficients + offset)
        information = design.T @ (design * (risks * (1 - risks))[:, None])
        if np.linalg.cond(information) > 1e12:
            return None
        step = np.linalg.solve(information, design.T @ (events - risks))
        coefficients = coefficients + step
        if np.abs(coefficients).max() > _LARGEST:
            return None
        if np.abs(step).max() < 1e-10:
            break
    bread = np.linalg.inv(information)
    if clusters is None:
        return coefficients, bread
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    count = int(index.max()) + 1
    parts = (design * (events - risks)[:, None]).T
    sums = np.array([np.bincount(index, part, count) for part in parts])
    return coefficients, bread @ (sums @ sums.T * count / max(count - 1, 1)) @ bread
