"""The visit schedule: screening, baseline, then every four weeks while on study."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from clinical_lakehouse.simulation.fhir import Json, instant, own, ref, resource
from clinical_lakehouse.simulation.person import Person
from clinical_lakehouse.simulation.plan import DAYS_BETWEEN_VISITS

_MISSED_SHARE = 0.07
_CLASS = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode",
    "code": "AMB",
    "display": "ambulatory",
}


@dataclass(frozen=True)
class Visit:
    """A planned visit, attended or missed; `week` counts from randomisation."""

    code: str
    week: int
    at: datetime
    entered: str
    is_attended: bool
    encounter_id: str

    @property
    def happened(self) -> str:
        """Its start as a FHIR instant."""
        return instant(self.at)

    @property
    def encounter(self) -> Json:
        """A reference to its Encounter."""
        return ref("Encounter", self.encounter_id)


def schedule(person: Person) -> tuple[Visit, ...]:
    """A subject's planned visits up to dropout, death or the end of the period, in order."""
    draws = person.draws("visits")
    planned: list[tuple[str, int, date]] = [
        ("SCREENING", -2, person.screened),
        ("BASELINE", 0, person.randomised),
    ]
    day = person.randomised + timedelta(days=DAYS_BETWEEN_VISITS)
    while day < person.last_day:
        week = (day - person.randomised).days // 7
        shifted = day + timedelta(days=draws.randint(-3, 3))
        planned.append((f"WEEK-{week}", week, min(shifted, person.last_day)))
        day += timedelta(days=DAYS_BETWEEN_VISITS)
    visits = []
    for code, week, when in planned:
        at = person.moment(when, draws)
        entered = person.entered(at, draws)
        attended = week <= 0 or draws.random() >= _MISSED_SHARE
        visits.append(Visit(code, week, at, entered, attended, person.id_of("visit", code)))
    return tuple(visits)


def encounters(person: Person, visits: tuple[Visit, ...]) -> Iterator[Json]:
    """One Encounter per planned visit; a missed one is cancelled and keeps its planned period."""
    for visit in visits:
        day_end = datetime.combine(visit.at.date(), time(17))
        yield resource(
            "Encounter",
            visit.encounter_id,
            visit.entered,
            status="finished" if visit.is_attended else "cancelled",
            **{"class": _CLASS},
            type=[{"coding": [own("visit", visit.code, visit.code)], "text": visit.code}],
            subject=person.reference,
            participant=[{"individual": ref("Practitioner", person.site.nurse_id)}],
            period={"start": visit.happened, "end": instant(day_end)},
            location=[{"location": ref("Location", person.site.location_id)}],
            serviceProvider=ref("Organization", person.site.id),
        )
