"""Reading: the same resource gives the same row from NDJSON and from a Bundle."""

import json

import pytest

from clinical_lakehouse.ingestion.bundles import entries_of
from clinical_lakehouse.ingestion.landing import survey
from clinical_lakehouse.ingestion.reading import ROW_SCHEMA, rows_of
from clinical_lakehouse.ingestion.references import person_of, with_local_references

_NAMES = ["file_id", *ROW_SCHEMA.names[2:]]


def _read(folder, name, content):
    (folder / name).write_bytes(content)
    rows = [row for chunk in survey(folder, name).chunks for row in rows_of(chunk)]
    return [dict(zip(_NAMES, row, strict=True)) for row in rows]


def _bundle(*resources, **more) -> bytes:
    entry = [{"fullUrl": f"urn:uuid:{r.get('id')}", "resource": r} for r in resources]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entry, **more}
    return json.dumps(bundle, indent=2).encode()


PATIENT = {"resourceType": "Patient", "id": "p-1", "gender": "female"}
ENCOUNTER = {
    "resourceType": "Encounter",
    "id": "e-1",
    "status": "finished",
    "class": {"code": "AMB"},
    "subject": {"reference": "urn:uuid:p-1"},
}


def test_bundle_entries_and_lines_give_the_same_resources(tmp_path):
    resolved = {**ENCOUNTER, "subject": {"reference": "Patient/p-1"}}
    text = "\n".join(json.dumps(r, separators=(",", ":")) for r in (resolved, PATIENT))
    as_lines = _read(tmp_path, "a.ndjson", text.encode())
    as_bundle = _read(tmp_path, "b.json", _bundle(PATIENT, ENCOUNTER))
    same = ("resource_type", "resource_id", "patient_id", "content", "content_hash", "status")
    assert [[row[n] for n in same] for row in as_lines] == [[r[n] for n in same] for r in as_bundle]
    assert [row["entry"] for row in as_bundle] == [1, 0]
    assert {row["patient_id"] for row in as_bundle} == {"p-1"}


def test_decimals_of_a_bundle_keep_their_digits():
    resource = b'{"resourceType":"Bundle","entry":[{"resource":{"value":1.10,"n":1e3}}]}'
    assert entries_of(resource) == [b'{"value":1.10,"n":1e3}']


def test_duplicate_key_condemns_its_entry_only(tmp_path):
    raw = _bundle(PATIENT, ENCOUNTER).replace(b'"id": "e-1"', b'"id": "e-1", "id": "e-2"')
    rows = _read(tmp_path, "b.json", raw)
    assert {row["entry"]: row["reason"] for row in rows} == {0: None, 1: "duplicate-key"}


def test_bundle_that_is_no_json_is_one_refused_row(tmp_path):
    rows = _read(tmp_path, "b.json", _bundle(PATIENT)[:-5])
    assert [(row["line"], row["entry"], row["reason"]) for row in rows] == [(1, 0, "json-syntax")]


def test_entry_without_a_resource_is_refused_not_lost(tmp_path):
    raw = _bundle(PATIENT).replace(b'"entry": [', b'"entry": [{"request": {}}, 7, ')
    rows = _read(tmp_path, "b.json", raw)
    assert {row["entry"]: row["reason"] for row in rows} == {
        0: "missing-resource",
        1: "missing-resource",
        2: None,
    }


def test_single_resource_document_is_one_row(tmp_path):
    rows = _read(tmp_path, "p.json", json.dumps(PATIENT, indent=1).encode())
    assert [(row["resource_type"], row["status"]) for row in rows] == [("Patient", "valid")]


def test_refused_row_keeps_its_text_for_a_later_release(tmp_path):
    rows = _read(tmp_path, "a.ndjson", b'{"resourceType":"Patient","id":"x y"}\r\nnot json\n')
    assert [row["reason"] for row in rows] == ["bad-id", "json-syntax"]
    assert rows[1]["content"] == "not json"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("Patient/1", "Patient/1"),
        ("https://x.org/fhir/Patient/1", "Patient/1"),
        ("Patient/1/_history/2", "Patient/1"),
        ("http://x.org/Patient/1/_history/2", "Patient/1"),
        ("urn:uuid:7", "urn:uuid:7"),
        ("#inner", "#inner"),
        ("https://x.org/patients?id=1", "https://x.org/patients?id=1"),
    ],
)
def test_reference_is_made_local(sent, kept):
    raw = json.dumps({"subject": {"reference": sent}}).encode()
    assert json.loads(with_local_references(raw)) == {"subject": {"reference": kept}}


def test_text_that_looks_like_a_reference_is_left_alone():
    raw = json.dumps({"text": '"reference": "https://x.org/Patient/1"'}).encode()
    assert with_local_references(raw) == raw


@pytest.mark.parametrize(
    ("resource", "person"),
    [
        ({"resourceType": "Patient", "id": "p"}, "p"),
        ({"subject": {"reference": "urn:uuid:p"}}, "p"),
        ({"individual": {"reference": "Patient/p"}}, "p"),
        ({"subject": {"reference": "Group/g"}}, None),
        ({"subject": {"reference": "Patient?identifier=1"}}, None),
        ({"subject": "Patient/p"}, None),
        ({}, None),
    ],
)
def test_person_is_who_the_resource_is_about(resource, person):
    assert person_of({"resourceType": "Observation", **resource}) == person


def test_offset_is_where_the_line_begins_in_the_unpacked_file(tmp_path, monkeypatch):
    monkeypatch.setattr("clinical_lakehouse.ingestion.landing.CHUNK_BYTES", 60)
    raw = b"".join(b'{"resourceType":"Patient","id":"%d"}\r\n\n' % n for n in range(9)) + b"no"
    rows = _read(tmp_path, "a.ndjson", raw)
    assert len(rows) == 10
    for row in rows:
        assert raw[row["byte_offset"] :].startswith(row["content"].encode())
    assert rows[-1]["byte_offset"] == len(raw) - 2
