"""The split: later dates are held out, and no subject helps to score their own rows."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

FOLDS = 5
TEST_SHARE = 0.3

Fit = Callable[[pd.DataFrame], Any]


def time_cut(rows: pd.DataFrame, share: float = TEST_SHARE) -> Any:
    """The first index date of the last `share` of the index dates."""
    dates = np.sort(rows["index_date"].unique())
    return dates[min(int(np.floor(len(dates) * (1 - share))), len(dates) - 1)]


def fold_of(rows: pd.DataFrame) -> np.ndarray:
    """The fold of each row's subject, 0 to FOLDS-1: by its key alone, so it never changes."""
    keys = rows["subject_key"].to_numpy(dtype=np.int64).view(np.uint64)
    mixed = (keys * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(33)
    return (mixed % np.uint64(FOLDS)).astype(int)


def cross_fit(rows: pd.DataFrame, cut: Any, fit: Fit) -> pd.DataFrame:
    """Rows from the cut on with `score`, each from a model that saw only rows of earlier dates and
    other subjects. A fold whose earlier rows are of one class gets their mean."""
    earlier, later = rows[rows["index_date"] < cut], rows[rows["index_date"] >= cut].copy()
    scores = np.full(len(later), np.nan)
    for fold in range(FOLDS):
        mine = fold_of(later) == fold
        if mine.any():
            seen = earlier[fold_of(earlier) != fold]
            scores[mine] = _scores(seen, later[mine], fit)
    later["score"] = scores
    return later


def _scores(seen: pd.DataFrame, asked: pd.DataFrame, fit: Fit) -> np.ndarray:
    if seen["is_event"].nunique() < 2:
        return np.full(len(asked), float(seen["is_event"].mean()) if len(seen) else 0.5)
    return np.asarray(fit(seen).predict_proba(asked)[:, 1])
