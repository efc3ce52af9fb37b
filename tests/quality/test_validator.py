"""The validator on days of one small lake: every kind of check, failing rows, sites, steps."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from clinical_lakehouse.cli import main
from clinical_lakehouse.errors import ContractError
from clinical_lakehouse.methods.quality.grammar import read_checks
from clinical_lakehouse.operators.clinical_data_validator import ClinicalDataValidatorOperator
from clinical_lakehouse.pages.quality_page import write_quality_page
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables import ops, ops_quality, silver
from clinical_lakehouse.tables.catalog import all_tables, table_named
from clinical_lakehouse.tables.omop_clinical import PERSON
from tests.builders import rows

MONDAY = datetime(2024, 6, 24, 4, tzinfo=UTC)
WEIGHTS = {"fatal": 4.0, "error": 2.0, "warn": 1.0}
EVENT, OBSERVATION = table_named("silver.adverse_event"), table_named("silver.observation")
COVERAGE, DEVICE = table_named("silver.coverage"), table_named("silver.device")
JUDGED = (silver.PATIENT, silver.SUBJECT, EVENT, OBSERVATION, COVERAGE, DEVICE)
CONF = """tables:
  silver.adverse_event:
    owner: safety
    checks:
      - {name: not_before_consent, kind: temporal, earlier: consented_at, later: occurred_at,
         max_failed: 0.5, why: no event is before consent,
         lookups: [{table: silver.subject, on: subject_key,
                    take: {consented_at: min(started_at)}}]}
  silver.patient:
    checks:
      - {name: zip3_form, kind: code, column: zip3, pattern: "[0-9]{3}"}
      - {name: one_per_site, kind: uniqueness, columns: [organization_key], where: sex = 'female'}
      - {name: people, kind: volume, min: 2, max: 100}
      - {name: born, kind: distribution, measure: avg(birth_year), where: sex = 'male', min: 1990}
      - {name: subjects, kind: reconciliation, measure: count(1), tolerance: 0.1,
         other: {table: silver.subject, measure: count(DISTINCT subject_key)}}
      - {name: fresh, kind: freshness, column: deceased_at, max_age_hours: 24}
  silver.observation:
    checks:
      - {name: weight, kind: unit, column: value_number, between: [1, 400],
         where: "code = '29463-7' AND unit_code = 'kg'"}
      - {name: coded, kind: reference, severity: warn, column: code,
         refers_to: silver.adverse_event.code, refers_where: code IS NOT NULL}
"""


@pytest.fixture(scope="module")
def story(spark, tmp_path_factory):
    """What the lake holds after three runs; on the second day some rows were mended."""
    folder = tmp_path_factory.mktemp("validated")
    (folder / "conf" / "quality").mkdir(parents=True)
    (folder / "conf" / "quality" / "own.yml").write_text(CONF, encoding="utf-8")
    lake = Lakehouse(spark, folder / "lake")
    checks = read_checks(folder / "conf" / "quality", all_tables())
    validator = ClinicalDataValidatorOperator(JUDGED, checks, WEIGHTS, "test")
    run = Run(lake, load_settings("dev", environ={}), MONDAY, "monday")
    fill(lake)
    history(lake, {check.name: check.version for check in checks["silver.observation"]})
    told = [validator.execute(run), validator.execute(run)]
    before = {t.name: lake.read(t).count() for t in (ops.QUALITY_RESULT, ops.ALERT_EVENT)}
    lake.replace(EVENT, rows(lake, EVENT, *events(mended=True)))
    told.append(validator.execute(replace(run, as_of=MONDAY + timedelta(days=1), run_id="next")))
    found = {
        table.short_name: [row.asDict() for row in lake.read(table).collect()]
        for table in (ops.QUALITY_RESULT, ops.ALERT_EVENT, *vars(ops_quality).values())
        if getattr(table, "name", "").startswith("ops.")
    }
    page = write_quality_page(lake, 0.95, folder / "page.html").read_text(encoding="utf-8")
    return {**found, "told": told, "before": before, "lake": lake, "checks": checks, "page": page}


def events(mended=False):
    """Three of person 1, consented on 10 January: one a day too early, one on the day."""
    days = [11 if mended else 9, 10, 12]
    return [
        {"adverse_event_key": n, "subject_key": 1, "code": "c",
         "occurred_at": datetime(2024, 1, day, tzinfo=UTC)}
        for n, day in enumerate(days)
    ]  # fmt: skip


def fill(lake):
    """Two sites; site 8's rows are the bad ones."""
    people = [
        {"subject_key": 1, "zip3": "123", "sex": "male", "birth_year": 2000, "organization_key": 7},
        {"subject_key": 2, "zip3": "12\n", "sex": "female", "organization_key": None},
        {"subject_key": 3, "zip3": "123\n", "sex": "female", "organization_key": None},
        {"subject_key": 4, "zip3": None, "sex": "male", "birth_year": None, "organization_key": 7},
    ]
    consent = datetime(2024, 1, 10, tzinfo=UTC)
    subjects = [
        {"research_subject_key": n, "subject_key": n, "organization_key": 7 if n < 3 else 8,
         "started_at": consent, "study_key": 5}
        for n in (1, 2, 3, 4)
    ]  # fmt: skip
    weights = [
        {"observation_key": n, "component_index": 0, "subject_key": 1 + n % 4, "code": "29463-7",
         "unit_code": "kg" if n < 40 else "g", "value_number": 900.0 if n % 4 == 3 else 80.0}
        for n in range(80)
    ]  # fmt: skip
    for table, some in (
        (silver.PATIENT, people), (silver.SUBJECT, subjects), (EVENT, events()),
        (OBSERVATION, weights), (DEVICE, []),
    ):  # fmt: skip
        lake.append(table, rows(lake, table, *some))
    drifted = lake.spark.sql("SELECT '4' AS coverage_key, 1 AS subject_key, 2 AS colour")
    drifted.write.format("delta").save(str(lake.path(COVERAGE)))


def history(lake, versions):
    """Ten usual runs of the weight check: one row in a hundred fails."""
    usual = [
        {"run_id": f"r{n}", "table_name": OBSERVATION.name, "check_name": "weight",
         "severity": "error", "state": "failed", "row_count": 100, "failed_count": 1,
         "passed_ratio": 0.99, "rule_version": versions["weight"],
         "checked_at": MONDAY - timedelta(days=n)}
        for n in range(1, 11)
    ]  # fmt: skip
    lake.append(ops.QUALITY_RESULT, rows(lake, ops.QUALITY_RESULT, *usual))


def result(story, check, run_id="monday"):
    """The one result of a check in a run."""
    every = story["quality_result"] + story["quality_table_result"]
    (one,) = [r for r in every if r["check_name"] == check and r["run_id"] == run_id]
    return one


def keys(story, check):
    """Failing rows of a check: key to whether it fails now."""
    mine = [r for r in story["quality_failure"] if r["check_name"] == check]
    return {r["row_key"]: r["is_failing"] for r in mine}


def test_an_event_before_consent_is_found_and_tolerated(story):
    one = result(story, "not_before_consent")
    assert (one["row_count"], one["failed_count"], one["state"]) == (3, 1, "passed")
    assert (one["max_failed_ratio"], one["kind"]) == (0.5, "temporal")
    assert (one["category"], one["owner"]) == ("plausibility", "safety")
    assert one["sample_keys"] == ['{"adverse_event_key":0}']
    (version,) = {c.version for c in story["checks"][EVENT.name]}
    assert one["rule_version"] == version


def test_a_trailing_newline_does_not_pass_a_pattern(story):
    one = result(story, "zip3_form")
    assert (one["row_count"], one["failed_count"], one["state"]) == (4, 2, "failed")
    assert set(keys(story, "zip3_form")) == {'{"subject_key":2}', '{"subject_key":3}'}


def test_filtered_uniqueness_leaves_rows_outside_the_filter_and_keeps_null_keys(story):
    one = result(story, "one_per_site")
    assert (one["row_count"], one["failed_count"]) == (2, 1)  # two women of no site; men share one
    assert set(keys(story, "one_per_site")) == {'{"subject_key":2}', '{"subject_key":3}'}


def test_only_rows_of_the_filter_are_the_denominator(story):
    one = result(story, "weight")
    assert (one["row_count"], one["failed_count"], one["passed_ratio"]) == (40, 10, 0.75)


def test_a_reference_counts_rows_whose_value_is_nowhere(story):
    assert result(story, "coded")["failed_count"] == 80


def test_whole_tables_are_measured_within_their_limits(story):
    figures = {n: result(story, n) for n in ("people", "born", "subjects", "fresh")}
    assert {n: r["measured"] for n, r in figures.items()} == {
        "people": 4, "born": 2000, "subjects": 4, "fresh": None
    }  # fmt: skip
    assert {n: r["state"] for n, r in figures.items()} == {
        "people": "passed", "born": "passed", "subjects": "passed", "fresh": "not_applicable"
    }  # fmt: skip
    assert figures["subjects"]["against"] == 4


def test_a_table_unlike_its_contract_is_judged_as_far_as_it_goes(story):
    drift = [
        r for r in story["quality_table_result"]
        if r["table_name"] == COVERAGE.name and r["run_id"] == "monday"
    ]  # fmt: skip
    assert drift[0]["state"] == "failed"
    assert "new: colour; dropped: " in drift[0]["detail"]
    assert "retyped: coverage_key, subject_key" in drift[0]["detail"]
    states = {
        r["check_name"]: r["state"] for r in story["quality_result"]
        if r["table_name"] == COVERAGE.name and r["run_id"] == "monday"
    }  # fmt: skip
    assert states["coverage_key_unique"] == "passed"  # '4' is what its type can be cast to
    assert "not_judged" in states.values()


def test_an_empty_table_passes_nothing(story):
    mine = [r for r in story["quality_result"] if r["table_name"] == DEVICE.name]
    assert {r["state"] for r in mine} == {"not_applicable"}
    (score, _) = [s for s in story["quality_score"] if s["slice"] == DEVICE.name]
    assert score["check_count"] == 1  # its columns are as in its contract


def test_sites_are_scored_apart(story):
    scores = {
        (s["dimension"], s["slice"]): s for s in story["quality_score"] if s["run_id"] == "monday"
    }
    assert scores["site", "8"]["score"] < scores["site", "7"]["score"] < 1
    assert scores["study", "5"]["check_count"] > 0
    weight = [r for r in story["quality_slice"] if r["check_name"] == "weight"]
    assert {(r["slice"], r["failed_count"]) for r in weight if r["dimension"] == "site"} == {
        ("8", 10)
    }


def test_a_step_is_told_within_one_run_and_stays_out_of_the_usual(story):
    steps = [s for s in story["quality_step"] if s["check_name"] == "weight"]
    first = next(s for s in steps if s["run_id"] == "monday" and s["dimension"] == "table")
    second = next(s for s in steps if s["run_id"] == "next" and s["dimension"] == "table")
    assert (first["value"], first["usual"], first["point_count"]) == (0.25, 0.01, 10)
    assert (second["usual"], second["point_count"]) == (0.01, 10)
    kinds = {e["kind"] for e in story["alert_event"]}
    assert kinds >= {"quality_step", "quality_score", "quality_score_site"}


def test_mended_rows_are_resolved_and_others_keep_their_first_day(story):
    assert keys(story, "not_before_consent") == {'{"adverse_event_key":0}': False}
    (mended,) = [r for r in story["quality_failure"] if r["check_name"] == "not_before_consent"]
    assert mended["resolved_at"].replace(tzinfo=UTC) == MONDAY + timedelta(days=1)
    assert mended["reason"] == "no event is before consent"
    still = [r for r in story["quality_failure"] if r["check_name"] == "zip3_form"]
    assert {r["first_seen_at"].replace(tzinfo=UTC) for r in still} == {MONDAY}
    assert {r["resolved_at"] for r in still} == {None}


def test_the_same_run_again_leaves_the_same_tables(story):
    first, second, third = story["told"]
    assert first == second
    assert first["failing_checks"] == third["failing_checks"]
    per_run = sum(r["run_id"] == "next" for r in story["quality_result"])
    assert story["before"]["ops.quality_result"] == per_run + 10  # and the history


def test_the_page_says_what_fails_where_and_what_is_not_as_usual_and_no_value(story):
    page = story["page"]
    assert len(page.encode()) < 500_000
    for said in (
        "zip3_form", "{&#34;subject_key&#34;:2}", "What is not as usual", "all rows", "Sites",
        "new: colour; dropped:", "Rows that wait, by owner", "Checks by kind", "ops.quality_score",
    ):  # fmt: skip
        assert said in page, said
    assert page.count("<svg") >= 4
    assert "Secret" not in page and "http://" not in page.replace("http://www.w3.org", "")


def test_history_and_failing_rows_of_a_check_are_shown(story):
    root = ["--root", str(story["lake"].root)]
    told = CliRunner().invoke(main, [*root, "quality", "history", "subject_key_unique"])
    assert told.exit_code == 0 and "passed" in told.output and "next" in told.output
    failing = CliRunner().invoke(
        main, [*root, "quality", "history", "coverage_key_unique", "--failing"]
    )
    assert failing.exit_code != 0  # no row of it fails


@task(reads=[silver.PATIENT], writes=[PERSON])
def publish_people(run):
    """Make something of the patients."""
    return {"people": run.lake.read(silver.PATIENT).count()}


@task(reads=[silver.PATIENT, silver.SUBJECT], writes=[silver.PATIENT])
def mend_people(run):
    """Bring the patients themselves in order."""
    return {}


@task(reads=[silver.SUBJECT], writes=[PERSON])
def publish_subjects(run):
    """Make something of the others."""
    return {}


@task(reads=[silver.PATIENT], writes=[ops.ALERT_EVENT])
def watch_people(run):
    """Publish nothing."""
    return {}


@task(reads=[silver.PATIENT], writes=[PERSON], inspects=True)
def inspect_people(run):
    """Look for what is wrong with them."""
    return {}


def test_a_fatal_check_blocks_its_table_and_what_is_made_of_it_until_it_passes(run, tmp_path):
    folder = tmp_path / "conf" / "quality"
    folder.mkdir(parents=True)
    (folder / "own.yml").write_text(
        "tables:\n  silver.patient:\n    checks:\n"
        "      - {name: people, kind: volume, min: 2, severity: fatal}\n"
    )
    run.lake.append(silver.PATIENT, rows(run.lake, silver.PATIENT, {"subject_key": 1}))
    run.lake.append(silver.SUBJECT, rows(run.lake, silver.SUBJECT, {"subject_key": 1}))
    checks = read_checks(folder, all_tables())
    validator = ClinicalDataValidatorOperator(
        (silver.PATIENT, silver.SUBJECT), checks, WEIGHTS, "test"
    )
    assert publish_people.execute(run) == {"people": 1}
    assert validator.execute(run)["blocked_tables"] == 1
    (stored,) = run.lake.read(ops_quality.QUALITY_TABLE_RESULT).filter("kind = 'volume'").collect()
    assert (stored.state, stored.measured, stored.low) == ("failed", 1.0, 2.0)
    (event,) = run.lake.read(ops.ALERT_EVENT).filter("kind = 'quality_fatal'").collect()
    assert event.severity == "critical"

    with pytest.raises(ContractError, match=r"fatal checks block silver\.patient \(people\)"):
        publish_people.execute(run)
    for goes_on in (mend_people, publish_subjects, watch_people, inspect_people):
        goes_on.execute(run)

    run.lake.append(silver.PATIENT, rows(run.lake, silver.PATIENT, {"subject_key": 2}))
    later = replace(run, run_id="later", as_of=run.as_of + timedelta(days=1))
    assert validator.execute(later)["blocked_tables"] == 0
    assert publish_people.execute(run) == {"people": 2}
    (block,) = run.lake.read(ops_quality.QUALITY_BLOCK).collect()
    moments = block.blocked_at.replace(tzinfo=UTC), block.released_at.replace(tzinfo=UTC)
    assert moments == (run.as_of, later.as_of) and not block.is_blocked


def test_a_check_that_spark_refuses_is_named_by_its_place_and_holds_no_value(run, tmp_path):
    folder = tmp_path / "conf" / "quality"
    folder.mkdir(parents=True)
    (folder / "own.yml").write_text(
        "tables:\n  silver.patient:\n    checks:\n"
        "      - {name: cast, kind: cross_field, holds: CAST(state AS INT) > 1}\n"
    )
    somebody = {"subject_key": 1, "state": "Secretshire"}
    run.lake.append(silver.PATIENT, rows(run.lake, silver.PATIENT, somebody))
    checks = read_checks(folder, all_tables())
    validator = ClinicalDataValidatorOperator((silver.PATIENT,), checks, WEIGHTS, "test")
    with pytest.raises(ContractError, match=r"own\.yml:4: check cast cannot be") as refused:
        validator.execute(run)
    assert "Secretshire" not in str(refused.value)
    assert not run.lake.exists(ops.QUALITY_RESULT)
