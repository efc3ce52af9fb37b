"""Notes and free text with identifiers in them, as sites write them."""

from base64 import b64encode
from collections.abc import Iterator

from clinical_lakehouse.simulation import codes
from clinical_lakehouse.simulation.fhir import Code, Json, concept, hl7, ref, resource
from clinical_lakehouse.simulation.identity import Identity, plant
from clinical_lakehouse.simulation.measurements import observation
from clinical_lakehouse.simulation.person import Person, Record
from clinical_lakehouse.simulation.visits import Visit

_PATH = "DocumentReference.content[0].attachment.data"
_OVER_89 = 89


def documents(
    person: Person, who: Identity, visits: tuple[Visit, ...], record: Record
) -> Iterator[Json]:
    """A history note at screening, a progress note at the last attended visit, and free text."""
    last = [visit for visit in visits if visit.is_attended][-1]
    text, planted = _history(person, who)
    yield _note(person, visits[0], (codes.NOTE_HISTORY, text), planted, record)
    text, planted = _progress(person, who, last)
    yield _note(person, last, (codes.NOTE_PROGRESS, text), planted, record)
    yield _complaint(person, who, visits[1], record)
    if person.true.age > _OVER_89:
        age = observation(person, visits[1], codes.AGE, "survey", person.true.age)
        plant(record, "dates", f"{person.true.age} years", age, "Observation.valueQuantity")
        yield age


def _history(person: Person, who: Identity) -> tuple[str, list[tuple[str, str]]]:
    of = who.of
    text = (
        f"HISTORY AND PHYSICAL, {person.screened.isoformat()}\n"
        f"{who.name} is a {person.true.age}-year-old {person.sex}, born {of['dates']}, "
        f"MRN {of['medical_record']}, SSN {of['ssn']}.\n"
        f"Lives at {who.street}, {who.city}, {person.site.state} {who.postal_code}.\n"
        f"Phone {of['phone']}, fax {of['fax']}, e-mail {of['email']}, page {of['url']}.\n"
        f"Plan member {of['health_plan']}, billing account {of['account']}, driver's licence "
        f"{of['licence']}, drives {of['vehicle']}.\n"
        f"Glucose meter serial {of['device']}; portal login from {of['ip']}; fingerprint "
        f"{of['biometric']}; photo at {of['photo']}; randomisation number {of['other']}.\n"
        f"Next of kin: {who.contact}, {who.contact_phone}.\n"
        f"Type 2 diabetes with {person.true.comorbidities} further chronic conditions. "
        "Heart sounds normal, lungs clear, no oedema. Eligible for the study.\n"
    )
    places = [who.street, who.city, who.postal_code]
    planted = [*of.items(), *(("geography", place) for place in places)]
    return text, [*planted, ("names", who.contact), ("phone", who.contact_phone)]


def _progress(person: Person, who: Identity, visit: Visit) -> tuple[str, list[tuple[str, str]]]:
    of = who.of
    day = visit.at.date().isoformat()
    text = (
        f"PROGRESS NOTE {visit.code}, {day}\n"
        f"Mr/Ms {who.family} came to the study unit with {who.contact}. Diet kept, no new "
        f"complaints. Call back on {of['phone']} or write to {of['email']}. "
        f"Device {of['device']} read out. Continue the study drug.\n"
        f"cc: {who.given} {who.family}, {who.street}, {who.city}. Chart {of['medical_record']}.\n"
    )
    kinds = ("names", "phone", "email", "device", "medical_record")
    planted = [(kind, of[kind]) for kind in kinds]
    more = [("names", who.contact), ("geography", who.street), ("geography", who.city)]
    return text, [*planted, *more, ("dates", day)]


def _note(
    person: Person,
    visit: Visit,
    what: tuple[Code, str],
    planted: list[tuple[str, str]],
    record: Record,
) -> Json:
    code, text = what
    made = resource(
        "DocumentReference",
        person.id_of("note", code.code),
        visit.entered,
        status="current",
        docStatus="final",
        type=concept(code),
        category=[hl7("us-core-documentreference-category", "clinical-note")],
        subject=person.reference,
        date=visit.entered,
        author=[ref("Practitioner", person.site.investigator_id)],
        content=[
            {
                "attachment": {
                    "contentType": "text/plain; charset=utf-8",
                    "data": b64encode(text.encode()).decode(),
                    "title": code.display,
                }
            }
        ],
        context={"encounter": [visit.encounter]},
    )
    for kind, value in planted:
        plant(record, kind, value, made, _PATH)
    return made


def _complaint(person: Person, who: Identity, visit: Visit, record: Record) -> Json:
    made = observation(person, visit, codes.HBA1C, "survey", 0)
    del made["valueQuantity"]
    made["id"] = person.id_of("complaint")
    made["code"] = concept(codes.CHIEF_COMPLAINT)
    made["valueString"] = f"{who.name} asks to be called on {who.of['phone']} about dizziness"
    plant(record, "names", who.name, made, "Observation.valueString")
    plant(record, "phone", who.of["phone"], made, "Observation.valueString")
    return made


def with_free_text(
    resources: Iterator[Json], person: Person, who: Identity, record: Record
) -> Iterator[Json]:
    """The same resources; one of each listed type carries identifiers in its free text."""
    waiting = {"Encounter", "Condition", "Procedure", "MedicationRequest", "DiagnosticReport"}
    waiting.add("AdverseEvent")
    for made in resources:
        kind = made["resourceType"]
        if kind in waiting:
            waiting.discard(kind)
            made = _annotated(made, who, record)
        yield made


def _annotated(made: Json, who: Identity, record: Record) -> Json:
    of = who.of
    kind = made["resourceType"]
    if kind in ("Encounter", "AdverseEvent"):
        plant(record, "names", who.name, made, f"{kind}.subject.display")
        return {**made, "subject": {**made["subject"], "display": who.name}}
    if kind == "Condition":
        plant(record, "names", who.name, made, "Condition.code.text")
        text = f"Diabetes of {who.name}"
        return {**made, "code": {**made["code"], "text": text}}
    if kind == "Procedure":
        plant(record, "medical_record", of["medical_record"], made, "Procedure.note[0].text")
        return {**made, "note": [{"text": f"Consent form in chart {of['medical_record']}"}]}
    if kind == "MedicationRequest":
        plant(record, "geography", who.street, made, "MedicationRequest.note[0].text")
        return {**made, "note": [{"text": f"Deliver to {who.street}, {who.city}"}]}
    plant(record, "names", who.family, made, "DiagnosticReport.conclusion")
    plant(record, "ssn", of["ssn"], made, "DiagnosticReport.conclusion")
    return {**made, "conclusion": f"Reviewed with {who.family}, SSN {of['ssn']}"}
