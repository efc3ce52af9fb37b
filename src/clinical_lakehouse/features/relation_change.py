"""Has the relation of features changed where each alone has not: correlations, by permutation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from clinical_lakehouse.methods.intervals import Floats

_FEWEST = 20  # people on either side
_KNOWN = 0.5  # share of people with a value, below which a feature is left out
_NEAR_ONE = 0.999  # where Fisher's z would be without bound


@dataclass(frozen=True)
class Relation:
    """A pair of features: Spearman's correlation before and now, and the chance that any pair of
    all that were looked at changes as much (Westfall and Young 1993)."""

    feature: str
    other: str
    before: float
    now: float
    p_value: float


def relation_changes(
    names: Sequence[str],
    before: ArrayLike,
    now: ArrayLike,
    *,
    draws: int = 499,
    outcome: str | None = None,
    seed: int = 0,
) -> list[Relation]:
    """Every pair of features, the most changed first; people are rows, NaN is missing.

    With `outcome`, the name of one column, only pairs with it: how important each feature is, and
    whether that is stable. The null is that it does not matter on which side a person stands: sides
    are drawn anew. Somebody on both sides makes a change look more like chance, never less. Nothing
    for fewer than 20 people on a side, or for a feature that is constant or mostly missing.
    """
    was, then = np.asarray(before, dtype=float), np.asarray(now, dtype=float)
    if min(len(was), len(then)) < _FEWEST:
        return []
    kept = [place for place in range(len(names)) if _is_told(was, place) and _is_told(then, place)]
    pairs = [
        (one, other)
        for at, one in enumerate(kept)
        for other in kept[at + 1 :]
        if outcome is None or outcome in (names[one], names[other])
    ]
    if not pairs:
        return []
    places = tuple(np.array(side) for side in zip(*pairs, strict=True))
    own, other = _correlations(was, places), _correlations(then, places)
    observed = np.abs(np.arctanh(own) - np.arctanh(other))
    chance = _largest_by_chance(was, then, places, draws, seed)
    p_values = (1 + (chance[:, None] >= observed * (1 - 1e-9)).sum(axis=0)) / (1 + draws)
    found = [
        Relation(names[a], names[b], float(own[n]), float(other[n]), float(p_values[n]))
        for n, (a, b) in enumerate(pairs)
    ]
    order = np.argsort(-observed, kind="stable")
    return [found[place] for place in order]


def _is_told(rows: Floats, place: int) -> bool:
    """Enough values, not all of them the same?"""
    known = rows[~np.isnan(rows[:, place]), place]
    return bool(len(known) >= _KNOWN * len(rows) and len(np.unique(known)) > 1)


def _correlations(rows: Floats, places: tuple[Floats, ...]) -> Floats:
    """Spearman's correlation of each pair; a missing value has the mean rank, and says nothing."""
    scores = np.zeros(rows.shape)
    for column in np.unique(np.concatenate(places)):
        known = ~np.isnan(rows[:, column])
        ranks = stats.rankdata(rows[known, column])
        spread = ranks.std()
        scores[known, column] = (ranks - ranks.mean()) / spread if spread else 0.0
    sums = np.sqrt((scores**2).sum(axis=0))
    product = scores.T @ scores / np.maximum(np.outer(sums, sums), 1e-12)
    return np.asarray(np.clip(product[places[0], places[1]], -_NEAR_ONE, _NEAR_ONE))


def _largest_by_chance(
    was: Floats, now: Floats, places: tuple[Floats, ...], draws: int, seed: int
) -> Floats:
    """The largest change of any pair, of sides drawn anew."""
    together, taken = np.vstack([was, now]), len(was)
    generator, found = np.random.default_rng(seed), np.zeros(draws)
    for draw in range(draws):
        mixed = together[generator.permutation(len(together))]
        sides = (_correlations(side, places) for side in (mixed[:taken], mixed[taken:]))
        own, other = (np.arctanh(side) for side in sides)
        found[draw] = np.abs(own - other).max()
    return found
