"""Golden persons: each rule from silver to OMOP, on rows small enough to read."""

import shutil
from datetime import UTC, date, datetime

import pytest
from pyspark.sql import functions as F

from clinical_lakehouse.errors import AccountingError
from clinical_lakehouse.methods.content_hash import content_hash
from clinical_lakehouse.runtime.bookmarks import move_bookmarks
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.standardization import data_standardization as tasks
from clinical_lakehouse.standardization import routing
from clinical_lakehouse.tables import omop_clinical as omop
from clinical_lakehouse.tables import silver
from clinical_lakehouse.tables.gold_standardization import (
    CODE_MAP,
    UNMAPPED_CODE,
    UNPLACED_RECORD,
)
from clinical_lakehouse.tables.omop_records import DEVICE_EXPOSURE
from clinical_lakehouse.tables.omop_vocabulary import CONCEPT, CONCEPT_RELATIONSHIP
from tests.builders import rows
from tests.standardization.golden import (
    CONCEPTS,
    ENCOUNTERS,
    EVENTS,
    OBSERVATIONS,
    OBSERVED,
    PATIENTS,
    RELATIONS,
)


def _write(lake, table, given, **same):
    lake.replace(table, rows(lake, table, *[{**same, **row} for row in given]))


def _run(lake) -> Run:
    as_of = datetime(2024, 6, 30, 12, tzinfo=UTC)
    return Run(lake, load_settings("dev", environ={}), as_of, "test")


@pytest.fixture(scope="module")
def plain(spark, tmp_path_factory):
    """Four people with every kind of record, standardised without a vocabulary: the lake, and what
    each task said."""
    lake = Lakehouse(spark, tmp_path_factory.mktemp("plain") / "lake")
    _write(lake, silver.PATIENT, PATIENTS)
    _write(lake, silver.ENCOUNTER, ENCOUNTERS)
    _write(lake, silver.PRACTITIONER, [{"practitioner_key": 5}])
    _write(lake, silver.OBSERVATION, [{**OBSERVED, **row} for row in OBSERVATIONS])
    for table, given in EVENTS.items():
        _write(lake, table, given, subject_key=1)
    return lake, _standardize(_run(lake))


@pytest.fixture(scope="module")
def coded(spark, plain, tmp_path_factory):
    """The same lake with a handful of concepts, one code of which maps to two."""
    root = tmp_path_factory.mktemp("coded") / "lake"
    shutil.copytree(plain[0].root, root)
    lake = Lakehouse(spark, root)
    names = ("concept_id", "vocabulary_id", "concept_code", "domain_id", "standard_concept")
    _write(lake, CONCEPT, [dict(zip(names, row, strict=True)) for row in CONCEPTS])
    names = ("concept_id_1", "concept_id_2", "relationship_id", "invalid_reason")
    relations = [dict(zip(names, row, strict=True)) for row in RELATIONS]
    _write(lake, CONCEPT_RELATIONSHIP, relations)
    run = _run(lake)
    tasks.map_codes(run)
    tasks.map_events(run)
    return run


def _standardize(run):
    return {
        task.name.removeprefix("data-standardization-"): task(run)
        for task in (
            tasks.map_codes,
            tasks.map_places,
            tasks.map_persons,
            tasks.map_visits,
            tasks.map_events,
            tasks.build_eras,
        )
    }


def _by_key(lake, table):
    found = lake.read(table).collect()
    keyed = {row[table.key[0]]: row for row in found}
    assert len(keyed) == len(found), "a key stands twice"
    return keyed


def _content(lake, table):
    return lake.read(table).agg(content_hash(table.column_names)).collect()[0][0]


def _unplaced(lake):
    names = ("source_table", "source_key", "component_index", "reason")
    return {tuple(row[n] for n in names) for row in lake.read(UNPLACED_RECORD).collect()}


def test_person_has_standard_sex_race_and_ethnicity_and_one_age_above_89(plain):
    lake, _ = plain
    found = _by_key(lake, omop.PERSON)
    assert found.keys() == {1, 2, 3}
    assert [found[k].gender_concept_id for k in (1, 2, 3)] == [8532, 8507, 0]
    assert [found[k].year_of_birth for k in (1, 2, 3)] == [1980, 2024 - 90, 1990]
    assert [found[k].race_concept_id for k in (1, 2, 3)] == [8527, 0, 0]
    assert [found[k].ethnicity_concept_id for k in (1, 2, 3)] == [0, 38003563, 0]
    assert found[3].race_source_value == "2131-1" and found[1].month_of_birth is None


def test_death_stands_once_per_person_and_needs_a_day(plain):
    lake, _ = plain
    assert {k: r.death_date for k, r in _by_key(lake, omop.DEATH).items()} == {2: date(2024, 3, 20)}
    assert ("silver.patient", 3, 0, "death_undated") in _unplaced(lake)
    assert ("silver.patient", 4, 0, "birth_year_unknown") in _unplaced(lake)


def test_observation_period_runs_from_first_to_last_record_that_happened(plain):
    lake, _ = plain
    found = _by_key(lake, omop.OBSERVATION_PERIOD)
    spans = {
        k: (r.observation_period_start_date.day, r.observation_period_end_date.day)
        for k, r in found.items()
    }
    assert spans == {1: (1, 16), 2: (1, 2)}


def test_visit_takes_its_concept_from_the_class_and_missed_visits_are_none(plain):
    lake, said = plain
    assert said["map-visits"] == {"visit_occurrence_count": 4, "visit_detail_count": 0}
    found = _by_key(lake, omop.VISIT_OCCURRENCE)
    assert {k: r.visit_concept_id for k, r in found.items()} == {
        11: 9202,
        12: 9203,
        13: 9201,
        14: 0,
    }
    assert found[14].visit_source_value == "ODD"
    ends = {k: r.visit_end_date for k, r in found.items()}
    assert ends[12] == date(2024, 3, 2), "a visit without an end ends on its day"
    assert ends[13] == date(2024, 6, 30), "an open stay lasts until the run"
    listed = {(k, r) for table, k, _, r in _unplaced(lake) if table == "silver.encounter"}
    assert listed == {
        (15, "not_happened"),
        (16, "undated"),
        (17, "person_unplaced"),
    }


def test_without_a_vocabulary_the_resource_type_decides_the_table(plain):
    lake, _ = plain
    keys = {t.short_name: set(_by_key(lake, t)) for t in tasks.map_events.writes[:5]}
    assert keys["condition_occurrence"] == {40, 42, 90, 91}
    assert keys["drug_exposure"] == {50, 51, 52, 53}
    assert keys["procedure_occurrence"] == {60}
    assert keys["observation"] == {30, 32, 70, 80}
    assert {31, 33, 34, 35} < keys["measurement"] and len(keys["measurement"]) == 6
    rows = lake.read(omop.MEASUREMENT).collect()
    assert {(r.measurement_concept_id, r.measurement_source_concept_id) for r in rows} == {(0, 0)}
    assert {r.code: r.reason for r in lake.read(UNMAPPED_CODE).collect()}.items() >= {
        "8480-6": "unknown_code",
        "Z" * 60: "unknown_system",
    }.items()


def test_components_are_rows_of_their_own_with_distinct_positive_keys(plain):
    lake, _ = plain
    found = lake.read(omop.MEASUREMENT).filter("value_as_number IN (80, 120)").collect()
    assert sorted(row.value_as_number for row in found) == [80, 120]
    assert all(row.measurement_id > 0 and row.measurement_id != 30 for row in found)


@pytest.mark.soak
def test_any_order_and_partitioning_of_silver_leaves_the_same_content(coded):
    tables = [*tasks.map_events.writes[:9], *tasks.map_persons.writes, CODE_MAP]
    before = {t.name: _content(coded.lake, t) for t in tables}
    for table in tasks.map_events.reads:
        if table.schema_name == "silver" and coded.lake.exists(table):
            others = coded.lake.read(table).orderBy(F.desc(table.key[0])).repartition(3)
            coded.lake.replace(table, others)
    assert _standardize(coded)["map-events"]["drug_exposure_count"] == 4, "all made anew"
    assert {t.name: _content(coded.lake, t) for t in tables} == before


@pytest.mark.soak
def test_limits_ranges_coded_and_boolean_values_are_kept(coded):
    found = _by_key(coded.lake, omop.MEASUREMENT)
    limit, yes = found[31], found[34]
    assert (limit.operator_concept_id, limit.value_source_value) == (4171756, "<5.0")
    assert (limit.unit_concept_id, limit.unit_source_value) == (0, "[made-up]")
    assert (limit.range_low, limit.range_high) == (7, 56)
    assert found[35].operator_concept_id is None and found[35].unit_concept_id is None
    assert (yes.value_as_concept_id, yes.value_source_value) == (4188539, "true")
    survey = _by_key(coded.lake, omop.OBSERVATION)[32]
    assert (survey.value_as_concept_id, survey.value_as_string) == (5, "Never smoker")
    assert survey.value_source_value == "266919005"


@pytest.mark.soak
def test_standard_concept_and_its_domain_decide_where_a_vocabulary_is_loaded(coded):
    systolic = coded.lake.read(omop.MEASUREMENT).filter("value_as_number = 120").collect()[0]
    assert (systolic.measurement_concept_id, systolic.unit_concept_id) == (3004249, 8876)
    assert systolic.measurement_source_concept_id == 3004249
    diabetes = _by_key(coded.lake, omop.CONDITION_OCCURRENCE)[40]
    assert diabetes.condition_concept_id == 201826
    assert 33 in _by_key(coded.lake, omop.PROCEDURE_OCCURRENCE), "its domain is Procedure"
    assert 60 in _by_key(coded.lake, DEVICE_EXPOSURE), "its domain is Device"


@pytest.mark.soak
def test_one_to_many_map_gives_a_row_each_and_the_first_keeps_the_key(coded):
    drugs = _by_key(coded.lake, omop.DRUG_EXPOSURE)
    assert {k: drugs[k].drug_concept_id for k in (50, 51, 52)} == {50: 9, 51: 9, 52: 9}
    assert {drugs[k].drug_source_concept_id for k in (50, 51, 52)} == {8}
    second = coded.lake.read(omop.MEASUREMENT).filter("measurement_concept_id = 10").collect()
    assert len(second) == 3 and not {r.measurement_id for r in second} & {50, 51, 52}
    maps = coded.lake.read(CODE_MAP).filter("code = '860975' AND role = 'event'").collect()
    assert {(m.source_table, m.map_index, m.concept_id) for m in maps} == {
        (f"silver.medication_{table}", index, concept)
        for table in ("request", "administration")
        for index, concept in ((0, 9), (1, 10))
    }


@pytest.mark.soak
def test_code_without_a_standard_concept_keeps_its_source_value_and_its_reason(coded):
    found = _by_key(coded.lake, omop.CONDITION_OCCURRENCE)
    assert (found[42].condition_concept_id, found[42].condition_source_value) == (0, "Z" * 50)
    assert (found[91].condition_concept_id, found[91].condition_source_concept_id) == (0, 14)
    reasons = {
        (row.source_table, row.code): (row.reason, row.row_count)
        for row in coded.lake.read(UNMAPPED_CODE).filter("role = 'event'").collect()
    }
    assert reasons[("silver.adverse_event", "10019211")] == ("no_standard_map", 2)
    assert reasons[("silver.observation", "2345-7")] == ("unknown_code", 4)
    assert reasons[("silver.condition", "Z" * 60)] == ("unknown_system", 1)


@pytest.mark.soak
def test_allergy_to_a_substance_is_an_observation_not_a_drug_taken(coded):
    allergy = _by_key(coded.lake, omop.OBSERVATION)[70]
    assert (allergy.observation_concept_id, allergy.value_as_concept_id) == (439224, 1728416)
    assert 70 not in _by_key(coded.lake, omop.DRUG_EXPOSURE)


def test_drug_ends_when_sent_else_with_its_supply_else_on_its_day(plain):
    lake, _ = plain
    found = _by_key(lake, omop.DRUG_EXPOSURE)
    ends = {k: r.drug_exposure_end_date.day for k, r in found.items()}
    assert ends == {50: 10, 51: 2, 52: 2, 53: 1}
    assert (found[50].days_supply, found[50].quantity, found[50].refills) == (10, 20, 1)
    assert (found[52].quantity, found[52].dose_unit_source_value) == (5, "mg")
    assert (found[52].route_concept_id, found[52].route_source_value) == (0, "26643006")
    assert found[50].route_concept_id is None
    assert {k: r.drug_type_concept_id for k, r in found.items()} == {
        50: 32838, 51: 32838, 52: 32818, 53: 32818,
    }  # fmt: skip


def test_record_without_a_time_takes_its_visits_and_every_other_one_is_listed(plain):
    lake, said = plain
    done = said["map-events"]
    dated = _by_key(lake, omop.MEASUREMENT)[35]
    assert dated.measurement_date == date(2024, 3, 2)
    events = {r for r in _unplaced(lake) if r[0] not in ("silver.patient", "silver.encounter")}
    assert events == {
        ("silver.observation", 36, 0, "undated"),
        ("silver.observation", 37, 0, "not_happened"),
        ("silver.observation", 38, 0, "person_unplaced"),
        ("silver.condition", 41, 0, "not_happened"),
        ("silver.immunization", 54, 0, "not_happened"),
        ("silver.adverse_event", 92, 0, "not_happened"),
    }
    assert (done["undated_count"], done["not_happened_count"]) == (1, 4)


def test_type_concept_says_where_a_record_comes_from(plain):
    lake, _ = plain
    found = _by_key(lake, omop.CONDITION_OCCURRENCE)
    types = {k: r.condition_type_concept_id for k, r in found.items()}
    assert types == {40: 32840, 42: 32817, 90: 32809, 91: 32809}
    assert found[40].condition_end_date == date(2024, 3, 16)
    assert found[40].condition_status_source_value == "resolved"
    assert {k: r.condition_status_concept_id for k, r in found.items()} == {
        40: 32906, 42: 32899, 90: None, 91: None,
    }  # fmt: skip


def test_provider_of_an_event_is_the_visits(plain):
    found = _by_key(plain[0], omop.MEASUREMENT)
    assert (found[35].provider_id, found[31].provider_id) == (5, None)


def test_record_without_a_row_or_a_reason_stops_the_task(plain, monkeypatch):
    lake, _ = plain
    run = _run(lake)
    survey = routing.survey
    lossy = lambda events: survey(events.filter("source_key <> 60"))  # noqa: E731
    monkeypatch.setattr(routing, "survey", lossy)
    move_bookmarks(run, tasks.EVENTS_READER, {})
    with pytest.raises(AccountingError, match=r"silver\.procedure"):
        tasks.map_events(run)


@pytest.mark.soak
def test_empty_lake_gives_empty_tables(run, lake):
    _standardize(run)
    assert {lake.read(table).count() for table in tasks.map_events.writes[:5]} == {0}
    assert tasks.describe_source(run) == {"vocabulary_version": "none loaded"}
    assert lake.read(omop.CDM_SOURCE).count() == 1
