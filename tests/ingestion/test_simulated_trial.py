"""The job on a simulated trial whose faults are known: all of them are found and nothing else."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from clinical_lakehouse.methods.surrogate import surrogate_key
from clinical_lakehouse.runtime.vault_keys import vault_keys
from clinical_lakehouse.simulation import TrialPlan, simulate
from clinical_lakehouse.tables import ops, silver
from clinical_lakehouse.tables.bronze import CONSENT_DECISION, DUPLICATE, QUARANTINE
from tests.ingestion.chain import ingest, new_lake, people, run_on


@pytest.fixture(scope="module")
def trial(spark, tmp_path_factory):
    """A lake with a small trial, and the trial's truth."""
    folder = tmp_path_factory.mktemp("trial")
    simulate(folder / "landing", TrialPlan(patients=40, sites=3, months=8, seed=3))
    lake = new_lake(spark, folder / "lake")
    ingest(lake, folder / "landing")
    truth = json.loads((folder / "landing" / "truth.json").read_text(encoding="utf-8"))
    return lake, truth


def _keys(lake, resource_type, ids):
    """The surrogate keys of these resources."""
    if resource_type == "Patient":
        known = {row.patient_id: row.subject_key for row in people(lake).collect()}
        return {one: known[one] for one in ids}
    rows = lake.spark.createDataFrame([(one,) for one in ids], "id STRING")
    key = surrogate_key(vault_keys(run_on(lake, lake.root)).pseudonym, resource_type, rows["id"])
    return {row["id"]: row["k"] for row in rows.select("id", key.alias("k")).collect()}


@pytest.mark.soak
def test_planted_invalid_lines_are_in_quarantine_and_nothing_else(trial):
    lake, truth = trial
    planted = {(row["file"], row["line"]): row["kind"] for row in truth["invalid"]}
    found = {(row.file_name, row.line) for row in lake.read(QUARANTINE).collect()}
    assert len(set(planted.values())) >= 35
    assert found == set(planted)


@pytest.mark.soak
def test_quarantine_names_a_reason_and_an_element_but_no_value(trial):
    lake, truth = trial
    rows = lake.read(QUARANTINE).collect()
    reasons = {row.reason for row in rows}
    assert len(reasons) >= 20
    known = {row["file"].removesuffix(".ndjson") for row in truth["invalid"]} | {"subject"}
    assert {row.path.split(".")[0] for row in rows if row.path} <= known


@pytest.mark.soak
def test_planted_duplicates_are_found_and_nothing_else(trial):
    lake, truth = trial
    found = {(row.resource_type, row.line) for row in lake.read(DUPLICATE).collect()}
    assert found == {(row["resource_type"], row["line"]) for row in truth["duplicates"]}


@pytest.mark.soak
def test_ledger_adds_up_to_the_lines_of_every_file(trial):
    lake, truth = trial
    received: dict[str, int] = {}
    for row in lake.read(ops.LANDING_FILE).collect():
        parts = row.loaded_count + row.quarantined_count + row.duplicate_count
        assert row.received_count == parts
        received[row.file_name] = received.get(row.file_name, 0) + row.received_count
    for name, count in truth["counts"].items():
        assert received[name] == count["lines"] - count.get("ignored", 0), name


@pytest.mark.soak
def test_people_who_withdrew_are_in_no_table_of_silver(trial):
    lake, truth = trial
    withdrawn = {row["patient_id"] for row in truth["withdrawn_consents"]}
    assert withdrawn
    denied = lake.read(CONSENT_DECISION).filter("NOT is_permitted").collect()
    assert {row.patient_id for row in denied} == withdrawn
    everyone = {row["patient_id"] for row in truth["subjects"]}
    present = set(_keys(lake, "Patient", everyone - withdrawn).values())
    for table in (silver.PATIENT, silver.OBSERVATION, silver.SUBJECT, silver.ADVERSE_EVENT):
        assert {r.subject_key for r in lake.read(table).select("subject_key").collect()} <= present
    assert lake.read(silver.PATIENT).count() == len(present)


@pytest.mark.soak
def test_newest_version_counts_whatever_the_order_of_arrival(trial):
    lake, truth = trial
    withdrawn = {row["patient_id"] for row in truth["withdrawn_consents"]}
    corrected = {
        row["id"]: row
        for row in truth["newer_versions"]
        if row["cause"] == "correction" and row["path"] == "Observation.valueQuantity.value"
    }
    assert any(row["is_out_of_order"] for row in corrected.values())
    keys = _keys(lake, "Observation", corrected)
    stored = {
        row.observation_key: row.value_number for row in lake.read(silver.OBSERVATION).collect()
    }
    found = [
        (stored[keys[id_]], row["new"]) for id_, row in corrected.items() if keys[id_] in stored
    ]
    assert all(value == new for value, new in found)
    assert len(found) >= len(corrected) * (1 - len(withdrawn) / 40) * 0.7


@pytest.mark.soak
def test_entered_in_error_is_in_silver_no_more(trial):
    lake, truth = trial
    tables = {"Observation": silver.OBSERVATION, "Condition": silver.CONDITION}
    for resource_type, table in tables.items():
        ids = [r["id"] for r in truth["entered_in_error"] if r["resource_type"] == resource_type]
        assert ids
        present = {row[0] for row in lake.read(table).select(table.key[0]).collect()}
        assert not present & set(_keys(lake, resource_type, ids).values())


@pytest.mark.soak
def test_trial_columns_are_filled(trial):
    lake, truth = trial
    site_of = {row["patient_id"]: row["site_id"] for row in truth["subjects"]}
    sites = _keys(lake, "Organization", set(site_of.values()))
    people = {v: k for k, v in _keys(lake, "Patient", site_of).items()}
    for row in lake.read(silver.SUBJECT).collect():
        assert row.organization_key == sites[site_of[people[row.subject_key]]]
        assert row.arm in ("ACTIVE", "CONTROL")
    events = lake.read(silver.ADVERSE_EVENT)
    assert events.filter("meddra_code IS NULL OR code IS NULL OR code = meddra_code").count() == 0
    doses = lake.read(silver.MEDICATION_ADMINISTRATION).filter("status = 'completed'")
    assert not doses.isEmpty()
    assert doses.filter("dose_value IS NULL OR dose_unit <> 'mg'").count() == 0
    visits = lake.read(silver.ENCOUNTER).select("visit_code").distinct().collect()
    assert {"SCREENING", "BASELINE"} <= {row.visit_code for row in visits}


@pytest.mark.soak
def test_no_planted_identifier_is_in_any_byte_of_silver(trial):
    lake, truth = trial
    planted = {row["value"] for row in truth["canaries"] if row["scan"]}
    assert len(planted) > 500
    folder = lake.root / "silver"
    raw = b"\0".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert [value for value in planted if value.encode() in raw] == []
    texts = "\0".join(_texts(folder))  # Parquet packs strings: look at them unpacked as well
    assert [value for value in planted if value in texts] == []


def _texts(folder: Path):
    for path in folder.rglob("*.parquet"):
        table = pq.read_table(path)
        for column in table.columns:
            if str(column.type) == "string":
                yield from (value for value in column.unique().to_pylist() if value)


@pytest.mark.soak
def test_the_scan_would_find_an_identifier(trial):
    lake, truth = trial
    family = next(row["value"] for row in truth["canaries"] if row["kind"] == "names")
    assert family in "\0".join(_texts(lake.root / "bronze"))
