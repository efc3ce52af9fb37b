"""Who a subject is: canary identifiers of the 18 kinds of 45 CFR 164.514(b)(2), and the Patient.

Every string is distinctive, so that a byte scan of a de-identified lake finds any that got through.
"""

from dataclasses import dataclass, field
from hashlib import blake2b

from clinical_lakehouse.simulation.fhir import OWN, Json, ref, resource
from clinical_lakehouse.simulation.person import Person, Record

KINDS = (
    "names",
    "geography",
    "dates",
    "phone",
    "fax",
    "email",
    "ssn",
    "medical_record",
    "health_plan",
    "account",
    "licence",
    "vehicle",
    "device",
    "url",
    "ip",
    "biometric",
    "photo",
    "other",
)
# Dates and ages are found by shape, not by a byte scan: others have the same birth date.
NOT_SCANNED = frozenset({"dates"})

_SYLLABLES = tuple(c + v for c in "bdfgklmnprstvzhj" for v in "aeio")
_US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/"
_RACE_SYSTEM = "urn:oid:2.16.840.1.113883.6.238"


@dataclass(frozen=True)
class Identity:
    """A subject's direct identifiers; `of` maps a kind to its value."""

    given: str
    family: str
    street: str
    city: str
    district: str
    postal_code: str
    contact: str
    contact_phone: str
    of: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Given and family name."""
        return f"{self.given} {self.family}"


@dataclass(frozen=True)
class Numbers:
    """Numbers that belong to one subject and one purpose, for all time."""

    seed: int
    index: int

    def number(self, purpose: str) -> int:
        """64 bits."""
        text = f"{self.seed}/{self.index}/identity/{purpose}"
        return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")

    def digits(self, purpose: str, count: int) -> str:
        """So many decimal digits."""
        return str(self.number(purpose) % 10**count).zfill(count)

    def hexadecimal(self, purpose: str, count: int) -> str:
        """So many hexadecimal digits, in capitals."""
        return f"{self.number(purpose):016X}"[:count]

    def word(self, purpose: str, syllables: int) -> str:
        """A pronounceable word of 6 bits a syllable."""
        number = self.number(purpose)
        parts = [_SYLLABLES[(number >> (6 * i)) & 63] for i in range(syllables)]
        return "".join(parts).capitalize()


def identity(person: Person) -> Identity:
    """The subject's identifiers, each unique to them."""
    own = Numbers(person.seed, person.index)
    given, family = own.word("given", 5), own.word("family", 6)
    numbers = {"names": f"{given} {family}", "dates": person.birth_date.isoformat()}
    return Identity(
        given=given,
        family=family,
        street=f"{own.digits('house', 4)} {own.word('street', 6)} Lane",
        city=own.word("city", 6),
        district=own.word("district", 6),
        postal_code=f"{own.digits('zip', 5)}-{own.digits('zip4', 4)}",
        contact=f"{own.word('contact given', 5)} {family}",
        contact_phone=f"({own.digits('contact area', 3)}) 555-{own.digits('contact phone', 7)}",
        of={**numbers, **_reachable(own), **_numbered(own)},
    )


def _reachable(own: Numbers) -> dict[str, str]:
    """Where a subject can be reached or seen."""
    address = f"{own.number('ip'):016x}"
    return {
        "phone": f"({own.digits('phone', 3)}) 555-{own.digits('phone line', 7)}",
        "fax": f"({own.digits('fax', 3)}) 556-{own.digits('fax line', 7)}",
        "email": f"{own.word('mail', 6).lower()}@mail.example.org",
        "url": f"https://people.example.org/{own.word('url', 7).lower()}",
        "ip": ":".join(("2001:db8", address[:4], address[4:8], address[8:12], "", address[12:])),
        "photo": f"https://photos.example.org/{own.hexadecimal('photo', 16).lower()}.jpg",
    }


def _numbered(own: Numbers) -> dict[str, str]:
    """What somebody has numbered a subject by."""
    ssn = own.digits("ssn", 8)
    return {
        "ssn": f"9{ssn[:2]}-{ssn[2:4]}-{ssn[4:]}",
        "medical_record": f"MRN-{own.hexadecimal('mrn', 10)}",
        "health_plan": f"HPB-{own.hexadecimal('plan', 10)}",
        "account": f"ACC-{own.digits('account', 12)}",
        "licence": f"DL-{own.hexadecimal('licence', 10)}",
        "vehicle": f"1ZV{own.hexadecimal('vehicle', 14)}",
        "device": f"SN-{own.hexadecimal('device', 12)}",
        "biometric": f"FPT{own.hexadecimal('finger', 16)}",
        "other": f"RND-{own.hexadecimal('other', 10)}",
    }


def plant(record: Record, kind: str, value: str, where: Json, path: str) -> None:
    """Write down that a canary stands at an element path of a resource."""
    record(
        "canaries",
        {
            "kind": kind,
            "value": value,
            "resource_type": where["resourceType"],
            "id": where["id"],
            "path": path,
            "scan": kind not in NOT_SCANNED,
        },
    )


def patient(person: Person, who: Identity, updated: str, record: Record) -> Json:
    """The Patient resource, full of canaries."""
    made = resource(
        "Patient",
        person.id,
        updated,
        text={"status": "additional", "div": _narrative(who)},
        extension=_extensions(person, who),
        identifier=_identifiers(who),
        active=True,
        name=[{"use": "official", "family": who.family, "given": [who.given]}],
        telecom=_telecom(who),
        gender=person.sex,
        birthDate=person.birth_date.isoformat(),
        address=[_address(person, who)],
        photo=[{"contentType": "image/jpeg", "url": who.of["photo"]}],
        contact=[
            {
                "name": {"text": who.contact},
                "telecom": [{"system": "phone", "value": who.contact_phone}],
            }
        ],
        managingOrganization=ref("Organization", person.site.id),
    )
    _plant_patient(made, who, record)
    return made


def _narrative(who: Identity) -> str:
    return (
        '<div xmlns="http://www.w3.org/1999/xhtml"><p>'
        f"{who.name}, {who.street}, {who.city}; SSN {who.of['ssn']}</p></div>"
    )


def _address(person: Person, who: Identity) -> Json:
    return {
        "use": "home",
        "line": [who.street],
        "city": who.city,
        "district": who.district,
        "state": person.site.state,
        "postalCode": who.postal_code,
        "country": "US",
    }


def _telecom(who: Identity) -> list[Json]:
    return [{"system": kind, "value": who.of[kind]} for kind in ("phone", "fax", "email", "url")]


_IDENTIFIERS = (
    ("medical_record", "MR", "Medical record number", OWN + "mrn"),
    ("ssn", "SS", "Social Security number", "http://hl7.org/fhir/sid/us-ssn"),
    ("health_plan", "MB", "Member number", OWN + "health-plan"),
    ("account", "AN", "Account number", OWN + "account"),
    ("licence", "DL", "Driver's license number", OWN + "licence"),
    ("device", "SNO", "Serial number", OWN + "device"),
)
_EXTENSIONS = (("ip", "patient-portal-ip"), ("biometric", "finger-template"))


def _identifiers(who: Identity) -> list[Json]:
    typed = [
        {
            "type": {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/v2-0203",
                        "code": code,
                        "display": display,
                    }
                ]
            },
            "system": system,
            "value": who.of[kind],
        }
        for kind, code, display, system in _IDENTIFIERS
    ]
    vehicle = {"type": {"text": "Vehicle identification number"}, "value": who.of["vehicle"]}
    other = {"system": OWN + "randomisation-number", "value": who.of["other"]}
    return [*typed, vehicle, other]


def _extensions(person: Person, who: Identity) -> list[Json]:
    ethnicity = ("2135-2", "Hispanic or Latino")
    if not person.hispanic:
        ethnicity = ("2186-5", "Not Hispanic or Latino")
    groups = (("us-core-race", person.race), ("us-core-ethnicity", ethnicity))
    own = [
        {"url": f"{OWN}StructureDefinition/{name}", "valueString": who.of[kind]}
        for kind, name in _EXTENSIONS
    ]
    return [_group(name, *code) for name, code in groups] + own


def _group(name: str, code: str, display: str) -> Json:
    coding = {"system": _RACE_SYSTEM, "code": code, "display": display}
    return {
        "url": _US_CORE + name,
        "extension": [
            {"url": "ombCategory", "valueCoding": coding},
            {"url": "text", "valueString": display},
        ],
    }


def _plant_patient(made: Json, who: Identity, record: Record) -> None:
    paths = {
        "dates": "Patient.birthDate",
        "phone": "Patient.telecom[0].value",
        "fax": "Patient.telecom[1].value",
        "email": "Patient.telecom[2].value",
        "url": "Patient.telecom[3].value",
        "ip": "Patient.extension[2].valueString",
        "biometric": "Patient.extension[3].valueString",
        "photo": "Patient.photo[0].url",
        "vehicle": "Patient.identifier[6].value",
        "other": "Patient.identifier[7].value",
    }
    for at, (kind, *_) in enumerate(_IDENTIFIERS):
        paths[kind] = f"Patient.identifier[{at}].value"
    for kind, path in paths.items():
        plant(record, kind, who.of[kind], made, path)
    for kind, value, path in (
        ("names", who.given, "Patient.name[0].given[0]"),
        ("names", who.family, "Patient.name[0].family"),
        ("names", who.contact, "Patient.contact[0].name.text"),
        ("phone", who.contact_phone, "Patient.contact[0].telecom[0].value"),
        ("geography", who.street, "Patient.address[0].line[0]"),
        ("geography", who.city, "Patient.address[0].city"),
        ("geography", who.district, "Patient.address[0].district"),
        ("geography", who.postal_code, "Patient.address[0].postalCode"),
        ("names", who.name, "Patient.text.div"),
        ("geography", who.street, "Patient.text.div"),
        ("ssn", who.of["ssn"], "Patient.text.div"),
    ):
        plant(record, kind, value, made, path)
