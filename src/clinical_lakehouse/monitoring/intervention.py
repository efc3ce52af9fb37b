"""Acting on a good model spoils its score: how it fares in all, in the untreated, in a hold-out."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from clinical_lakehouse.methods.intervals import Floats, Interval, difference
from clinical_lakehouse.methods.weighted_performance import (
    weighted_auroc,
    weighted_observed_expected,
)

ALL, UNTREATED, HELD_OUT = "all", "untreated", "hold_out"
STABLE, INTERVENTION, DRIFT, UNIDENTIFIED = "stable", "intervention", "drift", "unidentified"
UNCLEAR, TOO_FEW = "unclear", "too_few"
_STRATA = 20
_FEWEST_EVENTS = 5  # of either class


@dataclass(frozen=True)
class Acted:
    """What followed the scores: treated or not, the chance of it (NaN where nobody wrote it down),
    and who was held out by lot."""

    is_treated: np.ndarray
    propensity: Floats
    is_held_out: np.ndarray


@dataclass(frozen=True)
class Figures:
    """AUROC and observed over expected of one population, with its rows and events."""

    auroc: Interval | None
    observed_expected: Interval | None
    row_count: int
    event_count: int


@dataclass(frozen=True)
class Limits:
    """The AUROC to hold with its interval, the drop allowed, and how far observed over expected may
    lie from 1."""

    reference: Interval | None
    drop_max: float
    calibration_max: float


def propensities(scores: ArrayLike, acted: Acted) -> Floats:
    """The chance of being acted on: as written down, else its share among scores alike (twentieths
    of the scores). Weights within strata are those of Rosenbaum and Rubin 1984."""
    values = np.asarray(scores, dtype=float)
    if not values.size:
        return values
    inner = np.unique(np.quantile(values, np.arange(1, _STRATA) / _STRATA))
    stratum = np.searchsorted(inner, values, side="right")
    size = np.bincount(stratum)
    share = np.bincount(stratum, acted.is_treated) / np.maximum(size, 1)
    return np.where(np.isnan(acted.propensity), share[stratum], acted.propensity)


def untreated_weights(scores: ArrayLike, acted: Acted) -> Floats | None:
    """How many rows each row speaks for, 0 if treated: 1/(1 - propensity), 1 where nobody was; None
    where scores of some height are always acted on, so that nobody can speak for them."""
    if not acted.is_treated.any():
        return np.ones(acted.is_treated.size)
    chance = propensities(scores, acted)
    return np.where(acted.is_treated, 0.0, 1 / (1 - chance)) if chance.max() < 1 else None


def performance(
    outcomes: ArrayLike, scores: ArrayLike, risks: ArrayLike, acted: Acted, confidence: float
) -> dict[str, Figures]:
    """Figures of all rows; of the untreated, each for 1/(1 - propensity) rows, as if nobody had
    been treated; and of the hold-out. A population that is not there, or cannot stand for all
    because some scores are always acted on, is left out."""
    events = np.asarray(outcomes, dtype=bool)
    found = {ALL: np.ones(events.size)}
    weights = untreated_weights(scores, acted)
    if acted.is_treated.any() and weights is not None:
        found[UNTREATED] = weights
    if acted.is_held_out.any():
        found[HELD_OUT] = acted.is_held_out.astype(float)
    return {
        name: Figures(
            weighted_auroc(events, scores, weights, confidence),
            weighted_observed_expected(events, risks, weights, weights, confidence),
            int((weights > 0).sum()),
            int(events[weights > 0].sum()),
        )
        for name, weights in found.items()
    }


def verdict(found: Mapping[str, Figures], limits: Limits, has_treated: bool) -> str:
    """What a window says of the model: stable; drift, where those nobody acted on are off beyond
    chance; intervention, where all are off and these are not; unidentified, where all are off and
    every score of some height is acted on, so that nobody can tell; unclear, where figures are off
    but not beyond chance; too_few, where there are not five of either class.

    The hold-out, which needs no propensity, is asked first where it has events enough.
    """
    if not any(_has_enough(one) for one in found.values()):
        return TOO_FEW
    calm = UNCLEAR if _looks_off(found.get(UNTREATED, found[ALL]), limits) else STABLE
    if not has_treated:
        return DRIFT if _is_off(found[ALL], limits) else calm
    trusted = [found[name] for name in (HELD_OUT, UNTREATED) if name in found]
    told = [one for one in trusted if _has_enough(one)]
    if any(_is_off(one, limits) for one in told):
        return DRIFT
    if not _is_off(found[ALL], limits):
        return calm
    return INTERVENTION if told else UNIDENTIFIED


def _has_enough(found: Figures) -> bool:
    return min(found.event_count, found.row_count - found.event_count) >= _FEWEST_EVENTS


def _looks_off(found: Figures, limits: Limits) -> bool:
    """Over a limit, whatever the error of the figures."""
    ratio, area = found.observed_expected, found.auroc
    if ratio is not None and abs(ratio.value - 1) > limits.calibration_max:
        return True
    if area is None or limits.reference is None:
        return False
    return limits.reference.value - area.value > limits.drop_max


def _is_off(found: Figures, limits: Limits) -> bool:
    """Over a limit beyond the error of the figures."""
    if not _has_enough(found):
        return False
    ratio, allowed = found.observed_expected, limits.calibration_max
    if ratio is not None and (ratio.low > 1 + allowed or ratio.high < 1 - allowed):
        return True
    if limits.reference is None or found.auroc is None:
        return False
    return difference(limits.reference, found.auroc).low > limits.drop_max
