"""The job on public data: every row accounted for, either form gives the same silver, twice too."""

from dataclasses import replace

import pytest
from pyspark.sql import functions as F

from clinical_lakehouse.errors import AccountingError, SettingsError, SourceError
from clinical_lakehouse.ingestion import patient_ingestion as job
from clinical_lakehouse.tables import ops, silver
from clinical_lakehouse.tables.bronze import DUPLICATE, FHIR_RESOURCE, QUARANTINE
from tests.conftest import PUBLIC_DATA
from tests.ingestion.chain import (
    SILVER,
    all_hashes,
    hashes,
    ingest,
    new_lake,
    people,
    write_lines,
)

SYNTHEA = PUBLIC_DATA / "synthea_r4_10"
NEEDS_SYNTHEA = pytest.mark.skipif(not SYNTHEA.exists(), reason="public data synthea_r4_10")


@pytest.fixture(scope="module")
def ndjson(spark, tmp_path_factory):
    """A lake with Synthea's ten people from NDJSON, and what the tasks said."""
    lake = new_lake(spark, tmp_path_factory.mktemp("ndjson") / "lake")
    return lake, ingest(lake, SYNTHEA / "ndjson")


@NEEDS_SYNTHEA
@pytest.mark.soak
def test_synthea_people_visits_and_observations_reach_silver(ndjson):
    lake, _ = ndjson
    assert lake.read(silver.PATIENT).count() == 10
    assert lake.read(silver.ENCOUNTER).count() == 287
    assert lake.read(silver.OBSERVATION).filter("component_index = 0").count() == 1261


@NEEDS_SYNTHEA
@pytest.mark.soak
def test_every_row_received_is_loaded_quarantined_or_duplicate(ndjson):
    lake, said = ndjson
    rows = [row.asDict() for row in lake.read(ops.LANDING_FILE).collect()]
    for row in rows:
        parts = row["loaded_count"] + row["quarantined_count"] + row["duplicate_count"]
        assert parts == row["received_count"], row["resource_type"]
    assert sum(row["received_count"] for row in rows) == 2864 == lake.read(FHIR_RESOURCE).count()
    assert said["land"]["resources_received"] == 2864
    assert lake.read(DUPLICATE).count() == 2
    assert said["publish"]["resources_kept"] == 22 + 324 + 287 + 20 + 1
    assert "ResearchSubject" in said["validate"]["types_missing"]


@NEEDS_SYNTHEA
@pytest.mark.soak
def test_second_run_leaves_every_table_as_it_was(ndjson):
    lake, _ = ndjson
    before = all_hashes(lake)
    said = ingest(lake, SYNTHEA / "ndjson")
    assert said["land"]["files_new"] == 0
    assert said["publish"]["tables_written"] == 0
    assert all_hashes(lake) == before


@pytest.mark.soak
@NEEDS_SYNTHEA
def test_bundles_of_the_same_people_give_the_same_silver(spark, ndjson, tmp_path):
    lake = new_lake(spark, tmp_path / "lake")
    ingest(lake, SYNTHEA / "bundles")
    assert lake.read(FHIR_RESOURCE).count() == 2864
    assert hashes(lake, SILVER) == hashes(ndjson[0], SILVER)


@NEEDS_SYNTHEA
@pytest.mark.soak
def test_every_date_of_a_person_is_moved_by_the_persons_own_offset(ndjson):
    lake, _ = ndjson
    sent = lake.read(FHIR_RESOURCE).filter("resource_type = 'Immunization'")
    at = "to_timestamp(get_json_object(content, '$.occurrenceDateTime'))"
    known = people(lake).collect()
    offsets = {r.patient_id: r.date_shift_days for r in known}
    keys = {r.patient_id: r.subject_key for r in known}
    moved = {
        (keys[r.patient_id], r.at.timestamp() + 86400 * offsets[r.patient_id])
        for r in sent.selectExpr("patient_id", f"{at} AS at").collect()
    }
    found = {
        (r.subject_key, r.occurred_at.timestamp()) for r in lake.read(silver.IMMUNIZATION).collect()
    }
    assert found == moved
    assert 0 not in offsets.values()


@NEEDS_SYNTHEA
@pytest.mark.soak
def test_keys_link_rows_of_different_types(ndjson):
    lake, _ = ndjson
    visits = lake.read(silver.ENCOUNTER).select("encounter_key", "subject_key")
    joined = lake.read(silver.OBSERVATION).join(visits, ["encounter_key", "subject_key"], "semi")
    assert joined.count() == lake.read(silver.OBSERVATION).count()
    sites = lake.read(silver.ORGANIZATION).select("organization_key")
    assert lake.read(silver.ENCOUNTER).join(sites, "organization_key", "anti").count() == 0


@pytest.mark.soak
def test_line_lost_or_doubled_on_the_way_is_an_error_that_names_file_and_line(run, tmp_path):
    people = [{"resourceType": "Patient", "id": name} for name in "pqr"]
    write_lines(tmp_path / "in" / "a.ndjson", people[0])
    write_lines(tmp_path / "in" / "b.ndjson", people[1], b"", people[2])
    here = replace(run, params={"landing": str(tmp_path / "in")})
    job.land.execute(here)
    rows = run.lake.read(FHIR_RESOURCE).filter("file_name = 'b.ndjson'")
    run.lake.append(FHIR_RESOURCE, rows.filter("line = 1"))
    with pytest.raises(AccountingError, match=r"^b\.ndjson has 2 .* 3: line 1 is there twice$"):
        job.land.execute(here)
    # As many rows as lines, and yet not the same ones.
    run.lake.merge(
        FHIR_RESOURCE, rows.filter("line = 3").withColumn("out", F.lit(True)), deleted="out"
    )
    with pytest.raises(AccountingError, match=r"^b\.ndjson has 2 .* 2: line 1 is there twice$"):
        job.land.execute(here)


@pytest.mark.soak
def test_corrupted_and_doubled_lines_of_a_file_are_named_with_file_and_line(run, tmp_path):
    person = {"resourceType": "Patient", "id": "p"}
    write_lines(tmp_path / "in" / "a.ndjson", person, b'{"resourceType": "Pat', person)
    here = replace(run, params={"landing": str(tmp_path / "in")})
    job.land.execute(here)
    said = job.validate.execute(here)
    counts = {name: said[f"resources_{name}"] for name in ("loaded", "quarantined", "duplicate")}
    assert counts == {"loaded": 1, "quarantined": 1, "duplicate": 1}
    (refused,), (again,) = (run.lake.read(table).collect() for table in (QUARANTINE, DUPLICATE))
    assert (refused.file_name, refused.line, refused.reason) == ("a.ndjson", 2, "json-syntax")
    assert (again.file_name, again.line) == ("a.ndjson", 3)


@NEEDS_SYNTHEA
@pytest.mark.soak
def test_lake_does_not_accept_another_key(ndjson):
    lake, _ = ndjson
    key = lake.root / "vault" / "vault.key"
    kept = key.read_bytes()
    try:
        key.write_bytes(kept[::-1])
        with pytest.raises(SettingsError, match="not the one"):
            ingest(lake, SYNTHEA / "ndjson")
    finally:
        key.write_bytes(kept)


@pytest.mark.soak
def test_partial_bulk_export_runs_and_says_which_types_are_missing(spark, public_data, tmp_path):
    lake = new_lake(spark, tmp_path / "lake")
    said = ingest(lake, public_data("smart_bulk_10_partial"))
    assert said["validate"]["resources_received"] == 7160
    assert said["validate"]["resources_quarantined"] == 0
    assert "Observation" in said["validate"]["types_missing"]
    assert said["land"]["files_ignored"] == 3
    assert lake.read(silver.PATIENT).count() == 13
    assert lake.read(QUARANTINE).count() == 0


def test_landing_folder_that_is_not_there_is_an_error(run):
    with pytest.raises(SourceError, match="create it or give --landing"):
        job.land.execute(run)
