"""Evaluation judges the held-out rows of the newest version and stores the gate's verdict."""

from dataclasses import replace
from datetime import date, timedelta

import pandas as pd
import pytest
from pyspark.sql import functions as F
from sklearn import metrics
from sklearn.linear_model import LogisticRegression

from clinical_lakehouse.runtime import tracking
from clinical_lakehouse.tables.gold_fairness import FAIRNESS_FINDING
from clinical_lakehouse.tables.gold_features import SUBJECT_FEATURE
from clinical_lakehouse.tables.gold_model_review import (
    MODEL_CARD,
    MODEL_COMPARISON,
    MODEL_GATE_CRITERION,
)
from clinical_lakehouse.tables.gold_models import MODEL_CURVE, MODEL_EVALUATION, MODEL_GATE
from clinical_lakehouse.tables.gold_survival import SURVIVAL_CURVE, SURVIVAL_FIGURE
from clinical_lakehouse.tables.silver import SUBJECT
from clinical_lakehouse.training.model_evaluation import (
    decide,
    describe,
    estimate_survival,
    evaluate,
)
from tests.training.conftest import register


def _content(run, table):
    return sorted(tuple(row) for row in run.lake.read(table).collect())


def _held_out(run):
    """Independently in pandas: of 12, 19 and 26 February the last is not known at training, for its
    90 days end after 20 June less the 30 days that dates may be shifted."""
    features = run.lake.read(SUBJECT_FEATURE).toPandas()
    held = features[features.index_date.isin([date(2024, 2, 12), date(2024, 2, 19)])]
    ends = run.lake.read(SUBJECT).select("research_subject_key", F.to_date("ended_at").alias("end"))
    held = held.merge(ends.toPandas(), "left", "research_subject_key")
    inside = [
        end is not None and day < end <= day + timedelta(days=90)
        for day, end in zip(held.index_date, held.end, strict=True)
    ]
    return held.assign(is_event=inside)


@pytest.mark.soak
def test_evaluation_judges_rows_held_out_with_outcomes_known_at_training_and_is_repeatable(world):
    told = evaluate.execute(world)
    found = {
        (r.metric, r.group_name, r.group_value): r
        for r in world.lake.read(MODEL_EVALUATION).collect()
    }
    held = _held_out(world)
    model = tracking.load_model(world, "dropout_risk", 1)
    scores = model.predict_proba(held[["age_years"]])[:, 1]
    auroc = found["auroc", "all", "all"]
    assert told["row_count"] == auroc.row_count == len(held) > 150
    assert auroc.event_count == held.is_event.sum()
    assert auroc.value == pytest.approx(metrics.roc_auc_score(held.is_event, scores))
    assert found["brier", "all", "all"].value == pytest.approx(
        metrics.brier_score_loss(held.is_event, scores)
    )
    small = found["true_positive_rate", "race", "Asian"]
    assert small.person_count < 11 and small.value is None
    tables = (MODEL_EVALUATION, MODEL_CURVE, MODEL_COMPARISON, FAIRNESS_FINDING)
    first = [_content(world, table) for table in tables]
    assert all(first)
    evaluate.execute(world)
    assert [_content(world, table) for table in tables] == first, "again, and nothing is other"


def test_gate_verdict_is_stored_and_a_failed_gate_does_not_fail_the_task(world):
    assert decide.execute(world)["outcome"] == "not evaluated"
    evaluate.execute(world)
    told = decide.execute(world)
    (verdict,) = world.lake.read(MODEL_GATE).collect()
    assert (told["outcome"] == "gate passed") == verdict.is_passed
    assert verdict.reason.count("AUROC") == 1
    criteria = world.lake.read(MODEL_GATE_CRITERION).collect()
    assert " ".join(one.sentence for one in criteria if one.criterion == "auroc") in verdict.reason
    assert all(one.verdict in ("passed", "not judged") for one in criteria) == verdict.is_passed
    _card_and_survival(world)
    strict = world.settings.model.model_copy(update={"gate_auroc_min": 0.999})
    settings = world.settings.model_copy(update={"model": strict})
    assert decide.execute(replace(world, settings=settings))["outcome"] == "gate failed"
    (verdict,) = world.lake.read(MODEL_GATE).collect()
    assert not verdict.is_passed and "wanted at least 0.999" in verdict.reason


def test_without_a_model_the_outcome_is_named(run):
    assert evaluate.execute(run)["outcome"] == "no model"
    assert decide.execute(run)["outcome"] == "no model"


@pytest.mark.soak
def test_a_new_version_is_held_against_the_champion_on_the_same_rows(world):
    tracking.set_alias(world, "dropout_risk", "champion", 1)
    train = pd.DataFrame({"age_years": [50.0, 60.0, 70.0, 80.0]})
    register(world, LogisticRegression().fit(train, [1, 0, 1, 0]), train, "two")
    evaluate.execute(world)
    held = _held_out(world)
    of = {
        version: tracking.load_model(world, "dropout_risk", version).predict_proba(
            held[["age_years"]]
        )[:, 1]
        for version in (1, 2)
    }
    (row,) = (
        world.lake.read(MODEL_COMPARISON)
        .filter("compared_with = 'champion' AND metric = 'auroc'")
        .collect()
    )
    assert row.model_version == 2
    assert row.value == pytest.approx(metrics.roc_auc_score(held.is_event, of[2]))
    assert row.other_value == pytest.approx(metrics.roc_auc_score(held.is_event, of[1]))
    assert decide.execute(world)["outcome"] == "gate failed"
    (drop,) = (
        world.lake.read(MODEL_GATE_CRITERION).filter("criterion = 'drop_from_champion'").collect()
    )
    assert (drop.verdict, drop.at_most) == ("failed", 0.05)


def _card_and_survival(world):
    """What the job's other two tasks leave beside the gate."""
    told = describe.execute(world)
    assert told["items"] == 83 and 0 < told["open"] < 60
    card = {(one.document, one.item): one for one in world.lake.read(MODEL_CARD).collect()}
    assert card["hti1", "7.i"].answer.startswith("AUROC ")
    told = estimate_survival.execute(world)
    curves = world.lake.read(SURVIVAL_CURVE).toPandas()
    figures = world.lake.read(SURVIVAL_FIGURE).toPandas()
    assert told["people"] == 120 and told["dropouts"] > 20
    assert (curves["at_risk_count"] >= 11).all() and curves["value"].between(0, 1).all()
    assert set(figures["metric"]) == {"log_rank", "kaplan_meier_excess"}, "all came on one day"
