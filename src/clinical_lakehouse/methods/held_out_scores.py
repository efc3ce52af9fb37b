"""Rows held out from a model, with what it and others predicted for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class HeldOut:
    """Held-out rows as arrays: outcome, the model's and the baseline's risk, person, groups; the
    threshold at which a person counts as selected, and the risks other models give them."""

    outcomes: np.ndarray
    scores: np.ndarray
    baseline: np.ndarray
    people: np.ndarray
    groups: Mapping[str, np.ndarray]
    threshold: float
    others: Mapping[str, np.ndarray] = field(default_factory=dict)
