"""Model families the search may choose from: what each takes in, and its hyper-parameters."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hyperopt import hp
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

CATEGORIES = ("sex",)
# Who they were at enrolment, as studies of attrition name it: age, mood, disease control, other
# illness. With few events more inputs add noise, and counts that grow with time on study mean
# something else for the early dates a first model is trained on than for the later it is used on.
CORE = ("age_years", "phq9_baseline", "hba1c_baseline", "condition_count")


@dataclass(frozen=True)
class Family:
    """A kind of model. `rank` orders families from simple to complex; a simple one is always
    fitted, at `first`, and stays the candidate unless a complex one is worth more."""

    name: str
    rank: int
    space: Mapping[str, Any]
    build: Callable[[Sequence[str], Mapping[str, float], int], Pipeline]
    is_core: bool = False
    first: Mapping[str, float] | None = None

    @property
    def is_simple(self) -> bool:
        """A regularised logistic regression: always tried."""
        return self.first is not None

    def features(self, available: Sequence[str]) -> list[str]:
        """The inputs it uses, in the order given."""
        return [name for name in available if name in CORE or not self.is_core]


def _logistic(features: Sequence[str], params: Mapping[str, float], seed: int) -> Pipeline:
    """Ridge logistic regression on scaled inputs."""
    model = LogisticRegression(C=float(params["C"]), max_iter=2000, random_state=seed)
    return Pipeline([*_prepared(features), ("scaled", StandardScaler()), ("model", model)])


def _boosting(features: Sequence[str], params: Mapping[str, float], seed: int) -> Pipeline:
    """Gradient boosting on binned inputs."""
    model = HistGradientBoostingClassifier(
        learning_rate=float(params["learning_rate"]),
        max_iter=int(params["max_iter"]),
        max_leaf_nodes=int(params["max_leaf_nodes"]),
        min_samples_leaf=int(params["min_samples_leaf"]),
        l2_regularization=float(params["l2_regularization"]),
        early_stopping=False,
        random_state=seed,
    )
    return Pipeline([*_prepared(features), ("model", model)])


def _prepared(features: Sequence[str]) -> list[tuple[str, Any]]:
    """Missing numbers become the median, and that they were missing an input of its own; a column
    without any value (early in a trial) is kept as zeros."""
    numbers = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    known = SimpleImputer(missing_values=None, strategy="constant", fill_value="unknown")
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    others = [name for name in features if name not in CATEGORIES]
    categories = [name for name in features if name in CATEGORIES]
    parts = [
        ("numbers", numbers, others),
        ("categories", make_pipeline(known, encoder), categories),
    ]
    return [("inputs", ColumnTransformer(parts, verbose_feature_names_out=False))]


def _strength(label: str) -> dict[str, Any]:
    """C is the prior variance of a scaled input's coefficient: rows weigh as much as subjects."""
    return {"C": hp.loguniform(label, np.log(0.3), np.log(5.0))}


FAMILIES = (
    Family("logistic_core", 0, _strength("C_core"), _logistic, is_core=True, first={"C": 1.0}),
    Family("logistic_all", 1, _strength("C_all"), _logistic, first={"C": 1.0}),
    Family(
        "gradient_boosting",
        2,
        {
            "learning_rate": hp.loguniform("learning_rate", np.log(0.01), np.log(0.1)),
            "max_iter": hp.quniform("max_iter", 20, 120, 10),
            "max_leaf_nodes": hp.quniform("max_leaf_nodes", 2, 8, 1),
            "min_samples_leaf": hp.quniform("min_samples_leaf", 20, 200, 20),
            "l2_regularization": hp.loguniform("l2_regularization", np.log(1.0), np.log(100.0)),
        },
        _boosting,
    ),
)
