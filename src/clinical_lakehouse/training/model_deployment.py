"""Job model_deployment: the alias champion follows the gate, then everyone on study is scored."""

import json
from typing import Any

from pyspark.sql import functions as F

from clinical_lakehouse.errors import ModelError
from clinical_lakehouse.runtime import tracking
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables.gold_features import SUBJECT_FEATURE
from clinical_lakehouse.tables.gold_models import MODEL_GATE, MODEL_VERSION, PREDICTION
from clinical_lakehouse.training.held_out import newest_version
from clinical_lakehouse.training.scoring import only_due, predictions


@task(reads=[MODEL_VERSION, MODEL_GATE], writes=[])
def promote(run: Run) -> Metrics:
    """Point the alias champion at the newest version if it passed its gate; else leave it."""
    name = run.settings.model.name
    newest = newest_version(run.lake.read(MODEL_VERSION), name)
    if newest is None:
        return {"outcome": "no model"}
    gate = newest_version(run.lake.read(MODEL_GATE), name)
    version, champion = newest["model_version"], tracking.champion_version(run, name)
    if gate is None or gate["model_version"] != version:
        return {"outcome": "not evaluated", "model_version": version, "champion": champion}
    state = "passed" if gate["is_passed"] else "failed"
    tracking.describe_version(run, name, version, {"gate": state}, gate["reason"])
    if not gate["is_passed"]:
        return {"outcome": "gate failed", "model_version": version, "champion": champion}
    if champion == version:
        return {"outcome": "already champion", "model_version": version, "champion": champion}
    tracking.set_alias(run, name, tracking.CHAMPION, version)
    return {"outcome": "promoted", "model_version": version, "champion": version}


@task(reads=[MODEL_VERSION, SUBJECT_FEATURE], writes=[PREDICTION])
def score(run: Run) -> Metrics:
    """Score every feature row after the champion's last training date that it has not scored yet.

    A prediction once made stays as it was made, with the moment of its first scoring.
    """
    name = run.settings.model.name
    champion = tracking.champion_version(run, name)
    if champion is None:
        return {"outcome": "no champion"}
    version = tracking.recorded_version(run, name, champion)
    names = json.loads(version["feature_names"])
    features = run.lake.read(SUBJECT_FEATURE)
    due = only_due(features, run.lake.read(PREDICTION), version, run.as_of.date())
    _refuse_other_features(due, version["feature_version"])
    model = tracking.load_model(run, name, champion)
    done = run.lake.merge(PREDICTION, predictions(due, model, names, version, run.as_of))
    return {"outcome": "scored", "model_version": champion, "row_count": done.inserted}


def _refuse_other_features(due: Any, wanted: str) -> None:
    """A model must not be given features of other definitions than it was trained on."""
    if not due.filter(F.col("feature_version") != F.lit(wanted)).isEmpty():
        raise ModelError("features were built by other definitions than the champion's; retrain")
