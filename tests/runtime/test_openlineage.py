"""Every task run is told as OpenLineage wants it: in a file, by HTTP, valid, without a value."""

import json
import threading
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest

from clinical_lakehouse.runtime.openlineage import TaskRun
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables import silver
from clinical_lakehouse.tables.omop_clinical import PERSON
from tests.builders import rows
from tests.conftest import PUBLIC_DATA

SCHEMA = PUBLIC_DATA / "openlineage" / "OpenLineage.json"


@task(reads=[silver.PATIENT, silver.SUBJECT], writes=[PERSON])
def copy_people(run):
    """Make something of the patients."""
    people = run.lake.read(silver.PATIENT)
    if people.filter("state = 'Secretshire'").isEmpty():
        run.lake.append(PERSON, rows(run.lake, PERSON, {"person_id": 1}))
        return {}
    raise ValueError("Secretshire is no state")


def told(run, url):
    """The run on settings that name where events go."""
    settings = load_settings("dev", environ={"OPENLINEAGE_URL": url})
    return replace(run, settings=settings)


def one_of_each(run):
    """A run that succeeds, then one that fails on a value."""
    run.lake.append(silver.PATIENT, rows(run.lake, silver.PATIENT, {"subject_key": 1}))
    done = copy_people.perform(run)
    bad = rows(run.lake, silver.PATIENT, {"subject_key": 2, "state": "Secretshire"})
    run.lake.append(silver.PATIENT, bad)
    with pytest.raises(ValueError, match="no state"):
        copy_people.perform(run)
    return done


def test_a_run_is_told_with_tables_columns_and_versions_and_no_value(run):
    done = one_of_each(told(run, "ops/lineage.ndjson"))
    text = (run.lake.root / "ops" / "lineage.ndjson").read_text(encoding="utf-8")
    events = [json.loads(line) for line in text.splitlines()]
    assert [e["eventType"] for e in events] == ["START", "COMPLETE", "START", "FAIL"]
    start, end, again, fail = events
    assert start["run"]["runId"] == end["run"]["runId"] != again["run"]["runId"]
    assert start["run"]["facets"]["parent"]["run"] == fail["run"]["facets"]["parent"]["run"]
    assert end["job"]["name"] == "test_openlineage.copy_people"
    assert [d["name"] for d in start["inputs"]] == ["silver.patient", "silver.subject"]
    (read,), (written,) = end["inputs"], end["outputs"]  # what was read indeed
    assert read["facets"]["version"]["datasetVersion"] == "1"
    assert (written["name"], written["facets"]["version"]["datasetVersion"]) == ("omop.person", "1")
    fields = {f["name"]: f["type"] for f in written["facets"]["schema"]["fields"]}
    assert fields["person_id"] == PERSON.columns[0].type
    assert (done.read, done.written) == ({"silver.patient": 1}, {"omop.person": 1})
    assert fail["inputs"][0]["facets"]["version"]["datasetVersion"] == "2"
    assert "ValueError" in fail["run"]["facets"]["errorMessage"]["message"]
    assert "Secretshire" not in text


def test_events_are_valid_against_the_published_schema():
    if not SCHEMA.is_file():
        pytest.skip(f"OpenLineage's spec/OpenLineage.json is not at {SCHEMA}: not validated")
    from jsonschema import Draft202012Validator, FormatChecker

    judge = Draft202012Validator(json.loads(SCHEMA.read_text()), format_checker=FormatChecker())
    spark = SimpleNamespace(version="4.2.0")
    lake = SimpleNamespace(catalog=None, spark=spark)
    run = SimpleNamespace(lake=lake, run_id="r1", as_of=datetime(2024, 6, 30, tzinfo=UTC))
    this = TaskRun(run, "job", "task", "What it does.", uuid.uuid4())
    for kind, error in (("START", None), ("COMPLETE", None), ("FAIL", ValueError("x"))):
        event = this.event(kind, {"silver.patient": 3}, {"omop.person": 1}, error)
        assert [fault.message for fault in judge.iter_errors(event)] == []
    broken = {**this.event("START", {}, {}), "run": {"runId": "no uuid"}, "eventType": "BEGIN"}
    assert len(list(judge.iter_errors(broken))) >= 1


@pytest.fixture
def listener():
    """A server that keeps what is posted, and answers 500 while `is_broken`."""
    seen = {"bodies": [], "keys": [], "is_broken": False}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen["keys"].append(self.headers.get("Authorization"))
            seen["bodies"].append(json.loads(body))
            self.send_response(500 if seen["is_broken"] else 201)
            self.end_headers()

        def log_message(self, *_):
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    seen["url"] = f"http://127.0.0.1:{server.server_port}/api/v1/lineage"
    yield seen
    server.shutdown()


def test_events_are_posted_and_a_deaf_server_fails_no_task(run, listener, monkeypatch):
    monkeypatch.setenv("OPENLINEAGE_API_KEY", "key")
    here = told(run, listener["url"])
    run.lake.append(silver.PATIENT, rows(run.lake, silver.PATIENT, {"subject_key": 1}))
    copy_people.perform(here)
    assert [e["eventType"] for e in listener["bodies"]] == ["START", "COMPLETE"]
    assert set(listener["keys"]) == {"Bearer key"}
    listener["is_broken"] = True
    copy_people.perform(here)
    kept = (run.lake.root / "ops" / "_openlineage.ndjson").read_text().splitlines()
    assert [json.loads(line)["eventType"] for line in kept] == ["START", "COMPLETE"]
