"""Has a distribution moved: population stability index with its chance limit, KS distance."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from clinical_lakehouse.methods.intervals import Floats


@dataclass(frozen=True)
class Distance:
    """A two-sample statistic and its p value."""

    value: float
    p_value: float


def quantile_edges(reference: ArrayLike, bins: int) -> Floats:
    """Inner edges of bins that hold equal shares of the reference; equal edges count once."""
    known = np.asarray(reference, dtype=float)
    known = known[~np.isnan(known)]
    return np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1]))


def psi(reference: ArrayLike, current: ArrayLike, edges: ArrayLike) -> float:
    """Population stability index over bins cut at `edges`; missing values are a bin of their own.

    Half a row is added to each bin of both samples, so that an empty bin stays finite.
    """
    cuts = np.asarray(edges, dtype=float)
    return psi_of_counts(binned(reference, cuts), binned(current, cuts))


def psi_of_counts(was: Floats, now: Floats) -> float:
    """Population stability index of two samples' counts by bin; see `psi`."""
    kept = (was + now) > 0
    p, q = _smoothed(was[kept]), _smoothed(now[kept])
    return float(((q - p) * np.log(q / p)).sum())


def psi_by_chance(reference: int, current: int, bins: int) -> float:
    """The PSI that two samples of one distribution have on average (Yurdakul 2018)."""
    return (bins - 1) * (1 / reference + 1 / current)


def psi_chance_limit(reference: int, current: int, bins: int, confidence: float) -> float:
    """The PSI that two samples of one distribution stay below with this confidence.

    PSI / (1/n + 1/m) is approximately chi-squared with bins - 1 degrees of freedom (Yurdakul 2018).
    """
    return float(stats.chi2.ppf(confidence, bins - 1) * (1 / reference + 1 / current))


def ks(reference: ArrayLike, current: ArrayLike) -> Distance:
    """Kolmogorov-Smirnov: largest distance of the two distribution functions; missing dropped."""
    was, now = np.asarray(reference, dtype=float), np.asarray(current, dtype=float)
    found = stats.ks_2samp(was[~np.isnan(was)], now[~np.isnan(now)])
    return Distance(float(found.statistic), float(found.pvalue))


def binned(values: ArrayLike, cuts: Floats) -> Floats:
    """How many values lie in each bin between inner edges; missing ones are the last bin."""
    given = np.asarray(values, dtype=float)
    index = np.where(np.isnan(given), cuts.size + 1, np.searchsorted(cuts, given, side="left"))
    return np.bincount(index, minlength=cuts.size + 2).astype(float)


def _smoothed(counts: Floats) -> Floats:
    return np.asarray((counts + 0.5) / (counts.sum() + 0.5 * counts.size))
