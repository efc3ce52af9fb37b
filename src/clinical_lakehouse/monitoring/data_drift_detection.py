"""Job data_drift_detection: every feature at every site against what the champion was trained on,
the window before and last year; what moved beyond chance is told."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.monitoring import feature_profiles as profiles
from clinical_lakehouse.monitoring.drift_judgement import DRIFT, Question, drift_rows
from clinical_lakehouse.monitoring.joint_drift import joint_rows
from clinical_lakehouse.monitoring.sampling import EDGES, of_inputs, with_frequencies
from clinical_lakehouse.runtime import tracking
from clinical_lakehouse.runtime.alerts import Finding, emit
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables.gold_deployment import MODEL_PROMOTION
from clinical_lakehouse.tables.gold_features import SUBJECT_FEATURE
from clinical_lakehouse.tables.gold_models import MODEL_VERSION
from clinical_lakehouse.tables.gold_monitoring import DATA_DRIFT
from clinical_lakehouse.tables.omop_clinical import MEASUREMENT
from clinical_lakehouse.tables.ops import ALERT_EVENT

_SOURCE = "data-drift-detection-watch"
_FALSE_DISCOVERY_RATE = 0.05
_REFERENCES = (profiles.TRAINING, profiles.PREVIOUS, profiles.LAST_YEAR)
# Time on study is context, by which the other features are compared; keys are no features.
_NO_FEATURES = ("study_day", "feature_version")
_MOST_JOINT = 10_000  # people that the joint test holds on the driver


@task(
    reads=[MODEL_VERSION, MODEL_PROMOTION, SUBJECT_FEATURE, MEASUREMENT],
    writes=[DATA_DRIFT],
    windowed=True,
)
def detect(run: Run) -> Metrics:
    """Hold the last 28 days of every feature at every site, and how often each measure was taken,
    against three references in one pass, and all inputs jointly against training."""
    name = run.settings.model.name
    champion = tracking.champion_then(run, name)
    if champion is None:
        return {"outcome": "no champion"}
    version = tracking.recorded_version(run, name, champion)
    spans = profiles.periods(version, run.as_of.date())
    numbers, texts = _names("DOUBLE", "INT"), _names("STRING")
    rows = profiles.latest_rows(run.lake.read(SUBJECT_FEATURE), spans, [*numbers, *texts])
    rows = with_frequencies(rows, run.lake.read(MEASUREMENT))
    edges, codes = profiles.references(rows, numbers, texts)
    found = profiles.described(rows, {**edges, **EDGES}, codes) if edges else {}
    inputs = json.loads(version["feature_names"])
    used = [*inputs, *of_inputs(inputs)]
    question = Question(run.settings.limits.drift_max, _FALSE_DISCOVERY_RATE, used)
    made = [row for one in _REFERENCES for row in drift_rows(found, one, question)]
    made += _joint(rows, [one for one in inputs if one in edges])
    _keep(run, version, spans[profiles.CURRENT], made)
    drifted = sum(row["state"] == DRIFT for row in made)
    return {"outcome": "compared", "model_version": champion, "tests": len(made), "drift": drifted}


@task(
    reads=[MODEL_VERSION, MODEL_PROMOTION, DATA_DRIFT],
    writes=[ALERT_EVENT],
    windowed=True,
)
def watch(run: Run) -> Metrics:
    """Alert on what has drifted in the latest window, one alert a feature and reference that names
    its sites; other mixes of cases are written down and not told."""
    name = run.settings.model.name
    champion = tracking.champion_then(run, name)
    if champion is None:
        return {"outcome": "no champion"}
    mine = (F.col("model_name") == name) & (F.col("model_version") == champion)
    rows = run.lake.read(DATA_DRIFT).filter(mine & (F.col("computed_at") == F.lit(run.as_of)))
    found = [row.asDict() for row in rows.filter(F.col("state") == DRIFT).collect()]
    told = _findings(found, run.settings.limits.drift_max)
    emit(run, _SOURCE, told)
    return {"outcome": "watched", "model_version": champion, "alerts": len(told)}


def _names(*types: str) -> list[str]:
    return [
        column.name
        for column in SUBJECT_FEATURE.columns
        if column.type in types and column.name not in _NO_FEATURES
    ]


def _joint(rows: DataFrame, inputs: Sequence[str]) -> list[dict[str, Any]]:
    """People are taken in the order of a hash, the same at every run."""
    wanted = rows.filter(F.col("period").isin(profiles.CURRENT, profiles.TRAINING))
    chosen = wanted.select("research_subject_key", "period", *inputs)
    order = F.xxhash64("research_subject_key")
    people: pd.DataFrame = chosen.orderBy(order, "period").limit(_MOST_JOINT).toPandas()
    return joint_rows(people, inputs)


def _keep(
    run: Run, version: Mapping[str, Any], span: tuple[Any, Any], rows: list[dict[str, Any]]
) -> None:
    """Put the window's rows in place of those of an earlier run for the same day."""
    key = {name: version[name] for name in ("model_name", "model_version")}
    until = (pd.Timestamp(span[1]) + pd.Timedelta(days=1)).date()
    window = {"window_start_date": span[0], "window_end_date": until}
    filled = [{**key, **window, **row, "computed_at": run.as_of} for row in rows]
    where = "model_name = '{model_name}' AND model_version = {model_version}".format(**key)
    where += f" AND window_end_date = DATE '{until}'"
    if filled or run.lake.exists(DATA_DRIFT):
        run.lake.replace(DATA_DRIFT, filled, where=where)


def _findings(rows: list[dict[str, Any]], limit: float) -> list[Finding]:
    """The model's inputs first, for they move its scores; then the largest change."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda r: (not r["is_model_input"], -(r["psi"] or 0.0))):
        groups.setdefault((row["feature_name"], row["reference"]), []).append(row)
    return [_finding(group, limit) for group in groups.values()]


def _finding(rows: Sequence[Mapping[str, Any]], limit: float) -> Finding:
    worst = rows[0]
    named = [row["site"] for row in rows if row["site"] != "all"]
    where = f"at site {', '.join(named[:5])}" if named else "over all sites"
    more = f" and {len(named) - 5} more" if len(named) > 5 else ""
    last_day = pd.Timestamp(worst["window_end_date"]) - pd.Timedelta(days=1)
    what = worst["feature_name"].replace("_", " ")
    against = worst["reference"].replace("_", " ")
    use = "an input of the model" if worst["is_model_input"] else "no input of the model"
    return Finding(
        kind="data_drift",
        severity="warning" if worst["is_model_input"] else "info",
        labels={
            "model": worst["model_name"],
            "feature": worst["feature_name"],
            "reference": worst["reference"],
            "change": worst["kind"],
        },
        value=float(worst["psi"] or 0.0),
        threshold=limit,
        message=f"{what.capitalize()} ({use}) against {against}, {where}{more}, in the 28 days up "
        f"to {last_day.date()}: {worst['explanation']}",
        window_at=datetime.combine(last_day.date(), time(), UTC),
    )
