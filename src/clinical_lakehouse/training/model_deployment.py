"""Job model_deployment: the version in use follows gate and plan, then everyone is scored."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.errors import ModelError
from clinical_lakehouse.methods.intervals import Interval
from clinical_lakehouse.runtime import promotions, tracking
from clinical_lakehouse.runtime.alerts import Finding, emit
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables.conf import conf_dir
from clinical_lakehouse.tables.gold_deployment import MODEL_APPROVAL, MODEL_PROMOTION
from clinical_lakehouse.tables.gold_features import SUBJECT_FEATURE
from clinical_lakehouse.tables.gold_models import (
    MODEL_EVALUATION,
    MODEL_GATE,
    MODEL_VERSION,
    PREDICTION,
)
from clinical_lakehouse.tables.ops import ALERT_EVENT
from clinical_lakehouse.training.change_plan import Candidate, broken_clauses, read_change_plan
from clinical_lakehouse.training.held_out import newest_version
from clinical_lakehouse.training.promotion import (
    PROMOTED,
    Decider,
    approver,
    by_plan,
    promotion_row,
    taken_back,
)
from clinical_lakehouse.training.scoring import only_due, predictions

_SOURCE = "model-deployment-promote"


@task(
    reads=[MODEL_VERSION, MODEL_GATE, MODEL_EVALUATION, MODEL_APPROVAL],
    writes=[MODEL_PROMOTION, ALERT_EVENT],
    params={"cause": ""},
)
def promote(run: Run) -> Metrics:
    """Put the newest version in use if it passed its gate and the change control plan allows it.

    Where the plan wants a person, it waits for an approval; outside the plan the task fails.
    """
    name = run.settings.model.name
    promotions.adopt(run, name)
    promotions.follow(run, _SOURCE, name)
    newest = newest_version(run.lake.read(MODEL_VERSION), name)
    if newest is None:
        return {"outcome": "no model"}
    outcome, champion = _standing(run, newest), tracking.champion_version(run, name)
    told = {"model_version": newest["model_version"], "champion": champion}
    who = None if outcome else _decider(run, newest, champion)
    if who is None:
        return {"outcome": outcome or "waiting for approval", **told}
    change = (champion, newest["model_version"])
    last = tracking.last_promotion(run, name)
    promotions.record(run, promotion_row(name, PROMOTED, change, last, who), _cause(run))
    return {"outcome": "promoted", **told, "champion": newest["model_version"]}


@task(reads=[MODEL_VERSION, MODEL_PROMOTION, SUBJECT_FEATURE], writes=[PREDICTION])
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


def _standing(run: Run, newest: Mapping[str, Any]) -> str | None:
    """Why the newest version cannot come into use now, or None where it may."""
    name, version = newest["model_name"], newest["model_version"]
    gate = newest_version(run.lake.read(MODEL_GATE), name)
    if gate is None or gate["model_version"] != version:
        return "not evaluated"
    state = "passed" if gate["is_passed"] else "failed"
    tracking.describe_version(run, name, version, {"gate": state}, gate["reason"])
    if not gate["is_passed"]:
        return "gate failed"
    made = _of(run.lake.read(MODEL_PROMOTION), name).collect()
    if made and max(made, key=lambda row: row["promotion_number"])["to_version"] == version:
        return "already champion"
    return "rolled back before" if version in taken_back(row.asDict() for row in made) else None


def _decider(run: Run, newest: Mapping[str, Any], champion: int | None) -> Decider | None:
    """Who lets the version go on: the plan, or a person; None while a signature is missing.

    ModelError, and an alert, name the clauses of the plan that it breaks.
    """
    name, plan = newest["model_name"], read_change_plan(conf_dir())
    used = tracking.recorded_version(run, name, champion) if champion is not None else None
    other = _candidate(run, used) if used else None
    broken = broken_clauses(plan, _candidate(run, newest), other)
    if broken:
        emit(run, _SOURCE, [_outside_plan(run, newest, broken)])
        raise ModelError(
            f"version {newest['model_version']} is outside the change plan: {broken[0]}"
        )
    if run.settings.env in plan.alone:
        return by_plan(plan.version, "It passed its gate and broke no clause of the plan.")
    signed = _of(run.lake.read(MODEL_APPROVAL), name, newest["model_version"]).collect()
    return approver([row.asDict() for row in signed], plan.signing)


def _outside_plan(run: Run, newest: Mapping[str, Any], broken: Sequence[str]) -> Finding:
    labels = {"model": newest["model_name"], "version": str(newest["model_version"])}
    said = "; ".join(broken)
    return Finding(
        kind="change_plan_broken",
        severity="warning",
        labels=labels,
        value=float(len(broken)),
        threshold=0.0,
        message=f"The version is outside the change plan and was not put in use: {said}.",
        window_at=newest["trained_at"],
    )


def _candidate(run: Run, version: Mapping[str, Any]) -> Candidate:
    rows = _of(run.lake.read(MODEL_EVALUATION), version["model_name"], version["model_version"])
    whole = rows.filter("metric = 'auroc' AND group_name = 'all' AND low IS NOT NULL").collect()
    found = [Interval(row["value"], row["low"], row["high"]) for row in whole]
    return Candidate(version, found[0] if found else None)


def _of(rows: DataFrame, name: str, version: int | None = None) -> DataFrame:
    mine = F.col("model_name") == name
    return rows.filter(mine if version is None else mine & (F.col("model_version") == version))


def _cause(run: Run) -> str | None:
    return run.params.get("cause") or None


def _refuse_other_features(due: Any, wanted: str) -> None:
    """A model must not be given features of other definitions than it was trained on."""
    if not due.filter(F.col("feature_version") != F.lit(wanted)).isEmpty():
        raise ModelError("features were built by other definitions than the champion's; retrain")
