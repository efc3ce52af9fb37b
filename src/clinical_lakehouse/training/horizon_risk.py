"""Risk by the horizon from times: models that learn when people left, not only whether."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline

from clinical_lakehouse.methods.intervals import Floats
from clinical_lakehouse.methods.outcomes import ANOTHER_END, EVENT
from clinical_lakehouse.methods.survival import risk_of_own_cause

_FEWEST_COMPETING = 10  # ends of another cause, below which they are taken for censored


class CoxRisk(ClassifierMixin, BaseEstimator):
    """Cause-specific Cox models (Prentice et al. 1978) of the event and of other ends, which
    together give the risk by the horizon (Benichou and Gail 1990); by lifelines, Efron's ties.

    `y` has two columns: followed_days and cause of methods.outcomes. The horizon is the longest
    follow-up among the rows.
    """

    def __init__(self, penalizer: float = 0.01) -> None:
        """`penalizer` is lifelines' ridge."""
        self.penalizer = penalizer

    def fit(self, inputs: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit both causes."""
        frame, days, cause = _given(inputs, y)
        self.classes_ = np.array([False, True])
        self.used_ = np.flatnonzero(frame.std(axis=0) > 0)
        self.times_ = np.unique([0.0, *days[cause == EVENT], days.max()])
        weights = np.ones(len(days)) if sample_weight is None else np.asarray(sample_weight)
        known = frame[:, self.used_], days, weights
        self.own_, self.own_hazard_ = self._cause(known, cause == EVENT)
        if (cause == ANOTHER_END).sum() >= _FEWEST_COMPETING:
            self.other_, self.other_hazard_ = self._cause(known, cause == ANOTHER_END)
        else:
            self.other_, self.other_hazard_ = self.own_ * 0, self.own_hazard_ * 0
        return self

    def predict_proba(self, inputs: Any) -> Floats:
        """Columns: without and with the event by the horizon."""
        frame = np.asarray(inputs, dtype=float)[:, self.used_]
        own, other = (
            np.outer(base, np.exp(np.clip(frame @ coefficients, -30, 30)))
            for base, coefficients in (
                (self.own_hazard_, self.own_),
                (self.other_hazard_, self.other_),
            )
        )
        return _columns(risk_of_own_cause(own, other))

    def _cause(self, known: tuple[Floats, Floats, Floats], seen: Any) -> tuple[Floats, Floats]:
        """Coefficients, and the cumulative hazard at times_ of one whose inputs are all 0."""
        from lifelines import CoxPHFitter  # a second to import, which no other task should pay

        frame, days, weights = known
        names = [f"input_{place}" for place in range(frame.shape[1])]
        table = pd.DataFrame(frame, columns=names)
        table = table.assign(days=days, seen=seen, weight=weights)
        fitter = CoxPHFitter(penalizer=self.penalizer)
        with warnings.catch_warnings():
            # Weights only make rows count less than people; no robust errors are asked of it.
            warnings.simplefilter("ignore")
            fitted = fitter.fit(table, "days", "seen", weights_col="weight")
        nobody = pd.DataFrame(np.zeros((1, len(names))), columns=names)
        base = fitted.predict_cumulative_hazard(nobody, times=self.times_)
        return fitted.params_.to_numpy(dtype=float), base.to_numpy(dtype=float)[:, 0]


class SurvivalBoosting(ClassifierMixin, BaseEstimator):
    """Gradient boosting of discrete-time hazards (Singer and Willett 1993) of the event and of
    other ends: one row per person and interval at risk, the interval being an input.

    `y` as for CoxRisk.
    """

    def __init__(
        self,
        intervals: int = 6,
        max_iter: int = 60,
        learning_rate: float = 0.05,
        min_samples_leaf: int = 40,
        *,
        random_state: int = 0,
    ) -> None:
        """`intervals` divide the horizon evenly; the others are HistGradientBoosting's."""
        self.intervals = intervals
        self.max_iter = max_iter
        self.learning_rate = learning_rate
        self.min_samples_leaf = min_samples_leaf
        self.random_state = random_state

    def fit(self, inputs: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit both hazards."""
        frame, days, cause = _given(inputs, y)
        self.classes_ = np.array([False, True])
        width = days.max() / self.intervals
        last = np.clip(np.ceil(days / width).astype(int), 1, self.intervals) - 1
        # An interval somebody was only followed into, and not through, says nothing.
        whole = np.where(cause > 0, last, np.floor(days / width).astype(int) - 1)
        counts = np.clip(whole + 1, 0, self.intervals)
        person = np.repeat(np.arange(len(days)), counts)
        place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        spread = np.column_stack([frame[person], place])
        weights = None if sample_weight is None else np.asarray(sample_weight)[person]
        ends = np.where(place == last[person], cause[person], 0)
        self.own_ = self._hazard(spread, ends == EVENT, weights)
        enough = (cause == ANOTHER_END).sum() >= _FEWEST_COMPETING
        self.other_ = self._hazard(spread, ends == ANOTHER_END, weights) if enough else None
        return self

    def predict_proba(self, inputs: Any) -> Floats:
        """Columns: without and with the event by the horizon."""
        frame = np.asarray(inputs, dtype=float)
        staying, risk = np.ones(len(frame)), np.zeros(len(frame))
        for place in range(self.intervals):
            asked = np.column_stack([frame, np.full(len(frame), place)])
            own = self.own_.predict_proba(asked)[:, 1]
            other = self.other_.predict_proba(asked)[:, 1] if self.other_ is not None else 0.0
            risk += staying * own
            staying = staying * np.clip(1 - own - other, 0, 1)
        return _columns(risk)

    def _hazard(self, spread: Floats, ends: Any, weights: Any) -> HistGradientBoostingClassifier:
        model = HistGradientBoostingClassifier(
            max_iter=self.max_iter,
            learning_rate=self.learning_rate,
            min_samples_leaf=self.min_samples_leaf,
            max_leaf_nodes=8,
            early_stopping=False,
            random_state=self.random_state,
        )
        return model.fit(spread, ends, sample_weight=weights)


TIMED_TYPES: Mapping[str, tuple[str, ...]] = {
    one.__name__: (f"{one.__module__}.{one.__name__}",) for one in (CoxRisk, SurvivalBoosting)
}


def outcome_of(model: Any, rows: pd.DataFrame) -> Any:
    """What a model learns of labelled rows: is_event, or followed_days and cause."""
    if is_timed(model):
        return rows[["followed_days", "cause"]].to_numpy(dtype=float)
    return rows["is_event"].to_numpy(dtype=bool)


def is_timed(model: Any) -> bool:
    """Does the model learn from times?"""
    last = model.steps[-1][1] if isinstance(model, Pipeline) else model
    return isinstance(last, CoxRisk | SurvivalBoosting)


def own_types(model: Any) -> Sequence[str]:
    """Names of this suite's types in a fitted pipeline, which its registry must trust."""
    last = model.steps[-1][1] if isinstance(model, Pipeline) else model
    return TIMED_TYPES.get(type(last).__name__, ())


def _given(inputs: Any, y: Any) -> tuple[Floats, Floats, Any]:
    times = np.asarray(y, dtype=float)
    # An end on the index date itself counts as one of the first day.
    return np.asarray(inputs, dtype=float), np.maximum(times[:, 0], 1.0), times[:, 1].astype(int)


def _columns(risk: Floats) -> Floats:
    bounded = np.clip(risk, 0.0, 1.0)
    return np.column_stack([1 - bounded, bounded])
