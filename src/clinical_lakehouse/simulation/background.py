"""What a subject brings along: conditions, drugs, allergies, vaccines, past procedures."""

import random
from collections.abc import Iterator
from datetime import date, timedelta

from clinical_lakehouse.simulation import codes
from clinical_lakehouse.simulation.codes import Disease
from clinical_lakehouse.simulation.fhir import (
    TERMINOLOGY,
    Code,
    Json,
    concept,
    hl7,
    ref,
    resource,
)
from clinical_lakehouse.simulation.person import Person
from clinical_lakehouse.simulation.visits import Visit


def background(person: Person, screening: Visit) -> Iterator[Json]:
    """A subject's history as taken at screening."""
    draws = person.draws("background")
    diseases = [codes.DIABETES, *draws.sample(codes.COMORBIDITIES, person.true.comorbidities)]
    for disease in diseases:
        onset = _past(person, draws, 20)
        yield condition(person, screening, disease, onset)
        if disease.drug:
            yield _prescription(person, screening, disease.drug, onset)
    yield from _allergies(person, screening, draws)
    yield from _immunizations(person, screening, draws)
    if draws.random() < 0.3:
        surgery = draws.choice(codes.SURGERY)
        yield procedure(person, screening, surgery, _past(person, draws, 30).isoformat())


def _past(person: Person, draws: random.Random, years: float) -> date:
    return person.screened - timedelta(days=60 + int(draws.random() * years * 365))


def condition(person: Person, visit: Visit, disease: Disease, onset: date) -> Json:
    """An active, confirmed problem in SNOMED CT and ICD-10-CM."""
    return resource(
        "Condition",
        person.id_of("condition", disease.snomed.code),
        visit.entered,
        clinicalStatus=hl7("condition-clinical", "active"),
        verificationStatus=hl7("condition-ver-status", "confirmed"),
        category=[hl7("condition-category", "problem-list-item")],
        code=concept(disease.snomed, disease.icd10cm),
        subject=person.reference,
        encounter=visit.encounter,
        onsetDateTime=onset.isoformat(),
        recordedDate=visit.happened,
    )


def _prescription(person: Person, visit: Visit, drug: Code, onset: date) -> Json:
    return resource(
        "MedicationRequest",
        person.id_of("prescription", drug.code),
        visit.entered,
        status="active",
        intent="order",
        medicationCodeableConcept=concept(drug),
        subject=person.reference,
        encounter=visit.encounter,
        authoredOn=(onset + timedelta(days=7)).isoformat(),
        requester=ref("Practitioner", person.site.investigator_id),
        dosageInstruction=[{"text": "1 tablet once daily"}],
    )


def _allergies(person: Person, visit: Visit, draws: random.Random) -> Iterator[Json]:
    for code in codes.ALLERGIES:
        if draws.random() < 0.12:
            yield resource(
                "AllergyIntolerance",
                person.id_of("allergy", code.code),
                visit.entered,
                clinicalStatus=hl7("allergyintolerance-clinical", "active"),
                verificationStatus=hl7("allergyintolerance-verification", "confirmed"),
                type="allergy",
                code=concept(code),
                patient=person.reference,
                recordedDate=visit.happened,
            )


def _immunizations(person: Person, visit: Visit, draws: random.Random) -> Iterator[Json]:
    for vaccine in codes.VACCINES:
        if draws.random() < 0.6:
            yield resource(
                "Immunization",
                person.id_of("immunization", vaccine.code),
                visit.entered,
                status="completed",
                vaccineCode=concept(vaccine),
                patient=person.reference,
                occurrenceDateTime=_past(person, draws, 5).isoformat(),
                primarySource=False,
                reportOrigin={
                    "coding": [{"system": TERMINOLOGY + "immunization-origin", "code": "record"}]
                },
            )


def procedure(person: Person, visit: Visit, code: Code, performed: str) -> Json:
    """A completed procedure."""
    return resource(
        "Procedure",
        person.id_of("procedure", visit.code, code.code),
        visit.entered,
        status="completed",
        code=concept(code),
        subject=person.reference,
        encounter=visit.encounter,
        performedDateTime=performed,
    )


def trial_procedures(person: Person, visits: tuple[Visit, ...]) -> Iterator[Json]:
    """A blood draw at each attended visit and an ECG at screening and every twelve weeks."""
    for visit in visits:
        if visit.is_attended:
            yield procedure(person, visit, codes.BLOOD_DRAW, visit.happened)
            if visit.week < 0 or (visit.week and visit.week % 12 == 0):
                yield procedure(person, visit, codes.ECG, visit.happened)
