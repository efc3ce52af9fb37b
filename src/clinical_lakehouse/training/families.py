"""Model families the search may choose from: what each takes in, and its hyper-parameters."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from hyperopt import hp
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.training.horizon_risk import CoxRisk, SurvivalBoosting

CATEGORIES = ("sex",)
ALL, FEW, SCORE = "all", "core", "score"  # the inputs a family takes
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
    takes: str = ALL
    first: Mapping[str, float] | None = None

    @property
    def is_simple(self) -> bool:
        """A regularised logistic regression: always tried."""
        return self.first is not None


@dataclass(frozen=True)
class Offer:
    """What a declared model offers the search: inputs (all, the few that are known to matter, and a
    clinical score), families by name, and hyper-parameters narrowed to (low, high) by family."""

    available: Sequence[str]
    core: Sequence[str] = CORE
    score: str | None = None
    names: Sequence[str] = ("logistic_core", "logistic_all", "gradient_boosting")
    narrowed: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)

    @property
    def families(self) -> list[Family]:
        """The families, the simple ones first. UsageError where none is a logistic regression, or
        a hyper-parameter, a score or an input is not there."""
        found = [one for one in FAMILIES if one.name in self.names]
        if not any(one.build is _logistic and one.takes != SCORE for one in found):
            raise UsageError("families of a model must have logistic_core or logistic_all")
        if not self.score and any(one.takes == SCORE for one in found):
            raise UsageError("the family clinical_score needs clinical_score: the score's input")
        wanted = [*self.core, *([self.score] if self.score else [])]
        unknown = [name for name in wanted if name not in self.available]
        if unknown:
            raise UsageError(f"not among the model's inputs: {', '.join(unknown)}; correct conf")
        return [self._narrow(one) for one in found]

    def features(self, family: Family) -> list[str]:
        """The inputs a family uses, in the order given."""
        if family.takes == SCORE:
            return [self.score] if self.score else []
        return [name for name in self.available if name in self.core or family.takes == ALL]

    def _narrow(self, family: Family) -> Family:
        space, first = dict(family.space), dict(family.first or {})
        for name, (low, high) in self.narrowed.get(family.name, {}).items():
            if name not in space or not 0 < low <= high:
                raise UsageError(f"space of {family.name}: {name} is unknown or not [low, high]")
            label = f"{family.name}_{name}"
            is_whole = name in _WHOLE
            made = hp.quniform(label, low, high, 1) if is_whole else None
            space[name] = made or hp.loguniform(label, np.log(low), np.log(high))
            if name in first:
                first[name] = min(max(first[name], low), high)
        return replace(family, space=space, first=first or None)


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


def _forest(features: Sequence[str], params: Mapping[str, float], seed: int) -> Pipeline:
    """A random forest whose leaves hold many rows, so that they tell a risk (Breiman 2001)."""
    model = RandomForestClassifier(
        n_estimators=int(params["n_estimators"]),
        min_samples_leaf=int(params["min_samples_leaf"]),
        max_features=float(params["max_features"]),
        random_state=seed,
    )
    return Pipeline([*_prepared(features), ("model", model)])


def _cox(features: Sequence[str], params: Mapping[str, float], seed: int) -> Pipeline:
    """Cause-specific Cox models on scaled inputs."""
    model = CoxRisk(penalizer=float(params["penalizer"]))
    return Pipeline([*_prepared(features), ("scaled", StandardScaler()), ("model", model)])


def _survival_boosting(features: Sequence[str], params: Mapping[str, float], seed: int) -> Pipeline:
    """Gradient boosting of discrete-time hazards."""
    model = SurvivalBoosting(
        intervals=int(params["intervals"]),
        max_iter=int(params["max_iter"]),
        learning_rate=float(params["learning_rate"]),
        min_samples_leaf=int(params["min_samples_leaf"]),
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


_WHOLE = ("max_iter", "max_leaf_nodes", "min_samples_leaf", "n_estimators", "intervals")

# hyperopt draws in this order; a family that is not declared is not there.
FAMILIES = (
    Family("clinical_score", -1, _strength("C_score"), _logistic, SCORE, first={"C": 1.0}),
    Family("logistic_core", 0, _strength("C_core"), _logistic, FEW, first={"C": 1.0}),
    Family("logistic_all", 1, _strength("C_all"), _logistic, first={"C": 1.0}),
    Family(
        "cox",
        2,
        {"penalizer": hp.loguniform("penalizer", np.log(0.003), np.log(1.0))},
        _cox,
        FEW,
    ),
    Family(
        "random_forest",
        3,
        {
            "n_estimators": hp.quniform("n_estimators", 50, 150, 50),
            "min_samples_leaf": hp.quniform("forest_leaf", 10, 100, 10),
            "max_features": hp.uniform("max_features", 0.1, 0.6),
        },
        _forest,
    ),
    Family(
        "gradient_boosting",
        4,
        {
            "learning_rate": hp.loguniform("learning_rate", np.log(0.01), np.log(0.1)),
            "max_iter": hp.quniform("max_iter", 20, 120, 10),
            "max_leaf_nodes": hp.quniform("max_leaf_nodes", 2, 8, 1),
            "min_samples_leaf": hp.quniform("min_samples_leaf", 20, 200, 20),
            "l2_regularization": hp.loguniform("l2_regularization", np.log(1.0), np.log(100.0)),
        },
        _boosting,
    ),
    Family(
        "survival_boosting",
        5,
        {
            "intervals": hp.quniform("intervals", 3, 9, 1),
            "max_iter": hp.quniform("hazard_iter", 20, 80, 20),
            "learning_rate": hp.loguniform("hazard_rate", np.log(0.02), np.log(0.15)),
            "min_samples_leaf": hp.quniform("hazard_leaf", 40, 400, 40),
        },
        _survival_boosting,
    ),
)
