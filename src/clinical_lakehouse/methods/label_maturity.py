"""Outcomes that are still coming: which are due, and weights so that early ones do not bias."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from clinical_lakehouse.methods.intervals import Floats


@dataclass(frozen=True)
class Maturity:
    """Rows by what is known of their outcome: `due` ones should be known by now, of which
    `arrived` are and `overdue` are not; `censored` ones are followed for a part of the horizon."""

    due: int
    arrived: int
    overdue: int
    censored: int


def maturity(is_due: ArrayLike, is_known: ArrayLike, followed: ArrayLike) -> Maturity:
    """Counts of rows; a row not yet due counts as arrived only once its outcome is known."""
    due, known = np.asarray(is_due, dtype=bool), np.asarray(is_known, dtype=bool)
    open_ = ~due & ~known & (np.asarray(followed, dtype=float) >= 0)
    return Maturity(int(due.sum()), int(known.sum()), int((due & ~known).sum()), int(open_.sum()))


def known_weights(followed: ArrayLike, is_known: ArrayLike) -> Floats:
    """One over the chance of an outcome being known by the time it was: inverse probability of
    censoring weights (Robins and Finkelstein 2000), the chance by Kaplan-Meier of the censoring.

    `followed` is the time to the outcome, or so far. 0 where the outcome is not known. Without
    censoring every weight is 1. An outcome known late, when most rows are not yet followed so long,
    speaks for those too.
    """
    times, known = np.asarray(followed, dtype=float), np.asarray(is_known, dtype=bool)
    order = np.argsort(times, kind="stable")
    moments, starts = np.unique(times[order], return_index=True)
    censored = np.add.reduceat((~known[order]).astype(float), starts) if times.size else times
    ended = np.add.reduceat(known[order].astype(float), starts) if times.size else times
    # At one moment outcomes come first: who is censored then was still at risk of them.
    at_risk = times.size - starts - ended
    steps = 1 - np.divide(censored, at_risk, out=np.zeros_like(at_risk), where=at_risk > 0)
    before = np.append(1.0, np.cumprod(steps)[:-1])  # the chance of being followed up to a moment
    chance = before[np.searchsorted(moments, times)]
    return np.where(known & (chance > 0), 1 / np.where(chance > 0, chance, 1), 0.0)
