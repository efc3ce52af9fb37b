"""A bulk export is landed whole or not at all, whatever the server does, and it says so."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from clinical_lakehouse.errors import SettingsError, SourceError
from clinical_lakehouse.ingestion.bulk_batch import Batch, bring, cancel
from clinical_lakehouse.ingestion.bulk_export import Scope, manifest_of
from clinical_lakehouse.ingestion.bulk_http import Pace, Patience, Wire, retry_after
from clinical_lakehouse.ingestion.landing import find, opened, without_endings
from clinical_lakehouse.ingestion.smart_backend import GivenToken
from tests.ingestion.bulk_server import FOREVER, BulkServer, serving

EIGHT = (
    *("error_500", "busy_429", "expired", "missing", "truncated", "wrong_count", "slow"),
    "token_expiry",
)
OLD, NEW = "2024-01-01T00:00:00Z", "2024-05-01T00:00:00Z"


def resources(people=6, each=40):
    """People and their measurements; those of odd people are new."""
    made = []
    for n in range(people):
        meta = {"versionId": "1", "lastUpdated": NEW if n % 2 else OLD}
        made.append({"resourceType": "Patient", "id": f"p{n}", "meta": meta})
        made += [
            {
                "resourceType": "Observation",
                "id": f"o{n}-{k}",
                "meta": meta,
                "status": "final",
                "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
                "subject": {"reference": f"Patient/p{n}"},
                "valueQuantity": {"value": 60 + k, "unit": "/min"},
            }
            for k in range(each)
        ]
    return made


@dataclass
class Clock:
    """Moves only when somebody sleeps."""

    start: datetime = field(default_factory=lambda: datetime.now(UTC))
    slept: list[float] = field(default_factory=list)
    on_sleep: Callable[[], None] = lambda: None

    def now(self):
        return self.start + timedelta(seconds=sum(self.slept))

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.on_sleep()


@pytest.fixture
def bulk():
    """A server with six people."""
    with serving(BulkServer(resources())) as server:
        yield server


@dataclass
class Client:
    """A client with a token that is renewed, on a clock of the test's own."""

    bulk: BulkServer
    landing: Path
    clock: Clock = field(default_factory=Clock)
    patience: Patience = Patience(read_seconds=0.3, retries=2, longest_pause_seconds=60)
    is_stopped: Callable[[], bool] = lambda: False
    scope: dict = field(default_factory=dict)
    options: dict = field(default_factory=dict)

    def __post_init__(self):
        self.bulk.now = self.clock.now
        self.token = self.bulk.issue_token()

    def current(self):
        return self.token

    def renew(self, refused):
        if refused == self.token:
            self.token = self.bulk.issue_token()

    @property
    def wire(self):
        until = self.clock.start + timedelta(hours=2)
        pace = Pace(self.clock.now, self.clock.sleep, until, self.is_stopped)
        return Wire(pace, self.patience, self)

    @property
    def batch(self):
        scope = Scope(f"{self.bulk.base}/fhir", **self.scope)
        return Batch(
            scope, **{"since": None, "export_id": "id", **self.options}, landing=self.landing
        )

    def bring(self):
        return bring(self.wire, self.batch)


@pytest.fixture
def client(bulk, tmp_path):
    """A client of that server."""
    return Client(bulk, tmp_path / "landing")


def landed(folder):
    """Ids of the resources in the landing folder, as `land` would find them."""
    found = []
    for name in find(folder).names:
        with opened(folder / name) as stream:
            found += [orjson.loads(line)["id"] for line in stream]
    return sorted(found)


def everything(bulk):
    return sorted(one["id"] for one in bulk.resources)


def test_an_export_is_landed_whole(client):
    result = client.bring()
    assert (result.state, result.file_count, result.reexport_count) == ("complete", 2, 0)
    assert result.expected_count == result.received_count == 246
    assert landed(client.landing) == everything(client.bulk)
    assert find(client.landing).names == (
        "bulk-export-id/Observation.0001.ndjson",
        "bulk-export-id/Patient.0000.ndjson",
    )


@pytest.mark.parametrize("fault", EIGHT)
def test_a_fault_that_passes_is_recovered_from(client, fault):
    client.bulk.faults[fault] = 2 if fault == "error_500" else 1
    result = client.bring()
    assert client.bulk.happened[fault] == (2 if fault == "error_500" else 1)
    assert (result.state, result.received_count) == ("complete", 246)
    assert landed(client.landing) == everything(client.bulk)


@pytest.mark.parametrize("fault", EIGHT)
def test_a_fault_that_stays_is_reported_and_lands_nothing(client, fault):
    client.bulk.faults[fault] = FOREVER
    client.bulk.retry_after = "60"
    client.bulk.has_ranges = False  # else each try brings some bytes, and slow is no fault
    client.options = {"at_once": 1}
    with pytest.raises(SourceError) as refusal:
        client.bring()
    assert client.bulk.happened[fault] > 1
    assert find(client.landing).names == () if client.landing.exists() else True
    said = str(refusal.value)
    assert "Zaphod" not in said
    assert "S3CRET" not in said
    wanted = {
        "error_500": "refused the export (HTTP 500, transient)",
        "busy_429": "did not finish in time",
        "expired": "is gone",
        "missing": "is gone",
        "truncated": "is broken",
        "wrong_count": "is wrong count (manifest",
        "slow": "is cut off",
        "token_expiry": "is cut off",
    }
    assert wanted[fault] in said


@pytest.mark.parametrize("fault", ["expired", "missing", "wrong_count"])
def test_what_a_new_download_cannot_cure_is_exported_anew(client, fault):
    """The first export stays bad, the second is good; the first is given back to the server."""
    client.bulk.faults[fault] = 1
    result = client.bring()
    assert result.reexport_count == 1
    assert client.bulk.deleted == ["e0"]
    assert landed(client.landing) == everything(client.bulk)


def test_an_export_that_the_server_forgot_is_made_anew(client):
    client.bulk.faults["forgotten"] = 1
    assert client.bring().reexport_count == 1


def test_an_export_that_fails_at_the_server_is_reported_and_given_up(client):
    client.bulk.faults["failing"] = FOREVER
    with pytest.raises(SourceError, match=r"could not finish the export \(HTTP 422, processing\)"):
        client.bring()
    assert client.bulk.deleted == ["e0"]
    assert not client.batch.draft.folder.exists()


def test_a_connection_cut_in_mid_file_is_resumed_where_it_broke(client):
    client.bulk.faults["cut"] = 1
    assert client.bring().reexport_count == 0
    ranges = [h["Range"] for _, h in client.bulk.asked("GET", "/files/") if "Range" in h]
    assert len(ranges) == 1
    assert int(ranges[0][6:-1]) > 0
    assert landed(client.landing) == everything(client.bulk)


def test_a_packed_file_stays_packed_and_is_resumed_too(client):
    client.bulk.packs = True
    client.bulk.faults["cut"] = 1
    client.bring()
    assert [h["Range"] for _, h in client.bulk.asked("GET", "/files/") if "Range" in h]
    assert all(name.endswith(".ndjson.gz") for name in find(client.landing).names)
    assert landed(client.landing) == everything(client.bulk)


def test_without_ranges_a_cut_file_is_fetched_from_its_start(client):
    client.bulk.has_ranges = False
    client.bulk.faults["cut"] = 2
    client.bring()
    assert not any("Range" in h for _, h in client.bulk.asked("GET", "/files/"))
    assert landed(client.landing) == everything(client.bulk)


def test_a_token_that_ends_in_mid_download_is_renewed_and_the_file_resumed(client):
    client.bulk.faults["token_expiry"] = 1
    first = client.token
    client.bring()
    resumed = [h["Authorization"] for _, h in client.bulk.asked("GET", "/files/") if "Range" in h]
    assert resumed[-1] != f"Bearer {first}"
    assert landed(client.landing) == everything(client.bulk)


def test_a_killed_client_is_continued_without_a_new_export(client, tmp_path):
    """kill -9 in mid-file; the next run asks nothing again that it has, and no half file shows."""
    client.bulk.faults["slow"] = 1
    client.bulk.stall_seconds = 20
    script = tmp_path / "killed.py"
    script.write_text(
        "import sys, time\n"
        "from datetime import UTC, datetime, timedelta\n"
        "from pathlib import Path\n"
        "from clinical_lakehouse.ingestion.bulk_batch import Batch, bring\n"
        "from clinical_lakehouse.ingestion.bulk_export import Scope\n"
        "from clinical_lakehouse.ingestion.bulk_http import Pace, Wire\n"
        "from clinical_lakehouse.ingestion.smart_backend import GivenToken\n"
        "now = lambda: datetime.now(UTC)\n"
        "wire = Wire(Pace(now, lambda s: None, now() + timedelta(hours=1)),"
        " tokens=GivenToken(lambda: sys.argv[3]))\n"
        "bring(wire, Batch(Scope(sys.argv[1] + '/fhir'), None, 'first', Path(sys.argv[2])))\n"
    )
    place = [sys.executable, str(script), client.bulk.base, str(client.landing), client.token]
    process = subprocess.Popen(place)
    parts = client.batch.draft.parts
    for _ in range(200):
        if any(p.stat().st_size for p in parts.glob("*.000?")) and client.bulk.happened["slow"]:
            break
        time.sleep(0.05)
    time.sleep(0.2)  # the other file comes home meanwhile
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert find(client.landing).names == ()
    result = client.bring()
    assert result.export_id == "first"
    assert len(client.bulk.exports) == 1
    assert landed(client.landing) == everything(client.bulk)
    numbers = [path.split("?")[0][-1] for path, _ in client.bulk.asked("GET", "/files/")]
    assert sorted(numbers) in (["0", "0", "1"], ["0", "1", "1"])


def test_a_run_killed_after_landing_lands_nothing_twice(client):
    client.bring()
    again = client.bring()  # the draft is forgotten only when the row is written
    assert again.received_count == 246
    assert len(client.bulk.exports) == 1
    assert landed(client.landing) == everything(client.bulk)


def test_a_run_killed_before_landing_lands_what_it_had(client):
    client.bring()
    os.rename(client.landing / "bulk-export-id", client.batch.draft.files)
    assert find(client.landing).names == ()
    client.bring()
    assert len(client.bulk.exports) == 1
    assert landed(client.landing) == everything(client.bulk)


def test_progress_is_logged_without_what_else_the_server_says(client, caplog):
    with caplog.at_level("INFO", "clinical_lakehouse"):
        client.bring()
    assert caplog.messages == ["export is not done yet (request 1, 50 %)"]


def test_a_draft_of_another_since_is_given_back(client):
    status_url = f"{client.bulk.base}/fhir/status/{client.bulk.started('/fhir/$export', None)}"
    state = {"export_id": "x", "since": NEW, "reexports": 0, "status_url": status_url}
    client.batch.draft.note(state)
    assert client.bring().export_id == "id"
    assert client.bulk.deleted == ["e0"]


@pytest.mark.parametrize("moment", ["polling", "downloading"])
def test_a_stop_deletes_the_export_and_leaves_nothing(client, moment):
    if moment == "polling":
        client.bulk.polls = FOREVER
        client.is_stopped = lambda: len(client.clock.slept) > 3
    else:
        client.bulk.faults["slow"] = FOREVER
        client.is_stopped = lambda: client.bulk.happened["slow"] > 1
    with pytest.raises(SourceError, match="was stopped"):
        client.bring()
    assert client.bulk.deleted == ["e0"]
    assert not client.batch.draft.folder.exists()
    assert find(client.landing).names == ()


def test_a_keyboard_interrupt_deletes_the_export(client):
    client.bulk.polls = FOREVER

    def interrupt():
        raise KeyboardInterrupt

    client.clock.on_sleep = interrupt
    with pytest.raises(KeyboardInterrupt):
        client.bring()
    assert client.bulk.deleted == ["e0"]


def test_waiting_ends_and_the_export_is_deleted(client):
    client.bulk.polls = FOREVER
    client.bulk.retry_after = "60"
    with pytest.raises(SourceError, match="did not finish in time; raise fhir_api.export"):
        client.bring()
    assert client.bulk.deleted == ["e0"]
    assert 7200 <= sum(client.clock.slept) < 7260


def test_a_server_that_is_away_leaves_the_draft_for_the_next_run(client):
    client.bring()
    draft = client.batch.draft
    state = draft.state()
    del state["exported"], state["pages"]
    draft.clear()
    draft.note({**state, "status_url": "http://127.0.0.1:1/fhir/status/e0"})
    with pytest.raises(SourceError, match="cannot be reached; check FHIR_ENDPOINT"):
        client.bring()
    assert draft.state()["export_id"] == "id"


NOW = datetime(2024, 6, 30, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Sun, 30 Jun 2024 12:02:00 GMT", 120.0),
        ("Sunday, 30-Jun-24 12:02:00 GMT", 120.0),
        ("Sun, 30 Jun 2024 11:00:00 GMT", 0.0),
        ("9" * 5000, 1e9),
        ("-5", None),
        ("soon", None),
        ("1e9", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text, seconds):
    """RFC 9110, 10.2.3 (with the obsolete date form of 5.6.7)."""
    assert retry_after(text, NOW) == seconds


@pytest.mark.parametrize("status", [202, 429])
@pytest.mark.parametrize(
    ("asked", "waited"),
    [("7", 7), ("999999999", 60), ("Fri, 31 Dec 9999 23:59:59 GMT", 60), ("0", 1)],
)
def test_the_server_is_asked_again_when_it_wants_within_reason(client, status, asked, waited):
    client.bulk.retry_after = asked
    client.bulk.polls = 1 if status == 202 else 0
    client.bulk.faults["busy_429"] = status == 429
    client.bring()
    assert sum(client.clock.slept) == waited


def test_without_retry_after_each_pause_is_twice_the_last_up_to_a_cap(client):
    client.bulk.retry_after, client.bulk.polls = "?", 8
    client.bring()
    assert sum(client.clock.slept) == 1 + 2 + 4 + 8 + 16 + 32 + 60 + 60


def test_what_is_asked_reaches_the_server(client):
    since = datetime(2024, 3, 1, tzinfo=UTC)
    filters = ("Observation?code=8867-4", "Observation?status=final,amended")
    client.scope = {"types": ("Patient", "Observation"), "type_filters": filters}
    client.options = {"since": since}
    result = client.bring()
    assert client.bulk.exports["e0"]["query"] == {
        "_outputFormat": ["application/fhir+ndjson"],
        "_since": ["2024-03-01T00:00:00.000000+00:00"],
        "_type": ["Patient,Observation"],
        "_typeFilter": list(filters),
    }
    assert result.since == since.isoformat()
    new = sorted(one["id"] for one in client.bulk.resources if one["meta"]["lastUpdated"] == NEW)
    assert landed(client.landing) == new


def test_only_the_named_types_come(client):
    client.scope = {"types": ("Patient",)}
    client.bring()
    assert landed(client.landing) == [f"p{n}" for n in range(6)]


def test_a_group_is_exported_by_its_id(client):
    client.bulk.groups["trial 7"] = {"p1", "p2"}
    client.scope = {"level": "group", "group": "trial 7", "types": ("Patient",)}
    client.bring()
    assert client.bulk.asked("GET", "export")[0][0].startswith("/fhir/Group/trial%207/$export?")
    assert landed(client.landing) == ["p1", "p2"]


def test_patient_level_has_an_address_of_its_own(client):
    client.scope = {"level": "patient"}
    client.bring()
    assert client.bulk.asked("GET", "export")[0][0].startswith("/fhir/Patient/$export?")


def test_an_unknown_group_is_said(client):
    client.scope = {"level": "group", "group": "nobody"}
    with pytest.raises(SourceError, match=r"refused the export \(HTTP 404, not-found\)"):
        client.bring()


@pytest.mark.parametrize("wrong", [{"level": "group"}, {"group": "g"}, {"level": "all"}])
def test_level_and_group_go_together(wrong):
    with pytest.raises(SettingsError, match="fhir_api.export"):
        Scope("https://fhir.test", **wrong)


def issue(severity, code):
    said = {"severity": severity, "code": code, "diagnostics": "Zaphod"}
    return {"resourceType": "OperationOutcome", "id": "x", "issue": [said]}


def test_error_files_are_counted_and_make_the_batch_partial(client):
    client.bulk.messages = [
        issue("error", "processing"),
        issue("error", "processing"),
        issue("warning", "Zaphod"),
        {"resourceType": "OperationOutcome"},
    ]
    result = client.bring()
    assert result.state == "partial"
    assert result.issues == {"error/processing": 2, "unreadable": 1, "warning/other": 1}
    cancel(client.wire, client.batch.draft)
    assert landed(client.landing) == everything(client.bulk)
    assert find(client.landing).ignored == (
        "bulk-export-id/_error.0000.ndjson",
        "bulk-export-id/manifest.json",
    )


def test_manifest_lies_beside_the_files_with_our_names_and_no_address(client):
    client.bring()
    said = json.loads((client.landing / "bulk-export-id" / "manifest.json").read_text())
    names = {without_endings(name) for name in find(client.landing).names}
    assert {f"bulk-export-id/{item['url']}" for item in said["output"]} == names
    assert sum(item["count"] for item in said["output"]) == len(client.bulk.resources)
    assert "//" not in json.dumps(said) and "transactionTime" in said


def test_messages_that_report_no_loss_leave_it_complete(client):
    client.bulk.messages = [
        issue("information", "informational"),
        issue("warning", "not-supported"),
    ]
    result = client.bring()
    assert (result.state, sum(result.issues.values())) == ("complete", 2)


def test_deletions_are_landed_under_a_name_of_their_own(client):
    entry = [{"request": {"method": "DELETE", "url": "Patient/p9"}}]
    bundle = {"resourceType": "Bundle", "id": "gone-1", "type": "transaction", "entry": entry}
    client.bulk.deletions = [bundle]
    result = client.bring()
    assert (result.deleted_file_count, result.deleted_count) == (1, 1)
    (name,) = [name for name in find(client.landing).names if "deleted" in name]
    assert name == "bulk-export-id/deleted.0000.ndjson"
    assert orjson.loads((client.landing / name).read_bytes()) == bundle


def test_files_without_a_count_are_said_to_be_unchecked(client):
    client.bulk.has_counts = False
    result = client.bring()
    assert (result.uncounted_file_count, result.expected_count, result.received_count) == (
        2,
        0,
        246,
    )


def test_the_token_goes_only_to_files_that_want_it(client):
    client.bulk.file_token = False
    client.bring()
    assert all("Authorization" not in headers for _, headers in client.bulk.asked("GET", "/files/"))
    assert all("Authorization" in headers for _, headers in client.bulk.asked("GET", "/fhir/"))


def test_a_netrc_file_does_not_speak_for_us(client, tmp_path, monkeypatch):
    """requests prefers ~/.netrc to a header (psf/requests issue 3929)."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password other")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    client.bulk.file_token = False
    client.bring()
    sent = {headers.get("Authorization") for _, _, headers in client.bulk.seen}
    assert sent == {f"Bearer {client.token}", None}


def test_a_token_is_not_sent_in_the_clear(client):
    wire = replace(client.wire, tokens=GivenToken(lambda: "s3cret"))
    with pytest.raises(SourceError, match="not sent over plain http") as refusal:
        bring(wire, replace(client.batch, scope=Scope("http://fhir.example.org")))
    assert "s3cret" not in str(refusal.value)


def test_a_token_that_cannot_be_renewed_is_reported_and_the_draft_kept(client):
    client.bulk.faults["token_expiry"] = 1
    client.bulk.polls = 0
    wire = replace(client.wire, tokens=GivenToken(lambda: "token-1"))
    with pytest.raises(SourceError, match=r"refused the token for a file \(HTTP 401\)"):
        bring(wire, client.batch)
    assert client.batch.draft.state()["export_id"] == "id"
    client.token = client.bulk.issue_token()
    client.bring()
    assert len(client.bulk.exports) == 1
    assert landed(client.landing) == everything(client.bulk)


def test_done_means_the_server_may_forget_it(client):
    client.bring()
    cancel(client.wire, client.batch.draft)
    assert client.bulk.deleted == ["e0"]
    assert not client.batch.draft.folder.exists()
    assert landed(client.landing) == everything(client.bulk)


def test_addresses_are_kept_from_others(client):
    client.bulk.faults["slow"] = 1
    seen = []
    state = client.batch.draft.folder / "state.json"
    client.clock.on_sleep = lambda: seen.append(state.stat().st_mode & 0o777)
    client.bring()
    assert set(seen) == {0o600}


def page(**changes):
    made = {"transactionTime": NEW, "requiresAccessToken": False, "output": []}
    return {**made, **changes}


def test_what_a_manifest_says_never_becomes_a_path():
    item = {"type": "../../etc/passwd", "url": "https://x.test/a"}
    (file,) = manifest_of((page(output=[item]),)).files
    assert file.name == "Resource.0000"


def test_all_pages_of_a_manifest_count():
    pages = [page(output=[{"type": "Patient", "url": f"https://x.test/{n}"}]) for n in range(3)]
    assert [f.name[-1] for f in manifest_of(tuple(pages)).files] == ["0", "1", "2"]


def test_fractions_of_a_second_survive():
    moment = manifest_of((page(transactionTime="2024-05-01T02:00:00.123+02:00"),)).transaction_at
    assert moment == datetime(2024, 5, 1, 0, 0, 0, 123000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"transactionTime": "Zaphod"}, "transactionTime"),
        ({"transactionTime": "2024-05-01T00:00:00"}, "without an offset"),
        ({"requiresAccessToken": "yes"}, "requiresAccessToken"),
        ({"output": [{"type": "Patient", "url": "file:///etc/passwd"}]}, "absolute url"),
        ({"output": [{"url": "https://x.test", "count": -1}]}, "malformed count"),
        ({"output": [{"url": "https://x.test", "count": True}]}, "malformed count"),
        ({"output": ["Zaphod"]}, "absolute url"),
    ],
)
def test_a_malformed_manifest_is_refused_by_its_element(changes, said):
    with pytest.raises(SourceError, match=said) as refusal:
        manifest_of((page(**changes),))
    assert "Zaphod" not in str(refusal.value)


def test_the_public_export_comes_through_unchanged(public_data, tmp_path):
    """smart_bulk_10_partial: 13 patients as a SMART Bulk Data server exported them."""
    folder = public_data("smart_bulk_10_partial")
    rows = [
        orjson.loads(line)
        for path in sorted(folder.glob("*.000.ndjson.gz"))
        for line in gzip.decompress(path.read_bytes()).splitlines()
    ]
    for row in rows:
        row.setdefault("meta", {}).setdefault("lastUpdated", OLD)
    with serving(BulkServer(rows)) as bulk:
        client = Client(bulk, tmp_path / "landing")
        bulk.faults.update({"cut": 3, "error_500": 2, "busy_429": 1})
        result = client.bring()
    assert result.received_count == result.expected_count == len(rows)
    assert landed(client.landing) == everything(bulk)
