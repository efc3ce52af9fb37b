"""Deletions a source tells of: gone from silver in one run, kept in bronze, undone by a version."""

import gzip
import json
from datetime import timedelta

import orjson
import pytest

from clinical_lakehouse.ingestion import patient_ingestion as job
from clinical_lakehouse.ingestion.accounting import only_unbalanced
from clinical_lakehouse.registry import task_named
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.tables import omop_clinical, ops, silver, vault
from clinical_lakehouse.tables.bronze import CONSENT_DECISION, FHIR_RESOURCE, QUARANTINE
from clinical_lakehouse.tables.gold_features import SUBJECT_FEATURE
from tests.ingestion.chain import AS_OF, SILVER, hashes, ingest, new_lake, write_lines
from tests.ingestion.test_increments import _measurement, _patient


def _gone(url, **more):
    return {"request": {"method": "DELETE", "url": url}, **more}


def _bundle(*entries, **more):
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries), **more}


def _at(resource, month):
    meta = {**resource["meta"], "lastUpdated": f"2024-{month:02}-01T00:00:00Z"}
    return {**resource, "meta": meta}


MAPPED = ("codes", "places", "persons", "visits", "events")
DOWNSTREAM = (
    *(f"data-standardization-map-{name}" for name in MAPPED),
    "feature-engineering-build",
)
UNDATED = {k: v for k, v in _measurement("a4", "anna", 4).items() if k != "meta"}
DAYS = (
    {
        "0/all.ndjson": [
            *(_patient(name) for name in ("anna", "ben")),
            *(_measurement(f"a{n}", "anna", n) for n in (1, 2, 3)),
            UNDATED,
            _measurement("b1", "ben", 10),
        ],
    },
    {
        # An export's deletions, dated by its Bundle; a Bundle without a date takes the manifest's.
        "1/deleted.0000.ndjson": [
            _bundle(
                _gone("Observation/a1"),
                _gone("https://x.org/fhir/Patient/ben"),
                _gone("Observation?status=cancelled"),
                _gone("Nothing/1"),
                meta={"lastUpdated": "2024-02-01T00:00:00Z"},
            ),
            _bundle(_gone("Observation/a4"), _gone("Observation/never-seen")),
        ],
        "1/manifest.json": [{"transactionTime": "2024-02-02T00:00:00Z", "output": []}],
        # A history Bundle tells of a deletion that is older than the version we have.
        "1/history.json": [
            _bundle(_gone("Observation/a2", response={"lastModified": "2023-12-01T00:00:00Z"}))
        ],
    },
    {
        "2/all.ndjson": [
            _at(_measurement("a1", "anna", 100), 3),
            _at(_patient("ben"), 3),
            {**UNDATED, "valueQuantity": {"value": 400, "code": "mg/dL"}},
            # An old version that arrives late does not bring anything back.
            _measurement("a3", "anna", 3),
        ],
        "2/deleted.json": [_bundle(_gone("Observation/a3"), timestamp="2024-02-01T00:00:00Z")],
    },
)


def _values(lake):
    rows = lake.read(silver.OBSERVATION).collect()
    return sorted(row.value_number for row in rows)


def _write(landing, files):
    for name, resources in files.items():
        write_lines(landing / name, *resources)


@pytest.fixture(scope="module")
def told(spark, tmp_path_factory):
    """Three deliveries, a run after each: the lake, what the runs said, silver's values."""
    folder = tmp_path_factory.mktemp("deletions")
    lake = new_lake(spark, folder / "lake")
    said, values, people = [], [], []
    for day, files in enumerate(DAYS):
        _write(folder / "landing", files)
        said.append(ingest(lake, folder / "landing", day))
        values.append(_values(lake))
        people.append(lake.read(silver.PATIENT).count())
    return lake, said, values, people


@pytest.mark.soak
def test_next_run_takes_what_is_deleted_out_of_silver_and_a_newer_version_back(told):
    _, _, values, people = told
    assert values == [[1, 2, 3, 4, 10], [2, 3], [2, 10, 100, 400]]
    assert people == [2, 1, 2]


@pytest.mark.soak
def test_deleted_person_is_denied_as_by_withdrawal_and_keeps_the_key(told):
    lake, said, _, _ = told
    assert [one["check_consent"]["persons_denied"] for one in said] == [0, 1, 0]
    rules = {row.patient_id: row.rule for row in lake.read(CONSENT_DECISION).collect()}
    assert rules == {"anna": "none", "ben": "none"}
    assert lake.read(vault.SUBJECT).count() == 2


@pytest.mark.soak
def test_every_deletion_is_in_the_ledger_and_stays_in_bronze(told):
    lake, _, _, _ = told
    gone = lake.read(FHIR_RESOURCE).filter("is_deleted").collect()
    at = {f"{row.resource_type}/{row.resource_id}": row.last_updated_at.day for row in gone}
    assert at == {
        "Observation/a1": 1,
        "Patient/ben": 1,
        "Observation/a4": 2,
        "Observation/never-seen": 2,
        "Observation/a2": 1,
        "Observation/a3": 1,
    }
    assert {row.content for row in gone} == {None}
    ledger = lake.read(ops.LANDING_FILE)
    assert only_unbalanced(ledger).isEmpty()
    deleted = {(row.file_name, row.resource_type): row.deleted_count for row in ledger.collect()}
    assert deleted["1/deleted.0000.ndjson", "Observation"] == 3
    assert deleted["1/deleted.0000.ndjson", "Patient"] == 1


@pytest.mark.soak
def test_deletion_that_names_no_resource_is_quarantined_with_its_place(told):
    lake, _, _, _ = told
    rows = lake.read(QUARANTINE).orderBy("entry").collect()
    assert [(row.line, row.entry, row.reason, row.path) for row in rows] == [
        (1, 2, "conditional-delete", "Bundle.entry.request.url"),
        (1, 3, "bad-delete", "Bundle.entry.request.url"),
    ]


@pytest.mark.soak
def test_deliveries_in_another_order_give_the_same_silver(told, spark, tmp_path):
    """All but the version without a date: only its run says whether it came after the deletion."""
    lake = new_lake(spark, tmp_path / "lake")
    for day in (0, 2, 1):
        _write(tmp_path / "landing", DAYS[day])
        ingest(lake, tmp_path / "landing", len(list((tmp_path / "landing").iterdir())))
    assert _values(lake) == [2, 10, 100]
    late = {**UNDATED, "valueQuantity": {"value": 400, "code": "mg/dL"}}
    write_lines(tmp_path / "landing" / "3" / "all.ndjson", late)
    ingest(lake, tmp_path / "landing", 9)
    assert hashes(lake, SILVER) == hashes(told[0], SILVER)


@pytest.mark.soak
def test_packed_deletions_are_read_and_the_same_deletion_twice_is_a_duplicate(run, tmp_path):
    line = orjson.dumps(_bundle(_gone("Observation/x"), timestamp="2024-02-01T00:00:00Z"))
    (tmp_path / "a.ndjson.gz").write_bytes(gzip.compress(line))
    (tmp_path / "b.json").write_text(json.dumps(json.loads(line), indent=1))
    here = Run(run.lake, run.settings, run.as_of, run.run_id, {"landing": str(tmp_path)})
    job.land.execute(here)
    said = job.validate.execute(here)
    assert (said["resources_loaded"], said["resources_duplicate"]) == (1, 1)


@pytest.mark.soak
def test_a_deletion_reaches_omop_and_features_in_one_run(spark, tmp_path):
    """Ben takes part in a trial from January on; in June his Patient is deleted, and a1 of Anna."""
    lake, landing = new_lake(spark, tmp_path / "lake"), tmp_path / "landing"
    takes_part = {
        "resourceType": "ResearchSubject",
        "id": "rs",
        "status": "on-study",
        "study": {"reference": "ResearchStudy/s"},
        "individual": {"reference": "Patient/ben"},
        "period": {"start": "2024-01-01"},
        "meta": {"lastUpdated": "2024-01-01T00:00:00Z"},
    }
    write_lines(landing / "0.ndjson", *DAYS[0]["0/all.ndjson"], takes_part)
    counts = []
    for day in range(2):
        ingest(lake, landing, day)
        run = Run(lake, load_settings("dev", environ={}), AS_OF + timedelta(days=day), f"r{day}")
        for name in DOWNSTREAM:
            task_named(name).execute(run)
        tables = (omop_clinical.PERSON, omop_clinical.MEASUREMENT, SUBJECT_FEATURE)
        counts.append([lake.read(table).count() for table in tables])
        gone = _bundle(_gone("Patient/ben"), _gone("Observation/a1"))
        write_lines(landing / "deleted.ndjson", {**gone, "timestamp": "2024-06-01T00:00:00Z"})
    assert counts[0][:2] == [2, 5] and counts[0][2] > 20
    assert counts[1] == [1, 3, 0]
