"""Job model_reproduction: a registered version trained again, and held against what it was."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
from pyspark.sql import functions as F

from clinical_lakehouse.errors import ModelError
from clinical_lakehouse.methods.outcomes import followed
from clinical_lakehouse.runtime import tracking
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables.gold_features import SUBJECT_FEATURE
from clinical_lakehouse.tables.gold_models import MODEL_VERSION
from clinical_lakehouse.tables.silver import ADVERSE_EVENT, SUBJECT
from clinical_lakehouse.training.families import FAMILIES
from clinical_lakehouse.training.matrix import Matrix, as_matrix, only_known
from clinical_lakehouse.training.population import Rules, labelled
from clinical_lakehouse.training.search import fit_family

_SAME = 1e-12


@task(reads=[MODEL_VERSION, SUBJECT_FEATURE, SUBJECT, ADVERSE_EVENT], params={"tracking_run": ""})
def retrain(run: Run) -> Metrics:
    """Train the version of an MLflow run again, from the tables and parameters recorded with it,
    and compare its predictions on the held-out rows with the registered model's.

    Other rows than then, or a prediction that differs by more than 1e-12, is a ModelError.
    """
    version = _version(run, run.param("tracking_run"))
    matrix = _matrix(run, version)
    names = json.loads(version["feature_names"])
    family = next(one for one in FAMILIES if one.name == version["algorithm"])
    seed = int(tracking.logged_params(run, version["tracking_run_id"])["seed"])
    fitted = fit_family(family, json.loads(version["parameters"]), names, seed)(matrix.train)
    registered = tracking.load_model(run, version["model_name"], version["model_version"])
    inputs = matrix.test[names]
    gap = np.abs(fitted.predict_proba(inputs) - registered.predict_proba(inputs)).max()
    if gap > _SAME:
        raise ModelError(f"trained again, predictions differ by up to {gap:.1e}; was code changed?")
    told = {"outcome": "the same", "model_version": version["model_version"]}
    return {**told, "row_count": len(inputs), "largest_difference": float(gap)}


def _version(run: Run, tracking_run: str) -> Mapping[str, Any]:
    same = F.col("tracking_run_id") == tracking_run
    found = run.lake.read(MODEL_VERSION).filter(same).collect()
    if not found:
        raise ModelError("no version in gold.model_version has this run; `runs list` shows them")
    return dict(found[0].asDict())


def _matrix(run: Run, version: Mapping[str, Any]) -> Matrix:
    """The rows as they were: the features' Delta version, outcomes up to training_until."""
    name, number = version["model_name"], int(version["feature_table_version"])
    features = run.lake.read(SUBJECT_FEATURE, version=number)
    # A date was given, and midnight UTC was recorded; the session's zone may show another day.
    until = datetime.fromtimestamp(version["training_until"].timestamp(), UTC).date()
    margin_days, model = run.settings.privacy.date_shift_days, run.settings.model_for(name)
    ends = followed(model.event, run.lake.read(SUBJECT), run.lake.read(ADVERSE_EVENT))
    rules = Rules(model.population, version["horizon_days"], model.censoring)
    matrix = as_matrix(only_known(labelled(features, ends, rules, until, margin_days)).toPandas())
    then = version["train_row_count"], version["test_row_count"]
    if (len(matrix.train), len(matrix.test)) != then:
        raise ModelError(
            f"{len(matrix.train)} and {len(matrix.test)} rows now, {then[0]} and {then[1]} then: "
            "outcomes were corrected or people left the lake since; train a new version"
        )
    return matrix
