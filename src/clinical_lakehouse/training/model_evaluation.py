"""Job model_evaluation: the newest model on its held-out rows, and the gate deployment obeys."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
from pyspark.sql import functions as F

from clinical_lakehouse.methods.held_out_scores import HeldOut
from clinical_lakehouse.methods.outcomes import followed
from clinical_lakehouse.operators.clinical_model_evaluator import ClinicalModelEvaluator
from clinical_lakehouse.operators.fairness_bias_detector import FairnessBiasDetector
from clinical_lakehouse.runtime import tracking
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.runtime.writing import in_two_threads
from clinical_lakehouse.tables.conf import conf_dir
from clinical_lakehouse.tables.contract import Table
from clinical_lakehouse.tables.gold_deployment import MODEL_PROMOTION
from clinical_lakehouse.tables.gold_fairness import FAIRNESS_FINDING, FAIRNESS_MITIGATION
from clinical_lakehouse.tables.gold_features import SUBJECT_FEATURE
from clinical_lakehouse.tables.gold_model_review import (
    LEAKAGE_FINDING,
    MODEL_CARD,
    MODEL_COMPARISON,
    MODEL_GATE_CRITERION,
    MODEL_SITE,
)
from clinical_lakehouse.tables.gold_models import (
    MODEL_CURVE,
    MODEL_EVALUATION,
    MODEL_GATE,
    MODEL_VERSION,
)
from clinical_lakehouse.tables.gold_survival import SURVIVAL_CURVE, SURVIVAL_FIGURE
from clinical_lakehouse.tables.silver import ADVERSE_EVENT, PATIENT, SUBJECT
from clinical_lakehouse.training.follow_up import COLUMNS as FOLLOWED
from clinical_lakehouse.training.follow_up import DROPOUT, follow_up
from clinical_lakehouse.training.gate import Evidence, Limits, Verdict
from clinical_lakehouse.training.gate import decide as pass_or_fail
from clinical_lakehouse.training.held_out import (
    BASELINE_FEATURES,
    held_out,
    newest_version,
    risk,
    tested,
    version_rows,
)
from clinical_lakehouse.training.matrix import within_bound
from clinical_lakehouse.training.model_card import NOBODY, Known, Predicts, model_card
from clinical_lakehouse.training.population import Rules
from clinical_lakehouse.training.review import Review, review
from clinical_lakehouse.training.time_to_event import (
    Row,
    survival_curves,
    survival_figures,
)

Version = Mapping[str, Any]


@task(
    reads=[MODEL_VERSION, MODEL_PROMOTION, SUBJECT_FEATURE, SUBJECT, ADVERSE_EVENT],
    writes=[
        *(MODEL_EVALUATION, MODEL_CURVE, MODEL_COMPARISON),
        *(FAIRNESS_FINDING, FAIRNESS_MITIGATION, MODEL_SITE, LEAKAGE_FINDING),
    ],
    params={"threshold": "", "model": ""},
)
def evaluate(run: Run) -> Metrics:
    """Judge the newest version on the rows held out from it, beside a baseline and the champion on
    the same rows.

    The threshold for rates and net benefit is the parameter, else the training rows' prevalence.
    """
    version = newest_version(run.lake.read(MODEL_VERSION), run.model.name)
    if version is None:
        return {"outcome": "no model"}
    champion = _champion(run, version)
    names = json.loads(version["feature_names"])
    rows = _matrix(run, version, [*names, *(champion[1] if champion else [])])
    model = tracking.load_model(run, version["model_name"], version["model_version"])
    given = run.params.get("threshold")
    held = held_out(rows, model, names, float(given) if given else None)
    held = _beside(held, rows, champion)
    again = review(rows, model, names, held.threshold, run.model.stability_refits)
    judges = (
        ClinicalModelEvaluator(version, held, again.figures()),
        FairnessBiasDetector(version, held, again.mitigations),
    )
    stored = [partial(judge.execute, run) for judge in judges]
    told, fair, _ = in_two_threads([*stored, partial(_store_review, run, version, again)])
    outcome = {"outcome": "evaluated", "model_version": version["model_version"]}
    return {**outcome, **told, **fair, "leaks": len(again.leaks)}


@task(
    reads=[
        *(MODEL_VERSION, MODEL_EVALUATION, MODEL_COMPARISON),
        *(FAIRNESS_FINDING, LEAKAGE_FINDING),
    ],
    writes=[MODEL_GATE, MODEL_GATE_CRITERION],
    params={"model": ""},
)
def decide(run: Run) -> Metrics:
    """Store whether the newest version may become champion, and why, one row per criterion; a gate
    that is not passed is no error."""
    version = newest_version(run.lake.read(MODEL_VERSION), run.model.name)
    if version is None:
        return {"outcome": "no model"}
    tables = (MODEL_EVALUATION, MODEL_COMPARISON, FAIRNESS_FINDING, LEAKAGE_FINDING)
    judged, *evidence = in_two_threads([partial(_rows, run, one, version) for one in tables])
    if not judged:
        return {"outcome": "not evaluated"}
    judged.sort(key=lambda row: (row["metric"], row["group_name"], row["group_value"]))
    verdict = pass_or_fail(judged, Evidence(*evidence), _limits(run))
    _store(run, version, verdict)
    return {"outcome": f"gate {verdict.state}", "model_version": version["model_version"]}


def _champion(run: Run, version: Version) -> tuple[Any, list[str]] | None:
    """The model in use and its inputs, where it is another one that takes the same features."""
    name = version["model_name"]
    number = tracking.champion_version(run, name)
    if number is None or number == version["model_version"]:
        return None
    recorded = tracking.recorded_version(run, name, number)
    if recorded["feature_version"] != version["feature_version"]:
        return None
    return tracking.load_model(run, name, number), json.loads(recorded["feature_names"])


def _beside(held: HeldOut, rows: pd.DataFrame, champion: tuple[Any, list[str]] | None) -> HeldOut:
    """The held-out rows with the champion's risks. It was trained on earlier rows, some of these
    among them perhaps, which can only favour it."""
    if champion is None:
        return held
    return replace(held, others={"champion": risk(champion[0], tested(rows), champion[1])})


def _store_review(run: Run, version: Version, found: Review) -> None:
    sites = [{**vars(one), "judged_at": run.as_of} for one in found.sites]
    leaked = [{**row, "found_at": run.as_of} for row in found.leak_rows()]
    _replace(run, MODEL_SITE, version, sites)
    if leaked or run.lake.exists(LEAKAGE_FINDING):  # a commit less, nearly always
        _replace(run, LEAKAGE_FINDING, version, leaked)


def _store(run: Run, version: Version, verdict: Verdict) -> None:
    found = {"is_passed": verdict.is_passed, "reason": verdict.reason, "decided_at": run.as_of}
    run.lake.merge(MODEL_GATE, [{**_key(version), **found}])
    rows = [{**vars(one), "decided_at": run.as_of} for one in verdict.criteria]
    _replace(run, MODEL_GATE_CRITERION, version, rows)


def _rows(run: Run, table: Table, version: Version) -> list[dict[str, Any]]:
    """The version's rows of a table."""
    same = (F.col("model_name") == version["model_name"]) & (
        F.col("model_version") == version["model_version"]
    )
    return [row.asDict() for row in run.lake.read(table).filter(same).collect()]


def _matrix(run: Run, version: Version, names: Iterable[str]) -> pd.DataFrame:
    """The version's training and held-out rows on the driver, bounded as in training."""
    table_version = int(version["feature_table_version"])
    always = ["research_subject_key", "subject_key", "organization_key", "index_date", "study_day"]
    features = run.lake.read(SUBJECT_FEATURE, version=table_version).select(
        *dict.fromkeys([*always, "sex", "race", "age_years", *BASELINE_FEATURES, *names])
    )
    margin_days, model = run.settings.privacy.date_shift_days, run.model
    ends = followed(model.event, run.lake.read(SUBJECT), run.lake.read(ADVERSE_EVENT))
    rules = Rules(model.population, version["horizon_days"], model.censoring)
    rows = version_rows(features, ends, version, rules, margin_days)
    return within_bound(rows).toPandas()


def _replace(run: Run, table: Table, version: Version, rows: list[dict[str, Any]]) -> None:
    """Put the version's rows in place of those of an earlier evaluation of it."""
    where = "model_name = '{model_name}' AND model_version = {model_version}".format(**version)
    filled = [{**_key(version), **row} for row in rows]
    run.lake.replace(table, filled, where=where)


def _key(version: Version) -> dict[str, Any]:
    return {name: version[name] for name in ("model_name", "model_version")}


def _limits(run: Run) -> Limits:
    model = run.model
    return Limits(
        people_min=model.gate_people_min,
        auroc_min=model.gate_auroc_min,
        gain_over_baseline_min=model.gate_gain_over_baseline_min,
        group_gap_max=model.gate_group_gap_max,
        calibration_slope=model.gate_calibration_slope,
        headline=model.headline_metric,
        instability_max=model.gate_instability_max,
        drop_max=run.settings.limits.accuracy_drop_max,
    )


@task(
    reads=[
        *(MODEL_VERSION, MODEL_EVALUATION, MODEL_GATE_CRITERION),
        *(FAIRNESS_FINDING, MODEL_SITE),
    ],
    writes=[MODEL_CARD],
    params={"model": ""},
)
def describe(run: Run) -> Metrics:
    """Write the newest version's model card: TRIPOD+AI and HTI-1 as far as the run and people in
    conf/model_cards have answered them."""
    version = newest_version(run.lake.read(MODEL_VERSION), run.model.name)
    if version is None:
        return {"outcome": "no model"}
    tables = (MODEL_EVALUATION, MODEL_GATE_CRITERION, FAIRNESS_FINDING, MODEL_SITE)
    rows = in_two_threads([partial(_rows, run, table, version) for table in tables])
    known = Known(version, _predicts(run), *rows)
    card = model_card(conf_dir() / "model_cards", version["model_name"], known)
    _replace(run, MODEL_CARD, version, [{**vars(one), "written_at": run.as_of} for one in card])
    open_items = sum(one.answered_by == NOBODY for one in card)
    return {"model_version": version["model_version"], "items": len(card), "open": open_items}


def _predicts(run: Run) -> Predicts:
    model, prior = run.model, run.model.population.prior_outcome_days
    return Predicts(model.meaning, model.event, model.censoring, prior)


@task(reads=[SUBJECT_FEATURE, SUBJECT, PATIENT], writes=[SURVIVAL_CURVE, SURVIVAL_FIGURE])
def estimate_survival(run: Run) -> Metrics:
    """Estimate how long people stay on study, death competing with dropout, and judge a Cox model
    of it on later people; fewer than 20 dropouts give curves only."""
    features = run.lake.read(SUBJECT_FEATURE).select(*FOLLOWED)
    settings = run.settings
    rows = follow_up(
        features,
        run.lake.read(SUBJECT),
        run.lake.read(PATIENT),
        run.as_of.date(),
        settings.privacy.date_shift_days,
    )
    people: pd.DataFrame = within_bound(rows.orderBy("research_subject_key")).toPandas()
    made = {
        SURVIVAL_CURVE: survival_curves(people),
        SURVIVAL_FIGURE: survival_figures(people, settings.model.horizon_days),
    }
    _store_survival(run, made)
    return {"people": len(people), "dropouts": int((people["cause"] == DROPOUT).sum())}


def _store_survival(run: Run, made: Mapping[Table, list[Row]]) -> None:
    """Replace both tables by what is known now."""
    for table, rows in made.items():
        run.lake.replace(table, [{**row, "computed_at": run.as_of} for row in rows])
