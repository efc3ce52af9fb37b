"""Later files: late people, corrections, retractions, withdrawals and returns reach silver."""

import pytest

from clinical_lakehouse.tables import ops, silver
from clinical_lakehouse.tables.bronze import QUARANTINE
from tests.ingestion.chain import SILVER, hashes, ingest, new_lake, write_lines

# Three deliveries and a run after each take over a minute.
pytestmark = pytest.mark.soak


def _meta(version):
    return {"versionId": str(version), "lastUpdated": f"2024-01-0{version}T00:00:00Z"}


def _patient(name, version=1, **more):
    given = {"gender": "female", "birthDate": "1934-07-20", **more}
    return {"resourceType": "Patient", "id": name, "meta": _meta(version), **given}


def _measurement(id_, person, value, version=1, status="final", parts=0):
    part = {"code": {"coding": [{"code": "p"}]}, "valueInteger": 1}
    return {
        "resourceType": "Observation",
        "id": id_,
        "meta": _meta(version),
        "status": status,
        "code": {"coding": [{"system": "http://loinc.org", "code": "2345-7"}]},
        "subject": {"reference": f"Patient/{person}"},
        "effectiveDateTime": "2024-01-05",
        "valueQuantity": {"value": value, "system": "http://unitsofmeasure.org", "code": "mg/dL"},
        **({"component": [part] * parts} if parts else {}),
    }


def _consent(id_, person, status, day):
    return {
        "resourceType": "Consent",
        "id": id_,
        "status": status,
        "scope": {"coding": [{"code": "research"}]},
        "category": [{"coding": [{"code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{person}"},
        "dateTime": f"2024-02-0{day}",
        "policyRule": {"coding": [{"code": "OPTIN"}]},
        "provision": {"type": "permit"},
    }


FILES = {
    "1/all.ndjson": [
        _patient("anna"),
        _patient("ben"),
        _measurement("a1", "anna", 1),
        _measurement("a2", "anna", 2, version=2),
        _measurement("a3", "anna", 3, parts=2),
        _measurement("b1", "ben", 4),
        _measurement("c1", "cleo", 5),
    ],
    "2/all.ndjson": [
        _measurement("a1", "anna", 10, version=2),
        _measurement("a2", "anna", 20, version=1),
        _measurement("a3", "anna", 30, version=2, parts=1),
        _consent("k1", "ben", "inactive", 1),
        _patient("cleo"),
    ],
    "3/all.ndjson": [
        _measurement("a1", "anna", 10, version=3, status="entered-in-error"),
        _consent("k2", "ben", "active", 2),
    ],
}


@pytest.fixture(scope="module")
def story(spark, tmp_path_factory):
    """Three deliveries, one run after each: the lake, what each run said, and silver's values."""
    folder = tmp_path_factory.mktemp("story")
    lake = new_lake(spark, folder / "lake")
    said, seen = [], []
    for day, (name, resources) in enumerate(FILES.items()):
        write_lines(folder / "landing" / name, *resources)
        said.append(ingest(lake, folder / "landing", day))
        seen.append(_values(lake))
    return lake, said, seen


def _values(lake):
    rows = lake.read(silver.OBSERVATION).collect()
    return sorted((row.component_index, row.value_number) for row in rows)


def test_first_delivery_is_published_without_the_unknown_person(story):
    _, said, seen = story
    assert seen[0] == [(0, 1), (0, 2), (0, 3), (0, 4), (1, 1), (2, 1)]
    assert said[0]["validate"]["resources_quarantined"] == 1


def test_corrections_replace_older_versions_do_not_and_a_dropped_component_goes(story):
    _, _, seen = story
    values = seen[1]
    assert (0, 10) in values and (0, 1) not in values
    assert (0, 2) in values and (0, 20) not in values
    assert (0, 30) in values and (2, 1) not in values and values.count((1, 1)) == 1


def test_rows_of_a_late_person_are_released_and_published(story):
    lake, said, seen = story
    assert (0, 5) in seen[1]
    assert said[1]["validate"]["resources_released"] == 1
    assert lake.read(QUARANTINE).count() == 0
    ledger = lake.read(ops.LANDING_FILE).collect()
    assert sum(row.loaded_count for row in ledger) == sum(map(len, FILES.values()))


def test_withdrawal_removes_the_person_and_a_new_permission_brings_them_back(story):
    _, _, seen = story
    assert [(0, 4) in values for values in seen] == [True, False, True]


def test_retraction_removes_the_row(story):
    _, _, seen = story
    assert seen[2] == [(0, 2), (0, 4), (0, 5), (0, 30), (1, 1)]


@pytest.mark.soak
def test_all_at_once_in_another_order_gives_the_same_silver(story, spark, tmp_path):
    lake, _, _ = story
    for number, name in enumerate(reversed(FILES)):
        write_lines(tmp_path / "landing" / f"{number}.ndjson", *reversed(FILES[name]))
    other = new_lake(spark, tmp_path / "lake")
    ingest(other, tmp_path / "landing", day=2)
    assert hashes(other, SILVER) == hashes(lake, SILVER)


def _ages(lake):
    rows = lake.read(silver.PATIENT).select("birth_year", "is_over_89").distinct().collect()
    return [tuple(row) for row in rows]


@pytest.mark.soak
def test_birth_year_goes_on_the_90th_birthday_without_a_new_file(story):
    lake, _, _ = story
    assert _ages(lake) == [(1934, False)]
    ingest(lake, lake.root.parent / "landing", day=30)
    assert _ages(lake) == [(None, True)]
