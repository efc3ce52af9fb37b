"""Figures of several sites as one: random effects, and what to expect of a new site."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from clinical_lakehouse.methods.intervals import Floats, Interval

FEWEST_SITES = 3  # a prediction interval has two degrees of freedom less than there are sites


@dataclass(frozen=True)
class Pooled:
    """The mean over sites with its interval, the interval for a new site, the variance between
    sites and the share of the variation that it makes (I2, 0-1)."""

    mean: Interval
    new_site: Interval
    between: float
    heterogeneity: float


def pool(estimates: ArrayLike, errors: ArrayLike, confidence: float = 0.95) -> Pooled | None:
    """Random-effects mean of estimates with standard errors; None for fewer than three.

    Variance between sites by restricted maximum likelihood (Viechtbauer 2005), interval of the mean
    by Hartung and Knapp 2001, prediction interval by Higgins, Thompson and Spiegelhalter 2009. Give
    AUROC as logits and O/E as logarithms (Debray et al., BMJ 2017;356:i6460).
    """
    values, variances = np.asarray(estimates, float), np.asarray(errors, float) ** 2
    if values.size < FEWEST_SITES:
        return None
    between = _between(values, variances)
    weights = 1 / (variances + between)
    mean, plain = _mean(values, weights), 1 / float(weights.sum())
    spread = float((weights * (values - mean) ** 2).sum()) / (values.size - 1)
    tail = 0.5 + confidence / 2
    half = stats.t.ppf(tail, values.size - 1) * np.sqrt(spread * plain)
    reach = stats.t.ppf(tail, values.size - 2) * np.sqrt(between + plain)
    fixed = 1 / variances
    typical = (values.size - 1) * fixed.sum() / (fixed.sum() ** 2 - (fixed**2).sum())
    return Pooled(
        Interval(mean, mean - float(half), mean + float(half)),
        Interval(mean, mean - float(reach), mean + float(reach)),
        between,
        between / (between + float(typical)),
    )


def deleted_residuals(estimates: ArrayLike, errors: ArrayLike) -> Floats:
    """How far each site lies from what the others lead to expect, in standard errors (Viechtbauer
    and Cheung 2010); zeros where fewer than three others are there."""
    values, variances = np.asarray(estimates, float), np.asarray(errors, float) ** 2
    found = np.zeros(values.size)
    if values.size <= FEWEST_SITES:
        return found
    for one in range(values.size):
        rest = np.arange(values.size) != one
        between = _between(values[rest], variances[rest])
        weights = 1 / (variances[rest] + between)
        error = np.sqrt(variances[one] + between + 1 / weights.sum())
        found[one] = (values[one] - _mean(values[rest], weights)) / error
    return found


def _mean(values: Floats, weights: Floats) -> float:
    return float((weights * values).sum() / weights.sum())


def _between(values: Floats, variances: Floats) -> float:
    def restricted(between: float) -> float:
        weights = 1 / (variances + between)
        gaps = weights * (values - _mean(values, weights)) ** 2
        logs = np.log(variances + between).sum() + np.log(weights.sum())
        return 0.5 * float(logs + gaps.sum())

    largest = 10 * float(values.var()) + 1e-8
    found = optimize.minimize_scalar(
        restricted, bounds=(0.0, largest), method="bounded", options={"xatol": 1e-9}
    )
    return float(found.x) if restricted(float(found.x)) < restricted(0.0) else 0.0
