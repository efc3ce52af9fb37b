"""Consent that is given, lapses, is withdrawn and given again: silver, OMOP and features follow."""

from datetime import timedelta

import pytest

from clinical_lakehouse.features.feature_engineering import build
from clinical_lakehouse.ingestion.accounting import only_of_type, only_valid
from clinical_lakehouse.ingestion.consent import per_person_decision, per_resource_decision
from clinical_lakehouse.ingestion.consent_policy import Policy
from clinical_lakehouse.ingestion.consent_windows import consent_windows
from clinical_lakehouse.registry import task_named
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.tables import omop_clinical as omop
from clinical_lakehouse.tables import silver
from clinical_lakehouse.tables.bronze import (
    CONSENT_DECISION,
    CONSENT_DENIAL,
    CONSENT_WINDOW,
    FHIR_RESOURCE,
)
from clinical_lakehouse.tables.gold_features import SUBJECT_FEATURE
from tests.ingestion.chain import AS_OF, SILVER, hashes, ingest, new_lake, people, write_lines

pytestmark = pytest.mark.soak  # a lake of its own, run several times

STUDY = {"resourceType": "ResearchStudy", "id": "s", "status": "active"}
OMOP = [omop.PERSON, omop.MEASUREMENT]


def _person(name):
    about = {"reference": f"Patient/{name}"}
    code = {"coding": [{"system": "http://loinc.org", "code": "4548-4"}]}
    yield {"resourceType": "Patient", "id": name, "gender": "male", "birthDate": "1970-01-01"}
    yield {
        "resourceType": "ResearchSubject",
        "id": f"{name}-r",
        "status": "on-study",
        "individual": about,
        "study": {"reference": "ResearchStudy/s"},
        "period": {"start": "2024-04-01"},
    }
    for number, day in enumerate(("2023-05-01", "2024-05-01")):
        yield {
            "resourceType": "Observation",
            "id": f"{name}-o{number}",
            "status": "final",
            "code": code,
            "subject": about,
            "effectiveDateTime": day,
            "valueQuantity": {"value": 7 + number, "code": "%"},
        }


def _consent(id_, name, version, status="active", **provision):
    return {
        "resourceType": "Consent",
        "id": id_,
        "meta": {"versionId": str(version), "lastUpdated": f"2024-06-0{version}T00:00:00Z"},
        "status": status,
        "scope": {"coding": [{"code": "research"}]},
        "category": [{"coding": [{"code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{name}"},
        "policyRule": {"coding": [{"code": "OPTIN"}]},
        "provision": {"type": "permit", **provision},
    }


FIRST_YEAR = {"start": "2023-01-01", "end": "2023-12-31"}
# Deliveries by day: plain stays; goes withdraws and returns; ends lapses and is renewed; part has a
# denied year, lifts it and sets it again.
DELIVERIES = {
    0: [
        STUDY,
        *(one for name in ("plain", "goes", "ends", "part") for one in _person(name)),
        _consent("cg", "goes", 1),
        _consent("ce", "ends", 1, period={"start": "2023-01-01", "end": "2024-06-30"}),
        _consent("cp", "part", 1, provision=[{"type": "deny", "dataPeriod": FIRST_YEAR}]),
    ],
    1: [_consent("cg", "goes", 2, status="inactive"), _consent("cp", "part", 2)],
    2: [
        _consent("cg", "goes", 3),
        _consent("ce", "ends", 2, period={"start": "2023-01-01", "end": "2024-12-31"}),
        _consent("cp", "part", 3, provision=[{"type": "deny", "dataPeriod": FIRST_YEAR}]),
    ],
}


@pytest.fixture(scope="module")
def story(spark, tmp_path_factory):
    """One run a day: the lake, what check_consent said, silver by person, and silver's hashes."""
    lake = new_lake(spark, tmp_path_factory.mktemp("consent") / "lake")
    said, seen, hashed = [], [], []
    for metrics in _days(lake):
        said.append(metrics)
        seen.append(_values(lake))
        hashed.append(hashes(lake, SILVER))
    return lake, said, seen, hashed


def _days(lake):
    """Deliver and run day by day; what check_consent said."""
    landing = lake.root.parent / "landing"
    for day, resources in DELIVERIES.items():
        write_lines(landing / f"{day}.ndjson", *resources)
        yield ingest(lake, landing, day)["check_consent"]


def _values(lake):
    """Person and value of each observation in silver."""
    known = people(lake).select("subject_key", "patient_id")
    joined = lake.read(silver.OBSERVATION).join(known, "subject_key")
    return sorted((row.patient_id, row.value_number) for row in joined.collect())


def _derived(lake):
    """Run what follows ingestion; persons and measurements in OMOP, people with features."""
    run = Run(lake, load_settings("dev", environ={}), AS_OF + timedelta(days=4), "later")
    for name in ("map-codes", "map-persons", "map-visits", "map-events"):
        task_named(f"data-standardization-{name}").execute(run)
    build.execute(run)
    people = lake.read(SUBJECT_FEATURE).select("subject_key").distinct().count()
    return *(lake.read(table).count() for table in OMOP), people


BOTH = (7, 8)


def _of(**values):
    return sorted((name, value) for name, given in values.items() for value in given)


def test_denied_data_period_is_left_out_and_the_rest_is_there(story):
    assert story[2][0] == _of(plain=BOTH, goes=BOTH, ends=BOTH, part=(8,))


def test_withdrawal_and_expiry_count_from_the_next_run_and_so_does_a_wider_permit(story):
    assert story[2][1] == _of(plain=BOTH, part=BOTH)
    assert story[1][1] == {
        "persons_permitted": 2,
        "persons_denied": 2,
        "persons_partly": 0,
        "resources_denied": 0,
    }


def test_permitted_again_all_rows_return_equal(story):
    assert story[2][2] == story[2][0]
    assert story[3][2] == story[3][0] != story[3][1]


@pytest.mark.soak
def test_omop_and_features_follow_silver(spark, tmp_path):
    lake = new_lake(spark, tmp_path / "lake")
    assert [_derived(lake) for _ in _days(lake)] == [(4, 7, 4), (2, 4, 2), (4, 7, 4)]


def test_decisions_recomputed_from_bronze_alone_are_equal(story):
    lake = story[0]
    valid = only_valid(lake.read(FHIR_RESOURCE))
    privacy = load_settings("dev", environ={}).privacy
    policy = Policy(
        AS_OF + timedelta(days=2), privacy.consent_when_absent, **privacy.consent.model_dump()
    )
    windows = consent_windows(
        only_of_type(valid, "Consent"), only_of_type(valid, "Encounter"), policy
    )
    patients = only_of_type(valid, "Patient").select("patient_id")
    decisions = per_person_decision(patients, windows, policy)
    denials = per_resource_decision(valid, windows, decisions.filter("is_partial"))
    made = {
        CONSENT_WINDOW: windows,
        CONSENT_DECISION: decisions,
        CONSENT_DENIAL: denials.filter("NOT is_permitted"),
    }
    for table, rows in made.items():
        names = [name for name in table.column_names if name != "decided_at"]
        stored = lake.read(table).select(*names)
        assert not stored.isEmpty()
        assert _rows(rows.select(*names)) == _rows(stored)


def _rows(frame):
    return sorted(map(repr, frame.collect()))


def test_denial_names_document_version_and_window(story):
    (row,) = story[0].read(CONSENT_DENIAL).collect()
    assert (row.resource_id, row.rule, row.consent_id, row.consent_version) == (
        "part-o0",
        "deny",
        "cp",
        "3",
    )
    assert (row.starts_at.year, row.ends_at.year, row.dated_at.year) == (2023, 2024, 2023)
