"""Job model_deployment: the version in use follows gate and plan, then everyone is scored."""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.errors import ModelError
from clinical_lakehouse.methods.change_plan import Candidate, broken_clauses, read_change_plan
from clinical_lakehouse.methods.intervals import Interval
from clinical_lakehouse.methods.outcomes import followed, with_outcome
from clinical_lakehouse.runtime import promotions, tracking
from clinical_lakehouse.runtime.alerts import Finding, emit
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables.conf import conf_dir
from clinical_lakehouse.tables.gold_deployment import (
    MODEL_APPROVAL,
    MODEL_CANARY,
    MODEL_PROMOTION,
    RETRAINING_TRIGGER,
    SERVED_ANSWER,
    SERVED_PREDICTION,
)
from clinical_lakehouse.tables.gold_features import SUBJECT_FEATURE
from clinical_lakehouse.tables.gold_models import (
    MODEL_EVALUATION,
    MODEL_GATE,
    MODEL_VERSION,
    PREDICTION,
)
from clinical_lakehouse.tables.ops import ALERT_EVENT
from clinical_lakehouse.tables.silver import ADVERSE_EVENT, SUBJECT
from clinical_lakehouse.training.canary import (
    LOST,
    WON,
    Answered,
    CanaryPlan,
    Look,
    Standing,
    auroc_gain,
    breaches,
    read_canary_plan,
    serving_breaches,
)
from clinical_lakehouse.training.canary import advance as next_standing
from clinical_lakehouse.training.canary_rows import (
    first_look,
    latest,
    look_row,
    marked,
    open_canary,
    paired,
    shown,
)
from clinical_lakehouse.training.held_out import newest_version
from clinical_lakehouse.training.matrix import MAX_ROWS
from clinical_lakehouse.training.population import Rules, only_asked
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
    reads=[MODEL_VERSION, MODEL_GATE, MODEL_EVALUATION, MODEL_APPROVAL, RETRAINING_TRIGGER],
    writes=[MODEL_PROMOTION, MODEL_CANARY, ALERT_EVENT],
    params={"cause": "", "model": ""},
)
def promote(run: Run) -> Metrics:
    """Put the newest version in use if it passed its gate and the change control plan allows it.

    Where the plan wants a person, it waits for an approval; outside the plan the task fails.
    """
    name = run.model.name
    promotions.adopt(run, name)
    promotions.follow(run, _SOURCE, name)
    newest = newest_version(run.lake.read(MODEL_VERSION), name)
    if newest is None:
        return {"outcome": "no model"}
    champion = tracking.champion_version(run, name)
    told = {"model_version": newest["model_version"], "champion": champion}
    outcome = _standing(run, newest, champion) or _canary_standing(run, newest, champion)
    who = None if outcome else _decider(run, newest)
    _follow_canary(run, _canary(run, champion))
    if who is None:
        return {"outcome": outcome or "waiting for approval", **told}
    change = (champion, newest["model_version"])
    last = tracking.last_promotion(run, name)
    promotions.record(run, promotion_row(name, PROMOTED, change, last, who), _cause(run))
    return {"outcome": "promoted", **told, "champion": newest["model_version"]}


@task(
    reads=[
        MODEL_VERSION,
        MODEL_PROMOTION,
        PREDICTION,
        SERVED_PREDICTION,
        SERVED_ANSWER,
        SUBJECT,
        ADVERSE_EVENT,
        SUBJECT_FEATURE,
    ],
    writes=[MODEL_CANARY, ALERT_EVENT],
    params={"model": ""},
)
def advance(run: Run) -> Metrics:
    """Look at the open canary: guards first, then the sequential test, then the next share.

    Without new subjects or matured outcomes it holds. A canary that is stopped is an alert.
    """
    canary = _canary(run, tracking.champion_version(run, run.model.name))
    if canary is None:
        return {"outcome": "no canary"}
    plan, pairs = read_canary_plan(conf_dir()), paired(run.lake.read(PREDICTION), canary)
    scores: pd.DataFrame = pairs.select("new", "old").toPandas()
    broken = breaches(scores["new"], scores["old"], _missing_ratio(run, canary), plan)
    broken += serving_breaches(_answered(run, canary, plan), plan)
    look = _look(run, canary, pairs, plan)
    now = Standing(canary["state"], canary["phase"], canary["reason"])
    then = next_standing(plan, now, look, broken)
    row = look_row(canary, then, look, plan, run.as_of)
    run.lake.upsert(MODEL_CANARY, [row])
    _follow_canary(run, open_canary([row], canary["champion_version"]))
    if then.state == LOST:
        emit(run, "model-deployment-advance", [_stopped(run, row)])
    return {"outcome": f"canary {then.state}", **_told(row)}


@task(
    reads=[MODEL_VERSION, MODEL_PROMOTION, MODEL_CANARY, SUBJECT_FEATURE, SUBJECT, ADVERSE_EVENT],
    writes=[PREDICTION, SERVED_PREDICTION],
    params={"model": ""},
)
def score(run: Run) -> Metrics:
    """Score every feature row after the champion's last training date that it has not scored yet,
    by a canary's version too, and write down which of the two is shown to whom, and who is held out
    by lot so that nobody is to act on it.

    A prediction once made stays as it was made, with the moment of its first scoring.
    """
    name = run.model.name
    champion = tracking.champion_version(run, name)
    if champion is None:
        return {"outcome": "no champion"}
    canary = _canary(run, champion)
    count = _score_by(run, champion, None)
    if canary is not None:
        _score_by(run, canary["model_version"], canary["started_at"].date())
    made = _of(run.lake.read(PREDICTION), name).filter(F.col("scored_at") == F.lit(run.as_of))
    served = marked(shown(made, canary, champion), name, run.settings.model.hold_out_ratio)
    run.lake.append_missing(SERVED_PREDICTION, served)
    return {"outcome": "scored", "model_version": champion, "row_count": count}


def _score_by(run: Run, number: int, since: date | None) -> int:
    """Predictions of one version, of index dates on or after `since`; how many are new."""
    version = tracking.recorded_version(run, run.model.name, number)
    features = run.lake.read(SUBJECT_FEATURE)
    due = only_due(features, run.lake.read(PREDICTION), version, run.as_of.date())
    rules = Rules(run.model.population, version["horizon_days"], run.model.censoring)
    due = only_asked(due, _ends(run), rules, run.as_of.date())
    if since is not None:
        due = due.filter(F.col("index_date") >= F.lit(since))
    _refuse_other_features(due, version["feature_version"])
    model, kinds = tracking.load_version(run.lake, version["model_name"], number)
    made = predictions(due, model, kinds, version, run.as_of)
    return run.lake.merge(PREDICTION, made).inserted


def _ends(run: Run) -> DataFrame:
    """When each participation had the model's event, and when it ended."""
    return followed(run.model.event, run.lake.read(SUBJECT), run.lake.read(ADVERSE_EVENT))


def _canary(run: Run, champion: int | None) -> Mapping[str, Any] | None:
    looks = _of(run.lake.read(MODEL_CANARY), run.model.name).collect()
    return open_canary([row.asDict() for row in looks], champion)


def _look(run: Run, canary: Mapping[str, Any], pairs: DataFrame, plan: CanaryPlan) -> Look:
    """What is known now: pairs whose outcome has certainly matured come to the driver."""
    version = tracking.recorded_version(run, canary["model_name"], canary["model_version"])
    margin, until = run.settings.privacy.date_shift_days, run.as_of.date()
    known = with_outcome(pairs, _ends(run), version["horizon_days"], until, margin)
    columns = ("research_subject_key", "new", "old", "is_event")
    complete = known.filter("is_complete").select(*columns).limit(MAX_ROWS)
    matured: pd.DataFrame = complete.toPandas()
    events = matured["is_event"].to_numpy(dtype=bool)
    served = _of(run.lake.read(SERVED_PREDICTION), canary["model_name"], canary["model_version"])
    in_phase = served.filter(F.col("served_at") >= F.lit(canary["phase_at"]))
    return Look(
        subjects=in_phase.select("research_subject_key").distinct().count(),
        outcomes=len(matured),
        events=int(events.sum()),
        difference=auroc_gain(
            events, matured["new"], matured["old"], matured["research_subject_key"], plan
        ),
        days=(until - canary["started_at"].date()).days,
    )


def _answered(run: Run, canary: Mapping[str, Any], plan: CanaryPlan) -> Answered:
    """What servers were asked of the canary's version since its phase began."""
    own = _of(run.lake.read(SERVED_ANSWER), canary["model_name"], canary["model_version"])
    slow, failed = F.col("latency_ms") > plan.latency_ms_max, F.col("risk").isNull()
    in_phase = own.filter(F.col("answered_at") >= F.lit(canary["phase_at"]))
    counts = in_phase.agg(F.count("*"), F.count_if(slow), F.count_if(failed)).collect()[0]
    return Answered(*counts)


def _follow_canary(run: Run, canary: Mapping[str, Any] | None) -> None:
    """Let the registry's alias challenger follow the open canary, for servers look there."""
    version, share = (canary["model_version"], canary["share_ratio"]) if canary else (None, 0.0)
    tracking.shadow_canary(run, run.model.name, version, share)


def _missing_ratio(run: Run, canary: Mapping[str, Any]) -> float:
    """Share of the new version's inputs without a value since the canary began, 0-1."""
    version = tracking.recorded_version(run, canary["model_name"], canary["model_version"])
    names = json.loads(version["feature_names"])
    since = F.col("index_date").between(F.lit(canary["started_at"].date()), F.lit(run.as_of.date()))
    missing = sum((F.col(name).isNull().cast("int") for name in names), F.lit(0)) / len(names)
    found = run.lake.read(SUBJECT_FEATURE).filter(since).agg(F.avg(missing)).collect()[0][0]
    return float(found or 0.0)


def _stopped(run: Run, row: Mapping[str, Any]) -> Finding:
    return Finding(
        kind="canary_stopped",
        severity="warning",
        labels={"model": row["model_name"], "version": str(row["model_version"])},
        value=float(row["difference"] or 0.0),
        threshold=0.0,
        message=f"The new version was stopped, version {row['champion_version']} stays in use. "
        f"{row['reason']}",
        window_at=run.as_of,
    )


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("model_version", "share_ratio", "reason")}


def _standing(run: Run, newest: Mapping[str, Any], champion: int | None) -> str | None:
    """Why the newest version cannot come into use now, or None where it may.

    ModelError, and an alert, name the clauses of the change plan that it breaks.
    """
    name, version = newest["model_name"], newest["model_version"]
    gate = newest_version(run.lake.read(MODEL_GATE), name)
    if gate is None or gate["model_version"] != version:
        return "not evaluated"
    state = "passed" if gate["is_passed"] else "failed"
    tracking.describe_version(run, name, version, {"gate": state}, gate["reason"])
    if not gate["is_passed"]:
        return "gate failed"
    if champion == version:
        return "already champion"
    made = [row.asDict() for row in _of(run.lake.read(MODEL_PROMOTION), name).collect()]
    if version in taken_back(made):
        return "rolled back before"
    _keep_to_plan(run, newest, champion)
    return None


def _keep_to_plan(run: Run, newest: Mapping[str, Any], champion: int | None) -> None:
    name, plan = newest["model_name"], read_change_plan(conf_dir())
    used = tracking.recorded_version(run, name, champion) if champion is not None else None
    other = _candidate(run, used) if used else None
    broken = broken_clauses(plan, _candidate(run, newest), other)
    if broken:
        emit(run, _SOURCE, [_outside_plan(run, newest, broken)])
        raise ModelError(
            f"version {newest['model_version']} is outside the change plan: {broken[0]}"
        )


def _decider(run: Run, newest: Mapping[str, Any]) -> Decider | None:
    """Who lets the version go on: the plan, or a person; None while a signature is missing."""
    plan = read_change_plan(conf_dir())
    if run.settings.env in plan.alone:
        return by_plan(plan.version, "It passed its gate and broke no clause of the plan.")
    return approver(_signatures(run, newest), plan.signing)


def _signatures(run: Run, version: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = run.lake.read(MODEL_APPROVAL)
    signed = _of(rows, version["model_name"], version["model_version"]).collect()
    return [row.asDict() for row in signed]


def _canary_standing(run: Run, newest: Mapping[str, Any], champion: int | None) -> str | None:
    """How the version's canary stands, begun where it has none; None where it has won, or where
    there is none to be: no version in use, or an environment without canaries.

    Where a person decides, nobody is shown a version that no person has signed.
    """
    plan = read_canary_plan(conf_dir())
    if champion is None or run.settings.env not in plan.environments:
        return None
    name, version = newest["model_name"], newest["model_version"]
    looks = [row.asDict() for row in _of(run.lake.read(MODEL_CANARY), name).collect()]
    last = latest(row for row in looks if row["model_version"] == version)
    if last is not None:
        return None if last["state"] == WON else f"canary {last['state']}"
    if open_canary(looks, champion):
        return "another canary is running"
    if run.settings.env not in read_change_plan(conf_dir()).alone and not _signatures(run, newest):
        return "waiting for review"
    began = first_look(name, (version, champion), plan, run.as_of)
    run.lake.append(MODEL_CANARY, [began])
    return "canary began"


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
    """What asked for the training of this very run: the parameter, or the trigger's alert."""
    if run.params.get("cause"):
        return run.params["cause"]
    asked = _of(run.lake.read(RETRAINING_TRIGGER), run.model.name)
    found = asked.filter(F.col("decided_at") == F.lit(run.as_of)).collect()
    return (found[0]["alert"] or found[0]["trigger"]) if found else None


def _refuse_other_features(due: Any, wanted: str) -> None:
    """A model must not be given features of other definitions than it was trained on."""
    if not due.filter(F.col("feature_version") != F.lit(wanted)).isEmpty():
        raise ModelError("features were built by other definitions than the champion's; retrain")
