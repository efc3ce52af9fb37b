"""Invalid lines stand where truth says and are what they are called; so do irregular records."""

from collections import Counter
from datetime import date
from pathlib import Path

import orjson
import pytest
from fhir.resources.R4B import get_fhir_model_class

from clinical_lakehouse.simulation import TrialPlan
from clinical_lakehouse.simulation.invalid import IGNORED_KINDS, INVALID_KINDS
from tests.simulation.written import Written, write

# What pydantic's models let pass, or what only a whole folder or the raw bytes can tell.
_BEYOND_THE_MODEL = {
    "bad-code",
    "blank-string",
    "decimal-as-string",
    "duplicate-key",
    "empty-array",
    "huge-line",
    "missing-id",
    "missing-resource-type",
    "nul-escape",
    "null-element",
    "unknown-reference",
}
_NOT_JSON = {
    "truncated-json",
    "single-quotes",
    "trailing-garbage",
    "concatenated-json",
    "nan-literal",
    "bom-in-file",
    "nul-byte",
    "lone-surrogate",
    "invalid-utf8",
}
_MARKS = {
    "bad-code": b"completely-done",
    "blank-string": b'"text":"   "',
    "decimal-as-string": b'"value":"7.1"',
    "duplicate-key": b'"status":"amended","status":',
    "empty-array": b'"note":[]',
    "nul-escape": rb"\u0000",
    "nul-byte": b"\x00",
    "lone-surrogate": rb"\ud83d",
    "invalid-utf8": b"\xe9",
    "bom-in-file": b"\xef\xbb\xbf{",
    "null-element": b'"issued":null',
    "unknown-reference": b"Patient/nobody",
    "impossible-date": b"2024-02-30",
    "nan-literal": b"NaN",
    "unknown-resource-type": b"Observatoin",
    "bad-id": b"not/a valid id!",
    "bad-instant": b"2024-13-01T25:00:00Z",
    "two-values": b"valueString",
}


def test_at_least_twenty_kinds_stand_in_fifty_subjects_at_least_twice(
    trial: Written, tmp_path: Path
) -> None:
    assert len(INVALID_KINDS) == len(set(INVALID_KINDS)) >= 20
    assert trial.truth["invalid_kinds"] == list(INVALID_KINDS)
    fifty = write(tmp_path, TrialPlan(patients=50)).truth["invalid"]
    counts = Counter(row["kind"] for row in fifty)
    assert set(counts) == set(INVALID_KINDS) and min(counts.values()) >= 2


@pytest.mark.parametrize("kind", INVALID_KINDS)
def test_an_invalid_kind_stands_at_its_lines(trial: Written, kind: str) -> None:
    for row in (row for row in trial.truth["invalid"] if row["kind"] == kind):
        line = trial.lines(row["resource_type"])[row["line"] - 1]
        assert row["file"] == f"{row['resource_type']}.ndjson"
        assert _MARKS.get(kind, b"") in line
        assert row["id"] is None or row["id"].encode() in line
        if kind == "huge-line":
            assert len(line) > 1 << 20
        if kind in _NOT_JSON:
            with pytest.raises(orjson.JSONDecodeError):
                orjson.loads(line)
        if kind not in _BEYOND_THE_MODEL:
            with pytest.raises(ValueError):
                get_fhir_model_class(row["resource_type"]).model_validate_json(line)


def test_missing_elements_are_missing(trial: Written) -> None:
    names = {"missing-id": "id", "missing-resource-type": "resourceType"}
    for row in trial.truth["invalid"]:
        if row["kind"] in names:
            line = trial.lines(row["resource_type"])[row["line"] - 1]
            assert names[row["kind"]] not in orjson.loads(line)


def test_ids_of_invalid_lines_are_fresh(trial: Written) -> None:
    for resource_type in ("Observation", "Condition", "Encounter"):
        good = {made["id"] for made in trial.good(resource_type)}
        rows = trial.truth["invalid"]
        assert not good & {row["id"] for row in rows if row["resource_type"] == resource_type}


def test_ignored_lines_are_white(trial: Written) -> None:
    rows = trial.truth["ignored"]
    assert {row["kind"] for row in rows} == set(IGNORED_KINDS)
    for row in rows:
        assert trial.lines(row["file"].removesuffix(".ndjson"))[row["line"] - 1].strip() == b""


def test_duplicates_are_the_same_bytes(trial: Written) -> None:
    assert len(trial.truth["duplicates"]) > 100
    first: dict[bytes, tuple[str, int]] = {}
    for resource_type in {row["resource_type"] for row in trial.truth["duplicates"]}:
        for number, line in enumerate(trial.lines(resource_type), 1):
            first.setdefault(line, (resource_type, number))
    for row in trial.truth["duplicates"]:
        line = trial.lines(row["resource_type"])[row["line"] - 1]
        assert first[line][0] == row["resource_type"] and first[line][1] < row["line"]
        assert row["id"].encode() in line


def test_truth_lists_every_newer_version(trial: Written) -> None:
    listed = Counter(
        (row["resource_type"], row["id"], row["version_id"])
        for row in trial.truth["newer_versions"]
    )
    found: Counter[tuple[str, str, str]] = Counter()
    for name in trial.truth["counts"]:
        resource_type = name.removesuffix(".ndjson")
        for made in trial.good(resource_type):
            if made["meta"]["versionId"] != "1":
                found[(resource_type, made["id"], made["meta"]["versionId"])] += 1
    assert listed == found and set(listed.values()) == {1}


def test_corrections_replace_a_wrong_value_and_some_arrive_out_of_order(trial: Written) -> None:
    rows = [row for row in trial.truth["newer_versions"] if row["cause"] == "correction"]
    versions: dict[str, list[dict]] = {row["id"]: [] for row in rows}
    for made in trial.good("Observation"):
        if made["id"] in versions:
            versions[made["id"]].append(made)
    for row in rows:
        old, new = sorted(versions[row["id"]], key=lambda made: made["meta"]["versionId"])
        assert (old["valueQuantity"]["value"], old["status"]) == (row["old"], "final")
        assert (new["valueQuantity"]["value"], new["status"]) == (row["new"], "corrected")
        assert row["old"] != row["new"]
        assert new["meta"]["lastUpdated"] > old["meta"]["lastUpdated"]
        assert (versions[row["id"]][0] is new) == row["is_out_of_order"]
    assert 0.15 < sum(row["is_out_of_order"] for row in rows) / len(rows) < 0.45


def test_late_arrivals_are_a_month_late(trial: Written) -> None:
    rows = {row["id"]: row for row in trial.truth["late_arrivals"]}
    late = [made for made in trial.good("Observation") if made["id"] in rows]
    assert len(late) > 50
    for made in late:
        row = rows[made["id"]]
        assert made["meta"]["lastUpdated"] == row["last_updated_at"]
        delay = date.fromisoformat(row["last_updated_at"][:10]) - date.fromisoformat(
            row["expected_at"][:10]
        )
        assert 30 <= delay.days <= 91


def test_entered_in_error_is_the_last_word(trial: Written) -> None:
    newest = {t: trial.newest(t) for t in ("Observation", "Condition")}
    rows = trial.truth["entered_in_error"]
    assert {row["resource_type"] for row in rows} == set(newest)
    for row in rows:
        made = newest[row["resource_type"]][row["id"]]
        status = made.get("status") or made["verificationStatus"]["coding"][0]["code"]
        assert status == "entered-in-error"


def test_withdrawn_consents_follow_a_permit(trial: Written) -> None:
    consents = trial.good("Consent")
    rows = trial.truth["withdrawn_consents"]
    assert {row["manner"] for row in rows} == {"inactive", "deny"} and len(rows) == 20
    for row in rows:
        permit = next(made for made in consents if made["id"] == row["permit_id"])
        assert (permit["status"], permit["provision"]["type"]) == ("active", "permit")
        later = [made for made in consents if made["id"] == row["consent_id"]][-1]
        assert later["meta"]["lastUpdated"] == row["withdrawn_at"]
        assert row["withdrawn_at"] > permit["dateTime"]
        if row["manner"] == "inactive":
            assert later["status"] == "inactive" and later["id"] == permit["id"]
        else:
            assert later["provision"]["type"] == "deny" and later["id"] != permit["id"]
