"""Is acting on the score worth it: net benefit by threshold (Vickers and Elkin 2006)."""

import numpy as np
from numpy.typing import ArrayLike

from clinical_lakehouse.methods.intervals import Floats


def net_benefit(outcomes: ArrayLike, scores: ArrayLike, thresholds: ArrayLike) -> Floats:
    """True positives less false positives weighted by the odds of the threshold, per row.

    A row is acted on where its risk is at least the threshold; thresholds lie in (0, 1).
    """
    events, risks = np.asarray(outcomes, dtype=bool), np.asarray(scores, dtype=float)
    limits = np.asarray(thresholds, dtype=float)
    true = events.sum() - np.searchsorted(np.sort(risks[events]), limits, side="left")
    false = (~events).sum() - np.searchsorted(np.sort(risks[~events]), limits, side="left")
    return np.asarray((true - false * limits / (1 - limits)) / events.size, dtype=float)


def treat_all(outcomes: ArrayLike, thresholds: ArrayLike) -> Floats:
    """Net benefit of acting on everybody; that of acting on nobody is zero."""
    prevalence = float(np.mean(np.asarray(outcomes, dtype=float)))
    limits = np.asarray(thresholds, dtype=float)
    return np.asarray(prevalence - (1 - prevalence) * limits / (1 - limits), dtype=float)
