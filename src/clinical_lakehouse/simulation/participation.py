"""Taking part: ResearchSubject, Consent and the Patient's death, each with later versions."""

from collections.abc import Iterator
from datetime import datetime, time, timedelta

from clinical_lakehouse.simulation.fhir import (
    LOINC,
    Code,
    Json,
    concept,
    hl7,
    instant,
    next_version,
    ref,
    resource,
)
from clinical_lakehouse.simulation.identity import Identity, patient
from clinical_lakehouse.simulation.person import Person, Record
from clinical_lakehouse.simulation.sites import STUDY_ID

WITHDRAWN_EVERY = 40
_INACTIVE_AT, _DENY_AT = 11, 31
_CONSENT = Code(LOINC, "59284-0", "Consent Document")


def participation(person: Person, who: Identity, record: Record) -> Iterator[Json]:
    """A subject's Patient, Consent and ResearchSubject resources with every version of them."""
    draws = person.draws("participation")
    screened = person.moment(person.screened, draws)
    entered = instant(screened + timedelta(minutes=10))
    first = patient(person, who, entered, record)
    yield first
    if person.death:
        died = datetime.combine(person.death, time(20))
        known = person.entered_centrally(died, draws)
        _record_version(record, "status", "deceasedDateTime", first)
        yield next_version(first, known, deceasedDateTime=instant(died))
    yield from _consents(person, screened, record)
    subject = _research_subject(person)
    yield subject
    if person.dropout or person.death:
        ended = datetime.combine(person.last_day, time(17))
        period = {**subject["period"], "end": person.last_day.isoformat()}
        _record_version(record, "status", "status", subject)
        yield next_version(
            subject,
            person.entered_centrally(ended, draws),
            status="withdrawn" if person.dropout else "off-study",
            period=period,
        )


def _record_version(record: Record, cause: str, path: str, first: Json) -> None:
    record(
        "newer_versions",
        {
            "resource_type": first["resourceType"],
            "id": first["id"],
            "version_id": "2",
            "cause": cause,
            "path": f"{first['resourceType']}.{path}",
            "is_out_of_order": False,
        },
    )


def _research_subject(person: Person) -> Json:
    randomised = datetime.combine(person.randomised, time(7))
    return resource(
        "ResearchSubject",
        person.subject_id,
        instant(randomised),
        status="on-study",
        period={"start": person.randomised.isoformat()},
        study=ref("ResearchStudy", STUDY_ID),
        individual=person.reference,
        assignedArm=person.arm,
        actualArm=person.arm,
        consent=ref("Consent", person.id_of("consent")),
    )


def _consent(person: Person, consent_id: str, signed: datetime, kind: str) -> Json:
    return resource(
        "Consent",
        consent_id,
        instant(signed),
        status="active",
        scope=hl7("consentscope", "research"),
        category=[concept(_CONSENT)],
        patient=person.reference,
        dateTime=instant(signed),
        organization=[ref("Organization", person.site.id)],
        policyRule=hl7("v3-ActCode", "OPTIN" if kind == "permit" else "OPTOUT"),
        provision={"type": kind, "period": {"start": signed.date().isoformat()}},
    )


def _consents(person: Person, screened: datetime, record: Record) -> Iterator[Json]:
    permit = _consent(person, person.id_of("consent"), screened, "permit")
    yield permit
    turn = person.index % WITHDRAWN_EVERY
    if turn not in (_INACTIVE_AT, _DENY_AT):
        return
    draws = person.draws("consent")
    days = max((person.last_day - person.randomised).days - 1, 1)
    at = person.moment(person.randomised + timedelta(days=draws.randint(1, days)), draws)
    if turn == _INACTIVE_AT:
        later = next_version(permit, instant(at), status="inactive")
        _record_version(record, "withdrawal", "status", permit)
    else:
        later = _consent(person, person.id_of("consent", "deny"), at, "deny")
    record(
        "withdrawn_consents",
        {
            "patient_id": person.id,
            "permit_id": permit["id"],
            "consent_id": later["id"],
            "manner": "inactive" if turn == _INACTIVE_AT else "deny",
            "withdrawn_at": instant(at),
        },
    )
    yield later
