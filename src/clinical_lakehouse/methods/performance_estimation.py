"""How well a model should do before outcomes are known, if its risks are true: CBPE."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from clinical_lakehouse.methods.intervals import Floats, Interval, normal_quantile

_CLIP = 1e-6
_LEAST_WORTH = 50  # rows that the weighted reference must be worth; fewer cannot speak for now


@dataclass(frozen=True)
class Reference:
    """Rows whose outcome is known: risks, outcomes and inputs (a row each, NaN where missing)."""

    risks: np.ndarray
    outcomes: np.ndarray
    inputs: np.ndarray


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


def density_ratio(reference: ArrayLike, current: ArrayLike) -> Floats:
    """How many times likelier each reference row is among the current ones: the odds of a logistic
    regression that tells the two apart, times their numbers (Bickel, Brückner and Scheffer 2009).
    Their mean is about 1 where the reference has people like all that there are now."""
    was, now = np.asarray(reference, dtype=float), np.asarray(current, dtype=float)
    steps = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    teller = make_pipeline(steps, StandardScaler(), LogisticRegression(max_iter=500))
    teller.fit(np.vstack([was, now]), np.repeat([0, 1], [len(was), len(now)]))
    chance = np.clip(teller.predict_proba(was)[:, 1], _CLIP, 1 - _CLIP)
    return np.asarray(chance / (1 - chance) * len(was) / len(now), dtype=float)


def shifted_risks(risks: ArrayLike, inputs: ArrayLike, reference: Reference) -> Floats | None:
    """Risks as they come true for the people there are now: recalibrated (logistic, intercept and
    slope) on the reference, its rows weighted by the density ratio of their inputs. None where the
    reference has one class, has no such people, or is worth fewer than 50 rows once weighted (Kish
    1965)."""
    if np.unique(reference.outcomes).size < 2 or not len(np.asarray(risks)):
        return None
    weights = density_ratio(reference.inputs, inputs)
    is_covered = 0.5 < weights.mean() < 2
    if not is_covered or weights.sum() ** 2 / (weights**2).sum() < _LEAST_WORTH:
        return None
    line = LogisticRegression(C=np.inf, max_iter=500)
    line.fit(_logit(reference.risks)[:, None], reference.outcomes, sample_weight=weights)
    return np.asarray(line.predict_proba(_logit(risks)[:, None])[:, 1], dtype=float)


def estimated_auroc_shifted(
    scores: ArrayLike,
    risks: ArrayLike,
    inputs: ArrayLike,
    reference: Reference,
    confidence: float = 0.95,
) -> Interval | None:
    """`estimated_auroc` of risks that are true for the people there are now (Białek, Kuberski,
    Perrakis and Bifet 2023, as NannyML's PAPE): unlike it, not led astray where risks hold for some
    people only and these are more or fewer now. It CANNOT see concept drift either."""
    shifted = shifted_risks(risks, inputs, reference)
    return None if shifted is None else estimated_auroc(scores, shifted, confidence)


def _logit(risks: ArrayLike) -> Floats:
    clipped = np.clip(np.asarray(risks, dtype=float), _CLIP, 1 - _CLIP)
    return np.asarray(special.logit(clipped), dtype=float)


def _error(area: float, events: float, others: float) -> float:
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area)
    spread += (events - 1) * (first - area**2) + (others - 1) * (second - area**2)
    return float(np.sqrt(max(spread, 0.0) / (events * others)))
