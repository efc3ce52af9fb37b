"""Real input, nothing simulated: Synthea and a Bulk Data export, straight from their files."""

import gzip
import json
from pathlib import Path

import pytest

from clinical_lakehouse.local.request import Request
from clinical_lakehouse.local.workspace import Workspace
from tests.scenarios.conftest import failures, give_secret, hashes, open_comparable

AS_OF = "2026-01-01T00:00:00Z"
SECRET = "b6f5c0e0" * 8


def _ingested(landing: Path, root: Path) -> Workspace:
    """A lake with the same vault secret each time, so that two lakes can be compared."""
    give_secret(root, bytes.fromhex(SECRET))
    workspace = open_comparable(root)
    parameters = {"landing": str(landing), "as_of": AS_OF}
    result = workspace.run(Request("clinical_data_pipeline", parameters))
    assert result.ok, failures(result)
    return workspace


def _one(workspace: Workspace, statement: str) -> int:
    return workspace.lake.query(statement).collect()[0][0]


@pytest.fixture(scope="module")
def synthea(spark, tmp_path_factory) -> Workspace:
    """The ten Synthea patients' NDJSON, ingested, standardized, with features built."""
    from tests.conftest import PUBLIC_DATA

    folder = PUBLIC_DATA / "synthea_r4_10" / "ndjson"
    if not folder.exists():
        pytest.skip("public data synthea_r4_10 is not beside the checkout")
    return _ingested(folder, tmp_path_factory.mktemp("synthea") / "lake")


def _lines(folder: Path) -> dict[str, int]:
    """Rows per type, counted from the files themselves."""
    return {
        p.stem: sum(1 for line in p.open("rb") if line.strip()) for p in folder.glob("*.ndjson")
    }


def test_ten_persons_their_visits_and_every_observation_arrive(synthea):
    assert _one(synthea, "SELECT count(*) FROM omop.person") == 10
    assert _one(synthea, "SELECT count(*) FROM omop.visit_occurrence") == 287
    distinct = "SELECT count(DISTINCT observation_key) FROM silver.observation"
    assert _one(synthea, distinct) == 1261


def test_every_resource_is_accounted_for_by_type(synthea, public_data):
    received = _lines(public_data("synthea_r4_10") / "ndjson")
    rows = synthea.lake.query("SELECT * FROM ops.landing_file").collect()
    assert {row.resource_type: row.received_count for row in rows} == received
    assert all(
        row.received_count == row.loaded_count + row.quarantined_count + row.duplicate_count
        for row in rows
    )
    assert sum(row.quarantined_count for row in rows) == 0


def test_every_clinical_resource_has_its_omop_rows(synthea):
    """Each silver row is in the OMOP table of its type, or in another by its concept's domain."""
    silver = {
        name: _one(synthea, f"SELECT count(DISTINCT {name}_key) FROM silver.{name}")
        for name in ("observation", "condition", "procedure", "medication_request", "immunization")
    }
    assert silver == {
        "observation": 1261,
        "condition": 91,
        "procedure": 259,
        "medication_request": 37,
        "immunization": 144,
    }
    assert _one(synthea, "SELECT count(*) FROM omop.condition_occurrence") >= 91
    assert _one(synthea, "SELECT count(*) FROM omop.procedure_occurrence") >= 259
    assert _one(synthea, "SELECT count(*) FROM omop.drug_exposure") >= 37 + 144


@pytest.mark.soak
def test_bundles_of_the_same_people_give_the_same_omop_content(synthea, public_data, tmp_path):
    landing = tmp_path / "bundles"
    landing.mkdir()
    for path in (public_data("synthea_r4_10") / "bundles").glob("*.json.gz"):
        (landing / path.name.removesuffix(".gz")).write_bytes(gzip.decompress(path.read_bytes()))
    other = _ingested(landing, tmp_path / "lake")
    assert hashes(other, ("omop",)) == hashes(synthea, ("omop",))


@pytest.mark.soak
def test_after_loading_a_vocabulary_every_observation_code_has_a_concept(synthea, public_data):
    shard = {"vocabulary": str(public_data("omop_vocabulary_shard")), "as_of": AS_OF}
    for request in (
        Request("vocabulary_load", shard),
        Request("data_standardization", {"as_of": AS_OF}),
    ):
        result = synthea.run(request)
        assert result.ok, failures(result)
    standardless = set()
    for table in ("measurement", "observation"):
        rows = synthea.lake.query(
            f"SELECT DISTINCT {table}_source_value AS code, {table}_concept_id AS standard, "
            f"{table}_source_concept_id AS source FROM omop.{table} "
            f"JOIN silver.observation o ON o.code = {table}_source_value "
            f"WHERE o.code_system = 'http://loinc.org'"
        ).collect()
        assert rows
        assert [row.code for row in rows if row.source == 0] == []
        standardless |= {row.code for row in rows if row.standard == 0}
    # LOINC deprecated 33914-3 in 2018 (invalid_reason U), and the shard maps it to nothing.
    assert standardless == {"33914-3"}


@pytest.mark.soak
def test_bulk_export_with_missing_types_runs_and_says_so(spark, public_data, tmp_path):
    folder = public_data("smart_bulk_10_partial")
    workspace = _ingested(folder, tmp_path / "lake")
    assert _one(workspace, "SELECT count(*) FROM omop.person") == _gz_lines(folder, "Patient")
    said = workspace.lake.query(
        "SELECT metrics FROM ops.task_run WHERE entry_point = 'patient-ingestion-validate' "
        "AND state = 'success'"
    ).collect()
    missing = json.loads(said[0].metrics)["types_missing"].split(", ")
    assert {"Observation", "DiagnosticReport"} <= set(missing)
    assert "Patient" not in missing


def _gz_lines(folder: Path, kind: str) -> int:
    files = folder.glob(f"{kind}.*.ndjson.gz")
    return sum(1 for path in files for line in gzip.open(path) if line.strip())
