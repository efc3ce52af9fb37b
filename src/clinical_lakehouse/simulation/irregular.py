"""How records really arrive: twice, corrected, late, out of order, entered in error."""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from clinical_lakehouse.simulation import codes
from clinical_lakehouse.simulation.background import condition
from clinical_lakehouse.simulation.fhir import Json, hl7, instant, next_version
from clinical_lakehouse.simulation.measurements import observation
from clinical_lakehouse.simulation.person import Person, Record
from clinical_lakehouse.simulation.visits import Visit

_CORRECTED_SHARE = 0.006
_OUT_OF_ORDER_SHARE = 0.3
_LATE_SHARE = 0.006
_DUPLICATE_SHARE = 0.006
_IN_ERROR_SHARE = 0.15  # of subjects, for each of the two types
_CLINICAL = ("Observation", "MedicationAdministration", "Procedure", "Immunization", "Condition")
_BASELINE_KEPT = (codes.HBA1C.code.code, codes.PHQ9.code.code)
_IMPOSSIBLE_HBA1C = 31.0


@dataclass(frozen=True)
class Arrival:
    """A resource as it arrives, and how its line is counted."""

    resource: Json
    kind: str


def arrivals(person: Person, resources: Iterable[Json], record: Record) -> Iterator[Arrival]:
    """The resources in order of arrival, with corrections, delays and repeats planted."""
    draws = person.draws("arrivals")
    for made in resources:
        if made["resourceType"] not in _CLINICAL or _is_kept(made, person):
            yield plain_arrival(made)
            continue
        fate = draws.random()
        if fate < _DUPLICATE_SHARE:
            yield plain_arrival(made)
            yield Arrival(made, "duplicate")
        elif fate < _DUPLICATE_SHARE + _LATE_SHARE:
            yield plain_arrival(_late(made, draws, record))
        elif fate < _DUPLICATE_SHARE + _LATE_SHARE + _CORRECTED_SHARE and _value(made):
            yield from _corrected(made, draws, record)
        else:
            yield plain_arrival(made)


def plain_arrival(made: Json) -> Arrival:
    """A resource that arrives once and in time."""
    return Arrival(made, "resource" if made["meta"]["versionId"] == "1" else "newer_version")


def _is_kept(made: Json, person: Person) -> bool:
    """The covariates of dropout at randomisation arrive plainly, so that the oracle is exact."""
    if made["resourceType"] != "Observation":
        return made["resourceType"] == "Condition"
    at_baseline = made["effectiveDateTime"].startswith(person.randomised.isoformat())
    return at_baseline and made["code"]["coding"][0]["code"] in _BASELINE_KEPT


def _value(made: Json) -> float:
    return made.get("valueQuantity", {}).get("value", 0)


def _later(made: Json, draws: random.Random, days: tuple[int, int]) -> str:
    updated = datetime.fromisoformat(made["meta"]["lastUpdated"][:-1])
    return instant(updated + timedelta(days=draws.randint(*days), minutes=draws.randint(1, 600)))


def _late(made: Json, draws: random.Random, record: Record) -> Json:
    late = {
        **made,
        "meta": {"versionId": "1", "lastUpdated": _later(made, draws, (30, 90))},
    }
    record(
        "late_arrivals",
        {
            "resource_type": made["resourceType"],
            "id": made["id"],
            "expected_at": made["meta"]["lastUpdated"],
            "last_updated_at": late["meta"]["lastUpdated"],
        },
    )
    return late


def _corrected(made: Json, draws: random.Random, record: Record) -> Iterator[Arrival]:
    """A wrong first version (ten times the value) and the right second one, in either order."""
    right = made["valueQuantity"]
    wrong = {**made, "valueQuantity": {**right, "value": round(right["value"] * 10, 1)}}
    fixed = next_version(
        made, _later(made, draws, (2, 20)), status="corrected", valueQuantity=right
    )
    swapped = draws.random() < _OUT_OF_ORDER_SHARE
    record(
        "newer_versions",
        {
            "resource_type": made["resourceType"],
            "id": made["id"],
            "version_id": "2",
            "cause": "correction",
            "path": "Observation.valueQuantity.value",
            "old": wrong["valueQuantity"]["value"],
            "new": right["value"],
            "is_out_of_order": swapped,
        },
    )
    pair = [plain_arrival(wrong), plain_arrival(fixed)]
    yield from reversed(pair) if swapped else pair


def entered_in_error(person: Person, visits: tuple[Visit, ...], record: Record) -> Iterator[Json]:
    """Records of another person: stated in version 1, `entered-in-error` in version 2."""
    draws = person.draws("entered in error")
    visit = draws.choice([visit for visit in visits if visit.is_attended])
    if draws.random() < _IN_ERROR_SHARE:
        wrong = observation(person, visit, codes.HBA1C, "laboratory", _IMPOSSIBLE_HBA1C)
        wrong["id"] = person.id_of("in error", "observation")
        yield wrong
        yield _retracted(wrong, draws, record, status="entered-in-error")
    if draws.random() < _IN_ERROR_SHARE:
        wrong = condition(person, visit, draws.choice(codes.COMORBIDITIES), person.screened)
        wrong["id"] = person.id_of("in error", "condition")
        yield wrong
        status = hl7("condition-ver-status", "entered-in-error")
        later = _retracted(wrong, draws, record, verificationStatus=status)
        yield {key: value for key, value in later.items() if key != "clinicalStatus"}


def _retracted(wrong: Json, draws: random.Random, record: Record, **status: object) -> Json:
    later = next_version(wrong, _later(wrong, draws, (1, 15)), **status)
    row = {"resource_type": wrong["resourceType"], "id": wrong["id"], "version_id": "2"}
    record("entered_in_error", {**row, "last_updated_at": later["meta"]["lastUpdated"]})
    path = f"{wrong['resourceType']}.{next(iter(status))}"
    more = {"cause": "entered-in-error", "path": path, "is_out_of_order": False}
    record("newer_versions", {**row, **more})
    return later
