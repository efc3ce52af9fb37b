"""Every OMOP row of the ten Synthea patients leads to lines of files, every line to OMOP."""

import json

import pytest

from clinical_lakehouse.local import trace
from clinical_lakehouse.standardization import lineage
from clinical_lakehouse.standardization.events import SOURCES
from clinical_lakehouse.tables import silver
from clinical_lakehouse.tables.bronze import FHIR_RESOURCE
from clinical_lakehouse.tables.catalog import table_named
from clinical_lakehouse.tables.gold_standardization import UNPLACED_RECORD
from clinical_lakehouse.tables.omop_clinical import MEASUREMENT
from tests.standardization.conftest import synthea_run

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def known(mapped_lake):
    """Keys by silver table of every valid row of bronze, and every key an event can have in OMOP
    with its silver record."""
    rows = mapped_lake.read(FHIR_RESOURCE).filter("status = 'valid'")
    received = {}
    for table, kind in trace._TYPES.items():
        own = trace._keyed(synthea_run(mapped_lake), rows.filter(rows.resource_type == kind), kind)
        received[table] = {row.own_key for row in own.select("own_key").collect()}
    counts, derived = trace._map_counts(mapped_lake), {}
    for source in SOURCES:
        table = source.table
        keys = lineage.event_keys(mapped_lake.read(table), source, counts.get(table.name, 1))
        derived.update({row.omop_key: (table.name, row.source_key) for row in keys.collect()})
    return received, derived


def _keys(lake, table):
    return {row[0] for row in lake.read(table).select(table.key[0]).collect()}


def test_every_row_leads_to_a_line_and_every_line_to_a_row_or_a_reason(mapped_lake, known):
    received, derived = known
    reached = set()
    for table in lineage.EVENT_TABLES:
        for key in _keys(mapped_lake, table):
            silver_table, silver_key = derived[key]
            assert silver_key in received[silver_table], table.name
            reached.add((silver_table, silver_key))
    for name, sources in lineage.SAME_KEY.items():
        for key in _keys(mapped_lake, table_named(name)):
            found = {(s.name, key) for s in sources if key in received[s.name]}
            assert found, name
            reached |= found
    reasons = mapped_lake.read(UNPLACED_RECORD).select("source_table", "source_key").collect()
    reached |= {tuple(row) for row in reasons}
    # Trial records and documents have no place in the CDM; a use is part of its device.
    elsewhere = {t.name for t in (silver.STUDY, silver.SUBJECT, silver.DOCUMENT_REFERENCE,
                                  silver.DEVICE_USE)}  # fmt: skip
    for table, keys in received.items():
        lost = {(table, key) for key in keys} - reached
        assert not lost or table in elsewhere, table
    assert len(reached) > 2000


def test_a_component_is_told_with_its_file_and_line_and_its_id_only_when_asked(
    mapped_lake, synthea_folder
):
    run = synthea_run(mapped_lake)
    key = mapped_lake.read(MEASUREMENT).filter("unit_concept_id = 8876").collect()[0][0]
    record = trace.origins(mapped_lake, MEASUREMENT, key)[0]
    assert record.table == "silver.observation" and record.note.startswith("component ")
    place = trace.places(run, record)[0]
    lines = (synthea_folder / "ndjson" / place.file_name).read_text().splitlines()
    sent = json.loads(lines[place.line - 1])
    assert (sent["resourceType"], sent["id"]) == ("Observation", place.resource_id)
    assert len(sent["component"]) == 2
    plain, shown = (str(trace.told(run, (MEASUREMENT, key), told)) for told in (False, True))
    assert sent["id"] not in plain and f"Observation.ndjson line {place.line}" in plain
    assert sent["id"] in shown
    back = trace.told(run, f"Observation/{sent['id']}", False)
    assert ("omop", MEASUREMENT.name, str(key)) in back and sent["id"] not in str(back)
    claim = json.loads((synthea_folder / "ndjson" / "Claim.ndjson").open().readline())
    kept = trace.told(run, f"Claim/{claim['id']}", False)
    assert kept[-1] == ("silver", "silver", "Claim is kept in bronze only")
