"""The split: later dates are held out, and no subject (or site) helps to score its own rows."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

FOLDS = 5
TEST_SHARE = 0.3

Fit = Callable[[pd.DataFrame], Any]
Folding = Callable[[pd.DataFrame], np.ndarray]


def time_cut(rows: pd.DataFrame, share: float = TEST_SHARE) -> Any:
    """The first index date of the last `share` of the index dates."""
    dates = np.sort(rows["index_date"].unique())
    return dates[min(int(np.floor(len(dates) * (1 - share))), len(dates) - 1)]


def fold_of(rows: pd.DataFrame) -> np.ndarray:
    """The fold of each row's subject, 0 to FOLDS-1: by its key alone, so it never changes."""
    keys = rows["subject_key"].to_numpy(dtype=np.int64).view(np.uint64)
    mixed = (keys * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(33)
    return (mixed % np.uint64(FOLDS)).astype(int)


def fold_of_site(rows: pd.DataFrame) -> np.ndarray:
    """The fold of each row's site, so that neither a subject nor a site is on both sides.

    A subject belongs to the site of their first date. The largest site goes to the fold with the
    fewest rows so far; a row without a site goes by its subject.
    """
    first = rows.sort_values("index_date").groupby("subject_key")["organization_key"].first()
    site = rows["subject_key"].map(first)
    folds, filled = fold_of(rows), np.zeros(FOLDS)
    sizes = site.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    for key, size in sizes.items():
        place = int(filled.argmin())
        filled[place] += size
        folds[(site == key).to_numpy()] = place
    return folds


def cross_fit(rows: pd.DataFrame, cut: Any, fit: Fit, folding: Folding = fold_of) -> pd.DataFrame:
    """Rows from the cut on with `score`, each from a model that saw only rows of earlier dates and
    other folds. A fold whose earlier rows are of one class gets their mean."""
    folds, is_later = folding(rows), (rows["index_date"] >= cut).to_numpy()
    earlier, later = rows[~is_later], rows[is_later].copy()
    scores = np.full(len(later), np.nan)
    for fold in range(FOLDS):
        mine = folds[is_later] == fold
        if mine.any():
            seen = earlier[folds[~is_later] != fold]
            scores[mine] = _scores(seen, later[mine], fit)
    later["score"] = scores
    return later


def _scores(seen: pd.DataFrame, asked: pd.DataFrame, fit: Fit) -> np.ndarray:
    if seen["is_event"].nunique() < 2:
        return np.full(len(asked), float(seen["is_event"].mean()) if len(seen) else 0.5)
    return np.asarray(fit(seen).predict_proba(asked)[:, 1])


FOLDINGS: Mapping[str, Folding] = {"subject": fold_of, "site": fold_of_site}
