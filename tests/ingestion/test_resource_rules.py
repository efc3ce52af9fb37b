"""Verdicts: every valid resource passes, every planted fault is refused with its reason."""

import gzip
import json
import tarfile

import orjson
import pytest

from clinical_lakehouse.ingestion.primitives import RULES
from clinical_lakehouse.ingestion.required_codes import REQUIRED_CODES
from clinical_lakehouse.ingestion.resource_rules import MAX_RESOURCE_BYTES, judge

GOOD = {
    "resourceType": "Observation",
    "id": "o1",
    "meta": {"versionId": "1", "lastUpdated": "2024-02-29T10:00:00Z"},
    "status": "final",
    "category": [{"coding": [{"code": "laboratory"}]}],
    "code": {"coding": [{"system": "http://loinc.org", "code": "2345-7"}]},
    "subject": {"reference": "Patient/p1"},
    "effectiveDateTime": "2024-02-29T10:00:00+01:00",
    "valueQuantity": {"value": 5.5, "unit": "mmol/L"},
    "note": [{"text": "fasting"}],
}


def _bytes(**changes) -> bytes:
    """The good resource with elements replaced, or left out where the change is `...`."""
    changed = {**GOOD, **changes}
    return orjson.dumps({name: value for name, value in changed.items() if value is not ...})


def _replaced(old: bytes, new: bytes) -> bytes:
    raw = _bytes()
    assert old in raw
    return raw.replace(old, new, 1)


REFUSED = {
    "cut": (_bytes()[:100], "json-syntax", None),
    "trailing": (_bytes() + b" EOF", "json-syntax", None),
    "bom": (b"\xef\xbb\xbf" + _bytes(), "byte-order-mark", None),
    "utf8": (_replaced(b"fasting", b"\xe9"), "invalid-utf8", None),
    "nul": (_replaced(b"fasting", b"a\0b"), "nul-character", None),
    "nul escape": (_replaced(b"fasting", rb"a\u0000b"), "nul-character", "Observation"),
    "surrogate": (_replaced(b"fasting", rb"\ud83d"), "lone-surrogate", None),
    "nan": (_replaced(b"5.5", b"NaN"), "nan-literal", None),
    "duplicate": (_replaced(b'"id":', b'"id":"x","id":'), "duplicate-key", "Observation"),
    "deep duplicate": (
        _replaced(b'"unit":', b'"unit":"x","unit":'),
        "duplicate-key",
        "Observation",
    ),
    "array": (b"[" + _bytes() + b"]", "not-an-object", None),
    "null": (b"null", "not-an-object", None),
    "empty": (b"{}", "empty-object", None),
    "no type": (_bytes(resourceType=...), "missing-resource-type", None),
    "abstract": (_bytes(resourceType="DomainResource"), "unknown-resource-type", None),
    "no id": (_bytes(id=...), "missing-id", "Observation.id"),
    "long id": (_bytes(id="x" * 65), "bad-id", "Observation.id"),
    "required": (_bytes(status=...), "missing-required", "Observation.status"),
    "required complex": (_bytes(code=...), "missing-required", "Observation.code"),
    "wrong type": (_bytes(status=7), "wrong-type", "Observation.status"),
    "code": (_bytes(status="done"), "bad-code", "Observation.status"),
    "single": (_bytes(note={"text": "x"}), "not-an-array", "Observation.note"),
    "no items": (_bytes(note=[]), "empty-array", "Observation.note"),
    "empty part": (_bytes(code={}), "empty-object", "Observation.code"),
    "null part": (_bytes(issued=None), "null-element", "Observation.issued"),
    "unknown": (_bytes(colour="blue"), "unknown-element", "Observation"),
    "unknown below": (_bytes(code={"txt": "x"}), "unknown-element", "Observation.code"),
    "two values": (_bytes(valueString="x"), "two-values", "Observation.value[x]"),
    "decimal": (
        _bytes(valueQuantity={"value": "5.5"}),
        "wrong-type",
        "Observation.valueQuantity.value",
    ),
    "true decimal": (
        _bytes(valueQuantity={"value": True}),
        "wrong-type",
        "Observation.valueQuantity.value",
    ),
    "blank": (_bytes(note=[{"text": " "}]), "blank-string", "Observation.note[0].text"),
    "day": (
        _bytes(effectiveDateTime="2023-02-29"),
        "bad-date-time",
        "Observation.effectiveDateTime",
    ),
    "zone": (
        _bytes(effectiveDateTime="2024-02-29T10:00:00"),
        "bad-date-time",
        "Observation.effectiveDateTime",
    ),
    "instant": (
        _bytes(meta={"lastUpdated": "2024-02-29"}),
        "bad-instant",
        "Observation.meta.lastUpdated",
    ),
    "large": (_bytes(note=[{"text": "x" * MAX_RESOURCE_BYTES}]), "too-large", "Observation"),
}


def test_good_resource_passes():
    assert judge(_bytes()).reason is None


@pytest.mark.parametrize("name", REFUSED)
def test_fault_is_refused_with_its_reason_and_path(name):
    raw, reason, path = REFUSED[name]
    verdict = judge(raw)
    assert (verdict.reason, verdict.path) == (reason, path)


_NOT = {"url": "http://example.org/not-done", "valueBoolean": True}


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"modifierExtension": [_NOT]}, "Observation.modifierExtension[0]"),
        (
            {"component": [{"code": {"text": "x"}, "modifierExtension": [{"url": "k"}, _NOT]}]},
            "Observation.component[0].modifierExtension[1]",
        ),
        (
            {"contained": [{"resourceType": "Device", "id": "d", "modifierExtension": [_NOT]}]},
            "Observation.contained[0].modifierExtension[0]",
        ),
    ],
)
def test_unknown_modifier_extension_anywhere_is_refused_until_its_url_is_known(change, path):
    for raw in (_bytes(**change), _bytes(**change).replace(b"modifierE", rb"\u006dodifierE")):
        verdict = judge(raw, {"k"})
        assert (verdict.reason, verdict.path) == ("unknown-modifier-extension", path)
        assert judge(raw, {"k", _NOT["url"]}).reason is None


@pytest.mark.parametrize(
    "change",
    [
        {"effectiveDateTime": "2024"},
        {"effectiveDateTime": "2024-02"},
        {"valueQuantity": {"value": 5}},
        {"status": ..., "_status": {"extension": [{"url": "u", "valueCode": "unknown"}]}},
        {"note": [{"text": "tab\tand\nline"}]},
        {"contained": [{"resourceType": "Device", "id": "d"}]},
        {"extension": [{"url": "u", "valueString": "x", "_valueString": {"id": "i"}}]},
    ],
)
def test_unusual_but_valid_forms_pass(change):
    assert judge(_bytes(**change)).reason is None


def test_nulls_in_an_array_of_primitives_may_stand_for_extensions():
    name = {"given": [None, "A"], "_given": [{"extension": [{"url": "u", "valueCode": "x"}]}, None]}
    patient = {"resourceType": "Patient", "id": "p", "name": [name]}
    assert judge(orjson.dumps(patient)).reason is None
    del name["_given"]
    assert judge(orjson.dumps(patient)).reason == "null-element"


def test_escaped_backslash_before_u0000_is_no_nul():
    assert judge(_replaced(b"fasting", rb"C:\\u0000")).reason is None


def test_json_written_with_spaces_and_other_number_forms_passes():
    raw = json.dumps(GOOD, indent=1).replace("5.5", "5.50").encode()
    assert judge(raw).reason is None


def test_deeply_nested_resource_is_refused_not_fatal():
    deep = b'{"extension":[' * 400 + b'{"url":"u"}' + b"]}" * 400
    raw = b'{"resourceType":"Patient","id":"p","extension":[' + deep + b"]}"
    assert judge(raw).reason is not None


@pytest.mark.parametrize(
    ("type_", "good", "bad"),
    [
        ("date", "2000-02-29", "1900-02-29"),
        ("date", "2024-12", "2024-13"),
        ("dateTime", "2024-01-31T23:59:60Z", "2024-01-31T24:00:00Z"),
        ("instant", "2024-01-31T10:00:00.123+14:00", "2024-01-31T10:00:00+15:00"),
        ("time", "10:00:00", "10:00"),
        ("positiveInt", 1, 0),
        ("unsignedInt", 0, -1),
        ("integer", -5, 1 << 31),
        ("boolean", True, 1),
        ("code", "a b", " a"),
        ("uri", "urn:x", "a b"),
        ("oid", "urn:oid:1.2", "1.2"),
        ("base64Binary", "QUI=", "a-b"),
    ],
)
def test_primitive_rule_keeps_to_the_specification(type_, good, bad):
    assert RULES[type_](good) is None
    assert RULES[type_](bad) is not None


# An official example that lacks an element which R4 requires (Questionnaire.item.linkId, 1..1).
_NOT_VALID_R4 = {("Questionnaire", "qs1")}


def test_official_r4_examples_are_all_valid(public_data):
    archive = public_data("fhir_r4_examples") / "fhir_r4_examples_instances.tar.xz"
    refused, count = set(), 0
    with tarfile.open(archive) as files:
        for member in files:
            if not member.name.endswith(".json") or member.name.endswith("package.json"):
                continue
            raw = files.extractfile(member).read()
            count += 1
            if judge(raw).reason:
                resource = json.loads(raw)
                refused.add((resource["resourceType"], resource["id"]))
    assert count == 809
    assert refused == _NOT_VALID_R4


def test_synthea_and_bulk_export_resources_are_all_valid(public_data):
    plain = public_data("synthea_r4_10").glob("ndjson/*.ndjson")
    packed = public_data("smart_bulk_10_partial").glob("[A-Z]*.ndjson.gz")
    lines = [line for path in plain for line in path.open("rb")]
    lines += [line for path in packed for line in gzip.decompress(path.read_bytes()).splitlines()]
    assert len(lines) == 2864 + 7160
    assert {judge(line.strip()).reason for line in lines} == {None}


def test_lists_written_out_begin_with_what_the_models_name():
    from fhir.resources.R4B import get_fhir_model_class

    for element, codes in REQUIRED_CODES.items():
        model, name = element.split(".")
        if model in ("EncounterStatusHistory", "DeviceUdiCarrier", "QuestionnaireItem"):
            continue
        facts = get_fhir_model_class(model).model_fields[name].json_schema_extra
        named = set(facts.get("enum_values", ())) - {"+"}
        assert not codes or named <= set(codes), element


def test_digits_of_other_scripts_are_no_digits():
    assert RULES["date"]("２０２４") is not None
