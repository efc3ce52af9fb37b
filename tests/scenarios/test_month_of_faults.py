"""The simulator's bad month through ingestion, quality and alerting: exactly the planted faults are
found, each is told of once, and after the correction the score is back above its limit."""

import json
from datetime import timedelta

import pytest
from pyspark.sql import functions as F

from clinical_lakehouse.alerting.alerting import evaluate
from clinical_lakehouse.ingestion import patient_ingestion as job
from clinical_lakehouse.ingestion import quarantine_review
from clinical_lakehouse.methods.surrogate import surrogate_key
from clinical_lakehouse.quality.data_quality import check
from clinical_lakehouse.runtime.vault_keys import vault_keys
from clinical_lakehouse.simulation import TrialPlan, simulate
from clinical_lakehouse.simulation.bad_month import bad_month, corrected_month
from clinical_lakehouse.tables import ops, ops_quality
from clinical_lakehouse.tables.catalog import table_named
from clinical_lakehouse.tables.ops_alerting import NOTIFICATION
from tests.ingestion.chain import new_lake, run_on

pytestmark = pytest.mark.soak  # a trial, three days of the chain

PLAN = TrialPlan(patients=50, sites=5, months=4, seed=12)
TASKS = (job.land, job.validate, job.check_consent, job.deidentify, quarantine_review.withhold,
         job.publish)  # fmt: skip
QUIET_DAYS = 9
KEPT = (ops.QUALITY_RESULT, ops_quality.QUALITY_TABLE_RESULT, ops_quality.QUALITY_SCORE)


def a_day(lake, landing, number):
    """Ingestion, quality and two rounds of alerting; what the round told and the metrics."""
    run = run_on(lake, landing, number)
    for task in TASKS:
        task.execute(run)
    metrics = check.execute(run)
    for minutes in (1, 6):
        later = run.as_of + timedelta(minutes=minutes)
        evaluate.execute(run.__class__(**{**vars(run), "as_of": later}))
    return metrics


def quiet_days(lake):
    """What the job would have kept on the days before, of the same lake without a change."""
    for table in KEPT:
        known = lake.read(table)
        back = F.explode(F.sequence(F.lit(1), F.lit(QUIET_DAYS)))
        shifted = known.withColumn("back", back).withColumns(
            {"checked_at": F.col("checked_at") - F.make_interval(days=F.col("back")),
             "run_id": F.concat("run_id", F.lit("-before-"), "back")}
        )  # fmt: skip
        lake.append(table, shifted.select(*table.column_names))


@pytest.fixture(scope="module")
def story(spark, tmp_path_factory):
    """A quiet day after nine others, the bad day, the corrected one; what there was after each."""
    folder = tmp_path_factory.mktemp("bad_month")
    landing, lake = folder / "landing", new_lake(spark, folder / "lake")
    simulate(landing, PLAN)
    sites = json.loads((landing / "truth.json").read_text())["sites"]
    days = [a_day(lake, landing, 0)]
    quiet_days(lake)
    planted = bad_month(landing, PLAN.end, tuple(site["site_id"] for site in sites))
    days.append(a_day(lake, landing, 1))
    bad = look(lake)
    corrected_month(landing, PLAN.end, planted)
    days.append(a_day(lake, landing, 2))
    return {"lake": lake, "planted": planted, "days": days, "bad": bad, "mended": look(lake),
            "keys": site_keys(lake, run_on(lake, landing), sites)}  # fmt: skip


def site_keys(lake, run, sites):
    """Key of each site by its id."""
    ids = lake.spark.createDataFrame([(site["site_id"],) for site in sites], "id STRING")
    key = surrogate_key(vault_keys(run).pseudonym, "Organization", F.col("id"))
    return {row["id"]: str(row["k"]) for row in ids.select("id", key.alias("k")).collect()}


def look(lake):
    """The latest run's failing checks, the failing rows, alerts and what was told."""
    results = lake.read(ops.QUALITY_RESULT)
    latest = results.agg(F.max_by("run_id", "checked_at")).collect()[0][0]
    scores = lake.read(ops_quality.QUALITY_SCORE).filter(F.col("run_id") == latest)
    failing = results.filter((F.col("run_id") == latest) & (F.col("failed_count") > 0)).collect()
    tables = lake.read(ops_quality.QUALITY_TABLE_RESULT).filter(F.col("run_id") == latest)
    return {
        "failing": {(r.table_name, r.check_name): r.failed_count for r in failing},
        "whole": [r.check_name for r in tables.filter("state = 'failed'").collect()],
        "scores": {(r.dimension, r.slice): r.score for r in scores.collect()},
        "alerts": [r.asDict() for r in lake.read(ops.ALERT).collect()],
        "told": [json.loads(r.fingerprints) for r in lake.read(NOTIFICATION).collect()],
    }


def of_quality(state):
    """Alerts of the detectors of quality, by kind and labels."""
    return {(a["kind"], a["labels"]): a for a in state["alerts"] if a["kind"].startswith("quality")}


def test_a_quiet_trial_fails_no_check_and_tells_nobody(story):
    assert story["days"][0]["failing_checks"] == 0
    assert story["days"][0]["alerts"] == 0


def test_exactly_the_planted_rows_are_found(story):
    wanted = {(one.table, one.check): len(one.resource_ids) for one in story["planted"]}
    assert story["bad"]["failing"] == wanted
    assert story["bad"]["whole"] == []


def test_each_planted_fault_is_told_of_once_at_its_place(story):
    wanted = set()
    for one in story["planted"]:
        labels = {"table": one.table, "check": one.check}
        if one.site_id != "*":
            labels["site"] = story["keys"][one.site_id]
        wanted.add(("quality_step", json.dumps(labels, sort_keys=True)))
    alerts = of_quality(story["bad"])
    steps = {key for key in alerts if key[0] == "quality_step"}
    assert steps == wanted
    others = {key[0] for key in alerts} - {"quality_step"}
    told = [f for one in story["bad"]["told"] for f in one.get("firing", [])]
    for key, alert in alerts.items():
        assert told.count(alert["fingerprint"]) == (1 if key[0] == "quality_step" else 0), key
    assert others <= {"quality_score_low"}  # inhibited by the step of its table


def test_the_score_falls_below_its_limit_and_is_back_after_the_correction(story):
    table = ("table", "silver.adverse_event")
    assert story["bad"]["scores"][table] < 0.95 < story["mended"]["scores"][table]
    assert min(story["mended"]["scores"].values()) >= 0.95
    assert story["mended"]["failing"] == {} and story["mended"]["whole"] == []
    assert story["days"][2]["failing_checks"] == 0


def test_what_was_found_is_resolved_and_no_row_is_doubled_or_left_in_quarantine(story):
    lake = story["lake"]
    assert lake.read(ops_quality.QUALITY_FAILURE).filter("is_failing").isEmpty()
    for one in story["planted"]:
        rows = lake.read(table_named(one.table))
        key = list(table_named(one.table).key)
        assert rows.count() == rows.select(*key).distinct().count()
    held = "SELECT count(*) AS n FROM bronze.quarantine WHERE startswith(reason, 'check:')"
    assert lake.query(held).first()["n"] == 0  # corrected before anything had to be taken out
