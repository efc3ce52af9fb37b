"""Adverse events: the planted signal, the null event, and a site that records too few."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from clinical_lakehouse.simulation import codes
from clinical_lakehouse.simulation.codes import Event
from clinical_lakehouse.simulation.dosing import Dose
from clinical_lakehouse.simulation.fhir import Json, concept, hl7, instant, ref, resource
from clinical_lakehouse.simulation.person import Person, Record
from clinical_lakehouse.simulation.sites import ACTIVE, STUDY_ID

SIGNAL_EVENT = codes.NAUSEA
NULL_EVENT = codes.HEADACHE
SIGNAL_FOLD = 3.0


@dataclass(frozen=True)
class Happening:
    """An adverse event as it happened, recorded or not."""

    event: Event
    number: int
    day: date
    is_fatal: bool = False


def adverse_events(person: Person, planned: tuple[Dose, ...], record: Record) -> Iterator[Json]:
    """The AdverseEvents a subject's site records; truth keeps the others too."""
    draws = person.draws("safety")
    for happening in _happenings(person, draws):
        share = person.site.ae_recorded_share
        is_recorded = happening.is_fatal or draws.random() < share
        made = _adverse_event(person, happening, planned, draws)
        record("adverse_events", _truth_row(person, happening, made["id"], is_recorded))
        if is_recorded:
            yield made


def _happenings(person: Person, draws: random.Random) -> Iterator[Happening]:
    days = (person.last_day - person.randomised).days
    for event in codes.EVENTS:
        fold = SIGNAL_FOLD if event is SIGNAL_EVENT and person.arm == ACTIVE else 1.0
        rate = event.rate * fold / 28
        at = draws.expovariate(rate)
        number = 0
        while at < days:
            yield Happening(event, number, person.randomised + timedelta(days=int(at)))
            at += draws.expovariate(rate)
            number += 1
    if person.death:
        yield Happening(codes.FATAL_EVENT, 0, person.death, is_fatal=True)


def _truth_row(person: Person, happening: Happening, event_id: str, is_recorded: bool) -> Json:
    return {
        "adverse_event_id": event_id if is_recorded else None,
        "patient_id": person.id,
        "site_id": person.site.id,
        "arm": person.arm,
        "event": happening.event.name,
        "date": happening.day.isoformat(),
        "is_recorded": is_recorded,
    }


def _outcome(happening: Happening, draws: random.Random) -> str:
    if happening.is_fatal:
        return "fatal"
    return draws.choices(("resolved", "recovering", "ongoing"), (8, 1, 1))[0]


def _adverse_event(
    person: Person, happening: Happening, planned: tuple[Dose, ...], draws: random.Random
) -> Json:
    event = happening.event
    at = datetime.combine(happening.day, time(20)) + timedelta(minutes=int(draws.random() * 200))
    entered = person.entered(at, draws)
    serious = happening.is_fatal or draws.random() < event.serious
    severity = draws.choices(("mild", "moderate", "severe"), (6, 3, 1))[0]
    severity = "severe" if serious else severity
    suspect = [dose for dose in planned if dose.day <= happening.day][-1]
    return resource(
        "AdverseEvent",
        person.id_of("adverse-event", event.snomed.code, happening.number),
        entered,
        actuality="actual",
        event=concept(event.snomed, event.meddra),
        subject=person.reference,
        date=instant(at),
        recordedDate=entered,
        location=ref("Location", person.site.location_id),
        seriousness=hl7("adverse-event-seriousness", "serious" if serious else "non-serious"),
        severity=hl7("adverse-event-severity", severity),
        outcome=hl7("adverse-event-outcome", _outcome(happening, draws)),
        recorder=ref("Practitioner", person.site.investigator_id),
        suspectEntity=[{"instance": ref("MedicationAdministration", suspect.id)}],
        study=[ref("ResearchStudy", STUDY_ID)],
    )
