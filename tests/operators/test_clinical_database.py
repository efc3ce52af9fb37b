"""A real PostgreSQL read into the landing folder: everything, then what changed, nothing lost."""

import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

import orjson
import pytest
import yaml

from clinical_lakehouse.errors import SettingsError, SourceError
from clinical_lakehouse.ingestion import patient_ingestion
from clinical_lakehouse.ingestion import source_intake as job
from clinical_lakehouse.methods.row_mapping import as_resources, read_mapping
from clinical_lakehouse.operators.clinical_database import ClinicalDatabase
from clinical_lakehouse.runtime.settings import conf_dir
from clinical_lakehouse.tables import bronze, ops
from tests.operators.server import binaries, running

SCHEMA = """
CREATE SCHEMA edc;
CREATE TABLE edc.subject (subject_no int PRIMARY KEY, sex text, birth_date date, site_no int,
    changed_at timestamptz NOT NULL);
CREATE TABLE edc.lab_result (lab_result_no bigint PRIMARY KEY, subject_no int, loinc text,
    value numeric(12, 2), unit text, collected_at timestamptz, is_deleted boolean DEFAULT false,
    changed_at timestamptz NOT NULL);
INSERT INTO edc.subject SELECT i, 'FEMALE', date '1970-01-01' + i, 1, '2024-01-01 00:00+00'
    FROM generate_series(1, 20) i;
INSERT INTO edc.lab_result SELECT i, 1 + i % 20, '2345-7', 1.10 * i, 'mg/dL',
    timestamptz '2024-01-02 08:00+00' + i * interval '1 min', false,
    timestamptz '2024-01-03 00:00+00' + i * interval '1 min' FROM generate_series(1, 1000) i;
"""


@pytest.fixture(scope="module")
def server():
    """A server with an EDC's two tables; skipped where PostgreSQL is not installed."""
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, running(Path(folder)) as postgres:
        postgres.run(SCHEMA)
        yield postgres


@pytest.fixture
def at(run, server, monkeypatch, tmp_path):
    """A run `hours` later on the server's database, and its landing folder."""
    monkeypatch.setenv("CLINICAL_DB_PASSWORD", "not-asked-for")
    monkeypatch.setenv("CLINICAL_CONF_DIR", str(_conf_with_another_mapping(tmp_path / "conf")))
    landing = tmp_path / "landing"

    def later(hours: int = 0, **changed):
        place = run.settings.connections["clinical_db"]
        given = {"port": server.port, "database": "postgres", "mapping": "edc", **changed}
        connections = {"clinical_db": place.model_copy(update=given)}
        settings = run.settings.model_copy(update={"connections": connections})
        return type(run)(
            run.lake, settings, run.as_of + timedelta(hours=hours), "r", {"landing": str(landing)}
        )

    return later


def _conf_with_another_mapping(folder: Path) -> Path:
    """The shipped settings, and beside edc.yml a mapping of a table that is not there."""
    shutil.copytree(conf_dir(), folder)
    text = (folder / "sources" / "edc.yml").read_text(encoding="utf-8")
    (folder / "sources" / "other.yml").write_text(text.replace("edc.subject", "edc.nowhere"))
    return folder


def _lines(landing: Path, source: str) -> list[dict]:
    files = sorted((landing / "clinical_db").glob(f"{source}-*.ndjson"))
    return [orjson.loads(line) for path in files for line in path.read_bytes().splitlines()]


def test_everything_then_only_what_changed_and_every_row_is_accounted_for(at, server, tmp_path):
    landing = tmp_path / "landing"
    first = job.extract.execute(at())
    assert (first["subject_count"], first["lab_result_count"]) == (20, 1000)
    labs = {row["id"]: row for row in _lines(landing, "lab_result")}
    assert len(labs) == 1000
    assert labs["lab-7"]["subject"] == {"reference": "Patient/subject-8"}
    assert job.extract.execute(at()) == {
        "sources_read": 0,
        "outcome": "read before for this as_of",
    }
    server.run(
        "UPDATE edc.lab_result SET value = 99.90, changed_at = '2024-01-03 18:00+00' "
        "WHERE lab_result_no = 7; "
        "UPDATE edc.lab_result SET is_deleted = true, changed_at = '2024-01-03 19:00+00' "
        "WHERE lab_result_no = 8;"
    )
    second = job.extract.execute(at(1))
    # The latest change was 16:40; the overlap of an hour brings 60 rows again (15:41 to 16:40).
    assert second["lab_result_count"] == 60 + 2
    run = at(1)
    patient_ingestion.land.execute(run)
    accounted = patient_ingestion.validate.execute(run)
    assert accounted["resources_quarantined"] == 0
    assert accounted["resources_received"] == 20 + 1000 + 20 + 62
    assert accounted["resources_duplicate"] == 20 + 60
    rows = run.lake.read(bronze.FHIR_RESOURCE).filter("resource_id = 'lab-8'").collect()
    assert sorted(orjson.loads(row.content)["status"] for row in rows) == [
        "entered-in-error",
        "final",
    ]
    ledger = run.lake.read(ops.DATABASE_EXTRACT).filter("source = 'lab_result'").collect()
    assert {row.until_at.hour for row in ledger} == {16, 19}


def test_a_numeric_keeps_its_scale_and_nulls_leave_no_empty_object(spark):
    lab = next(s for s in read_mapping(conf_dir() / "sources" / "edc.yml") if s.name != "subject")
    rows = spark.sql(
        "SELECT 1L AS lab_result_no, 2 AS subject_no, '2345-7' AS loinc, 1.10BD AS value, "
        "'mg/dL' AS unit, timestamp '2024-01-02 08:00:00' AS collected_at, false AS is_deleted, "
        "timestamp '2024-01-03 00:00:00' AS changed_at UNION ALL "
        "SELECT 2L, 2, NULL, NULL, NULL, NULL, false, timestamp '2024-01-03 00:00:00'"
    )
    whole, bare = (row.value for row in as_resources(rows, lab).orderBy("value").collect())
    assert '"valueQuantity":{"value":1.10,"unit":"mg/dL"' in whole
    assert '"effectiveDateTime":"2024-01-02T08:00:00.000Z"' in whole
    assert set(orjson.loads(bare)) == {
        "resourceType", "id", "meta", "status", "category", "subject"
    }  # fmt: skip


@pytest.mark.soak
def test_a_killed_run_is_repeated_without_a_row_twice(at, tmp_path):
    """The files stand, the ledger's row does not: the same names are written again."""
    run, landing = at(), tmp_path / "landing"
    read = ClinicalDatabase("clinical_db", landing)
    read.execute(run)
    before = {p.name: p.read_bytes() for p in (landing / "clinical_db").iterdir()}
    run.lake.replace(ops.DATABASE_EXTRACT, run.lake.frame(ops.DATABASE_EXTRACT, []))
    (landing / "clinical_db" / ".draft-subject").mkdir()
    read.execute(run)
    assert {p.name: p.read_bytes() for p in (landing / "clinical_db").iterdir()} == before


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"port": 1}, "does not let us in at 127.0.0.1:1; check CLINICAL_DB_HOST"),
        ({"database": None}, "connections.clinical_db.database is not set"),
        ({"database": "nowhere"}, "the connection's database, user and secret"),
        ({"mapping": "other"}, "has no such table or column: check edc.nowhere in the mapping"),
        ({"mapping": "nothing"}, "no mapping nothing.yml in sources"),
    ],
)
def test_what_cannot_be_read_is_one_line_and_leaves_nothing(at, tmp_path, changed, said):
    with pytest.raises((SourceError, SettingsError)) as refused:
        job.extract.execute(at(**changed))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "landing").exists()


def test_without_a_mapping_nothing_is_asked(at):
    assert job.extract.execute(at(mapping=None))["sources_read"] == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"table": "edc.lab; DROP TABLE x"}, "table: value error, must be a plain sql name"),
        ({"colour": "red"}, "colour: extra inputs are not permitted"),
        ({"resource": {"id": "1"}}, "resource: value error, must give resourcetype and id"),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused_with_file_and_key(tmp_path, change, said):
    content = yaml.safe_load((conf_dir() / "sources" / "edc.yml").read_text())
    content["sources"][0].update(change)
    path = tmp_path / "broken.yml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(SettingsError) as refused:
        read_mapping(path)
    assert str(refused.value) == f"broken.yml: {said}"
