"""DQD's 27 check types: a clean CDM breaks none, a seeded row breaks its own alone."""

import json
from collections import Counter
from datetime import UTC, date, datetime

import pytest
from pyspark.sql import functions as F

from clinical_lakehouse.quality.dqd_json import results_json
from clinical_lakehouse.quality.dqd_plan import aggregates, judged
from clinical_lakehouse.quality.dqd_suite import read_suite
from clinical_lakehouse.quality.dqd_verdict import Count, verdicts
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.reading import rows_of
from tests.quality.made_up_dqd import KINDS, SEEDS, SHAPES, clean, seeded, write_files

TODAY = date(2024, 6, 30)


def _judge(checks, frames):
    counted = rows_of(aggregates(checks, frames, TODAY))
    return judged(checks, frames, [row for rows in counted for row in rows])


@pytest.fixture(scope="module")
def checks(tmp_path_factory):
    return read_suite(write_files(tmp_path_factory.mktemp("dqd")))


@pytest.fixture(scope="module")
def made(spark, tmp_path_factory, checks):
    """Verdicts on the clean and on the seeded CDM, each counted once."""
    lake = Lakehouse(spark, tmp_path_factory.mktemp("lake"))
    return _judge(checks, clean(lake)), _judge(checks, seeded(lake))


def test_a_clean_cdm_fails_nothing_and_everything_applies(made):
    assert [(v.check.check_id, v) for v in made[0] if v.status != "passed"] == []


def test_a_seeded_row_of_each_type_trips_its_check_and_nothing_else(made):
    failed = {v.check.check_id: v.count.violated for v in made[1] if v.status == "failed"}
    expected = dict.fromkeys([*SHAPES, *(seed[0] for seed in SEEDS)], 1)
    # Rows that share a key are two, and a person without a record lacks each table's.
    expected["field_isprimarykey_location_location_id"] = 2
    expected["table_measurepersoncompleteness_observation_period"] = 2
    assert failed == expected
    assert {v.check.kind.name for v in made[1] if v.status == "failed"} == set(KINDS)


def test_denominators_are_dqds(made):
    """Of rows a check applies to, by DQD's own articles; not of all rows."""
    counted = {v.check.check_id: v.count.counted for v in made[1]}
    assert counted["field_withinvisitdates_observation_observation_date"] == 2  # with a visit
    assert counted["field_plausibleduringlife_procedure_occurrence_procedure_date"] == 3  # dead
    assert counted["field_plausiblevaluelow_drug_exposure_quantity"] == 2  # not null
    assert counted["field_sourcevaluecompleteness_device_exposure_device_source_value"] == 2
    assert counted["table_measureconditioneracompleteness_condition_era"] == 2  # with a condition
    # Of five weights, that in a unit 0 is another check's matter.
    unit = "concept_plausibleunitconceptids_measurement_measurement_concept_id_15"
    assert counted[unit] == 3


def test_what_is_missing_or_empty_does_not_apply(made, checks):
    reasons = {v.check.check_id: v.reason for v in made[1] if v.status == "not_applicable"}
    field = "SPECIMEN.SPECIMEN_SOURCE_ID"
    assert reasons == {
        "field_measurevaluecompleteness_specimen_specimen_source_id":
            f"Field {field} does not exist.",
    }  # fmt: skip


def test_reasons_are_dqds_in_its_order(spark, checks, tmp_path):
    """R/calculateNotApplicableStatus.R: table missing, empty, field not populated, concept."""
    lake = Lakehouse(spark, tmp_path)
    frames = clean(lake)
    counts = [Count(0, 1) for _ in checks]
    at = {check.check_id: number for number, check in enumerate(checks)}
    counts[at["field_measurevaluecompleteness_location_location_id"]] = Count(0, 0)
    counts[at["field_measurevaluecompleteness_drug_exposure_quantity"]] = Count(4, 4)
    unit = "concept_plausibleunitconceptids_measurement_measurement_concept_id_15"
    counts[at[unit]] = Count(0, 0)
    era = "table_measureconditioneracompleteness_condition_era"
    for name in ("condition_occurrence", "visit_occurrence"):
        del frames[name]
    found = {v.check.check_id: v for v in verdicts(checks, counts, frames)}
    expected = {
        "field_isprimarykey_location_location_id": "Table LOCATION is empty.",
        "field_plausiblevaluelow_drug_exposure_quantity":
            "Field DRUG_EXPOSURE.QUANTITY is not populated.",
        unit: "MEASUREMENT_CONCEPT_ID=15 is missing from the MEASUREMENT table.",
        era: "Table CONDITION_OCCURRENCE is empty.",
        "field_isrequired_visit_occurrence_visit_concept_id":
            "Table VISIT_OCCURRENCE does not exist.",
    }  # fmt: skip
    assert {name: found[name].reason for name in expected} == expected
    assert found["field_measurevaluecompleteness_drug_exposure_quantity"].status == "passed"


@pytest.mark.parametrize(
    ("check_id", "missing"),
    [
        ("field_isforeignkey_visit_occurrence_care_site_id", "care_site"),
        ("field_isstandardvalidconcept_procedure_occurrence_procedure_concept_id", "concept"),
        ("field_fkdomain_measurement_measurement_concept_id", "concept"),
        ("field_plausibleafterbirth_visit_occurrence_visit_start_date", "person"),
        ("field_withinvisitdates_observation_observation_date", "visit_occurrence"),
    ],
)
def test_a_lookup_that_is_missing_is_an_error_and_not_a_pass(
    spark, checks, tmp_path, check_id, missing
):
    frames = clean(Lakehouse(spark, tmp_path))
    del frames[missing]
    (one,) = [check for check in checks if check.check_id == check_id]
    assert aggregates([one], frames, TODAY) == []
    (verdict,) = judged([one], frames, [])
    told = f"Table {missing.upper()} does not exist."
    assert (verdict.status, verdict.count.error) == ("error", told)


def test_a_field_of_another_type_is_an_error_of_its_check_alone(spark, checks, tmp_path):
    frames = clean(Lakehouse(spark, tmp_path))
    frames["observation"] = frames["observation"].withColumn("observation_date", F.lit(20240301))
    check_id = "field_withinvisitdates_observation_observation_date"
    (one,) = [check for check in checks if check.check_id == check_id]
    (verdict,) = judged([one], frames, [])
    assert verdict.count.error == "Field OBSERVATION.OBSERVATION_DATE is no date."


@pytest.mark.parametrize(
    ("threshold", "violated", "status"),
    [(None, 1, "failed"), (0.0, 1, "failed"), (5.0, 5, "passed"), (5.0, 6, "failed")],
)
def test_a_share_above_the_threshold_fails(checks, threshold, violated, status):
    """R/evaluateThresholds.R: none or 0% fails at once, else only what is over it."""
    from dataclasses import replace

    (one,) = [c for c in checks if c.check_id == "field_isprimarykey_location_location_id"]
    frames = {"location": type("Frame", (), {"columns": ["LOCATION_ID"]})}
    (verdict,) = verdicts([replace(one, threshold=threshold)], [Count(violated, 100)], frames)
    assert verdict.status == status


def test_the_file_is_what_dqds_viewer_reads(made):
    """Fields of inst/shinyApps/www/js/loadResults.js and dqDashboardComponent.js."""
    as_of = datetime(2024, 6, 30, 12, tzinfo=UTC)
    source = {"cdm_source_name": "Trial", "cdm_release_date": TODAY, "vocabulary_version": None}
    text = results_json(made[1], source, as_of)
    assert text == results_json(made[1], source, as_of)
    content = json.loads(text)
    (metadata,) = content["Metadata"]
    assert (metadata["cdmSourceName"], metadata["cdmReleaseDate"]) == ("Trial", "2024-06-30")
    assert {"startTimestamp", "executionTime", "Overview"} <= set(content)
    needed = {
        *("checkName", "checkLevel", "checkDescription", "checkId", "cdmTableName", "category"),
        *("context", "queryText", "executionTime", "failed", "passed", "isError"),
        "notApplicable",
    }
    numbers = {"numViolatedRows", "pctViolatedRows", "numDenominatorRows"}
    for row in content["CheckResults"]:
        assert needed <= set(row)
        assert numbers <= set(row) or row["error"].endswith("does not exist.")
    status = Counter(v.status for v in made[1])
    assert content["Overview"]["countOverallFailed"] == [status["failed"]] == [27]
    assert sum(row["passed"] for row in content["CheckResults"]) == status["passed"]
    one = next(r for r in content["CheckResults"] if r["notApplicable"])
    assert one["notApplicableReason"] == "Field SPECIMEN.SPECIMEN_SOURCE_ID does not exist."
    assert one["failed"] == one["passed"] == one["isError"] == 0
