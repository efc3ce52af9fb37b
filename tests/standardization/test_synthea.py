"""Ten public Synthea patients come whole to OMOP, before and after a vocabulary is loaded."""

import json
from datetime import UTC, datetime

import pytest
from pyspark.sql import functions as F

from clinical_lakehouse.registry import task_named
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.tables import omop_clinical as omop
from clinical_lakehouse.tables import silver
from clinical_lakehouse.tables.gold_standardization import UNMAPPED_CODE, UNPLACED_RECORD
from tests.conftest import PUBLIC_DATA

pytestmark = pytest.mark.soak
EVENTS = {
    "Observation": silver.OBSERVATION,
    "Condition": silver.CONDITION,
    "MedicationRequest": silver.MEDICATION_REQUEST,
    "Procedure": silver.PROCEDURE,
    "Immunization": silver.IMMUNIZATION,
    "AllergyIntolerance": silver.ALLERGY_INTOLERANCE,
    "DiagnosticReport": silver.DIAGNOSTIC_REPORT,
}
TABLES = (
    omop.MEASUREMENT,
    omop.OBSERVATION,
    omop.CONDITION_OCCURRENCE,
    omop.DRUG_EXPOSURE,
    omop.PROCEDURE_OCCURRENCE,
)


@pytest.fixture
def lake(synthea_lake):
    """The ten patients in silver and, without a vocabulary, in OMOP."""
    return synthea_lake


@pytest.fixture
def mapped(mapped_lake):
    """The same with a vocabulary."""
    return mapped_lake


@pytest.fixture
def folder(synthea_folder):
    """Where the public data is."""
    return synthea_folder


def _keys(lake) -> set[int]:
    return {row[0] for t in TABLES for row in lake.read(t).select(t.key[0]).collect()}


def _silver_keys(lake, table) -> set[int]:
    return {row[0] for row in lake.read(table).select(table.key[0]).collect()}


def test_ten_persons_and_every_encounter_a_visit(lake, folder):
    assert lake.read(omop.PERSON).count() == 10
    assert lake.read(omop.OBSERVATION_PERIOD).count() == 10
    sent = sum(1 for _ in (folder / "ndjson" / "Encounter.ndjson").open())
    assert sent == lake.read(omop.VISIT_OCCURRENCE).count() == 287
    visits = lake.read(omop.VISIT_OCCURRENCE).groupBy("visit_concept_id").count().collect()
    assert {row[0]: row[1] for row in visits} == {9202: 262, 9203: 17, 9201: 8}


def test_every_resource_has_a_row_of_its_own_key(lake, folder):
    counts = json.loads((folder / "counts.json").read_text())
    found = _keys(lake)
    for resource_type, table in EVENTS.items():
        keys = _silver_keys(lake, table)
        assert len(keys) == counts[resource_type] and keys <= found, resource_type
    assert lake.read(UNPLACED_RECORD).count() == 0


def test_without_a_vocabulary_all_observations_stand_in_measurement_or_observation(lake):
    keys = {
        row[0]
        for table in (omop.MEASUREMENT, omop.OBSERVATION)
        for row in lake.read(table).select(table.key[0]).collect()
    }
    assert len(_silver_keys(lake, silver.OBSERVATION) & keys) == 1261
    values = lake.read(silver.OBSERVATION).filter("value_number IS NOT NULL")
    stored = lake.read(omop.MEASUREMENT).filter("value_as_number IS NOT NULL")
    total = F.round(F.sum("v"), 6)
    sums = [
        frame.select(F.col(name).alias("v")).agg(F.count("v"), total).collect()
        for frame, name in ((values, "value_number"), (stored, "value_as_number"))
    ]
    assert sums[0] == sums[1]


def test_references_between_tables_hold(lake):
    persons = lake.read(omop.PERSON).select("person_id")
    visits = lake.read(omop.VISIT_OCCURRENCE).select("visit_occurrence_id")
    for table in TABLES:
        rows = lake.read(table)
        assert rows.join(persons, "person_id", "left_anti").count() == 0
        linked = rows.filter("visit_occurrence_id IS NOT NULL")
        assert linked.join(visits, "visit_occurrence_id", "left_anti").count() == 0


def test_with_the_vocabulary_every_observation_code_has_a_concept(mapped):
    """One code (LOINC 33914-3) is withdrawn and the shard lacks what replaced it: the CDM wants 0
    for its standard concept, and the concept of the source code beside it."""
    keys = mapped.read(silver.OBSERVATION).select("observation_key", "component_index", "code")
    assert keys.select("observation_key").distinct().count() == 1261
    assert _silver_keys(mapped, silver.OBSERVATION) <= _keys(mapped)
    unmapped = mapped.read(UNMAPPED_CODE).filter(
        "source_table = 'silver.observation' AND role = 'event'"
    )
    found = [(r.code, r.row_count, r.source_concept_id, r.reason) for r in unmapped.collect()]
    assert found == [("33914-3", 38, 3030354, "deprecated")]


def test_with_the_vocabulary_the_domain_routes_records(mapped):
    conditions = mapped.read(omop.CONDITION_OCCURRENCE).filter("condition_concept_id > 0").count()
    assert conditions == 77, "7 of the 84 mapped ones are of the domain Observation"
    drugs = mapped.read(omop.DRUG_EXPOSURE).filter("drug_concept_id > 0").count()
    assert drugs == 31
    units = mapped.read(omop.MEASUREMENT).filter("unit_concept_id = 8876").count()
    assert units == 184, "92 blood pressures in mm[Hg], two components each"
    source = mapped.read(omop.CDM_SOURCE).collect()[0]
    assert (source.cdm_version, source.vocabulary_version) == ("5.4", "v5.0 09-APR-22*")


def test_same_vocabulary_is_not_loaded_again(mapped):
    shard = str(PUBLIC_DATA / "omop_vocabulary_shard")
    run = Run(
        mapped,
        load_settings("dev", environ={}),
        datetime(2024, 7, 1, tzinfo=UTC),
        "again",
        {"vocabulary": shard},
    )
    assert task_named("vocabulary-load-load").execute(run) == {}
