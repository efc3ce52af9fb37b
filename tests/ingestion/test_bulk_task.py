"""The task `export`: from a FHIR server to bronze with equal counts, each export on record."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from clinical_lakehouse.errors import SettingsError, SourceError
from clinical_lakehouse.ingestion import patient_ingestion
from clinical_lakehouse.ingestion import source_intake as job
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.tables import ops
from clinical_lakehouse.tables.bronze import FHIR_RESOURCE
from tests.ingestion.bulk_server import FOREVER, BulkServer, serving
from tests.ingestion.test_bulk_export import issue, resources

AS_OF = datetime(2024, 6, 30, 12, tzinfo=UTC)


@pytest.fixture
def bulk(monkeypatch):
    """A server whose clock stands at AS_OF, and a token for it in the environment."""
    with serving(BulkServer(resources(4, 5), token_seconds=10**7)) as server:
        server.now, server.retry_after, server.polls = lambda: AS_OF, "0", 0
        monkeypatch.setenv("FHIR_TOKEN", server.issue_token())
        yield server


@pytest.fixture
def at(lake, bulk):
    """A run, `day` days later."""

    def run(day=0, name=None, **options):
        settings = load_settings("dev", environ={"FHIR_ENDPOINT": f"{bulk.base}/fhir"})
        place = settings.connections["fhir_api"]
        export = place.export.model_copy(update={"retries": 0, "most_reexports": 0, **options})
        place = place.model_copy(update={"export": export})
        settings = settings.model_copy(update={"connections": {"fhir_api": place}})
        return Run(lake, settings, AS_OF + timedelta(days=day), name or f"run-{day}")

    return run


def rows(lake):
    found = lake.read(ops.BULK_EXPORT).orderBy("as_of").collect()
    return [row.asDict() for row in found]


def batch_of(lake, bulk, run):
    """What the task would export."""
    options = run.settings.connections["fhir_api"].export.model_dump()
    exports = lake.read(ops.BULK_EXPORT)
    landing = lake.root / "landing"
    return job.bulk_batch.batch_of(f"{bulk.base}/fhir", options, exports, run, landing)


def test_without_a_server_nothing_happens_and_it_is_said(run):
    assert job.export.execute(run)["state"].startswith("no FHIR server configured")
    assert not run.lake.exists(ops.BULK_EXPORT)


def test_exports_reach_bronze_whole_once_and_in_increments(lake, bulk, at):
    said = job.export.execute(at())
    assert (said["state"], said["since"], said["resources_received"]) == (
        "complete",
        "the beginning",
        24,
    )
    assert bulk.deleted == ["e0"]  # the server may forget it
    assert patient_ingestion.land.execute(at())["resources_received"] == 24
    assert lake.read(FHIR_RESOURCE).count() == len(bulk.resources)

    # The same run again: nothing is asked, nothing comes into the landing folder.
    before = sorted(path for path in (lake.root / "landing").rglob("*"))
    assert job.export.execute(at())["state"] == "exported before for this as_of"
    assert sorted(path for path in (lake.root / "landing").rglob("*")) == before
    assert list(bulk.exports) == ["e0"]

    # A day later only what is new comes.
    bulk.resources.append({**bulk.resources[0], "meta": {"lastUpdated": "2024-07-01T00:00:00Z"}})
    entry = [{"request": {"method": "DELETE", "url": "Patient/p1"}}]
    gone = {"resourceType": "Bundle", "id": "gone", "type": "transaction", "entry": entry}
    bulk.deletions = [gone]
    bulk.now = lambda: AS_OF + timedelta(days=1)
    said = job.export.execute(at(1))
    assert bulk.exports["e1"]["query"]["_since"] == ["2024-06-30T12:00:00.000000+00:00"]
    assert (said["resources_received"], said["deletion_bundles"]) == (1, 1)
    patient_ingestion.land.execute(at(1))
    assert lake.read(FHIR_RESOURCE).count() == len(bulk.resources) + 1
    (row,) = lake.read(FHIR_RESOURCE).filter("is_deleted").collect()
    assert (row["resource_type"], row["resource_id"]) == ("Patient", "p1")
    assert row["file_name"].endswith("/deleted.0000.ndjson")
    # The Bundle has no date: the deletion is from the export's transactionTime, in its manifest.
    assert row["last_updated_at"].replace(tzinfo=UTC) == AS_OF + timedelta(days=1)
    announced = lake.read(ops.LANDING_MANIFEST).filter("kind <> 'asked'")
    ledger = lake.read(FHIR_RESOURCE).selectExpr(
        "regexp_replace(file_name, '[.]ndjson([.]gz)?$', '') AS file_name"
    )
    assert announced.join(ledger, "file_name", "left_anti").isEmpty()
    assert {r["kind"] for r in announced.collect()} == {"output", "deleted"}
    first, second = rows(lake)
    assert first["since_at"] is None
    assert second["since_at"] == first["transaction_at"]
    assert json.loads(second["parameters"])[1][0] == "_since"
    assert [row["received_count"] for row in (first, second)] == [24, 1]


def test_a_partial_export_is_landed_alerted_and_not_counted_from(lake, bulk, at):
    bulk.messages = [issue("error", "processing")]
    said = job.export.execute(at())
    assert (said["state"], said["errors_reported"]) == ("partial", "error/processing: 1")
    (alert,) = lake.read(ops.ALERT_EVENT).collect()
    assert (alert["kind"], alert["severity"]) == ("export_partial", "warning")
    assert [row["state"] for row in rows(lake)] == ["partial"]
    assert batch_of(lake, bulk, at(1)).since is None


def test_a_failed_export_is_on_record_and_a_retry_mends_the_row(lake, bulk, at):
    bulk.faults["missing"] = FOREVER
    with pytest.raises(SourceError, match="nothing was landed"):
        job.export.execute(at())
    (row,) = rows(lake)
    assert (row["state"], row["received_count"]) == ("failed", 0)
    assert "is gone" in row["issues"]
    bulk.faults.clear()
    job.export.execute(at())
    (row,) = rows(lake)
    assert (row["state"], row["received_count"], row["issues"]) == ("complete", 24, None)
    # Neither the token nor a signed address stands anywhere in the lake.
    token = next(iter(bulk.tokens)).encode()
    for path in lake.root.rglob("*"):
        if path.is_file():
            assert token not in path.read_bytes(), path
            assert b"S3CRET" not in path.read_bytes(), path


def test_a_run_killed_between_landing_and_record_is_recorded_by_the_next(lake, bulk, at):
    run = at()
    batch = batch_of(lake, bulk, run)
    job.bulk_batch.bring(job._wire(run, run.settings.connections["fhir_api"]), batch)
    assert rows(lake) == []
    job.export.execute(at(1))
    (row,) = rows(lake)
    assert (row["export_id"], row["run_id"]) == (batch.export_id, "run-1")
    assert list(bulk.exports) == ["e0"]
    assert len(list((lake.root / "landing").glob("bulk-export-*"))) == 1


def test_a_stopped_task_tells_the_server_and_writes_nothing(lake, bulk, at):
    bulk.polls = FOREVER
    stopped = replace(lake, is_stopped=lambda: bool(bulk.asked("GET", "/status/")))
    with pytest.raises(SourceError, match="was stopped"):
        job.export.execute(at().with_lake(stopped))
    assert bulk.deleted == ["e0"]
    assert rows(lake) == []


def test_a_missing_token_is_refused_by_its_name(at, monkeypatch):
    monkeypatch.delenv("FHIR_TOKEN")
    with pytest.raises(SettingsError, match="refers to FHIR_TOKEN, which is empty"):
        job.export.execute(at())
