"""How little must change to mend a model: nothing, its intercept, its slope, or all of it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from clinical_lakehouse.methods.intervals import Floats

NONE, INTERCEPT, SLOPE, REFIT = "none", "intercept", "slope", "refit"
_CLIP = 1e-6
_STEPS = 50
_LARGEST = 50.0
_FEWEST_EVENTS = 10  # of either class; below, likelihood ratio tests do not hold their level


@dataclass(frozen=True)
class Advice:
    """The least update that the data do not refuse, and the p values of the tests made: against
    the model as it is, with a new intercept, and with a new slope."""

    update: str
    p_values: tuple[float, ...]


def closed_test(
    outcomes: ArrayLike, risks: ArrayLike, covariates: ArrayLike | None = None, alpha: float = 0.05
) -> Advice | None:
    """Closed testing of updates (Vergouwe, Nieboer, Oostenbrink et al. 2017, Stat Med 36:4529): the
    full revision is tested against the model as it is, then with a new intercept, then with a new
    slope, each at `alpha`; the first that is not refused is advised.

    The revision has the logit of the risk and the `covariates`; without any, its square, so that it
    can tell only a wrong shape. A slope of zero or less, which turns the ranking, is a refit. None
    with fewer than ten of either class, or where the revision has no finite estimate.
    """
    events = np.asarray(outcomes, dtype=float)
    if min(events.sum(), (1 - events).sum()) < _FEWEST_EVENTS:
        return None
    line = special.logit(np.clip(np.asarray(risks, dtype=float), _CLIP, 1 - _CLIP))
    ones, more = np.ones_like(line), _standardised(line, covariates)
    revision = _fit(events, np.column_stack([ones, line, more]), np.zeros_like(line))
    slope = _fit(events, np.column_stack([ones, line]), np.zeros_like(line))
    intercept = _fit(events, ones[:, None], line)
    if revision is None or slope is None or intercept is None:
        return None
    original = _log_likelihood(events, line)
    size, p_values = 2 + more.shape[1], []
    steps = (
        (NONE, original, size),
        (INTERCEPT, intercept[1], size - 1),
        (SLOPE, slope[1], size - 2),
    )
    for update, likelihood, freedom in steps:
        p_values.append(float(stats.chi2.sf(2 * (revision[1] - likelihood), freedom)))
        if p_values[-1] >= alpha:
            is_turned = update == SLOPE and slope[0][1] <= 0
            return Advice(REFIT if is_turned else update, tuple(p_values))
    return Advice(REFIT, tuple(p_values))


def _standardised(line: Floats, covariates: ArrayLike | None) -> Floats:
    given = line**2 if covariates is None else np.asarray(covariates, dtype=float)
    columns = given.reshape(line.size, -1)
    spread = columns.std(axis=0)
    kept = columns[:, spread > 0]
    return np.asarray((kept - kept.mean(axis=0)) / spread[spread > 0])


def _fit(events: Floats, design: Floats, offset: Floats) -> tuple[Floats, float] | None:
    """Logistic regression by Newton's method: coefficients and log likelihood, or None."""
    coefficients = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        risk = special.expit(design @ coefficients + offset)
        information = design.T @ (design * (risk * (1 - risk))[:, None])
        if np.linalg.cond(information) > 1e12:
            return None
        step = np.linalg.solve(information, design.T @ (events - risk))
        coefficients = coefficients + step
        if np.abs(coefficients).max() > _LARGEST:
            return None
        if np.abs(step).max() < 1e-9:
            break
    return coefficients, _log_likelihood(events, design @ coefficients + offset)


def _log_likelihood(events: Floats, line: Floats) -> float:
    return float((events * line - np.logaddexp(0, line)).sum())
