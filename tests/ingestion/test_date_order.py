"""Dates in order, compared no finer than both are known; bindings that the models leave out."""

import orjson
import pytest

from clinical_lakehouse.ingestion.date_order import is_reversed
from clinical_lakehouse.ingestion.resource_rules import judge

CASES = [
    ("2020-02-01", "2020-01-31", True),
    ("2020-02-01", "2020-02", False),
    ("2020-02", "2020", False),
    ("2021", "2020-12-31", True),
    ("2020-01-01T10:00:00-05:00", "2020-01-01T11:00:00+05:00", True),
    ("2020-01-01T11:00:00+05:00", "2020-01-01T10:00:00-05:00", False),
    ("2020-01-01T10:00:60Z", "2020-01-01T10:00:59+00:00", False),
    ("2020-01-01T10:00:00.1Z", "2020-01-01T10:00:00.05Z", True),
    ("2020-01-01", "2020-01-01T00:00:00Z", False),
]


@pytest.mark.parametrize(("first", "last", "expected"), CASES)
def test_reversed_only_where_it_is_sure(first, last, expected):
    assert is_reversed(first, last) is expected


def _status(system, code):
    return {"coding": [{"system": f"http://terminology.hl7.org/CodeSystem/{system}", "code": code}]}


SUBJECT = {"reference": "Patient/p"}
REFUSED = [
    (
        {"resourceType": "Patient", "name": [{"period": {"start": "2020", "end": "2019"}}]},
        ("period-reversed", "Patient.name[0].period.end"),
    ),
    (
        {"resourceType": "Patient", "birthDate": "2020-01-02", "deceasedDateTime": "2019"},
        ("death-before-birth", "Patient.deceasedDateTime"),
    ),
    (
        {"resourceType": "Condition", "subject": SUBJECT,
         "onsetDateTime": "2020", "abatementDateTime": "2019-05"},
        ("end-before-start", "Condition.abatementDateTime"),
    ),
    (
        {"resourceType": "Condition", "subject": SUBJECT,
         "clinicalStatus": _status("condition-clinical", "cured")},
        ("bad-code", "Condition.clinicalStatus.coding"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("resource", "expected"), REFUSED)
def test_refused_with_its_reason_and_path(resource, expected):
    verdict = judge(orjson.dumps({"id": "x", **resource}))
    assert (verdict.reason, verdict.path) == expected
