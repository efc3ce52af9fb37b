"""Labs, vitals and the symptom score at each attended visit, and the lab report over them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from math import exp

from clinical_lakehouse.simulation import codes
from clinical_lakehouse.simulation.codes import Test
from clinical_lakehouse.simulation.fhir import Json, concept, quantity, ref, refs, resource
from clinical_lakehouse.simulation.person import PHQ9_BIAS_POINTS, Person, Record
from clinical_lakehouse.simulation.sites import ACTIVE
from clinical_lakehouse.simulation.visits import Visit

MMOL_PER_MG_DL = 1 / 18.016  # glucose, molar mass 180.16 g/mol
HBA1C_EFFECT = {ACTIVE: -1.1}
_HBA1C_PLACEBO = -0.2
_LAB = "laboratory"
_VITAL = "vital-signs"
_SURVEY = "survey"


@dataclass(frozen=True)
class Levels:
    """A subject's own level of every test, drawn once: the random effects."""

    of: dict[str, float]
    hba1c_slope: float
    height_m: float


def draw_levels(person: Person) -> Levels:
    """Draw a subject's random intercepts and HbA1c slope (% per 26 weeks)."""
    draws = person.draws("levels")
    tests = (*codes.LABS, *codes.VITALS, codes.WEIGHT, codes.SYSTOLIC, codes.DIASTOLIC)
    levels = {test.code.code: draws.gauss(test.mean, test.between) for test in tests}
    levels[codes.GLUCOSE.code.code] = draws.gauss(0, codes.GLUCOSE.between)
    weight = max(levels[codes.WEIGHT.code.code], 45.0)
    levels[codes.WEIGHT.code.code] = weight
    bmi = min(max(draws.gauss(31, 3), 21), 45)
    return Levels(levels, draws.gauss(0, 0.3), (weight / bmi) ** 0.5)


def measurements(person: Person, visits: tuple[Visit, ...], record: Record) -> Iterator[Json]:
    """Every Observation and DiagnosticReport of a subject's attended visits."""
    levels = draw_levels(person)
    draws = person.draws("measurements")
    for visit in visits:
        if visit.is_attended:
            labs = list(_labs(person, visit, levels, draws))
            if person.site.glucose_in_mmol:
                _record_glucose(person, visit, labs, record)
            yield from labs
            yield _report(person, visit, [lab["id"] for lab in labs])
            yield from _vitals(person, visit, levels, draws)
            if visit.week >= 0:
                yield _phq9(person, visit, draws)


def _labs(person: Person, visit: Visit, levels: Levels, draws: random.Random) -> Iterator[Json]:
    hba1c = _hba1c(person, visit, levels, draws)
    # Screening holds no HbA1c: a subject's first value is the one at randomisation.
    if visit.week >= 0:
        yield observation(person, visit, codes.HBA1C, _LAB, hba1c)
    glucose = 28.7 * hba1c - 46.7 + levels.of[codes.GLUCOSE.code.code]
    glucose = max(glucose + draws.gauss(0, codes.GLUCOSE.within), 55.0)
    if person.site.glucose_in_mmol:
        yield observation(person, visit, codes.GLUCOSE, _LAB, round(glucose * MMOL_PER_MG_DL, 1))
    else:
        yield observation(person, visit, codes.GLUCOSE, _LAB, round(glucose))
    for test in codes.LABS:
        yield observation(person, visit, test, _LAB, _draw(test, levels, draws))


def _hba1c(person: Person, visit: Visit, levels: Levels, draws: random.Random) -> float:
    """HbA1c in percent: baseline, a saturating effect of the arm, an own slope, noise."""
    if visit.week <= 0:
        return person.measured.hba1c
    effect = HBA1C_EFFECT.get(person.arm, _HBA1C_PLACEBO) * (1 - exp(-visit.week / 8))
    value = person.true.hba1c + effect + levels.hba1c_slope * visit.week / 26
    return max(round(value + draws.gauss(0, codes.HBA1C.within), 1), 4.5)


def _draw(test: Test, levels: Levels, draws: random.Random) -> float:
    value = max(draws.gauss(levels.of[test.code.code], test.within), test.mean * 0.3)
    return round(value, test.decimals) if test.decimals else round(value)


def _vitals(person: Person, visit: Visit, levels: Levels, draws: random.Random) -> Iterator[Json]:
    for test in codes.VITALS:
        yield observation(person, visit, test, _VITAL, _draw(test, levels, draws))
    loss = 3.0 * (1 - exp(-max(visit.week, 0) / 16)) if person.arm == ACTIVE else 0.0
    weight = round(_draw(codes.WEIGHT, levels, draws) - loss, 1)
    yield observation(person, visit, codes.WEIGHT, _VITAL, weight)
    yield observation(person, visit, codes.BMI, _VITAL, round(weight / levels.height_m**2, 1))
    panel = _observation(person, visit, codes.BLOOD_PRESSURE.code, _VITAL)
    panel["code"] = concept(codes.BLOOD_PRESSURE)
    panel["component"] = [
        {
            "code": concept(test.code),
            "valueQuantity": quantity(_draw(test, levels, draws), test.unit, test.ucum),
        }
        for test in (codes.SYSTOLIC, codes.DIASTOLIC)
    ]
    yield panel


def _phq9(person: Person, visit: Visit, draws: random.Random) -> Json:
    if visit.week == 0:
        score = person.measured.phq9
    else:
        true = person.true.phq9 + draws.gauss(0, codes.PHQ9.within)
        bias = PHQ9_BIAS_POINTS if person.is_biased else 0
        score = min(max(round(true + bias), 0), 27)
    return observation(person, visit, codes.PHQ9, _SURVEY, score)


def observation(person: Person, visit: Visit, test: Test, category: str, value: float) -> Json:
    """A final Observation of one test at a visit, in the test's unit."""
    made = _observation(person, visit, test.code.code, category)
    made["code"] = concept(test.code)
    made["valueQuantity"] = quantity(value, test.unit, test.ucum)
    return made


def _observation(person: Person, visit: Visit, code: str, category: str) -> Json:
    return resource(
        "Observation",
        person.id_of("observation", visit.code, code),
        visit.entered,
        status="final",
        category=[
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/observation-category",
                        "code": category,
                    }
                ]
            }
        ],
        subject=person.reference,
        encounter=visit.encounter,
        effectiveDateTime=visit.happened,
        issued=visit.entered,
    )


def _record_glucose(person: Person, visit: Visit, labs: list[Json], record: Record) -> None:
    for lab in labs:
        if lab["code"]["coding"][0]["code"] == codes.GLUCOSE.code.code:
            record(
                "glucose_mislabelled",
                {
                    "observation_id": lab["id"],
                    "patient_id": person.id,
                    "site_id": person.site.id,
                    "value": lab["valueQuantity"]["value"],
                    "true_unit": "mmol/L",
                    "labelled_unit": "mg/dL",
                    "date": visit.at.date().isoformat(),
                },
            )


def _report(person: Person, visit: Visit, lab_ids: list[str]) -> Json:
    return resource(
        "DiagnosticReport",
        person.id_of("report", visit.code),
        visit.entered,
        status="final",
        category=[
            {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "LAB"}]}
        ],
        code=concept(codes.LAB_PANEL),
        subject=person.reference,
        encounter=visit.encounter,
        effectiveDateTime=visit.happened,
        issued=visit.entered,
        performer=[ref("Organization", person.site.id)],
        result=refs("Observation", lab_ids),
    )
