"""The study drug: one injection a week while on study."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from clinical_lakehouse.simulation.fhir import (
    SNOMED,
    Code,
    Json,
    concept,
    hl7,
    instant,
    own,
    quantity,
    ref,
    resource,
)
from clinical_lakehouse.simulation.person import Person
from clinical_lakehouse.simulation.sites import ACTIVE

_NOT_GIVEN_SHARE = 0.05
_SUBCUTANEOUS = Code(SNOMED, "34206005", "Subcutaneous route")


@dataclass(frozen=True)
class Dose:
    """A planned weekly dose."""

    id: str
    day: date


def doses(person: Person) -> tuple[Dose, ...]:
    """A subject's planned doses, the first on the day of randomisation."""
    weeks = (person.last_day - person.randomised).days // 7
    return tuple(
        Dose(person.id_of("dose", week), person.randomised + timedelta(weeks=week))
        for week in range(weeks + 1)
    )


def administrations(person: Person, planned: tuple[Dose, ...]) -> Iterator[Json]:
    """One MedicationAdministration per planned dose; one not given is `not-done`."""
    draws = person.draws("dosing")
    active = person.arm == ACTIVE
    code = ("CL-0417", "CL-0417 1 mg") if active else ("CL-0417-PLACEBO", "Placebo of CL-0417")
    drug = {"coding": [own("study-drug", *code)], "text": code[1]}
    dose = quantity(1.0 if active else 0.0, "mg", "mg")
    for number, planned_dose in enumerate(planned):
        at = person.moment(planned_dose.day, draws)
        given = number == 0 or draws.random() >= _NOT_GIVEN_SHARE
        made = resource(
            "MedicationAdministration",
            planned_dose.id,
            person.entered(at, draws),
            status="completed" if given else "not-done",
            category=hl7("medication-admin-category", "outpatient"),
            medicationCodeableConcept=drug,
            subject=person.reference,
            effectiveDateTime=instant(at),
            performer=[{"actor": ref("Practitioner", person.site.nurse_id)}],
        )
        if given:
            made["dosage"] = {"route": concept(_SUBCUTANEOUS), "dose": dose}
        yield made
