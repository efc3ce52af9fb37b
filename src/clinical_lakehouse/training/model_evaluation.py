"""Job model_evaluation: the newest model on its held-out rows, and the gate deployment obeys."""

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd
from pyspark.sql import functions as F

from clinical_lakehouse.runtime import tracking
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables.gold_features import SUBJECT_FEATURE
from clinical_lakehouse.tables.gold_models import (
    MODEL_CURVE,
    MODEL_EVALUATION,
    MODEL_GATE,
    MODEL_VERSION,
)
from clinical_lakehouse.tables.silver import SUBJECT
from clinical_lakehouse.training.assessment import curves, figures
from clinical_lakehouse.training.gate import Limits
from clinical_lakehouse.training.gate import decide as pass_or_fail
from clinical_lakehouse.training.held_out import (
    BASELINE_FEATURES,
    held_out,
    newest_version,
    version_rows,
)
from clinical_lakehouse.training.matrix import within_bound


@task(
    reads=[MODEL_VERSION, SUBJECT_FEATURE, SUBJECT],
    writes=[MODEL_EVALUATION, MODEL_CURVE],
    params={"threshold": ""},
)
def evaluate(run: Run) -> Metrics:
    """Judge the newest version on the rows held out from it, against a baseline on the same rows.

    The threshold for rates and net benefit is the parameter, else the training rows' prevalence.
    """
    version = newest_version(run.lake.read(MODEL_VERSION), run.settings.model.name)
    if version is None:
        return {"outcome": "no model"}
    names = json.loads(version["feature_names"])
    model = tracking.load_model(run, version["model_name"], version["model_version"])
    given = run.params.get("threshold")
    held = held_out(_matrix(run, version, names), model, names, float(given) if given else None)
    rows = figures(held)
    _replace(run, MODEL_EVALUATION, version, [{**row, "evaluated_at": run.as_of} for row in rows])
    _replace(run, MODEL_CURVE, version, curves(held))
    overall = {row["metric"]: row["value"] for row in rows if row["group_name"] == "all"}
    return {
        "outcome": "evaluated",
        "model_version": version["model_version"],
        "row_count": len(held.outcomes),
        "auroc": overall["auroc"],
    }


@task(reads=[MODEL_VERSION, MODEL_EVALUATION], writes=[MODEL_GATE])
def decide(run: Run) -> Metrics:
    """Store whether the newest version may become champion, and why; a failed gate is no error."""
    version = newest_version(run.lake.read(MODEL_VERSION), run.settings.model.name)
    if version is None:
        return {"outcome": "no model"}
    mine = run.lake.read(MODEL_EVALUATION).filter(
        (F.col("model_name") == version["model_name"])
        & (F.col("model_version") == version["model_version"])
    )
    judged = [row.asDict() for row in mine.orderBy("metric", "group_name", "group_value").collect()]
    if not judged:
        return {"outcome": "not evaluated"}
    verdict = pass_or_fail(judged, _limits(run))
    found = {"is_passed": verdict.is_passed, "reason": verdict.reason, "decided_at": run.as_of}
    run.lake.merge(MODEL_GATE, run.lake.frame(MODEL_GATE, [{**_key(version), **found}]))
    outcome = "gate passed" if verdict.is_passed else "gate failed"
    return {"outcome": outcome, "model_version": version["model_version"]}


def _matrix(run: Run, version: Mapping[str, Any], names: list[str]) -> pd.DataFrame:
    """The version's training and held-out rows on the driver, bounded as in training."""
    table_version = int(version["feature_table_version"])
    features = run.lake.read(SUBJECT_FEATURE, version=table_version).select(
        *dict.fromkeys(
            ["research_subject_key", "subject_key", "index_date", "sex", "race", "age_years"]
            + [*BASELINE_FEATURES, *names]
        )
    )
    margin_days = run.settings.privacy.date_shift_days
    rows = version_rows(features, run.lake.read(SUBJECT), version, margin_days)
    return within_bound(rows).toPandas()


def _replace(run: Run, table: Any, version: Mapping[str, Any], rows: list[dict[str, Any]]) -> None:
    """Put the version's rows in place of those of an earlier evaluation of it."""
    where = "model_name = '{model_name}' AND model_version = {model_version}".format(**version)
    filled = [{**_key(version), **row} for row in rows]
    run.lake.replace(table, run.lake.frame(table, filled), where=where)


def _key(version: Mapping[str, Any]) -> dict[str, Any]:
    return {name: version[name] for name in ("model_name", "model_version")}


def _limits(run: Run) -> Limits:
    model = run.settings.model
    return Limits(
        auroc_min=model.gate_auroc_min,
        gain_over_baseline_min=model.gate_gain_over_baseline_min,
        group_gap_max=model.gate_group_gap_max,
        calibration_slope=model.gate_calibration_slope,
    )
