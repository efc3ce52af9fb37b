"""The rows a model version was trained on and those held out from it, with both models' scores."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from clinical_lakehouse.methods.age_bands import UNKNOWN, age_band
from clinical_lakehouse.methods.held_out_scores import HeldOut
from clinical_lakehouse.training.attrition import only_labelled
from clinical_lakehouse.training.matrix import OUTCOME
from clinical_lakehouse.training.population import Rules, labelled

# What a study nurse knows without a model.
BASELINE_FEATURES = ("age_years", "visit_adherence_ratio")
GROUPS = ("sex", "age_band", "race")


def newest_version(versions: DataFrame, model_name: str) -> dict[str, Any] | None:
    """The gold.model_version row of the latest version; None before the first training."""
    mine = versions.filter(F.col("model_name") == model_name)
    found = mine.orderBy(F.desc("model_version")).limit(1).collect()
    return found[0].asDict() if found else None


def version_rows(
    features: DataFrame,
    ends: DataFrame,
    version: Mapping[str, Any],
    rules: Rules,
    margin_days: int,
) -> DataFrame:
    """Feature rows of the version's training and test dates of the model's population, whose
    outcome was known when it was trained, with the outcome and is_test; `ends` is what
    outcomes.followed gives."""
    dated = features.filter(
        F.col("index_date").between(
            F.lit(version["train_from_date"]), F.lit(version["test_to_date"])
        )
    )
    until = version["training_until"].date()
    known = only_labelled(labelled(dated, ends, rules, until, margin_days))
    in_test = F.col("index_date") >= F.lit(version["test_from_date"])
    in_train = F.col("index_date") <= F.lit(version["train_to_date"])
    kept = known.filter(in_test | in_train).withColumn("is_test", in_test)
    return kept.select(*features.columns, *OUTCOME, "is_test")


def held_out(
    rows: pd.DataFrame, model: Any, names: Sequence[str], threshold: float | None = None
) -> HeldOut:
    """Score the held-out rows by the model and by a baseline fitted on the training rows.

    The threshold is the prevalence among training rows unless one is given.
    """
    train = rows[~rows["is_test"]]
    test = tested(rows)
    prevalence = float(train["is_event"].mean()) if len(train) else 0.5
    return HeldOut(
        outcomes=test["is_event"].to_numpy(dtype=bool),
        scores=risk(model, test, names),
        baseline=_baseline(train, test, prevalence),
        people=test["subject_key"].to_numpy(),
        groups=groups_of(test),
        threshold=prevalence if threshold is None else threshold,
    )


def groups_of(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """The groups a model is judged by, in the rows' order."""
    groups = {"sex": rows["sex"], "age_band": age_band(rows["age_years"]), "race": rows["race"]}
    return {name: values.fillna(UNKNOWN).to_numpy(dtype=str) for name, values in groups.items()}


def tested(rows: pd.DataFrame) -> pd.DataFrame:
    """The held-out rows in the order of all that is made of them."""
    return rows[rows["is_test"]].sort_values(["index_date", "research_subject_key"])


def risk(model: Any, rows: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """A model's risks, 0-1, in the rows' order."""
    if rows.empty:
        return np.zeros(0)
    return np.asarray(model.predict_proba(rows[list(names)])[:, 1], dtype=float)


def _baseline(train: pd.DataFrame, test: pd.DataFrame, prevalence: float) -> np.ndarray:
    """Logistic regression on age and visit adherence; the prevalence where it cannot be fitted."""
    if train["is_event"].nunique() < 2:
        return np.full(len(test), prevalence)
    names = list(BASELINE_FEATURES)
    steps = SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()
    fitted = make_pipeline(*steps, LogisticRegression()).fit(
        train[names].astype(float), train["is_event"].astype(bool)
    )
    return risk(fitted, test.astype(dict.fromkeys(names, float)), names)
