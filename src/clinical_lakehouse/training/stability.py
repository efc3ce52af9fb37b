"""How much a model depends on the very people it was fitted on: bootstrap refits of its recipe."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from clinical_lakehouse.training.held_out import risk, tested
from clinical_lakehouse.training.mitigation import refit


@dataclass(frozen=True)
class Stability:
    """Mean absolute change of a person's risk between refits and the model, its 95th percentile
    over rows, and the mean share of refits in which a row changes sides of the threshold (0-1)."""

    refits: int
    moved: float
    moved_95: float
    crossed: float


def stability(
    rows: pd.DataFrame, model: Any, names: Sequence[str], threshold: float, refits: int
) -> Stability | None:
    """Refit on bootstrap samples of the training rows' people and score the held-out rows (Riley
    and Collins, Biometrical Journal 2023;65:2200302). None where nothing can be fitted or held
    against."""
    train, test = rows[~rows["is_test"]], tested(rows)
    if test.empty or train["is_event"].nunique() < 2:
        return None
    own = risk(model, test, names)
    groups = list(train.groupby("subject_key").indices.values())
    draws, fitted = np.random.default_rng(0), 0
    moved, crossed = np.zeros(len(test)), np.zeros(len(test))  # sums: refits of many rows are large
    for _ in range(refits):
        drawn = draws.integers(len(groups), size=len(groups))
        sample = train.iloc[np.concatenate([groups[one] for one in drawn])]
        if sample["is_event"].nunique() == 2:
            scores = risk(refit(model, sample, names), test, names)
            moved += np.abs(scores - own)
            crossed += (scores >= threshold) != (own >= threshold)
            fitted += 1
    if not fitted:
        return None
    per_row, sides = moved / fitted, crossed / fitted
    high = float(np.quantile(per_row, 0.95))
    return Stability(fitted, float(per_row.mean()), high, float(sides.mean()))
