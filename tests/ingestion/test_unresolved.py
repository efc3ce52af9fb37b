"""References that lead nowhere are counted by file and element, and tried again when more comes."""

from dataclasses import replace
from datetime import timedelta

import pytest

from clinical_lakehouse.ingestion import data_completeness, patient_ingestion
from clinical_lakehouse.ingestion.reference_paths import references_of
from clinical_lakehouse.tables import ops
from tests.ingestion.chain import write_lines


@pytest.mark.parametrize(
    ("resource", "found"),
    [
        (
            {
                "resourceType": "Encounter",
                "subject": {"reference": "Patient/p"},
                "participant": [
                    {"individual": {"display": "nobody"}},
                    {"individual": {"reference": "Practitioner/d"}},
                ],
                "serviceProvider": {"reference": "#inner"},
                "contained": [{"resourceType": "Location", "id": "inner"}],
            },
            ["Encounter.participant.individual Practitioner/d"],
        ),
        (
            {"resourceType": "Observation", "subject": {"reference": "Patient/another"}},
            ["Observation.subject Patient/another"],
        ),
        (
            # A model that contains itself.
            {
                "resourceType": "Consent",
                "provision": {
                    "provision": [{"data": [{"meaning": "x", "reference": {"reference": "A/1"}}]}]
                },
            },
            ["Consent.provision.provision.data.reference A/1"],
        ),
        ({"resourceType": "SubstancePolymer", "id": "no-model"}, []),
    ],
)
def test_references_are_found_with_their_element(resource, found):
    assert references_of(resource, resource["resourceType"], "p") == found


def _encounter(name, doctor, place=None):
    given = {"location": [{"location": {"reference": place}}]} if place else {}
    return {
        "resourceType": "Encounter",
        "id": name,
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": "Patient/anna"},
        "participant": [{"individual": {"reference": doctor}}],
        **given,
    }


FILES = (
    [
        {"resourceType": "Patient", "id": "anna"},
        *(_encounter(f"e{n}", "Practitioner/late") for n in range(5)),
        _encounter("e8", "Practitioner/never", "urn:uuid:ward"),
        _encounter("e9", "Practitioner?identifier=7", "Location/here"),
        {"resourceType": "Location", "id": "here"},
    ],
    [
        {"resourceType": "Practitioner", "id": "late"},
        {"resourceType": "Location", "id": "ward"},
    ],
)


def _open(run):
    rows = run.lake.read(ops.UNRESOLVED_REFERENCE).collect()
    return {
        (row.file_name, row.path, row.target_type): (
            row.unresolved_count,
            row.lines,
            row.last_seen_at.day,
        )
        for row in rows
    }


@pytest.mark.soak
def test_late_targets_resolve_and_the_rest_is_reported_by_file_and_element(run, tmp_path):
    doctor, place = "Encounter.participant.individual", "Encounter.location.location"
    said = []
    for day, resources in enumerate(FILES):
        write_lines(tmp_path / "in" / f"{day}.ndjson", *resources)
        here = replace(
            run, as_of=run.as_of - timedelta(days=9 - day), params={"landing": str(tmp_path / "in")}
        )
        patient_ingestion.land.execute(here)
        said.append(data_completeness.resolve_references.execute(here))
        if day == 0:
            seen = _open(run)
    assert said == [
        {"unresolved_Practitioner": 6, "unresolved_other": 1, "unresolved_urn:uuid": 1},
        {"unresolved_Practitioner": 1, "unresolved_other": 1},
    ]
    count, lines, at = seen["0.ndjson", doctor, "Practitioner"]
    assert (count, lines[0], lines[-1], at) == (6, 2, 7, 21)
    assert len(lines) in (2, 3)  # the one between is drawn and may be the first or last
    assert _open(run) == {
        ("0.ndjson", doctor, "Practitioner"): (1, [7], 22),
        ("0.ndjson", place, "urn:uuid"): (0, [7], 21),
        ("0.ndjson", doctor, "other"): (1, [8], 22),
    }
    assert data_completeness.resolve_references.execute(here) == said[1]
