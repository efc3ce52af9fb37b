"""Mitigations tried on a fitted model: refitted with weights, or thresholds learnt by group."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from clinical_lakehouse.methods.fairness_mitigation import (
    GROUP_THRESHOLDS,
    REWEIGHING,
    Mitigation,
    group_thresholds,
    reweighing,
)
from clinical_lakehouse.training.held_out import groups_of, risk, tested
from clinical_lakehouse.training.horizon_risk import outcome_of


def mitigations(
    rows: pd.DataFrame, model: Any, names: Sequence[str], threshold: float
) -> list[Mitigation]:
    """Reweighing and group thresholds for each attribute, learnt on the training rows (those not
    `is_test`), as selections among the held-out ones. None where nothing can be learnt."""
    train, test = rows[~rows["is_test"]], tested(rows)
    if train["is_event"].nunique() < 2 or test.empty:
        return []
    learnt, asked = groups_of(train), groups_of(test)
    scores = risk(model, train, names), risk(model, test, names)
    events = train["is_event"].to_numpy(bool)
    found = []
    for attribute, labels in learnt.items():
        weights = reweighing(labels, events)
        refitted = refit(model, train, names, weights)
        flags = risk(refitted, test, names) >= threshold
        found.append(Mitigation(REWEIGHING, attribute, flags))
        limits = group_thresholds(labels, events, scores[0], threshold)
        flags = _over(scores[1], asked[attribute], limits, threshold)
        found.append(Mitigation(GROUP_THRESHOLDS, attribute, flags))
    return found


def refit(
    model: Any, rows: pd.DataFrame, names: Sequence[str], weights: np.ndarray | None = None
) -> Any:
    """The same recipe fitted on other rows; as in training all rows weigh as much together as there
    are people among them."""
    weight = np.full(len(rows), rows["subject_key"].nunique() / len(rows))
    if weights is not None:
        weight = weight * weights
    key = f"{model.steps[-1][0]}__sample_weight" if isinstance(model, Pipeline) else "sample_weight"
    return clone(model).fit(rows[list(names)], outcome_of(model, rows), **{key: weight})


def _over(
    scores: np.ndarray, labels: np.ndarray, limits: Mapping[str, float], otherwise: float
) -> np.ndarray:
    """Selected by the threshold of one's own group; a group unknown in training has the common."""
    own = np.array([limits.get(str(label), otherwise) for label in labels], dtype=float)
    return np.asarray(scores >= own)
