"""Can a classifier tell two samples apart: a joint shift that no single feature shows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from clinical_lakehouse.methods.intervals import Floats

_FOLDS = 5
_RIDGE = 1.0
_MOST_FEATURES = 40  # their products are 820 columns


@dataclass(frozen=True)
class Separation:
    """Out-of-fold AUROC of telling now from then, and how often chance separates as well."""

    auroc: float
    p_value: float


def separation(
    rows: ArrayLike, is_current: ArrayLike, subjects: ArrayLike, draws: int = 199, seed: int = 0
) -> Separation | None:
    """A two-sample test by a classifier (Lopez-Paz and Oquab 2017) of ridge regression on features,
    their squares and products, so that a change of correlation alone is seen.

    Folds hold subjects whole. Labels are permuted by subject: one that stands in both samples has
    its rows swapped or not, the others change places whole. Missing values become the median and a
    feature of their own. None for fewer than 20 subjects in either sample.
    """
    now, who = np.asarray(is_current, dtype=bool), np.asarray(subjects)
    if min(np.unique(who[now]).size, np.unique(who[~now]).size) < 20:
        return None
    design = _design(np.asarray(rows, dtype=float)[:, :_MOST_FEATURES])
    generator = np.random.default_rng(seed)
    labels = np.column_stack([now, *_permuted(now, who, draws, generator)]).astype(float)
    _, index = np.unique(who, return_inverse=True)
    fold = generator.permutation(index.max() + 1)[index] % _FOLDS
    areas = _areas(_out_of_fold(design, labels, fold), labels)
    hits = int((areas[1:] >= areas[0] - 1e-12).sum())
    return Separation(float(areas[0]), (1 + hits) / (1 + draws))


def _design(rows: Floats) -> Floats:
    missing = np.isnan(rows)
    rows = rows[:, ~missing.all(axis=0)]
    missing = np.isnan(rows)
    # Ranks, so that one wild value does not decide a product.
    filled = np.where(missing, np.nanmedian(rows, axis=0), rows)
    scores = stats.norm.ppf((stats.rankdata(filled, axis=0) - 0.5) / len(filled))
    first, second = np.triu_indices(scores.shape[1])
    parts = [scores, scores[:, first] * scores[:, second], missing[:, missing.any(axis=0)]]
    whole = np.column_stack([part.astype(float) for part in parts])
    spread = whole.std(axis=0)
    return np.asarray((whole - whole.mean(axis=0))[:, spread > 0] / spread[spread > 0])


def _permuted(
    now: np.ndarray, who: np.ndarray, draws: int, generator: np.random.Generator
) -> list[np.ndarray]:
    _, index = np.unique(who, return_inverse=True)
    count = index.max() + 1
    in_both = (np.bincount(index, now, count) > 0) & (np.bincount(index, ~now, count) > 0)
    side = np.bincount(index, now, count) > 0
    single = np.nonzero(~in_both)[0]
    made = []
    for _ in range(draws):
        drawn = side.copy()
        drawn[single] = generator.permutation(side[single])
        swapped = generator.random(count) < 0.5
        made.append(np.where(in_both[index], now ^ swapped[index], drawn[index]))
    return made


def _out_of_fold(design: Floats, labels: Floats, fold: np.ndarray) -> Floats:
    """Scores of every row and labelling, fitted on the other folds; one solve serves them all."""
    found = np.empty_like(labels)
    for one in range(_FOLDS):
        inside = fold == one
        train, answers = design[~inside], labels[~inside]
        gram = train.T @ train + _RIDGE * len(train) / 100 * np.eye(design.shape[1])
        weights = np.linalg.solve(gram, train.T @ (answers - answers.mean(axis=0)))
        # The mean of a fold's labels tells them backwards; scores are compared across folds.
        found[inside] = design[inside] @ weights
    return found


def _areas(scores: Floats, labels: Floats) -> Floats:
    ranks = stats.rankdata(scores, axis=0)
    events = labels.sum(axis=0)
    others = len(labels) - events
    return np.asarray(((ranks * labels).sum(axis=0) - events * (events + 1) / 2) / events / others)
