"""After an increment OMOP is as if made anew, and no other row is written again."""

from dataclasses import replace
from datetime import timedelta

import pytest

from clinical_lakehouse.runtime.bookmarks import move_bookmarks
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.standardization import data_standardization as tasks
from clinical_lakehouse.standardization.event_tables import OUTPUTS
from clinical_lakehouse.tables import silver
from clinical_lakehouse.tables.gold_standardization import RESTATED_RECORD, UNPLACED_RECORD
from clinical_lakehouse.tables.omop_clinical import (
    CONDITION_OCCURRENCE,
    MEASUREMENT,
    VISIT_OCCURRENCE,
)
from clinical_lakehouse.tables.omop_vocabulary import CONCEPT
from tests.builders import rows
from tests.ingestion.chain import hashes
from tests.standardization.conftest import synthea_run
from tests.standardization.golden import LOINC, SNOMED, at

# A way for lakes of millions of events, judged against making OMOP anew; every part is slow.
pytestmark = pytest.mark.soak

CODES = ("c1", "c2", "toObservation")
CONDITIONS = [
    {"condition_key": n, "subject_key": 1 + n % 3, "code_system": SNOMED, "code": CODES[n % 2],
     "encounter_key": 500 + n % 4, "recorded_at": at(1)} for n in range(1, 41)
]  # fmt: skip
OBSERVATIONS = [
    {"observation_key": 100 + n, "component_index": part, "subject_key": 1 + n % 3,
     "code_system": LOINC, "code": f"l{n}", "effective_at": at(2), "value_number": float(n),
     "has_value": True, "encounter_key": 500}
    for n in range(20) for part in range(2)
]  # fmt: skip
ENCOUNTERS = [
    {"encounter_key": 500 + n, "subject_key": 1 + n % 3, "status": "finished", "class_code": "AMB",
     "started_at": at(1), "part_of_key": 500 if n == 3 else None, "practitioner_key": 9}
    for n in range(4)
]  # fmt: skip
CHANGED = ("codes_changed", "records_restated")


def _merge(lake, table, given, deleted=()):
    made = [{**row, "is_out": False} for row in given] + [
        {**row, "is_out": True} for row in deleted
    ]
    flags = {tuple(row[k] for k in table.key): row.pop("is_out") for row in made}
    frame = rows(lake, table, *made)
    out = lake.spark.createDataFrame(
        [(*key, flag) for key, flag in flags.items()],
        ", ".join([*(f"{k} BIGINT" for k in table.key), "is_out BOOLEAN"]),
    )
    lake.merge(table, frame.join(out, list(table.key)), deleted="is_out")


@pytest.fixture(scope="module")
def first(spark, tmp_path_factory):
    """A lake standardised once; tests change silver and run again, one after the other."""
    lake = Lakehouse(spark, tmp_path_factory.mktemp("increments") / "lake")
    people = [{"subject_key": n, "sex": "female", "birth_year": 1980} for n in (1, 2, 3)]
    for table, given in (
        (silver.PATIENT, people), (silver.CONDITION, CONDITIONS),
        (silver.OBSERVATION, OBSERVATIONS), (silver.ENCOUNTER, ENCOUNTERS),
    ):  # fmt: skip
        lake.replace(table, rows(lake, table, *given))
    names = ("concept_id", "vocabulary_id", "concept_code", "domain_id", "standard_concept")
    concepts = [(1, "SNOMED", "c1", "Condition", "S"), (2, "SNOMED", "c2", "Condition", "S"),
                (3, "SNOMED", "toObservation", "Observation", "S")]  # fmt: skip
    made = [dict(zip(names, concept, strict=True)) for concept in concepts]
    lake.replace(CONCEPT, rows(lake, CONCEPT, *made))
    run = _always_in_increments(synthea_run(lake))
    _standardize(run)
    return run


def _always_in_increments(run):
    how = run.settings.standardization.model_copy(update={"increment_from": 0})
    return replace(run, settings=run.settings.model_copy(update={"standardization": how}))


def _standardize(run):
    tasks.map_codes(run)
    tasks.map_visits(run)
    return tasks.map_events(run)


def _content(lake):
    return hashes(lake, [*OUTPUTS, UNPLACED_RECORD])


def _again(run, day):
    """The increment; what it said; then the same made anew must be equal."""
    later = replace(run, as_of=run.as_of + timedelta(days=day))
    said = _standardize(later)
    restated = _content(run.lake)
    records = {tuple(row) for row in run.lake.read(RESTATED_RECORD).collect()}
    move_bookmarks(run, tasks.EVENTS_READER, {})
    assert "records_restated" not in tasks.map_events(later), "made anew"
    assert _content(run.lake) == restated
    return said, records


def test_changed_new_and_deleted_records_alone_are_restated(first):
    lake = first.lake
    before = lake.version(MEASUREMENT)
    moved = {**CONDITIONS[0], "code": "toObservation"}
    new = {**CONDITIONS[1], "condition_key": 77, "code": "c2"}
    _merge(lake, silver.CONDITION, [moved, new], [CONDITIONS[2]])
    refuted = {**CONDITIONS[3], "verification_status": "refuted"}
    _merge(lake, silver.CONDITION, [refuted])
    said, records = _again(first, 1)
    assert records == {("silver.condition", n) for n in (1, 77, 3, 4)}
    assert said == {"codes_changed": 0, "records_restated": 4,
                    "condition_occurrence_restated": 4, "observation_restated": 1}  # fmt: skip
    assert lake.version(MEASUREMENT) == before + 1, "written by the test's own rebuild alone"
    assert {r.source_key for r in lake.read(UNPLACED_RECORD).collect()} == {4}


@pytest.mark.soak
def test_a_component_that_is_gone_leaves_measurement(first):
    _merge(first.lake, silver.OBSERVATION, [], [OBSERVATIONS[1]])
    said, records = _again(first, 2)
    assert records == {("silver.observation", 100)}
    assert said["measurement_restated"] == 1
    assert first.lake.read(MEASUREMENT).count() == 39


@pytest.mark.soak
def test_records_of_a_changed_encounter_and_of_those_inside_it_get_their_visit_again(first):
    """500 is cancelled: 503, inside it, becomes a visit of its own; too many observations hang on
    500 for an increment, so these go first."""
    lake = first.lake
    _merge(lake, silver.CONDITION, [], [CONDITIONS[2]])  # gone already where the others have run
    _merge(lake, silver.OBSERVATION, [{**o, "encounter_key": 501} for o in OBSERVATIONS[2:]])
    _again(first, 3)
    kept = [{**c, "encounter_key": 501} for c in CONDITIONS if c["condition_key"] > 15
            and c["condition_key"] % 4 in (0, 3)]  # fmt: skip
    _merge(lake, silver.CONDITION, kept)
    _again(first, 4)
    _merge(lake, silver.ENCOUNTER, [{**ENCOUNTERS[0], "status": "cancelled"}])
    said, records = _again(first, 5)
    keys = {key for _, key in records if key < 100}
    assert keys == {4, 7, 8, 11, 12, 15} and said["condition_occurrence_restated"] > 0
    visits = {r.condition_occurrence_id: r.visit_occurrence_id
              for r in lake.read(CONDITION_OCCURRENCE).collect()}  # fmt: skip
    assert visits[8] is None and visits[7] == 503
    assert 503 in {
        r[0] for r in lake.read(VISIT_OCCURRENCE).select("visit_occurrence_id").collect()
    }


@pytest.mark.soak
def test_a_person_who_loses_the_place_takes_the_records_along_and_brings_them_back(first):
    lake = first.lake
    few = [o for o in OBSERVATIONS[2:] if o["subject_key"] == 3]
    _merge(lake, silver.OBSERVATION, [{**o, "subject_key": 1} for o in few])
    _again(first, 6)
    own = {r.condition_key for r in lake.read(silver.CONDITION).filter("subject_key = 3").collect()}
    moved = sorted(own)[3:]
    given = [r.asDict() for r in lake.read(silver.CONDITION).collect() if r.condition_key in moved]
    _merge(lake, silver.CONDITION, [{**row, "subject_key": 1} for row in given])
    _again(first, 7)
    person = {"subject_key": 3, "sex": "female"}
    for birth_year, unplaced in ((None, 3), (1980, 0)):
        _merge(lake, silver.PATIENT, [{**person, "birth_year": birth_year}])
        said, records = _again(first, 8)
        assert records >= {("silver.condition", key) for key in sorted(own)[:3]}
        assert said["records_restated"] == len(records)
        lost = lake.read(UNPLACED_RECORD).filter("reason = 'person_unplaced'")
        assert lost.filter("source_table = 'silver.condition'").count() == unplaced


@pytest.mark.soak
def test_few_events_are_made_anew_by_default(first):
    _merge(first.lake, silver.CONDITION, [{**CONDITIONS[5], "code": "toObservation"}])
    assert "records_restated" not in _standardize(synthea_run(first.lake))


@pytest.mark.soak
def test_nothing_changed_writes_nothing(first):
    _standardize(first)
    versions = {t.name: first.lake.version(t) for t in OUTPUTS}
    assert _standardize(first) == dict.fromkeys(CHANGED, 0)
    assert {t.name: first.lake.version(t) for t in OUTPUTS} == versions
