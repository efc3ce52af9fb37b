"""A correction is held against what is there, flows like a delivery, and is written down."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from clinical_lakehouse.errors import SourceError, UsageError
from clinical_lakehouse.ingestion import patient_ingestion
from clinical_lakehouse.ingestion.corrections import (
    FIELDS,
    Correction,
    judged,
    read_corrections,
)
from clinical_lakehouse.ingestion.data_correction import apply
from clinical_lakehouse.ingestion.data_lock import sign
from clinical_lakehouse.ingestion.locked_data import Lock, Past, dated, in_force
from clinical_lakehouse.ingestion.resource_edit import parsed, value_at, with_value, written
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.tables import silver
from clinical_lakehouse.tables.bronze_correction import CORRECTION, DATA_LOCK
from clinical_lakehouse.tables.ops_audit import AUDIT
from tests.ingestion.chain import ingest, new_lake, run_on, write_corrections, write_lines

AT = datetime(2024, 7, 2, 12, tzinfo=UTC)
TEXT = (
    '{"resourceType":"Observation","id":"o1","meta":{"versionId":"3","lastUpdated":'
    '"2024-01-05T00:00:00Z"},"valueQuantity":{"value":1.10,"unit":"mg/dL"},"status":"final",'
    '"component":[{"valueInteger":4},{"valueInteger":5}],"note":[{"text":"5.0"}]}'
)


def _one(path, old, new, **more):
    fields = dict.fromkeys(FIELDS, "") | {
        "resource_type": "Observation", "resource_id": "o1", "path": path, "old": old, "new": new,
        "reason_code": "transcription-error", "why": "source document", "by": "maria", **more,
    }  # fmt: skip
    return Correction(1, fields)


def _judge(*corrections, past=Past()):  # noqa: B008
    found, lines = judged(corrections, {("Observation", "o1"): TEXT}, AT, past)
    return [one.state for one in found], lines


def test_an_element_is_read_and_changed_and_all_else_stays_to_the_digit():
    resource = parsed(TEXT)
    assert written(resource) == TEXT
    assert value_at(resource, "valueQuantity.value") == "1.10"
    assert value_at(resource, "component[1].valueInteger") == "5"
    assert value_at(resource, "issued") is None
    with_value(resource, "valueQuantity.value", "11.0")
    assert written(resource) == TEXT.replace("1.10", "11.0")
    with_value(resource, "note[0].text", "6.0")
    assert '"text":"6.0"' in written(resource), "a text that reads as a number stays a text"
    for nowhere in ("component[9].valueInteger", "a.b", "component", "valueQuantity", "1x"):
        with pytest.raises(KeyError):
            value_at(resource, nowhere)


def test_what_fits_becomes_one_version_above_the_present_one():
    states, (line,) = _judge(
        _one("valueQuantity.value", "1.1", "11"), _one("component[0].valueInteger", "4", "40")
    )
    assert states == ["applied", "applied"]
    made = json.loads(line)
    assert (made["valueQuantity"]["value"], made["component"][0]["valueInteger"]) == (11, 40)
    assert made["meta"] == {"versionId": "4", "lastUpdated": "2024-07-02T12:00:00Z"}


@pytest.mark.parametrize(("correction", "state"), [
    (_one("valueQuantity.value", "2.2", "3"), "conflict"),
    (_one("valueQuantity.value", "2.2", "1.100"), "already"),
    (_one("valueQuantity.value", "1.1", "3", reason_code=""), "unknown-reason"),
    (_one("valueQuantity.value", "1.1", "3", why=" "), "missing-why"),
    (_one("valueQuantity.value", "1.1", "3", by=""), "missing-by"),
    (_one("valueQuantity.value", "1.1", "3", resource_id="o2"), "no-such-row"),
    (_one("component[7].valueInteger", "1", "3"), "no-such-path"),
    (_one("meta.lastUpdated", "1", "3"), "protected-path"),
])  # fmt: skip
def test_what_does_not_fit_changes_nothing_and_says_why(correction, state):
    assert _judge(correction) == ([state], [])


TIMED = TEXT.replace('"status"', '"effectiveDateTime":"2024-01-05","status"')


@pytest.mark.parametrize(("lock", "patient", "is_held"), [
    (Lock("anna"), "anna", True),
    (Lock("anna"), "ben", False),
    (Lock(None, "Observation"), "ben", True),
    (Lock(None, "Condition"), "ben", False),
    (Lock(None, None, date(2024, 1, 5), date(2024, 1, 5)), None, True),
    (Lock(None, None, None, date(2024, 1, 4)), None, False),
    (Lock(None, None, date(2024, 1, 6), None), None, False),
])  # fmt: skip
def test_what_a_lock_holds_is_refused_and_stays(lock, patient, is_held):
    name = ("Observation", "o1")
    past = Past(locks=(lock,), patients={name: patient})
    one = _one("valueQuantity.value", "1.1", "11")
    (found,), lines = judged([one], {name: TIMED}, AT, past)
    assert (found.state, len(lines)) == (("locked", 0) if is_held else ("applied", 1))


def test_a_correction_may_not_move_a_resource_into_a_locked_period():
    past = Past(locks=(Lock(None, None, date(2024, 2, 1), None),))
    one = _one("effectiveDateTime", "2024-01-05", "2024-02-05")
    (found,), lines = judged([one], {("Observation", "o1"): TIMED}, AT, past)
    assert (found.state, lines) == ("locked", [])
    assert dated(parsed(TIMED.replace("2024-01-05", "2024-03"))) == date(2024, 3, 1)
    undated = Past(locks=(Lock(None, None, date(2030, 1, 1), None),))
    assert _judge(_one("status", "final", "amended"), past=undated)[0] == ["locked"]


def test_of_a_lock_the_last_signature_counts():
    row = {"lock_id": "a", "patient_id": None, "resource_type": "Observation",
           "first_date": None, "last_date": None}  # fmt: skip
    first, second = (row | {"number": n, "action": a} for n, a in ((1, "lock"), (2, "unlock")))
    assert in_force([second, first]) == ()
    assert in_force([second, first, row | {"number": 3, "action": "lock"}]) == (
        Lock(None, "Observation"),
    )


def test_a_resolved_query_is_not_answered_again_by_anything_else():
    told, other = _one("status", "final", "amended", query_id="q7"), {"query_id": "q7"}
    later = _one("valueQuantity.value", "1.1", "11", **other)
    past = Past(resolved=frozenset({"q7"}), known=frozenset({told.id}))
    assert _judge(told, past=past)[0] == ["applied"], "begun again after a kill"
    assert _judge(later, past=past) == (["query-resolved"], [])
    assert _judge(told, past=replace(past, landed=past.known)) == (["already"], [])


def test_a_clock_that_ran_ahead_does_not_hide_a_correction():
    text = TEXT.replace("2024-01-05", "2031-01-05")
    one = _one("status", "final", "amended")
    _, (line,) = judged([one], {("Observation", "o1"): text}, AT, Past())
    assert json.loads(line)["meta"]["lastUpdated"] == "2031-01-05T00:00:00.001000Z"


def test_a_file_of_another_form_is_refused_by_line_and_without_a_value(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text("resource_id,secret\no1,Zoe\n")
    with pytest.raises(SourceError, match=r"c\.csv:2: its columns") as refused:
        read_corrections(path)
    assert "Zoe" not in str(refused.value)
    lines = tmp_path / "c.ndjson"
    lines.write_text('{"resource_id": "o1"}\n{broken\n')
    with pytest.raises(SourceError, match=r"c\.ndjson:2: no JSON"):
        read_corrections(lines)
    with pytest.raises(SourceError, match="no file of corrections"):
        read_corrections(tmp_path / "none.csv")


PATIENT = {"resourceType": "Patient", "id": "anna", "gender": "female"}
LAB = {
    "resourceType": "Observation", "id": "o1", "status": "final",
    "meta": {"versionId": "1", "lastUpdated": "2024-01-05T00:00:00Z"},
    "code": {"coding": [{"system": "http://loinc.org", "code": "2345-7"}]},
    "subject": {"reference": "Patient/anna"}, "effectiveDateTime": "2024-01-05",
    "valueQuantity": {"value": 77.5, "unit": "mg/dL"},
}  # fmt: skip


@pytest.fixture
def asked(spark, tmp_path) -> Run:
    """A run of data_correction on a landing folder with a patient and a lab; it changes the value,
    says a status that is there already, and expects another unit than there is."""
    lake, landing = new_lake(spark, tmp_path / "lake"), tmp_path / "landing"
    write_lines(landing / "a.ndjson", PATIENT, LAB)
    file = tmp_path / "corrections.csv"
    asked_for = (
        _one("valueQuantity.value", "77.5", "775"),
        _one("status", "amended", "final"),
        _one("valueQuantity.unit", "g", "kg"),
    )
    write_corrections(file, *(one.fields for one in asked_for))
    day = run_on(lake, landing, 1)
    return Run(lake, day.settings, day.as_of, "c", {"file": str(file), "landing": str(landing)})


def test_a_correction_lands_once_as_a_new_version_and_the_audit_holds_no_value(asked):
    lake, landing = asked.lake, asked.landing
    patient_ingestion.land.execute(run_on(lake, landing))
    said = apply.execute(asked)
    assert said == {"corrections": 3, "applied": 1, "conflicts": 1, "resources_changed": 1,
                    "others": 1}  # fmt: skip
    assert apply.execute(asked)["applied"] == 1, "begun again before it landed: the same file"
    landed = patient_ingestion.land.execute(run_on(lake, landing, 1))
    assert (landed["files_new"], landed["resources_received"]) == (1, 1)
    assert apply.execute(asked)["applied"] == 0, "sent again after it landed"
    kept = {row.path: row.state for row in lake.read(CORRECTION).collect()}
    assert kept == {"valueQuantity.value": "applied", "status": "already",
                    "valueQuantity.unit": "conflict"}  # fmt: skip
    (change,) = lake.read(AUDIT).collect()
    assert (change.action, change.field, change.reason_code) == (
        "correct", "valueQuantity.value", "transcription-error",
    )  # fmt: skip
    assert "775" not in str(change.asDict()["object_key"]) and "o1" not in str(change)


def _sign(asked, decision, **given):
    params = {"decision": decision, "by": "ines", "role": "data_manager", "lock": "",
              "meaning": "responsibility", "why": "CSR 7", "subject": "", "table": "",
              "first_date": "", "last_date": "", **given}  # fmt: skip
    return sign.execute(replace(asked, run_id=f"{decision} {sorted(given.items())}", params=params))


def test_locked_data_are_corrected_only_after_a_signature(asked):
    lake = asked.lake
    patient_ingestion.land.execute(run_on(lake, asked.landing))
    lock = _sign(asked, "lock", table="silver.observation", last_date="2024-01-31")["lock"]
    assert apply.execute(asked)["applied"] == 0
    kept = {row.path: row.state for row in lake.read(CORRECTION).collect()}
    assert kept["valueQuantity.value"] == "locked"
    for given, said in (({"lock": "nolock"}, "no lock"), ({"lock": lock, "role": " "}, "--role"),
                        ({"lock": lock, "meaning": "ok"}, "--meaning must be one of review"),
                        ({"lock": lock, "why": ""}, "--why"),
                        ({"lock": lock, "by": ""}, "--by")):  # fmt: skip
        with pytest.raises(UsageError, match=said):
            _sign(asked, "unlock", **given)
    _sign(asked, "unlock", lock=lock, meaning="approval")
    _sign(asked, "unlock", lock=lock, meaning="approval")  # begun again by the runner
    assert apply.execute(asked)["applied"] == 1
    signed = sorted((r.number, r.action, r.signed_by, r.meaning) for r in _locks(lake))
    assert signed == [(1, "lock", "ines", "responsibility"), (2, "unlock", "ines", "approval")]
    assert {"lock", "unlock", "correct"} == {row.action for row in lake.read(AUDIT).collect()}


def _locks(lake):
    return lake.read(DATA_LOCK).collect()


@pytest.mark.soak
def test_a_correction_reaches_silver(asked):
    ingest(asked.lake, asked.landing)
    apply.execute(asked)
    ingest(asked.lake, asked.landing, 1)
    (row,) = asked.lake.read(silver.OBSERVATION).collect()
    assert row.value_number == 775
