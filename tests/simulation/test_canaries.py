"""Canary identifiers of all 18 Safe Harbor kinds stand where truth says, and nowhere coded."""

import re
from base64 import b64decode
from collections import Counter
from typing import Any

import orjson

from clinical_lakehouse.simulation.identity import KINDS
from tests.simulation.written import Written

_STEP = re.compile(r"([A-Za-z]+)(?:\[(\d+)])?")


def _at(resource: dict[str, Any], path: str) -> str:
    """The value at a path as truth writes it; notes decoded."""
    node: Any = resource
    for name, index in _STEP.findall(path.partition(".")[2]):
        node = node[name][int(index)] if index else node[name]
    if path.startswith("DocumentReference."):
        return b64decode(node).decode()
    return node if isinstance(node, str) else str(node.get("value"))


def test_all_eighteen_kinds_stand_in_structured_fields_and_in_notes(trial: Written) -> None:
    rows = trial.truth["canaries"]
    assert len(KINDS) == 18 and trial.truth["canary_kinds"] == list(KINDS)
    assert {r["kind"] for r in rows if r["resource_type"] == "Patient"} == set(KINDS)
    assert {r["kind"] for r in rows if r["resource_type"] == "DocumentReference"} == set(KINDS)


def test_every_canary_stands_at_its_path(trial: Written) -> None:
    types = {row["resource_type"] for row in trial.truth["canaries"]}
    newest = {resource_type: trial.newest(resource_type) for resource_type in types}
    for row in trial.truth["canaries"][::3]:
        found = _at(newest[row["resource_type"]][row["id"]], row["path"])
        value = row["value"].removesuffix(" years")
        assert value in found, row["path"]


def test_free_text_of_many_kinds_holds_canaries(trial: Written) -> None:
    paths = {row["path"] for row in trial.truth["canaries"]}
    assert paths >= {
        "Encounter.subject.display",
        "AdverseEvent.subject.display",
        "Condition.code.text",
        "Procedure.note[0].text",
        "MedicationRequest.note[0].text",
        "DiagnosticReport.conclusion",
        "Observation.valueString",
        "Patient.text.div",
        "Patient.contact[0].name.text",
        "Patient.extension[3].valueString",
    }


def test_scanned_canaries_are_distinctive(trial: Written) -> None:
    """A string to scan for belongs to one subject, and is no ordinary word."""
    owner: dict[str, set[str]] = {}
    patients = trial.newest("Patient")
    for row in trial.truth["canaries"]:
        if row["scan"] and row["resource_type"] == "Patient":
            assert row["id"] in patients
            owner.setdefault(row["value"], set()).add(row["id"])
    assert max(Counter(map(len, owner.values()))) == 1
    assert min(map(len, owner)) >= 10


def test_no_canary_stands_in_a_coding(trial: Written) -> None:
    values = {row["value"] for row in trial.truth["canaries"] if row["scan"]}

    def displays(node: object) -> list[str]:
        if isinstance(node, dict):
            own = [str(node.get("display"))] if "code" in node else []
            return own + [d for value in node.values() for d in displays(value)]
        return [d for value in node for d in displays(value)] if isinstance(node, list) else []

    for name in trial.truth["counts"]:
        found = set(displays(trial.good(name.removesuffix(".ndjson"))[::5]))
        assert not found & values


def test_truth_cannot_be_taken_for_a_resource(trial: Written) -> None:
    assert "resourceType" not in trial.truth and trial.truth["format"]
    assert orjson.loads((trial.folder / "truth.json").read_bytes()).keys() == trial.truth.keys()
